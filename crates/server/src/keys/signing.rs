//! One signing key: read, made, and shown to the world.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::pkcs8::KeypairBytes;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use rsa::{
    RsaPrivateKey,
    pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _},
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding, PrivateKeyInfo},
    rand_core::{OsRng, RngCore as _},
    traits::PublicKeyParts as _,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::pem::Block;
use crate::config::JwtAlgorithm;

/// The RSA keys that may sign, in bits: shorter ones are weak (RFC 7518, section 3.3), longer ones verify nowhere.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// The label of a private key of any kind (RFC 7468, section 10).
const PRIVATE_KEY: &str = "PRIVATE KEY";

/// A key that signs and verifies.
pub(super) struct SigningKey {
    /// Its name in a token's header.
    pub(super) id: String,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    /// What the world may know of it (RFC 7517); nothing of a secret.
    pub(super) public: Option<Value>,
}

/// The name of the algorithm where tokens are signed.
pub(super) fn algorithm(of: JwtAlgorithm) -> Algorithm {
    match of {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
    }
}

/// What a key is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Material {
    Ed25519,
    P256,
    Rsa,
    Other,
}

impl Material {
    fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "an Ed25519 key",
            Self::P256 => "an elliptic curve key",
            Self::Rsa => "an RSA key",
            Self::Other => "a key of another kind",
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::P256 => "a P-256 key",
            other => other.name(),
        }
    }

    /// What a PKCS#8 key says it is; `None` for what is no whole one.
    fn of_pkcs8(der: &[u8]) -> Option<Self> {
        let info = PrivateKeyInfo::try_from(der).ok()?;
        Some(match info.algorithm.oid.to_string().as_str() {
            "1.3.101.112" => Self::Ed25519,
            "1.2.840.10045.2.1" => Self::P256,
            "1.2.840.113549.1.1.1" => Self::Rsa,
            _ => Self::Other,
        })
    }
}

/// The private key that a PEM block holds; `None` for a block that only describes the one that follows.
///
/// # Errors
/// Why it is none that can sign, in words that tell nothing of it.
pub(super) fn from_block(block: &Block<'_>, algorithm: JwtAlgorithm) -> Result<Option<SigningKey>, String> {
    let wanted = match algorithm {
        JwtAlgorithm::EdDsa => Material::Ed25519,
        JwtAlgorithm::Es256 => Material::P256,
        JwtAlgorithm::Rs256 => Material::Rsa,
        _ => Material::Other,
    };
    let expected = wanted.wanted();
    let damaged = || format!("is damaged; expected {expected}");
    match block.label {
        "EC PARAMETERS" => return Ok(None),
        PRIVATE_KEY | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {}
        "ENCRYPTED PRIVATE KEY" => return Err(format!("is encrypted; expected {expected} without a passphrase")),
        _ => return Err(format!("is no private key; expected {expected}")),
    }
    let Ok(der) = &block.der else {
        return Err(format!("is encrypted or damaged; expected {expected} without a passphrase"));
    };
    let material = match block.label {
        "RSA PRIVATE KEY" => Material::Rsa,
        "EC PRIVATE KEY" => Material::P256,
        _ => Material::of_pkcs8(der).ok_or_else(damaged)?,
    };
    if material != wanted {
        let algorithm = algorithm.as_str();
        return Err(format!("is {}; expected {expected}, for MESH_JWT_ALGORITHM={algorithm}", material.name()));
    }
    let general = block.label == PRIVATE_KEY;
    match material {
        Material::Ed25519 => ed25519_dalek::SigningKey::from_pkcs8_der(der).map_err(|_| damaged()).and_then(ed25519),
        Material::P256 => {
            let key = if general {
                p256::SecretKey::from_pkcs8_der(der).ok()
            } else {
                p256::SecretKey::from_sec1_der(der).ok()
            };
            // The one thing that a key of this kind may lack besides being whole.
            key.ok_or_else(|| format!("is damaged or of another curve; expected {expected}")).and_then(p256)
        }
        Material::Rsa => {
            let key =
                if general { RsaPrivateKey::from_pkcs8_der(der).ok() } else { RsaPrivateKey::from_pkcs1_der(der).ok() };
            key.ok_or_else(damaged).and_then(rsa)
        }
        Material::Other => Err(damaged()),
    }
    .map(Some)
}

/// A new private key as a PEM block.
///
/// # Errors
/// Why the system makes none.
pub(super) fn generate(algorithm: JwtAlgorithm) -> Result<String, String> {
    let failed = |e: &dyn std::fmt::Display| format!("a key cannot be made: {e}");
    let der = match algorithm {
        JwtAlgorithm::EdDsa => {
            let mut secret_key = [0; 32];
            OsRng.try_fill_bytes(&mut secret_key).map_err(|e| failed(&e))?;
            // Without its public half, which older OpenSSLs don't read.
            KeypairBytes { secret_key, public_key: None }.to_pkcs8_der()
        }
        JwtAlgorithm::Es256 => p256::SecretKey::random(&mut OsRng).to_pkcs8_der(),
        JwtAlgorithm::Rs256 => {
            RsaPrivateKey::new(&mut OsRng, *RSA_BITS.start()).map_err(|e| failed(&e))?.to_pkcs8_der()
        }
        _ => return Err(failed(&"the secret signs")),
    };
    let pem = der.map_err(|e| failed(&e))?.to_pem(PRIVATE_KEY, LineEnding::LF).map_err(|e| failed(&e))?;
    Ok(pem.to_string())
}

/// A key of a shared secret.
pub(super) fn hmac(secret: &str, id: String) -> SigningKey {
    let bytes = secret.as_bytes();
    SigningKey {
        id,
        encoding: EncodingKey::from_secret(bytes),
        decoding: DecodingKey::from_secret(bytes),
        public: None,
    }
}

fn ed25519(key: ed25519_dalek::SigningKey) -> Result<SigningKey, String> {
    let der =
        KeypairBytes { secret_key: key.to_bytes(), public_key: None }.to_pkcs8_der().map_err(|e| e.to_string())?;
    let public = key.verifying_key().to_bytes();
    let members = [("crv", "Ed25519".to_owned()), ("kty", "OKP".to_owned()), ("x", base64url(&public))];
    let decoding = DecodingKey::from_ed_der(&public);
    Ok(public_key(JwtAlgorithm::EdDsa, &members, EncodingKey::from_ed_der(der.as_bytes()), decoding))
}

fn p256(key: p256::SecretKey) -> Result<SigningKey, String> {
    let der = key.to_pkcs8_der().map_err(|e| e.to_string())?;
    let point = key.public_key().to_encoded_point(false);
    let (Some(x), Some(y)) = (point.x(), point.y()) else { return Err("has no public half".to_owned()) };
    let members = [("crv", "P-256".to_owned()), ("kty", "EC".to_owned()), ("x", base64url(x)), ("y", base64url(y))];
    let decoding = DecodingKey::from_ec_der(point.as_bytes());
    Ok(public_key(JwtAlgorithm::Es256, &members, EncodingKey::from_ec_der(der.as_bytes()), decoding))
}

fn rsa(key: RsaPrivateKey) -> Result<SigningKey, String> {
    let bits = key.n().bits();
    if !RSA_BITS.contains(&bits) {
        let (min, max) = (RSA_BITS.start(), RSA_BITS.end());
        return Err(format!("has {bits} bits; expected an RSA key of {min} to {max} bits"));
    }
    key.validate().map_err(|_| "is damaged; expected an RSA key".to_owned())?;
    let der = key.to_pkcs1_der().map_err(|e| e.to_string())?;
    let (n, e) = (key.n().to_bytes_be(), key.e().to_bytes_be());
    let members = [("e", base64url(&e)), ("kty", "RSA".to_owned()), ("n", base64url(&n))];
    let decoding = DecodingKey::from_rsa_raw_components(&n, &e);
    Ok(public_key(JwtAlgorithm::Rs256, &members, EncodingKey::from_rsa_der(der.as_bytes()), decoding))
}

fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A key with its public form, named by its thumbprint.
fn public_key(
    algorithm: JwtAlgorithm,
    members: &[(&str, String)],
    encoding: EncodingKey,
    decoding: DecodingKey,
) -> SigningKey {
    let id = thumbprint(members);
    let mut public: serde_json::Map<_, _> =
        members.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let more = [("kid", id.as_str()), ("use", "sig"), ("alg", algorithm.as_str())];
    public.extend(more.map(|(name, value)| (name.to_owned(), json!(value))));
    SigningKey { id, encoding, decoding, public: Some(Value::Object(public)) }
}

/// A public key's name (RFC 7638): SHA-256 of its members in the order of their names, none of which needs an escape.
fn thumbprint(members: &[(&str, String)]) -> String {
    let text = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect::<Vec<_>>().join(",");
    base64url(&Sha256::digest(format!("{{{text}}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_are_the_standards() {
        let members = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>()
        };
        // RFC 7638, section 3.1
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o\
                 knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA\
                 ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCu\
                 r-kEgU8awapJzKnqDKgw";
        let rsa = members(&[("e", "AQAB"), ("kty", "RSA"), ("n", n)]);
        assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037, appendix A.3, of the private key in appendix A.1
        let d = BASE64_URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = ed25519(ed25519_dalek::SigningKey::from_bytes(&d.try_into().unwrap())).unwrap();
        assert_eq!(key.id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(key.public.unwrap()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    }
}
