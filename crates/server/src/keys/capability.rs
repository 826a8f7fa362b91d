//! Capability tokens: what one peer may ask of another, in a room, for a minute or three.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_protocol::{PeerId, RoomId, SessionId, UserId, model::Capability};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Keys, types};
use crate::{error::Result, ids::Ids};

/// What a capability token is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityGrant {
    /// Who may.
    pub user: UserId,
    /// The login that it stands on.
    pub session: SessionId,
    /// In which room.
    pub room_id: RoomId,
    /// With which peer; any in the room where none is named.
    pub target_peer_id: Option<PeerId>,
    /// What.
    pub capabilities: Vec<Capability>,
    /// Whose connection it is good for.
    pub cnf: Option<Confirmation>,
}

/// The claims of a capability token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityClaims {
    /// Who issued it: `MESH_PUBLIC_URL`.
    pub iss: String,
    /// Whose it is.
    pub sub: UserId,
    /// The login that it stands on.
    pub sid: SessionId,
    /// Its own id.
    pub jti: Uuid,
    /// When it was issued, Unix seconds.
    pub iat: i64,
    /// When it ends, Unix seconds.
    pub exp: i64,
    /// In which room it holds.
    pub room_id: RoomId,
    /// With which peer; any in the room where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_peer_id: Option<PeerId>,
    /// What its holder may.
    pub capabilities: Vec<Capability>,
    /// The certificate that its holder shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// Binds a token to the certificate of its holder's connection (RFC 7800, section 3.1; RFC 8705, section 3.1), so that
/// the other side knows that nobody swapped it on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The certificate's SHA-256, base64url.
    #[serde(rename = "x5t#S256")]
    pub x5t_s256: String,
}

impl Confirmation {
    /// Reads a certificate's SHA-256 fingerprint: as SDP writes it (`sha-256 AB:CD:…`, RFC 8122, section 5; also without the
    /// word or the colons; `sha256:` before it does as well), or as `x5t#S256` does. `None` if it is none of these.
    pub fn from_fingerprint(text: &str) -> Option<Self> {
        let text = text.trim();
        let word = ["sha-256", "sha256"].into_iter().find_map(|word| {
            let (hash, rest) = text.split_at_checked(word.len())?;
            hash.eq_ignore_ascii_case(word).then(|| rest.strip_prefix([' ', ':']))?
        });
        let text = word.unwrap_or(text).trim();
        let bytes: [u8; 32] = match text.len() {
            43 => BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?,
            64 => hexadecimal(text.as_bytes().chunks(2))?,
            95 => hexadecimal(text.as_bytes().split(|byte| *byte == b':'))?,
            _ => return None,
        };
        Some(Self { x5t_s256: BASE64_URL_SAFE_NO_PAD.encode(bytes) })
    }
}

fn hexadecimal<'a>(pairs: impl Iterator<Item = &'a [u8]>) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = pairs.map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    bytes.collect::<Option<Vec<_>>>()?.try_into().ok()
}

impl Keys {
    /// Signs a capability token for `seconds` from `now` (Unix seconds). Whether the caller may hold what it grants is
    /// judged before.
    ///
    /// # Errors
    /// `internal` where signing fails.
    pub fn capability_token(&self, ids: &Ids, grant: CapabilityGrant, now: i64, seconds: i64) -> Result<String> {
        let claims = CapabilityClaims {
            iss: self.issuer.clone(),
            sub: grant.user,
            sid: grant.session,
            jti: ids.uuid(),
            iat: now,
            exp: now.saturating_add(seconds),
            room_id: grant.room_id,
            target_peer_id: grant.target_peer_id,
            capabilities: grant.capabilities,
            cnf: grant.cnf,
        };
        self.sign(types::CAPABILITY, &claims)
    }

    /// Verifies a capability token at `now` (Unix seconds). Whether its login and membership still stand is judged after.
    ///
    /// # Errors
    /// 401 `token_expired` or `token_invalid`.
    pub fn verify_capability(&self, token: &str, now: i64) -> Result<CapabilityClaims> {
        self.verify(types::CAPABILITY, token, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_in_their_usual_forms() {
        // printf '' | sha256sum, the same with colons, and base64url
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let colons = hex.as_bytes().chunks(2).map(|p| String::from_utf8_lossy(p).to_uppercase()).collect::<Vec<_>>();
        let colons = colons.join(":");
        let wanted = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
        for text in [hex, &colons, &format!("sha-256 {colons}"), &format!(" SHA-256  {hex} "), wanted] {
            assert_eq!(Confirmation::from_fingerprint(text).unwrap().x5t_s256, wanted, "{text}");
        }
        let cut = &colons[3..];
        let odd = colons.replacen(':', "0", 1);
        let long = format!("{}:{}", &hex[..47], &hex[..47]);
        for text in ["", "sha-256", &format!("sha-1 {colons}"), cut, &odd, &hex[..63], &hex.replace('e', "g"), &long] {
            assert_eq!(Confirmation::from_fingerprint(text), None, "{text}");
        }
    }
}
