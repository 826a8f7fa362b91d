//! A PostgreSQL of a test's own that speaks TLS alone, with a certificate of a self-made authority.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use super::{postgres_url, says, skipped};

pub struct SecurePostgres {
    child: Child,
    dir: TempDir,
    port: u16,
}

/// The newest folder that holds the server's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions.flatten().map(|version| version.path().join("bin")).collect();
    found.sort();
    found.into_iter().rfind(|bin| bin.join("initdb").is_file())
}

fn run(mut command: Command) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn openssl(dir: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(arguments.split(' '));
    run(command);
}

/// The program as the user who may run a database: PostgreSQL refuses root.
fn as_postgres(dir: &Path, program: &Path) -> Command {
    let root = fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("Uid:\t0\t"));
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        let mut owner = Command::new("chown");
        owner.args(["-R", "postgres"]).arg(dir);
        run(owner);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(dir);
    command
}

impl SecurePostgres {
    /// Starts it; none where this machine has none to start.
    pub fn start() -> Option<Self> {
        let Some(bin) = postgres_url().and_then(|_| programs()) else {
            skipped("TLS to PostgreSQL", "MESH_TEST_POSTGRES_URL, with its programs in /usr/lib/postgresql,");
            return None;
        };
        let dir = TempDir::new().unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256";
        for authority in ["ca", "other"] {
            let name = format!("-keyout {authority}.key -out {authority}.pem -subj /CN={authority} -days 2");
            openssl(dir.path(), &format!("req -x509 {key} {name}"));
        }
        openssl(dir.path(), &format!("req {key} -keyout server.key -out server.csr -subj /CN=server"));
        fs::write(dir.path().join("names"), "subjectAltName=DNS:localhost").unwrap();
        let ca = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
        openssl(dir.path(), &format!("x509 -req -in server.csr {ca} -out server.pem"));

        let mut command = as_postgres(dir.path(), &bin.join("initdb"));
        command.args(["-D", "data", "-U", "mesh", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]);
        run(command);
        let place = |name: &str| dir.path().join(name).display().to_string();
        fs::write(place("data/pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\nssl = on\n\
             ssl_cert_file = '{}'\nssl_key_file = '{}'\n",
            place("server.pem"),
            place("server.key")
        );
        fs::write(place("data/postgresql.auto.conf"), settings).unwrap();
        let mut command = as_postgres(dir.path(), &bin.join("postgres"));
        command.args(["-D", "data"]).env("LC_ALL", "C");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = child.stderr.take().unwrap();
        let postgres = Self { child, dir, port };
        let begun = says(log, "ready to accept connections");
        assert!(begun.is_ok(), "PostgreSQL does not start: {begun:?}");
        Some(postgres)
    }

    /// Its address, by this name of the host; `parameters` may name files of [`Self::file`].
    pub fn url(&self, host: &str, parameters: &str) -> String {
        format!("postgresql://mesh@{host}:{}/postgres?{parameters}", self.port)
    }

    /// `ca.pem`, which issued its certificate, or `other.pem`, which did not.
    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

impl Drop for SecurePostgres {
    fn drop(&mut self) {
        // At once, but with its own processes.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
