//! Signs and verifies tokens (RFC 7519, RFC 9068), and keeps the server's secrets.

mod capability;
mod p2p;
mod pem;
mod seal;
mod signing;
#[cfg(test)]
mod tests;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header};
use mesh_protocol::{SessionId, UserId};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use capability::{CapabilityClaims, CapabilityGrant, Confirmation};
pub use p2p::{P2pClaims, P2pParty};

use crate::{
    config::{Config, KeyFile, Secret, load_or_create_keys},
    error::{Error, Kind, Result},
    ids::Ids,
};
use seal::Root;
use signing::SigningKey;

/// The header types of this server's tokens: one of one type is never taken for one of another (RFC 8725, section 3.11).
pub mod types {
    /// An access token (RFC 9068, section 2.1).
    pub const ACCESS: &str = "at+jwt";
    /// A capability token.
    pub const CAPABILITY: &str = "mesh-cap+jwt";
    /// A session token of two agents.
    pub const P2P: &str = "mesh-p2p+jwt";
    /// The challenge between a password and its second factor.
    pub const TOTP: &str = "mesh-totp+jwt";
    /// An invitation to register.
    pub const INVITE: &str = "mesh-invite+jwt";
}

/// Seconds by which two clocks may differ.
const LEEWAY: i64 = 60;
/// Longer than any token of this server, in bytes; what is longer is not looked at.
const MAX_TOKEN: usize = 8 * 1024;

/// The claims of an access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Who issued it: `MESH_PUBLIC_URL`.
    pub iss: String,
    /// Whose it is.
    pub sub: UserId,
    /// The login that it stands on.
    pub sid: SessionId,
    /// Its own id.
    pub jti: uuid::Uuid,
    /// When it was issued, Unix seconds.
    pub iat: i64,
    /// When it ends, Unix seconds.
    pub exp: i64,
}

/// What every token must say.
#[derive(Deserialize)]
struct Frame {
    iss: String,
    iat: i64,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
}

/// From when until when a token is good, Unix seconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
}

impl Times {
    fn check(self, now: i64) -> Result<()> {
        let latest = now.saturating_add(LEEWAY);
        if self.iat > latest || self.nbf.is_some_and(|nbf| nbf > latest) {
            return Err(invalid());
        }
        if self.exp <= now { Err(expired()) } else { Ok(()) }
    }
}

/// What a verified access token says: whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Whose account.
    pub user: UserId,
    /// The login that it stands on.
    pub session: SessionId,
    times: Times,
}

impl Access {
    /// When the token ends, Unix seconds.
    pub fn expires_at(&self) -> i64 {
        self.times.exp
    }
}

/// Access tokens that are remembered at most.
const REMEMBERED: usize = 20_000;

/// The keys and the rules of this server's tokens, and its symmetric secrets.
pub struct Keys {
    /// The first signs, all verify; never empty.
    keys: Vec<SigningKey>,
    algorithm: Algorithm,
    issuer: String,
    /// The first seals and derives, all open; never empty.
    roots: Vec<Root>,
    ids: Ids,
    /// Access tokens whose signature was verified, by their SHA-256: the keys stay, and so does the verdict; the time is
    /// looked at each time.
    verified: Cache<[u8; 32], Access>,
}

impl Keys {
    /// The keys of `MESH_JWT_ALGORITHM`: the secret itself, or those of the key file, which is made if there is none.
    /// Making an RSA key takes a moment.
    ///
    /// # Errors
    /// A line for the operator: which key cannot be used, and why.
    pub fn load(config: &Config, secret: &Secret, ids: &Ids) -> Result<Self, String> {
        let roots = Root::all(secret);
        let algorithm = config.jwt_algorithm;
        let mut keys = if algorithm.is_asymmetric() {
            let file = load_or_create_keys(config, || signing::generate(algorithm)).map_err(|e| e.to_string())?;
            if let Some(warning) = &file.warning {
                tracing::warn!("{warning}");
            }
            if let (true, Some(path)) = (file.made, &file.path) {
                tracing::info!(path = %path.display(), algorithm = algorithm.as_str(), "a new signing key was made");
            }
            read(&file, config)?
        } else {
            let parts = secret.parts().into_iter().zip(&roots);
            parts.map(|(part, root)| signing::hmac(part, root.key_id())).collect()
        };
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.id.clone()));
        let algorithm = signing::algorithm(algorithm);
        Ok(Self {
            keys,
            algorithm,
            issuer: config.public_url.clone(),
            roots,
            ids: ids.clone(),
            verified: Cache::new(REMEMBERED),
        })
    }

    /// Who issues the tokens: `MESH_PUBLIC_URL`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public keys (RFC 7517), for whoever verifies tokens without asking the server; none where a secret signs.
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.keys.iter().filter_map(|key| key.public.as_ref()).collect::<Vec<_>>() })
    }

    /// Signs a token of a type. Its claims must have `iss`, `iat` and `exp`, or nobody takes it.
    ///
    /// # Errors
    /// `internal` where signing fails.
    pub fn sign(&self, typ: &'static str, claims: &impl Serialize) -> Result<String> {
        let key = self.keys.first().ok_or_else(|| Error::internal("the server has no signing key"))?;
        let header = Header { typ: Some(typ.to_owned()), kid: Some(key.id.clone()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &key.encoding).map_err(Error::internal)
    }

    /// Verifies a token of a type at `now` (Unix seconds): this server's, whole, not from the future, not ended.
    ///
    /// # Errors
    /// 401 `token_expired` or `token_invalid`.
    pub fn verify<C: DeserializeOwned>(&self, typ: &str, token: &str, now: i64) -> Result<C> {
        let (times, claims) = self.read(typ, token)?;
        times.check(now)?;
        Ok(claims)
    }

    /// What a token of a type says that is this server's and whole, and when it is good.
    fn read<C: DeserializeOwned>(&self, typ: &str, token: &str) -> Result<(Times, C)> {
        let claims = self.signed(typ, token).ok_or_else(invalid)?;
        let Frame { iss, iat, exp, nbf } = serde_json::from_slice(&claims).map_err(|_| invalid())?;
        if iss != self.issuer {
            return Err(invalid());
        }
        let claims = serde_json::from_slice(&claims).map_err(|_| invalid())?;
        Ok((Times { iat, exp, nbf }, claims))
    }

    /// The claims, in JSON, of a token of a type that one of the keys signed.
    fn signed(&self, typ: &str, token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        // `crit` names what must be understood (RFC 7515, section 4.1.11), and nothing of that kind is.
        if header.alg != self.algorithm || header.typ.as_deref() != Some(typ) || header.crit.is_some() {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (_, claims) = message.split_once('.')?;
        let named = |key: &&SigningKey| header.kid.as_ref().is_none_or(|id| *id == key.id);
        let has_signed = |key: &SigningKey| {
            let verified = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.decoding, self.algorithm);
            verified.unwrap_or(false)
        };
        // Nothing of the claims is read before.
        self.keys.iter().filter(named).any(has_signed).then(|| BASE64_URL_SAFE_NO_PAD.decode(claims).ok())?
    }

    /// Signs an access token for `seconds` from `now` (Unix seconds).
    ///
    /// # Errors
    /// `internal` where signing fails.
    pub fn access_token(&self, ids: &Ids, user: UserId, session: SessionId, now: i64, seconds: i64) -> Result<String> {
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            sub: user,
            sid: session,
            jti: ids.uuid(),
            iat: now,
            exp: now.saturating_add(seconds),
        };
        self.sign(types::ACCESS, &claims)
    }

    /// Verifies an access token at `now` (Unix seconds).
    ///
    /// # Errors
    /// 401 `token_expired` or `token_invalid`.
    pub fn verify_access(&self, token: &str, now: i64) -> Result<Access> {
        if token.len() > MAX_TOKEN {
            return Err(invalid());
        }
        let hash = Sha256::digest(token.as_bytes()).into();
        let access = match self.verified.get(&hash) {
            Some(access) => access,
            None => {
                let (times, claims) = self.read::<AccessClaims>(types::ACCESS, token)?;
                let access = Access { user: claims.sub, session: claims.sid, times };
                self.verified.insert(hash, access);
                access
            }
        };
        access.times.check(now)?;
        Ok(access)
    }
}

/// The keys of a file, each tried once: better no start than tokens that nobody can verify.
fn read(file: &KeyFile, config: &Config) -> Result<Vec<SigningKey>, String> {
    let refuse = |message: &str| file.error(message).to_string();
    let blocks = pem::blocks(file.pem.expose());
    let mut keys = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.iter().enumerate() {
        let place = |e: String| if blocks.len() == 1 { e } else { format!("block {} {e}", index + 1) };
        let key = signing::from_block(block, config.jwt_algorithm).map_err(|e| refuse(&place(e)))?;
        let Some(key) = key else { continue };
        let algorithm = signing::algorithm(config.jwt_algorithm);
        let signed = jsonwebtoken::crypto::sign(b"probe", &key.encoding, algorithm);
        let verified = signed.and_then(|s| jsonwebtoken::crypto::verify(&s, b"probe", &key.decoding, algorithm));
        if !verified.unwrap_or(false) {
            return Err(refuse(&place("cannot sign".to_owned())));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(refuse("holds no private key; expected one or more in PEM form (-----BEGIN PRIVATE KEY-----)"));
    }
    Ok(keys)
}

fn invalid() -> Error {
    Error::new(Kind::Unauthorized, "token_invalid", "the token is not one of this server's")
}

fn expired() -> Error {
    Error::new(Kind::Unauthorized, "token_expired", "the token has ended; log in or refresh it")
}
