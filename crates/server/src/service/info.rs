//! What the server says of itself.

use mesh_protocol::{
    FEATURES, PROTOCOL_VERSION,
    rest::{Info, RegistrationMode},
};

use crate::{app::App, config::Registration};

/// The server's version, SemVer.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version, with the commit that was built and its day as far as they are known.
pub const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_STAMP"), ")");

/// The commit that was built, or `unknown`.
pub const COMMIT: &str = env!("BUILD_COMMIT");

/// `GET /api/info`.
pub fn info(app: &App) -> Info {
    Info {
        name: "Mesh Server".to_owned(),
        version: VERSION.to_owned(),
        protocol: PROTOCOL_VERSION,
        registration: match app.config.registration {
            Registration::Open => RegistrationMode::Open,
            Registration::Invite => RegistrationMode::Invite,
            Registration::Closed => RegistrationMode::Closed,
        },
        features: FEATURES.iter().map(|f| (*f).to_owned()).collect(),
    }
}

#[cfg(test)]
#[path = "../../build/stamp.rs"]
#[allow(clippy::disallowed_methods, dead_code, reason = "the build script's own file")]
mod stamp;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::stamp::{day, stamp, watched};

    fn git(root: &Path, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.arg("-C").arg(root).args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(args);
        // 2026-11-25 12:00 UTC, told in another time zone
        command.env("GIT_COMMITTER_DATE", "1795608000 -1200").env("GIT_AUTHOR_DATE", "1795608000 -1200");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn repository() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        git(root, &["init", "-q"]);
        fs::create_dir_all(root.join("crates/server")).unwrap();
        fs::write(root.join("crates/server/commit.txt"), "$Format:%H %ct$\n").unwrap();
        fs::write(root.join(".gitattributes"), "crates/server/commit.txt export-subst\n").unwrap();
        git(root, &["add", "."]);
        git(root, &["commit", "-q", "-m", "first"]);
        let commit = git(root, &["rev-parse", "HEAD"]);
        (dir, commit[..12].to_owned())
    }

    #[test]
    fn a_repository_tells_its_commit_and_day() {
        let (dir, commit) = repository();
        let told = format!("{commit} 2026-11-25");
        assert_eq!(stamp(dir.path(), None, None, true), Some(told.clone()));
        assert_eq!(stamp(dir.path(), None, None, false), None);
        assert_eq!(stamp(dir.path(), None, Some("0"), true), Some(format!("{commit} 1970-01-01")));
        assert_eq!(stamp(dir.path(), Some(&commit), None, true), Some(told));
        assert_eq!(stamp(dir.path(), Some("0123456789abcdef"), None, true).as_deref(), Some("0123456789ab"));
        let with_time = stamp(dir.path(), Some(" 0123456789abcdef 951782400\n"), None, true);
        assert_eq!(with_time.as_deref(), Some("0123456789ab 2000-02-29"));
        assert_eq!(
            stamp(dir.path(), Some("0123456789abcdef 951782400"), Some("0"), true).as_deref(),
            Some("0123456789ab 1970-01-01")
        );
        assert!(!watched(dir.path()).is_empty());
        // A tarball unpacked within it is not its commit.
        let inner = dir.path().join("unpacked");
        fs::create_dir(&inner).unwrap();
        assert_eq!(stamp(&inner, None, None, true), None);
    }

    #[test]
    fn an_archive_and_a_bare_head_tell_it_too() {
        let (dir, commit) = repository();
        let unpacked = tempfile::tempdir().unwrap();
        let tar = unpacked.path().join("release.tar");
        git(dir.path(), &["archive", "-o", tar.to_str().unwrap(), "HEAD"]);
        let status = Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(unpacked.path()).status().unwrap();
        assert!(status.success());
        assert_eq!(stamp(unpacked.path(), None, None, true), Some(format!("{commit} 2026-11-25")));

        // What a container's build gets: no objects, and git refuses to call it a repository.
        let context = tempfile::tempdir().unwrap();
        let folder = context.path().join(".git");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(stamp(context.path(), None, None, true), None);
        fs::write(folder.join("packed-refs"), format!("# pack-refs\n{commit}00 refs/heads/main\n")).unwrap();
        assert_eq!(stamp(context.path(), None, None, true), Some(commit.clone()));
        fs::write(folder.join("HEAD"), format!("{commit}\n")).unwrap();
        assert_eq!(stamp(context.path(), None, None, true), Some(commit));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let known = [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_795_608_000, "2026-11-25"), (-1, "1969-12-31")];
        for (seconds, wanted) in known {
            assert_eq!(day(seconds), wanted);
        }
    }
}
