//! TLS to PostgreSQL, as libpq's `sslmode` and `sslrootcert` say
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>).

use std::sync::Arc;

use postgres::{Config, config::SslMode};
use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::outbound::{self, Lenient};

/// What must be right of the database's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Nothing: who only listens reads nothing, who stands between reads all.
    Nothing,
    /// An authority that is trusted issued it, for whomever.
    Issuer,
    /// And it is for the host in the URL.
    IssuerAndName,
}

/// Where the authorities stand that are trusted.
#[derive(Debug, PartialEq, Eq)]
enum Roots {
    System,
    File(String),
}

/// How to connect to the database of a URL.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn read(url: &str) -> Result<(Config, MakeRustlsConnect), String> {
    let (config, check, roots) = parse(url)?;
    Ok((config, MakeRustlsConnect::new(client(check, &roots)?)))
}

fn parse(url: &str) -> Result<(Config, Check, Roots), String> {
    let (place, query) = match url.split_once('?') {
        // Not where the parameters begin: a password that was not escaped.
        Some((_, query)) if query.contains('@') => (url, ""),
        Some((place, query)) => (place, query),
        None => (url, ""),
    };
    let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            // A `+` is one: this is no form.
            Some(("sslrootcert", value)) => {
                let text = format!("v={}", value.replace('+', "%2B"));
                roots = form_urlencoded::parse(text.as_bytes()).next().map(|(_, value)| value.into_owned());
            }
            _ => rest.push(part),
        }
    }
    let place = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
    let mut config: Config = place.parse().map_err(|e: postgres::Error| {
        // Which parameter it is, never its value.
        let cause = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        format!("DATABASE_URL cannot be read: {e}{cause}")
    })?;
    let roots = roots.filter(|path| !path.is_empty()).map(|path| match path.as_str() {
        "system" => Roots::System,
        _ => Roots::File(path),
    });
    let (mode, check) = match (mode.unwrap_or("prefer"), &roots) {
        ("disable", _) => (SslMode::Disable, Check::Nothing),
        ("prefer", None) => (SslMode::Prefer, Check::Nothing),
        ("require", None) => (SslMode::Require, Check::Nothing),
        // As libpq: who names authorities wants them asked.
        ("prefer", Some(_)) => (SslMode::Prefer, Check::Issuer),
        ("require" | "verify-ca", Some(Roots::File(_))) | ("verify-ca", None) => (SslMode::Require, Check::Issuer),
        // Anybody gets a certificate of a public authority: the name must be right.
        ("require" | "verify-ca", Some(Roots::System)) | ("verify-full", _) => (SslMode::Require, Check::IssuerAndName),
        (other, _) => {
            return Err(format!(
                "DATABASE_URL cannot be used: sslmode={other}; expected disable, prefer, require, verify-ca or verify-full"
            ));
        }
    };
    config.ssl_mode(mode);
    Ok((config, check, roots.unwrap_or(Roots::System)))
}

fn client(check: Check, roots: &Roots) -> Result<ClientConfig, String> {
    let sentence = |e: &dyn std::fmt::Display| format!("DATABASE_URL: TLS cannot be used: {e}");
    let builder = outbound::tls()?;
    let provider = builder.crypto_provider().clone();
    let issuer: Option<Arc<dyn ServerCertVerifier>> = match (check, roots) {
        (Check::Nothing, _) => None,
        (_, Roots::System) => Some(Arc::new(Verifier::new(provider.clone()).map_err(|e| sentence(&e))?)),
        (_, Roots::File(path)) => {
            let unreadable =
                |e: &dyn std::fmt::Display| format!("DATABASE_URL: sslrootcert={path} cannot be read: {e}");
            let mut store = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))? {
                store.add(certificate.map_err(|e| unreadable(&e))?).map_err(|e| unreadable(&e))?;
            }
            if store.is_empty() {
                return Err(unreadable(&"it holds no certificate in PEM form"));
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
            Some(verifier.map_err(|e| sentence(&e))?)
        }
    };
    let verifier: Arc<dyn ServerCertVerifier> = match issuer {
        Some(issuer) if check == Check::IssuerAndName => issuer,
        issuer => Arc::new(Lenient { issuer, provider }),
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_means_what_libpq_says() {
        let file = || Roots::File("/etc/ca+1.pem".to_owned());
        let cases = [
            ("", SslMode::Prefer, Check::Nothing, Roots::System),
            ("?sslmode=disable", SslMode::Disable, Check::Nothing, Roots::System),
            ("?sslmode=prefer", SslMode::Prefer, Check::Nothing, Roots::System),
            ("?sslmode=require", SslMode::Require, Check::Nothing, Roots::System),
            ("?sslmode=require&sslrootcert=/etc/ca%2B1.pem", SslMode::Require, Check::Issuer, file()),
            ("?sslrootcert=/etc/ca+1.pem&sslmode=verify-ca", SslMode::Require, Check::Issuer, file()),
            ("?sslmode=verify-ca&sslrootcert=system", SslMode::Require, Check::IssuerAndName, Roots::System),
            ("?sslmode=verify-full", SslMode::Require, Check::IssuerAndName, Roots::System),
            ("?sslmode=verify-full&sslrootcert=%2Fetc/ca+1.pem", SslMode::Require, Check::IssuerAndName, file()),
        ];
        for (query, mode, check, roots) in cases {
            let (config, wanted, trusted) = parse(&format!("postgresql://u:p@h:5433/d{query}")).unwrap();
            assert_eq!((config.get_ssl_mode(), wanted, trusted), (mode, check, roots), "{query}");
            assert_eq!(
                (config.get_user(), config.get_dbname(), config.get_ports()),
                (Some("u"), Some("d"), &[5433][..])
            );
        }
        let (config, ..) = parse("postgresql://h/d?connect_timeout=3&sslmode=disable&application_name=x").unwrap();
        assert_eq!(config.get_application_name(), Some("x"));
        for (query, words) in [("sslmode=allow", "verify-full"), ("sslcert=a.pem", "sslcert"), ("sslmode=", "prefer")] {
            let told = parse(&format!("postgresql://u:hunter2@h/d?{query}")).err().unwrap();
            assert!(told.contains(words) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_file_of_authorities_must_hold_some() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        for path in [empty, dir.path().join("none.pem")] {
            let url = format!("postgresql://h/d?sslmode=verify-full&sslrootcert={}", path.display());
            let told = read(&url).err().unwrap();
            assert!(told.contains("sslrootcert=") && told.contains("cannot be read"), "{told}");
        }
    }
}
