//! A database for one test.

use std::path::PathBuf;

use tempfile::TempDir;

/// The PostgreSQL in which tests may make databases, where there is one.
pub fn postgres_url() -> Option<String> {
    std::env::var("MESH_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

/// A folder, and in it or in PostgreSQL a database, for one test. Gone when dropped.
pub struct Database {
    pub dir: TempDir,
    pub url: String,
    created: Option<(String, String)>,
}

impl Database {
    /// In the database that the environment chooses: `MESH_TEST_DATABASE=postgres`, else SQLite.
    pub fn new() -> Self {
        if std::env::var("MESH_TEST_DATABASE").is_ok_and(|kind| kind == "postgres") {
            Self::postgres(&postgres_url().expect("MESH_TEST_DATABASE=postgres needs MESH_TEST_POSTGRES_URL"))
        } else {
            Self::sqlite()
        }
    }

    pub fn sqlite() -> Self {
        let dir = TempDir::new().unwrap();
        let url = format!("sqlite:///{}", dir.path().join("mesh.db").display());
        Self { dir, url, created: None }
    }

    pub fn postgres(server: &str) -> Self {
        Self::postgres_with(server, "LOCALE 'C.UTF-8'")
    }

    /// With a locale of its own, in the words of `CREATE DATABASE`.
    pub fn postgres_with(server: &str, locale: &str) -> Self {
        let name = format!("mesh_test_{}", uuid::Uuid::new_v4().simple());
        admin(server, format!("CREATE DATABASE {name} {locale} TEMPLATE template0"));
        let (base, _) = server.rsplit_once('/').unwrap();
        Self { dir: TempDir::new().unwrap(), url: format!("{base}/{name}"), created: Some((server.to_owned(), name)) }
    }

    pub fn sqlite_file(&self) -> Option<PathBuf> {
        self.created.is_none().then(|| self.dir.path().join("mesh.db"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((server, name)) = self.created.take() {
            admin(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

/// The synchronous client must not run on a runtime's thread.
fn admin(server: &str, sql: String) {
    let server = server.to_owned();
    std::thread::spawn(move || {
        let mut client = postgres::Client::connect(&server, postgres::NoTls).unwrap();
        client.batch_execute(&sql).unwrap();
    })
    .join()
    .unwrap();
}
