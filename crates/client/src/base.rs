//! The server's address, and the one TLS configuration.

use std::sync::Arc;

use reqwest::Url;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::Error;

/// A server's address: `http` or `https`, with a path where a proxy puts the server under one.
#[derive(Debug, Clone)]
pub(crate) struct Base(Url);

impl Base {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::Address(format!("{text:?}: {why}"));
        let mut url = Url::parse(text.trim()).map_err(|e| bad(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("expected http://… or https://…"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("credentials don't belong into the address"));
        }
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }

    /// The URL of a path without its leading slash.
    pub(crate) fn join(&self, path: &str) -> Result<Url, Error> {
        self.0.join(path).map_err(|e| Error::Address(format!("{path:?}: {e}")))
    }

    /// What a `Link` header of the answer from `from` points at: on this server only, since a token goes there.
    pub(crate) fn follow(&self, from: &Url, target: &str) -> Result<Url, Error> {
        let url = from.join(target).map_err(|e| Error::Protocol(format!("Link {target:?}: {e}")))?;
        if url.origin() == self.0.origin() {
            Ok(url)
        } else {
            Err(Error::Protocol(format!("Link {target:?} leads to another server")))
        }
    }

    /// The WebSocket's URL.
    pub(crate) fn socket(&self) -> Result<Url, Error> {
        let mut url = self.join("ws")?;
        let scheme = if self.is_tls() { "wss" } else { "ws" };
        url.set_scheme(scheme).map_err(|()| Error::Address(self.0.to_string()))?;
        Ok(url)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// TLS as both libraries use it: ring, the system's roots. Without TLS an empty one, so that a machine without
    /// root certificates still speaks `http`.
    pub(crate) fn tls(&self) -> Result<ClientConfig, Error> {
        let tls = |e: rustls::Error| Error::Tls(e.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(tls)?;
        let builder = if self.is_tls() {
            builder.with_platform_verifier().map_err(tls)?
        } else {
            builder.with_root_certificates(RootCertStore::empty())
        };
        Ok(builder.with_no_client_auth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let base = |text: &str| Base::parse(text).unwrap();
        assert_eq!(base("http://localhost:8000").socket().unwrap().as_str(), "ws://localhost:8000/ws");
        assert_eq!(base("https://h/mesh?x#y").socket().unwrap().as_str(), "wss://h/mesh/ws");
        assert_eq!(base("https://h/mesh/").join("api/info").unwrap().as_str(), "https://h/mesh/api/info");
        for bad in ["", "localhost:8000", "ftp://h", "http://ana:secret@h"] {
            assert!(matches!(Base::parse(bad), Err(Error::Address(_))), "{bad}");
        }
    }

    #[test]
    fn links_stay_on_the_server() {
        let base = Base::parse("http://h:1").unwrap();
        let from = base.join("api/rooms").unwrap();
        assert_eq!(base.follow(&from, "?cursor=a").unwrap().as_str(), "http://h:1/api/rooms?cursor=a");
        assert_eq!(base.follow(&from, "/api/rooms?cursor=a").unwrap().as_str(), "http://h:1/api/rooms?cursor=a");
        assert!(base.follow(&from, "http://h:2/api/rooms").is_err());
    }

    #[test]
    fn tls_is_there_for_both_schemes() {
        assert!(Base::parse("http://h").unwrap().tls().is_ok());
        // Where a machine has no roots this is an error that says so, never a panic.
        let _ = Base::parse("https://h").unwrap().tls();
    }
}
