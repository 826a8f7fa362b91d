//! What the server's symmetric secret does besides signing: derive other secrets, and seal what the database must not
//! show.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce, aead::Aead as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::Keys;
use crate::{
    config::Secret,
    error::{Error, Result},
};

/// What a root is made for: a change here changes everything that is derived.
const SALT: &[u8] = b"mesh-server 1";
/// The first byte of what is sealed: how it is sealed.
const VERSION: u8 = 1;
/// XChaCha20-Poly1305's nonce: long enough to be drawn at random for any number of texts.
const NONCE: usize = 24;

/// A key that everything else is derived from (RFC 5869); one for each of the server's secrets, the first of them in use.
pub(super) struct Root([u8; 32]);

impl Root {
    pub(super) fn all(secret: &Secret) -> Vec<Self> {
        secret.parts().into_iter().map(|part| Self::extract(SALT, part.as_bytes())).collect()
    }

    /// HKDF-Extract (RFC 5869, section 2.2) with a salt of at most 64 bytes.
    fn extract(salt: &[u8], secret: &[u8]) -> Self {
        let mut mac = hmac(salt);
        mac.update(secret);
        Self(mac.finalize().into_bytes().into())
    }

    /// The first 32 bytes of HKDF-Expand (RFC 5869, section 2.3).
    fn expand(&self, info: &[&[u8]]) -> [u8; 32] {
        let mut mac = hmac(&self.0);
        info.iter().for_each(|part| mac.update(part));
        mac.update(&[1]);
        mac.finalize().into_bytes().into()
    }

    /// A public name for the secret, which tells nothing of it.
    pub(super) fn key_id(&self) -> String {
        let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = self.expand(&[b"kid"]);
        BASE64_URL_SAFE_NO_PAD.encode::<[u8; 9]>(id)
    }

    fn derivation(&self, purpose: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = hmac(&self.expand(&[b"derive\0", purpose.as_bytes()]));
        for part in parts {
            // Their lengths tell ["ab", "c"] from ["a", "bc"].
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }

    fn cipher(&self, purpose: &str) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.expand(&[b"seal\0", purpose.as_bytes()]).into())
    }
}

/// HMAC-SHA256 with a key of at most 64 bytes, its block: it is filled up with zeros (RFC 2104, section 2).
fn hmac(key: &[u8]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&block.into())
}

impl Keys {
    /// Derives 32 bytes from the server's secret: always the same for the same purpose and parts, and known to nobody who
    /// does not know the secret. After a rotation they are others; see [`Self::is_derived`].
    pub fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        // There is always a first one.
        self.roots.first().map_or([0; 32], |root| root.derivation(purpose, parts).finalize().into_bytes().into())
    }

    /// Whether these bytes were derived so, from the secret in use or one before it. The time it takes tells nothing.
    pub fn is_derived(&self, purpose: &str, parts: &[&[u8]], bytes: &[u8]) -> bool {
        self.roots.iter().any(|root| root.derivation(purpose, parts).verify_slice(bytes).is_ok())
    }

    /// Seals what is stored and must not be read there (XChaCha20-Poly1305 with a key of its own for each purpose). A
    /// purpose that names the owner too (`"totp:<user id>"`) keeps whoever can write to the database from moving it to
    /// somebody else.
    ///
    /// # Errors
    /// `internal` where the text is longer than the cipher takes: 256 GiB.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<String> {
        let root = self.roots.first().ok_or_else(|| Error::internal("the server has no secret"))?;
        let nonce = self.ids.random::<NONCE>();
        let sealed = root.cipher(purpose).encrypt(&XNonce::from(nonce), plain);
        let sealed = sealed.map_err(|_| Error::internal("too long to be sealed"))?;
        let mut out = Vec::with_capacity(1 + NONCE + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(BASE64_URL_SAFE_NO_PAD.encode(out))
    }

    /// Opens what was sealed for the same purpose, with the secret in use or one before it; `None` for anything else.
    pub fn open(&self, purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        Self::open_with(&self.roots, purpose, sealed)
    }

    /// What was sealed with a secret before the one in use, sealed with the one in use; `None` where that is not so, or
    /// it can't be opened.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_anew(&self, purpose: &str, sealed: &str) -> Result<Option<String>> {
        let Some((first, older)) = self.roots.split_first() else { return Ok(None) };
        if older.is_empty() || Self::open_with(std::slice::from_ref(first), purpose, sealed).is_some() {
            return Ok(None);
        }
        Self::open_with(older, purpose, sealed).map(|plain| self.seal(purpose, &plain)).transpose()
    }

    /// Whether there are secrets from before the one in use.
    pub fn has_older_secrets(&self) -> bool {
        self.roots.len() > 1
    }

    fn open_with(roots: &[Root], purpose: &str, sealed: &str) -> Option<Vec<u8>> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (&VERSION, rest) = bytes.split_first()? else { return None };
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let nonce = XNonce::from(*nonce);
        roots.iter().find_map(|root| root.cipher(purpose).decrypt(&nonce, rest).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_hkdfs() {
        // RFC 5869, appendix A.1, of whose 42 bytes these are the first 32.
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let root = Root::extract(&salt, &[0x0b; 22]);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&root.0), "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
        let (one, two) = info.split_at(4);
        assert_eq!(hex(&root.expand(&[one, two])), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
    }
}
