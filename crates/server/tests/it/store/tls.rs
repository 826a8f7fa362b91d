//! TLS to PostgreSQL.

use std::sync::Arc;

use mesh_server::{config::Config, store::Db};

use crate::kit::{Database, SecurePostgres, postgres_url};

/// Connects and asks something; what is told where that fails.
async fn connect(url: &str) -> Result<(), String> {
    let url = Config::from_pairs(&[("DATABASE_URL", url)]).unwrap().database_url;
    let db = tokio::task::spawn_blocking(move || Db::open(&url, Arc::new(|_| {}))).await.unwrap()?;
    db.read(|_| Ok(())).await.map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_judged_as_sslmode_says() {
    let Some(postgres) = tokio::task::spawn_blocking(SecurePostgres::start).await.unwrap() else { return };
    let (ca, other) = (postgres.file("ca.pem"), postgres.file("other.pem"));
    // This one takes no connection in the clear: each that stands is encrypted.
    let told = connect(&postgres.url("127.0.0.1", "sslmode=disable")).await.unwrap_err();
    assert!(told.contains("no encryption"), "{told}");
    for (host, parameters) in [
        ("127.0.0.1", String::new()),
        ("127.0.0.1", "sslmode=prefer".to_owned()),
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={ca}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ca}")),
        ("localhost", format!("sslmode=verify-full&sslrootcert={ca}")),
    ] {
        assert_eq!(connect(&postgres.url(host, &parameters)).await, Ok(()), "{host} {parameters}");
    }
    for (host, parameters, why) in [
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ca}"), "certificate"),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={other}"), "certificate"),
        ("localhost", format!("sslmode=require&sslrootcert={other}"), "certificate"),
        ("localhost", format!("sslmode=verify-full&sslrootcert={other}"), "certificate"),
        // Nobody's authority, as far as the system knows; where it knows none at all, it says so.
        ("localhost", "sslmode=verify-full".to_owned(), "ertificate"),
    ] {
        let told = connect(&postgres.url(host, &parameters)).await.unwrap_err();
        assert!(told.contains(why), "{parameters}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tls_is_refused_where_it_is_required() {
    let Some(server) = postgres_url() else { return };
    let database = Database::postgres(&server);
    assert_eq!(connect(&format!("{}?sslmode=prefer", database.url)).await, Ok(()));
    let told = connect(&format!("{}?sslmode=require", database.url)).await.unwrap_err();
    assert!(told.contains("does not support TLS"), "{told}");
}
