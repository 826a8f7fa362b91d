//! STUN and TURN servers, with credentials where they need some.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mesh_protocol::{UserId, model::IceServer, rest::IceServers};
use sha1::Sha1;

use crate::{
    app::App,
    config::{Config, Secret, TurnAuth},
    service::auth::Caller,
};

/// The servers for `user`. With secrets, a fresh credential of coturn's TURN REST scheme
/// (draft-uberti-behave-turn-rest-00): the name is `<unix expiry>:<user id>`, signed by the first secret.
pub fn servers(app: &App, user: UserId) -> Vec<IceServer> {
    let config = &app.config;
    let mut servers = Vec::new();
    if !config.stun_urls.is_empty() {
        servers.push(IceServer { urls: config.stun_urls.clone(), username: None, credential: None });
    }
    if let Some(host) = &config.turn_host {
        let expiry = app.clock.now_ms() / 1000 + i64::from(config.turn_ttl_seconds);
        let (username, credential) = match config.turn_auth() {
            Some(TurnAuth::Secrets([first, ..])) => {
                let username = format!("{expiry}:{user}");
                let credential = sign(first, &username);
                (Some(username), credential)
            }
            Some(TurnAuth::Fixed { username, password }) => {
                (Some(username.to_owned()), Some(password.expose().to_owned()))
            }
            _ => (None, None),
        };
        let port = config.turn_port;
        let transports = config.turn_transports.iter();
        let mut urls: Vec<_> =
            transports.map(|transport| format!("turn:{host}:{port}?transport={}", transport.as_str())).collect();
        // TURN over TLS (RFC 7065): for networks that let nothing else through.
        urls.extend(config.turn_tls_port.map(|port| format!("turns:{host}:{port}?transport=tcp")));
        servers.push(IceServer { urls, username, credential });
    }
    servers
}

/// What `GET /api/ice-servers` answers.
pub fn answer(app: &App, caller: &Caller) -> IceServers {
    IceServers { ice_servers: servers(app, caller.user_id), ttl: app.config.turn_ttl_seconds }
}

/// After how long a peer gets fresh credentials, milliseconds: at three quarters of their life. None where they don't end.
pub fn refresh_after_ms(config: &Config) -> Option<i64> {
    match config.turn_auth() {
        Some(TurnAuth::Secrets(_)) => Some(i64::from(config.turn_ttl_seconds) * 750),
        Some(TurnAuth::Fixed { .. }) | None => None,
    }
}

/// The password of a user name that a secret vouches for: base64 of HMAC-SHA1.
pub fn sign(secret: &Secret, username: &str) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(username.as_bytes());
    Some(BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_coturns() {
        // printf '1767326645:alice' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(sign(&Secret::new("north"), "1767326645:alice").unwrap(), "SGuYfYlrPyFttcIku/1iU/JhnSY=");
    }
}
