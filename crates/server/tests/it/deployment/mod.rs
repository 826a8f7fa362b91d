//! How the server is installed and run: its shell, TLS, systemd, reverse proxies, packages.

mod packages;
mod proxies;
mod shell;
mod systemd;
mod tls;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::kit::{http, skipped};

/// A certificate for localhost and 127.0.0.1, made by openssl, with its key, in this folder.
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    pub fn make(dir: &Path, name: &str) -> Self {
        let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        command.args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        command.arg("-keyout").arg(&key).arg("-out").arg(&cert).stdin(Stdio::null());
        let made = command.output().expect("openssl is needed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { cert, key }
    }

    /// A client's TLS that believes in this certificate and no other.
    pub fn believed(&self) -> ClientConfig {
        believing(&self.cert)
    }
}

/// A client's TLS that believes in what this file holds and in nothing else.
pub fn believing(file: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// An HTTP client with such a TLS.
pub fn https(tls: ClientConfig) -> reqwest::ClientBuilder {
    http().tls_backend_preconfigured(tls)
}

/// A file of the repository.
pub fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// A program of the virtual environment that `./test` makes.
fn python(program: &str) -> Option<PathBuf> {
    let found = std::env::var_os("MESH_TEST_PYTHON").filter(|value| !value.is_empty()).map(PathBuf::from);
    if found.is_none() {
        skipped("what others say of our files for them", "MESH_TEST_PYTHON");
    }
    found.map(|python| python.with_file_name(program))
}
