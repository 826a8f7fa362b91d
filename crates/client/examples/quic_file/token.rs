//! What an agent checks of a session token by itself: with keys that it fetched before, and no server.

use std::collections::HashSet;

use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use mesh_protocol::{P2pSessionId, PeerId, RoomId, UserId, event::p2p::SessionKind};
use serde::Deserialize;

use crate::Result;

/// What the header of a session token says that it is. A token of another type is never one.
const TYPE: &str = "mesh-p2p+jwt";
/// Seconds by which two clocks may differ.
const LEEWAY: u64 = 5;

#[derive(Deserialize)]
pub(crate) struct Confirmation {
    #[serde(rename = "x5t#S256")]
    pub(crate) fingerprint: String,
}

/// One side of the session.
#[derive(Deserialize)]
pub(crate) struct Party {
    pub(crate) sub: UserId,
    pub(crate) peer_id: PeerId,
    pub(crate) cnf: Confirmation,
}

#[derive(Deserialize)]
pub(crate) struct Claims {
    pub(crate) jti: String,
    pub(crate) session_id: P2pSessionId,
    pub(crate) room_id: RoomId,
    pub(crate) kind: SessionKind,
    pub(crate) initiator: Party,
    pub(crate) responder: Party,
}

/// The server's keys, and which tokens were taken.
pub(crate) struct Tokens {
    keys: JwkSet,
    /// Until its end a token is refused the second time. An agent that runs for long forgets those that have ended.
    taken: HashSet<String>,
}

impl Tokens {
    pub(crate) fn new(jwks: serde_json::Value) -> Result<Self> {
        let keys: JwkSet = serde_json::from_value(jwks)?;
        if keys.keys.is_empty() {
            return Err("the server signs with a shared secret: set MESH_JWT_ALGORITHM=EdDSA there".into());
        }
        Ok(Self { keys, taken: HashSet::new() })
    }

    /// What a token says, if one of the server's keys signed it, it is a session token, and it has not ended. Which server
    /// that is, the keys say.
    pub(crate) fn read(&self, token: &str) -> Result<Claims> {
        let header = jsonwebtoken::decode_header(token)?;
        if header.typ.as_deref() != Some(TYPE) || header.crit.is_some() {
            return Err("this is no session token".into());
        }
        let key = header.kid.as_deref().and_then(|id| self.keys.find(id)).ok_or("no key of the server signed it")?;
        // The key says which algorithm, never the token.
        let algorithm = key.common.key_algorithm.ok_or("the key does not say its algorithm")?.to_string().parse()?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "iss"]);
        Ok(jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_jwk(key)?, &validation)?.claims)
    }

    /// The same for the one who listens: the token is for this session and these two certificates, and shown for the first
    /// time.
    pub(crate) fn take(&mut self, token: &str, session: P2pSessionId, own: &str, caller: &str) -> Result<Claims> {
        let claims = self.read(token)?;
        if claims.session_id != session {
            return Err("the token is of another session".into());
        }
        if claims.responder.cnf.fingerprint != own || claims.initiator.cnf.fingerprint != caller {
            return Err("the token is bound to other certificates".into());
        }
        if !self.taken.insert(claims.jti.clone()) {
            return Err("the token was shown before".into());
        }
        Ok(claims)
    }
}
