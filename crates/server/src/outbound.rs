//! Calls that the server makes itself: one way to speak HTTP and TLS for all of them.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, redirect::Policy};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    WantsVerifier,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::BuilderVerifierExt as _;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

fn unusable(e: rustls::Error) -> String {
    format!("TLS cannot be used: {e}")
}

/// What every TLS connection that the server makes begins with.
///
/// # Errors
/// A sentence for the operator.
pub fn tls() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)
}

/// A client for `url`, of whose calls none takes longer than `timeout`. It follows no redirect, which would take a token
/// elsewhere, and knows no proxy of the environment. HTTP/1.1 alone.
///
/// # Errors
/// A sentence for the operator: the machine has no root certificates, and `url` needs them.
pub fn client(url: &str, timeout: Duration) -> Result<Client, String> {
    let builder = tls()?;
    let secure = url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    // A machine without root certificates still speaks `http`.
    let builder = if secure {
        builder.with_platform_verifier().map_err(unusable)?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    Client::builder()
        .tls_backend_preconfigured(builder.with_no_client_auth())
        .connect_timeout(CONNECT.min(timeout))
        .timeout(timeout)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("mesh-server/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| why(&e))
}

/// A client for the server of this very machine, whose certificate names the public host and not the address that is asked:
/// whoever holds its key is believed. Nothing secret is said to it.
///
/// # Errors
/// A sentence for the operator.
pub fn own_client(timeout: Duration) -> Result<Client, String> {
    let builder = tls()?;
    let provider = builder.crypto_provider().clone();
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Lenient { issuer: None, provider }));
    Client::builder()
        .tls_backend_preconfigured(config.with_no_client_auth())
        .timeout(timeout)
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .map_err(|e| why(&e))
}

/// Asks less than browsers do: who issued the certificate at most. That its owner speaks is always checked, since a
/// password may be bound to it (SCRAM with channel binding).
#[derive(Debug)]
pub struct Lenient {
    /// Who judges by whom the certificate was issued; nobody asks where there is none.
    pub issuer: Option<Arc<dyn ServerCertVerifier>>,
    /// What verifies signatures.
    pub provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(issuer) = &self.issuer else { return Ok(ServerCertVerified::assertion()) };
        match issuer.verify_server_cert(certificate, between, name, ocsp, now) {
            // The name is looked at last: all the rest was right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// An error with all that lies behind it, without the URL, which may hold what must not be told.
pub fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut at = Some(error);
    while let Some(e) = at {
        // reqwest's own words hold the URL; what lies behind says more.
        if !e.is::<reqwest::Error>() {
            let words = e.to_string();
            if !parts.iter().any(|part| part.contains(&words)) {
                parts.push(words);
            }
        } else if let Some(e) = e.downcast_ref::<reqwest::Error>().filter(|e| e.is_timeout()) {
            let _ = e;
            parts.push("no answer in time".to_owned());
        }
        at = e.source();
    }
    if parts.is_empty() { "the call failed".to_owned() } else { parts.join(": ") }
}
