//! Backups that the server makes by itself.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use mesh_server::service::backups;
use serde_json::json;

use super::{faults::Disk, scrape, sum};
use crate::kit::{Binary, Database, Server, output, skipped, until};

const HOUR: i64 = 3_600;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A server that makes backups, once it has tried its first.
async fn house(folder: &Path, every: &str) -> Server {
    let settings = [
        ("MESH_BACKUP_DIR", folder.to_str().unwrap()),
        ("MESH_BACKUP_EVERY_HOURS", every),
        ("MESH_BACKUP_KEEP", "2"),
        ("MESH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "43200"),
    ];
    Server::start_on(Database::sqlite(), &settings).await
}

async fn tried(server: &Server) -> (f64, f64) {
    let figures = scrape(server).await;
    let of = |outcome| sum(&figures, "mesh_backups_total", &[("outcome", outcome)]);
    (of("ok"), of("failed"))
}

async fn until_tried(server: &Server, wanted: (f64, f64)) {
    until("an attempt", async || tried(server).await == wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_made_verified_and_rotated() {
    let dir = tempfile::TempDir::new().unwrap();
    let folder = dir.path().join("deep/backups");
    let server = house(&folder, "6").await;
    // The first is made at once.
    until_tried(&server, (1.0, 0.0)).await;
    let first = names(&folder);
    assert_eq!(first.len(), 1, "{first:?}");
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.clone()), mode(folder.join(&first[0]))), (0o700, 0o600));

    // What is not ours stays; what an earlier process left in the middle goes.
    for name in ["notes.txt", "mesh.db", "mesh-20260101T000000Z.db.gz"] {
        std::fs::write(folder.join(name), "mine").unwrap();
    }
    for left in ["mesh-20260101T000000Z.db.new", "mesh-20260101T000000Z.db.new.77.part"] {
        std::fs::write(folder.join(left), "torn").unwrap();
    }
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    let path = format!("/api/rooms/{room}/messages");
    for n in 0..3 {
        let left = backups::due_in(&server.app, &folder).await.unwrap();
        assert!(left.as_secs() > 5 * 3_600, "{left:?}");
        server.advance(6 * HOUR);
        assert!(backups::due_in(&server.app, &folder).await.unwrap().is_zero());
        assert_eq!(server.post(&path, &ana, json!({"content": format!("m{n}")})).await.0, 201);
        let made = backups::make(&server.app, &folder).await.unwrap();
        assert_eq!((made.contents.messages, made.removed), (n + 1, usize::from(n > 0)));
    }
    let there = names(&folder);
    let ours: Vec<_> = there.iter().filter(|name| name.starts_with("mesh-") && name.ends_with("Z.db")).collect();
    assert_eq!((ours.len(), there.len()), (2, 5), "{there:?}");
    assert!(!there.contains(&first[0]), "the oldest went");
    let figures = scrape(&server).await;
    assert_eq!(sum(&figures, "mesh_backup_interval_seconds", &[]), 21_600.0);
    let size = std::fs::metadata(folder.join(ours[1])).unwrap().len();
    assert_eq!(sum(&figures, "mesh_backup_last_size_bytes", &[]), size as f64);
    assert!(sum(&figures, "mesh_backup_last_duration_seconds", &[]) > 0.0);
    let at = sum(&figures, "mesh_backup_last_timestamp_seconds", &[]);
    assert!((at - server.app.clock.now_ms() as f64 / 1e3).abs() < 60.0, "{at}");

    // Each is whole, and a new start makes none before its time.
    for name in &ours {
        let mut command = Binary::command(dir.path());
        command.args(["backup", "verify"]).arg(folder.join(name));
        let (status, out, errors) = output(command);
        assert!(status == Some(0) && out.contains("whole"), "{out}{errors}");
    }
    // One from the future is a slip of the clock: it keeps none away.
    std::fs::copy(folder.join(ours[1]), folder.join("mesh-29990101T000000Z.db")).unwrap();
    server.advance(6 * HOUR);
    assert!(backups::due_in(&server.app, &folder).await.unwrap().is_zero());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_start_makes_none_before_its_time() {
    let dir = tempfile::TempDir::new().unwrap();
    let server = house(dir.path(), "1").await;
    until_tried(&server, (1.0, 0.0)).await;
    let database = server.stop().await;
    let before = names(dir.path());
    let settings = [("MESH_BACKUP_DIR", dir.path().to_str().unwrap()), ("MESH_BACKUP_EVERY_HOURS", "1")];
    let server = Server::start_on(database, &settings).await;
    let last = async || sum(&scrape(&server).await, "mesh_backup_last_timestamp_seconds", &[]);
    until("the look at the folder", async || last().await > 0.0).await;
    assert_eq!((tried(&server).await, names(dir.path())), ((0.0, 0.0), before));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_and_disturbs_nobody() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join("file"), "no folder").unwrap();
    let server = house(&dir.path().join("file/backups"), "1").await;
    until_tried(&server, (0.0, 1.0)).await;
    let failed = backups::make(&server.app, &dir.path().join("file/backups")).await.unwrap_err();
    assert!(failed.contains("file/backups"), "{failed}");
    assert_eq!(tried(&server).await, (0.0, 2.0));
    let ana = server.register("ana").await;
    server.room(&ana, "Cuisine").await;
    assert_eq!(server.ask("GET", "/ready", None, None).await.0, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_older_ones() {
    let dir = tempfile::TempDir::new().unwrap();
    let Some(disk) = Disk::mount(dir.path().join("disk"), "2m") else {
        return skipped("backups to a full disk", "the right to mount");
    };
    let folder = disk.path().join("backups");
    let server = house(&folder, "1").await;
    until_tried(&server, (1.0, 0.0)).await;
    let before = names(&folder);
    let ballast = disk.fill();
    server.advance(HOUR);
    let failed = backups::make(&server.app, &folder).await.unwrap_err();
    assert_eq!((tried(&server).await, names(&folder)), ((1.0, 1.0), before), "{failed}");
    // The house itself has room: nobody notices.
    server.register("ana").await;
    assert_eq!(server.ask("GET", "/ready", None, None).await.0, 200);
    std::fs::remove_file(ballast).unwrap();
    backups::make(&server.app, &folder).await.unwrap();
    assert_eq!(names(&folder).len(), 2);
    server.stop().await;
}

#[test]
fn what_cannot_be_copied_by_itself_is_refused_at_the_start() {
    let dir = tempfile::TempDir::new().unwrap();
    for url in ["sqlite://", "postgresql://mesh:hunter2@127.0.0.1:1/mesh"] {
        let mut command = Binary::command(dir.path());
        command.envs([("DATABASE_URL", url), ("MESH_BACKUP_DIR", "backups"), ("MESH_PORT", "0")]);
        let (status, _, errors) = output(command);
        assert_eq!((status, errors.lines().count()), (Some(2), 1), "{errors}");
        assert!(
            errors.contains("MESH_BACKUP_DIR") && errors.contains("pg_dump") && !errors.contains("hunter2"),
            "{errors}"
        );
    }
}
