//! Files that the server makes at its first start.

use super::super::key_file::key_path;
use super::super::secret_file::{load_or_create_at, secret_path};
use super::*;

#[test]
fn a_secret_is_made_once_and_kept_beside_the_database() {
    let folder = Folder::new();
    let url = format!("sqlite:///{}", folder.0.join("mesh.db").display());
    let config = Config::from_pairs(&[("DATABASE_URL", &url)]).unwrap();
    let (first, warning) = load_or_create_secret(&config).unwrap();
    assert_eq!((first.expose().len(), warning), (64, None));
    assert_eq!(load_or_create_secret(&config).unwrap(), (first.clone(), None));
    let names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["mesh.secret"], "no temporary file stays");

    let explicit = Config::from_pairs(&[("DATABASE_URL", &url), ("MESH_JWT_SECRET", LONG)]).unwrap();
    assert_eq!(load_or_create_secret(&explicit).unwrap().0.expose(), LONG);
    let memory = Config::from_pairs(&[("DATABASE_URL", "sqlite://")]).unwrap();
    assert_ne!(load_or_create_secret(&memory).unwrap().0, load_or_create_secret(&memory).unwrap().0);

    assert_eq!(secret_path(&DatabaseUrl::SqliteFile("a/mesh".into())), Some("a/mesh.secret".into()));
    assert_eq!(secret_path(&DatabaseUrl::SqliteFile("x.secret".into())), Some("x.secret.jwt".into()));
    assert_eq!(secret_path(&DatabaseUrl::Postgres(String::new())), Some("mesh.secret".into()));
}

#[test]
fn keys_are_made_once_and_kept_beside_the_database() {
    let folder = Folder::new();
    let url = format!("sqlite:///{}", folder.0.join("mesh.db").display());
    let pairs = [("DATABASE_URL", url.as_str()), ("MESH_JWT_ALGORITHM", "EdDSA")];
    let config = Config::from_pairs(&pairs).unwrap();
    let path = folder.0.join("mesh.eddsa.pem");
    let first = load_or_create_keys(&config, || Ok("a key\n".to_owned())).unwrap();
    assert_eq!((first.pem.expose(), first.made, first.warning.as_deref()), ("a key\n", true, None));
    assert_eq!(first.path.as_deref(), Some(path.as_path()));
    let again = load_or_create_keys(&config, || panic!("there is one")).unwrap();
    assert_eq!((again.pem, again.made), (first.pem, false));

    let named = folder.0.join("named.pem").display().to_string();
    let config = Config::from_pairs(&[pairs[1], ("MESH_JWT_PRIVATE_KEY_FILE", &named)]).unwrap();
    assert!(load_or_create_keys(&config, || Ok("another".to_owned())).unwrap().made);
    assert_eq!(fs::read_to_string(&named).unwrap(), "another");
    let memory = Config::from_pairs(&[pairs[1], ("DATABASE_URL", "sqlite://")]).unwrap();
    assert_eq!(load_or_create_keys(&memory, || Ok("x".to_owned())).unwrap().path, None);
    assert_eq!(key_path(&DatabaseUrl::Postgres(String::new()), JwtAlgorithm::Rs256), Some("mesh.rs256.pem".into()));

    let nowhere = [pairs[1], ("MESH_JWT_PRIVATE_KEY_FILE", "/no/such/folder/key.pem")];
    let config = Config::from_pairs(&nowhere).unwrap();
    let line = load_or_create_keys(&config, || Ok(String::new())).unwrap_err().to_string();
    assert!(line.starts_with("MESH_JWT_PRIVATE_KEY_FILE: ") && line.contains("cannot be made"), "{line}");
    let line = load_or_create_keys(&memory, || Err("no luck".to_owned())).unwrap_err().to_string();
    assert_eq!(line, "MESH_JWT_PRIVATE_KEY_FILE: no luck");
}

#[cfg(unix)]
#[test]
fn the_key_file_is_private_and_a_loose_mode_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let url = format!("sqlite:///{}", folder.0.join("mesh.db").display());
    let config = Config::from_pairs(&[("DATABASE_URL", &url), ("MESH_JWT_ALGORITHM", "ES256")]).unwrap();
    let path = load_or_create_keys(&config, || Ok("a key".to_owned())).unwrap().path.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let named = path.display().to_string();
    let mounted =
        Config::from_pairs(&[("MESH_JWT_PRIVATE_KEY_FILE", &named), ("MESH_JWT_ALGORITHM", "ES256")]).unwrap();
    let warning = |config: &Config| load_or_create_keys(config, || panic!("there is one")).unwrap().warning;
    assert!(warning(&config).unwrap().contains("mode 0640"));
    assert_eq!(warning(&mounted), None, "containers mount secrets so");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    assert!(warning(&mounted).is_some());
}

#[cfg(unix)]
#[test]
fn the_secret_file_is_private_and_a_loose_mode_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.0.join("mesh.secret");
    let (secret, _) = load_or_create_at(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (again, warning) = load_or_create_at(&path).unwrap();
    assert_eq!(again, secret);
    assert!(warning.unwrap().contains("mode 0644"));
}

#[test]
fn an_unusable_secret_file_is_an_error_and_is_kept() {
    let folder = Folder::new();
    let path = folder.0.join("mesh.secret");
    fs::write(&path, "hunter2\n").unwrap();
    let line = load_or_create_at(&path).unwrap_err().to_string();
    assert!(line.starts_with("MESH_JWT_SECRET: ") && !line.contains("hunter2"), "{line}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "hunter2\n");
    let line = load_or_create_at(&folder.0.join("no/such/folder/mesh.secret")).unwrap_err().to_string();
    assert!(line.contains("cannot be made") && !line.contains('\n'), "{line}");
}

#[test]
fn servers_that_start_at_once_share_one_secret() {
    let folder = Folder::new();
    for round in 0..20 {
        let path = folder.0.join(format!("{round}.secret"));
        let secrets: Vec<Secret> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| load_or_create_at(&path).unwrap().0)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|s| *s == secrets[0]));
    }
}
