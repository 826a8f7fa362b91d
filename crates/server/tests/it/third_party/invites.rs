//! A real browser at the pages behind the links of invites.

use std::process::{Command, Stdio};

use super::{installed, script};
use crate::kit::{Binary, Database};

/// With nothing but a link: an account, and a place in a room; with a second factor, in French, used up, without scripts.
#[test]
fn a_link_alone_leads_to_an_account_and_into_a_room() {
    let (Some(chromium), Some(_)) = (installed("MESH_TEST_CHROMIUM"), installed("MESH_TEST_NODE_MODULES")) else {
        return;
    };
    let databases = [Database::new(), Database::new()];
    let closed = Binary::start(&databases[0], &[("MESH_REGISTRATION", "invite")]);
    let open = Binary::start(&databases[1], &[]);
    let mut command = Command::new("node");
    command.arg(script("node/invites.mjs")).args([&closed.base, &open.base]).env("MESH_TEST_CHROMIUM", chromium);
    let ran = command.stdin(Stdio::null()).output().unwrap();
    let (said, complaints) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!((ran.status.success(), &*said), (true, "invited\n"), "{complaints}");
    for server in [closed, open] {
        let (status, log) = server.stop();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(!log.contains("horse"), "{log}");
    }
}
