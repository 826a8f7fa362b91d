//! Signs and verifies tokens (RFC 7519, RFC 9068).

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use mesh_protocol::{SessionId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    config::{JwtAlgorithm, Secret},
    error::{Error, Kind, Result},
    ids::Ids,
};

/// The header type of an access token (RFC 9068, section 2.1): a token of another type is never taken for one.
const ACCESS_TYPE: &str = "at+jwt";
/// Seconds by which two clocks may differ.
const LEEWAY: i64 = 60;

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

/// The key and the rules of this server's tokens.
pub struct Keys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    algorithm: Algorithm,
    validation: Validation,
    issuer: String,
    secret: Vec<u8>,
}

impl Keys {
    /// Derives 32 bytes from the server's secret for a purpose (HMAC-SHA256).
    pub fn derive(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(&self.secret) else { return [0; 32] };
        mac.update(purpose.as_bytes());
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Keys of an HMAC secret.
    pub fn new(secret: &Secret, algorithm: JwtAlgorithm, issuer: &str) -> Self {
        let algorithm = match algorithm {
            JwtAlgorithm::Hs384 => Algorithm::HS384,
            JwtAlgorithm::Hs512 => Algorithm::HS512,
            // The configuration refuses the asymmetric ones until their keys can be made.
            _ => Algorithm::HS256,
        };
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["iss", "sub", "exp"]);
        // Times are judged here by the clock that was passed in.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let bytes = secret.expose().as_bytes();
        Self {
            encoding: EncodingKey::from_secret(bytes),
            decoding: DecodingKey::from_secret(bytes),
            algorithm,
            validation,
            issuer: issuer.to_owned(),
            secret: bytes.to_vec(),
        }
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
        let header = Header { typ: Some(ACCESS_TYPE.to_owned()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, &claims, &self.encoding).map_err(Error::internal)
    }

    /// Verifies an access token at `now` (Unix seconds).
    ///
    /// # Errors
    /// 401 `token_expired` or `token_invalid`.
    pub fn verify_access(&self, token: &str, now: i64) -> Result<AccessClaims> {
        let invalid = || Error::new(Kind::Unauthorized, "token_invalid", "the token is not one of this server's");
        let data =
            jsonwebtoken::decode::<AccessClaims>(token, &self.decoding, &self.validation).map_err(|e| {
                match e.kind() {
                    ErrorKind::ExpiredSignature => expired(),
                    _ => invalid(),
                }
            })?;
        if data.header.typ.as_deref() != Some(ACCESS_TYPE) || data.claims.iat > now.saturating_add(LEEWAY) {
            return Err(invalid());
        }
        if data.claims.exp <= now {
            return Err(expired());
        }
        Ok(data.claims)
    }
}

fn expired() -> Error {
    Error::new(Kind::Unauthorized, "token_expired", "the token has ended; log in or refresh it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn keys(secret: &str) -> Keys {
        Keys::new(&Secret::new(secret), JwtAlgorithm::Hs256, "http://mesh.test")
    }

    #[test]
    fn only_live_tokens_of_this_server_pass() {
        let ids = Ids::new(Clock::System);
        let (user, session) = (UserId::new(ids.uuid()), SessionId::new(ids.uuid()));
        let ours = keys("0123456789abcdef0123456789abcdef");
        let token = ours.access_token(&ids, user, session, 1_000, 60).unwrap();
        assert_eq!(ours.verify_access(&token, 1_059).unwrap().sub, user);
        assert_eq!(ours.verify_access(&token, 1_060).unwrap_err().code, "token_expired");
        assert_eq!(ours.verify_access(&token, 939).unwrap_err().code, "token_invalid", "issued in the future");
        let theirs = keys("another secret, another secret, another");
        assert_eq!(theirs.verify_access(&token, 1_000).unwrap_err().code, "token_invalid");
        let elsewhere =
            Keys::new(&Secret::new("0123456789abcdef0123456789abcdef"), JwtAlgorithm::Hs256, "http://other.test");
        assert!(elsewhere.verify_access(&token, 1_000).is_err());
        for garbage in ["", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            assert!(ours.verify_access(garbage, 1_000).is_err());
        }
    }

    #[test]
    fn a_token_of_another_type_is_none() {
        let ours = keys("0123456789abcdef0123456789abcdef");
        let ids = Ids::new(Clock::System);
        let claims = AccessClaims {
            iss: "http://mesh.test".to_owned(),
            sub: UserId::new(ids.uuid()),
            sid: SessionId::new(ids.uuid()),
            jti: ids.uuid(),
            iat: 0,
            exp: i64::MAX,
        };
        let header = Header { typ: Some("mesh-cap+jwt".to_owned()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims, &ours.encoding).unwrap();
        assert_eq!(ours.verify_access(&token, 0).unwrap_err().code, "token_invalid");
    }
}
