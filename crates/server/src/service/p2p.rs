//! What a session between two agents is made of: checked offers, and the token that they know each other by.

use mesh_protocol::{
    Timestamp,
    event::p2p::Reject,
    limits::{MAX_ENDPOINTS, MAX_META_BYTES, MAX_REASON_CHARS, P2P_TOKEN_SECONDS},
};
use serde_json::{Map, Value};

use crate::{
    app::App,
    domain::p2p::{Matter, Offer, Side},
    error::{Error, Fields, Kind, Result},
    keys::{CapabilityClaims, Confirmation, P2pClaims, P2pParty},
};

/// Checks where somebody says that they are reached, by which certificate, and what they say besides.
///
/// # Errors
/// 422 with every field that is not allowed.
pub fn offer(endpoints: Vec<String>, fingerprint: String, meta: Option<&Map<String, Value>>) -> Result<Offer> {
    let mut fields = Fields::default();
    if endpoints.is_empty() || endpoints.len() > MAX_ENDPOINTS {
        fields.add("endpoints", "invalid", format!("must name 1 to {MAX_ENDPOINTS} addresses"));
    }
    let bad = endpoints.iter().take(MAX_ENDPOINTS).enumerate().find(|(_, endpoint)| !is_endpoint(endpoint));
    if let Some((index, _)) = bad {
        let message = "must be ip:port, such as 192.0.2.7:40312 or [2001:db8::7]:40312, where somebody can be reached";
        fields.add(&format!("endpoints[{index}]"), "invalid", message);
    }
    if Confirmation::from_fingerprint(&fingerprint).is_none() {
        fields.add("fingerprint", "invalid", "must be a SHA-256 fingerprint, such as sha-256 AB:CD:… or base64url");
    }
    if meta.is_some_and(|meta| serde_json::to_vec(meta).is_ok_and(|json| json.len() > MAX_META_BYTES)) {
        fields.add("meta", "too_long", format!("must have at most {MAX_META_BYTES} bytes as JSON"));
    }
    fields.check()?;
    Ok(Offer { endpoints, fingerprint })
}

/// Whether a text is an address at which one host can be reached.
fn is_endpoint(text: &str) -> bool {
    text.parse::<std::net::SocketAddr>().is_ok_and(|addr| {
        let is_broadcast = matches!(addr.ip(), std::net::IpAddr::V4(ip) if ip.is_broadcast());
        addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast() && !is_broadcast
    })
}

/// What the one who rejects a session says of it.
///
/// # Errors
/// 422 where it is too long.
pub fn reason(reject: Reject) -> Result<Option<String>> {
    if reject.reason.as_ref().is_some_and(|text| text.chars().count() > MAX_REASON_CHARS) {
        let message = format!("must have at most {MAX_REASON_CHARS} characters");
        return Err(Error::invalid_field("reason", "too_long", message));
    }
    Ok(reject.reason)
}

/// A capability that is bound to a certificate is good for that one alone.
///
/// # Errors
/// `capability_invalid`.
pub fn must_be_bound(claims: &CapabilityClaims, offer: &Offer) -> Result<()> {
    if claims.cnf.is_some() && claims.cnf != Confirmation::from_fingerprint(&offer.fingerprint) {
        let message = "capability_token: it is bound to another certificate than fingerprint's";
        return Err(Error::new(Kind::Forbidden, "capability_invalid", message));
    }
    Ok(())
}

/// The token of a session that both have agreed to, and when it ends.
///
/// # Errors
/// `internal` where signing fails.
pub fn token(app: &App, matter: &Matter, initiator: &Side, responder: &Side) -> Result<(String, Timestamp)> {
    let party = |side: &Side| {
        let cnf = Confirmation::from_fingerprint(&side.offer.fingerprint);
        let cnf = cnf.ok_or_else(|| Error::internal("an offer's fingerprint is none"))?;
        Ok(P2pParty { sub: side.party.user, peer_id: side.party.peer.clone(), cnf })
    };
    let now = app.clock.now_ms() / 1000;
    let exp = now.saturating_add_unsigned(P2P_TOKEN_SECONDS);
    let claims = P2pClaims {
        iss: app.keys.issuer().to_owned(),
        jti: app.ids.uuid(),
        iat: now,
        exp,
        session_id: matter.id,
        room_id: matter.room,
        kind: matter.kind,
        initiator: party(initiator)?,
        responder: party(responder)?,
    };
    Ok((app.keys.session_token(claims)?, Timestamp::from_millis(exp.saturating_mul(1000))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_checked() {
        let print = "ab".repeat(32);
        let fields = |endpoints: &[&str], print: &str, meta: usize| {
            let endpoints = endpoints.iter().map(|&e| e.to_owned()).collect();
            let meta = Map::from_iter([("m".to_owned(), "x".repeat(meta).into())]);
            let refused = offer(endpoints, print.to_owned(), Some(&meta)).err();
            refused.map_or_else(Vec::new, |e| e.fields.into_iter().map(|f| f.field).collect())
        };
        let none: [&str; 0] = [];
        let colons = ["AB"; 32].join(":");
        for good in [&print, &colons, &format!("sha-256 {colons}"), &format!("SHA256:{print}"), &"A".repeat(43)] {
            assert_eq!(fields(&["192.0.2.7:1"], good, 1), none, "{good}");
        }
        for bad in
            ["", "sha-256", "sha256:", "sha-256é", "md5 ab", &format!("sha-512 {print}"), &format!("sha256{print}")]
        {
            assert_eq!(fields(&["192.0.2.7:1"], bad, 1), ["fingerprint"], "{bad}");
        }
        assert_eq!(fields(&["192.0.2.7:1", "[2001:db8::7]:65535", "127.0.0.1:9"], &print, 1), none);
        for bad in ["", "192.0.2.7", "host:1", "0.0.0.0:1", "[::]:1", "192.0.2.7:0", "224.0.0.1:1", "255.255.255.255:1"]
        {
            assert_eq!(fields(&["192.0.2.7:1", bad], &print, 1), ["endpoints[1]"], "{bad}");
        }
        assert_eq!(fields(&[], "sha-1 ab", MAX_META_BYTES), ["endpoints", "fingerprint", "meta"]);
        assert_eq!(fields(&["192.0.2.7:1"; 17], &print, 1), ["endpoints"]);
    }
}
