//! TLS in the binary: one listener for HTTP and WebSocket, with the certificate of `MESH_TLS_CERT`, read again when it
//! changes.

use std::{
    io::{self, IoSlice},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::Notify,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    config::{Config, ConfigError},
    tasks::Tasks,
};

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// More than any chain of certificates needs.
const MAX_FILE: u64 = 1024 * 1024;
/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 38\r\n\
Connection: close\r\n\r\nthis port speaks TLS: say https or wss";

/// A client's connection, in the clear or not. What is not costs the other a comparison.
pub enum Stream {
    /// In the clear.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! of_either {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain(io) => {
                let $io = Pin::new(io);
                $call
            }
            Stream::Tls(io) => {
                let $io = Pin::new(&mut **io);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        of_either!(self, io => io.poll_read(cx, into))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        of_either!(self, io => io.poll_write(cx, bytes))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_either!(self, io => io.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_either!(self, io => io.poll_shutdown(cx))
    }
}

impl Stream {
    /// Says the last word of TLS, as far as the socket takes it now: without it the other side must believe that it was cut
    /// off.
    pub async fn farewell(&mut self) {
        if let Self::Tls(io) = self {
            std::future::poll_fn(|cx| {
                let _ = Pin::new(&mut **io).poll_shutdown(cx);
                Poll::Ready(())
            })
            .await;
        }
    }
}

/// The certificate in force.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(|e| e.into_inner()).clone())
    }
}

/// The two files.
#[derive(Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// What the files hold.
struct Pair {
    key: CertifiedKey,
    digest: [u8; 32],
}

/// What makes TLS connections of plain ones.
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    files: Files,
    first: [u8; 32],
    asked: Notify,
}

fn read(path: &PathBuf, name: &'static str) -> Result<Vec<u8>, ConfigError> {
    use std::io::Read as _;
    let shown = path.display().to_string();
    let refuse = |why: &dyn std::fmt::Display| {
        ConfigError::value(name, &shown, &format!("{why}; expected a PEM file that the server may read"))
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| refuse(&e))?;
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|e| refuse(&e))?;
    Ok(bytes)
}

impl Files {
    fn load(&self, provider: &CryptoProvider) -> Result<Pair, ConfigError> {
        let about = |name, path: &PathBuf, why: String| ConfigError::value(name, &path.display().to_string(), &why);
        let (certs, keys) = (read(&self.cert, "MESH_TLS_CERT")?, read(&self.key, "MESH_TLS_KEY")?);
        let digest = Sha256::new().chain_update(Sha256::digest(&certs)).chain_update(&keys).finalize().into();
        let chain = CertificateDer::pem_slice_iter(&certs).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
            let expected = "expected a PEM file with the certificate, and behind it those that lead to its root";
            about("MESH_TLS_CERT", &self.cert, expected.to_owned())
        })?;
        let key = PrivateKeyDer::from_pem_slice(&keys).map_err(|_| {
            let expected = "expected a PEM file with the certificate's private key, without a password";
            about("MESH_TLS_KEY", &self.key, expected.to_owned())
        })?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|e| {
            let expected = "expected the private key of the certificate in MESH_TLS_CERT, RSA, ECDSA or Ed25519";
            about("MESH_TLS_KEY", &self.key, format!("{e}; {expected}"))
        })?;
        Ok(Pair { key, digest })
    }
}

impl Tls {
    /// Reads certificate and key; none where TLS is not asked for.
    ///
    /// # Errors
    /// A line that names the variable whose file cannot serve.
    pub fn load(config: &Config) -> Result<Option<Arc<Self>>, ConfigError> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        let files = Files { cert: cert.clone(), key: key.clone() };
        let provider = Arc::new(ring::default_provider());
        let pair = files.load(&provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(pair.key))));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| ConfigError::about("MESH_TLS_CERT", &format!("TLS cannot be used: {e}")))?;
        let mut server = builder.with_no_client_auth().with_cert_resolver(current.clone());
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(server));
        Ok(Some(Arc::new(Self { acceptor, current, files, first: pair.digest, asked: Notify::new() })))
    }

    /// Shakes hands; none where the client cannot, or takes too long.
    pub async fn accept(&self, mut io: TcpStream) -> Option<Stream> {
        let shake = async {
            let mut first = [0];
            // Whoever speaks HTTP here is told so in a language that they understand.
            if io.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
                if first[0].is_ascii_uppercase() {
                    io.write_all(PLAIN_ANSWER).await?;
                    io.shutdown().await?;
                }
                return Err(io::Error::other("no TLS was spoken"));
            }
            self.acceptor.accept(io).await
        };
        match tokio::time::timeout(HANDSHAKE, shake).await {
            Ok(Ok(io)) => Some(Stream::Tls(Box::new(io))),
            Ok(Err(e)) => {
                tracing::debug!(error = &e as &dyn std::error::Error, "a TLS handshake failed");
                None
            }
            Err(_) => None,
        }
    }

    /// Looks at the files now.
    pub fn look_again(&self) {
        self.asked.notify_one();
    }

    /// Takes a new pair into use when one is there; where it cannot serve, the old one stays.
    pub async fn watch(self: Arc<Self>, tasks: Tasks) {
        let provider = Arc::new(ring::default_provider());
        let mut seen = Ok(self.first);
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                () = self.asked.notified() => true,
                () = tasks.hard_stop() => return,
            };
            let (files, with) = (self.files.clone(), provider.clone());
            let Some(found) = tasks.blocking(move || files.load(&with)).await else { continue };
            let now = found.as_ref().map(|pair| pair.digest).map_err(ToString::to_string);
            if now == seen {
                if asked {
                    tracing::info!("the TLS certificate is the same as before");
                }
                continue;
            }
            match found {
                Ok(pair) => {
                    *self.current.0.write().unwrap_or_else(|e| e.into_inner()) = Arc::new(pair.key);
                    tracing::info!(file = %self.files.cert.display(), "a new TLS certificate is in use");
                }
                Err(e) => tracing::warn!("the old TLS certificate stays in use: {e}"),
            }
            seen = now;
        }
    }
}
