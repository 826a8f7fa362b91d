//! WebRTC signalling.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::IceServer;

/// Payload of `rtc.ice_servers`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IceServers {
    /// STUN and TURN servers, with a fresh credential.
    pub ice_servers: Vec<IceServer>,
    /// How long the credential lives, seconds.
    pub ttl: u32,
}

// A credential must not reach a log by way of a debug print.
impl std::fmt::Debug for IceServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IceServers")
    }
}
