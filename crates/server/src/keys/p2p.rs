//! Session tokens: what one agent shows another, which knows by it, without asking the server, who is there.

use mesh_protocol::{P2pSessionId, PeerId, RoomId, UserId, event::p2p::SessionKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Confirmation, Keys, types};
use crate::error::Result;

/// One side of a session, as its token names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct P2pParty {
    /// Whose peer it is.
    pub sub: UserId,
    /// Which peer.
    pub peer_id: PeerId,
    /// The certificate that it shows.
    pub cnf: Confirmation,
}

/// The claims of a session token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct P2pClaims {
    /// Who issued it: `MESH_PUBLIC_URL`.
    pub iss: String,
    /// Its own id: who accepted the session takes it once.
    pub jti: Uuid,
    /// When it was issued, Unix seconds.
    pub iat: i64,
    /// When it ends, Unix seconds.
    pub exp: i64,
    /// The session.
    pub session_id: P2pSessionId,
    /// The room that both are members of.
    pub room_id: RoomId,
    /// What for.
    pub kind: SessionKind,
    /// Who asked: it connects, and shows the token.
    pub initiator: P2pParty,
    /// Who accepted: it listens, and takes the token.
    pub responder: P2pParty,
}

impl Keys {
    /// Signs a session token. Its `iss` is this server whatever it says.
    ///
    /// # Errors
    /// `internal` where signing fails.
    pub fn session_token(&self, claims: P2pClaims) -> Result<String> {
        self.sign(types::P2P, &P2pClaims { iss: self.issuer.clone(), ..claims })
    }
}
