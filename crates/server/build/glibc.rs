//! Which C library this machine has.

use std::process::Command;

/// glibc's version, where it is glibc and tells.
pub(crate) fn version() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    parse(std::str::from_utf8(&told.stdout).ok()?)
}

/// `glibc 2.36`.
fn parse(told: &str) -> Option<(u32, u32)> {
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
