//! Whether the TURN server takes our credentials, and relays: allocate, permit, and a datagram there and back.

mod link;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use tokio::{
    net::UdpSocket,
    time::{Instant, timeout, timeout_at},
};

pub(super) use link::Transport;
use link::{ANSWER, DATAGRAM, Link, REPEAT, any, ask};

use super::{
    Check, Office, Trouble,
    stun::{self, Class, Message, Writer, attribute, method},
    trouble,
};
use crate::{
    config::{Secret, TurnAuth},
    ids::Ids,
    service::ice,
};

/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;
/// Who is named in the doctor's credentials.
const NOBODY: &str = "mesh-doctor";
/// UDP as the relay's own transport (RFC 8656, section 14.7).
const RELAY_UDP: [u8; 4] = [17, 0, 0, 0];
/// A public address that a relay should let through; nothing is sent to it.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9));
/// A credential's life where the TURN server's clock is in doubt: ten years, seconds.
const LONG: i64 = 10 * 365 * 24 * 3600;

/// A name and a password, as clients get them.
struct Credential {
    username: String,
    password: String,
}

fn ephemeral(secret: &Secret, expiry: i64) -> Option<Credential> {
    let username = format!("{expiry}:{NOBODY}");
    let password = ice::sign(secret, &username)?;
    Some(Credential { username, password })
}

/// What the server asks for (RFC 8489, section 9.2).
#[derive(Clone)]
struct Challenge {
    realm: String,
    nonce: Vec<u8>,
}

/// An allocation, and what signs the requests about it.
struct Session {
    link: Link,
    ids: Ids,
    credential: Credential,
    challenge: Challenge,
    key: [u8; 16],
}

impl Session {
    /// Asks with the credential; once more where the nonce is out of date.
    async fn ask(&mut self, method: u16, build: impl Fn(Writer) -> Writer) -> io::Result<Vec<u8>> {
        let mut renewed = false;
        loop {
            let transaction = self.ids.random();
            let request = build(Writer::new(Class::Request, method, transaction))
                .with(attribute::USERNAME, self.credential.username.as_bytes())
                .with(attribute::REALM, self.challenge.realm.as_bytes())
                .with(attribute::NONCE, &self.challenge.nonce)
                .signed(&self.key);
            let bytes = ask(&mut self.link, &request).await?;
            let nonce = Message::read(&bytes).filter(|a| a.error() == Some(438));
            let Some(nonce) = nonce.and_then(|a| a.get(attribute::NONCE)).filter(|_| !renewed) else {
                return Ok(bytes);
            };
            self.challenge.nonce = nonce.to_vec();
            renewed = true;
        }
    }

    fn with(&mut self, credential: Credential) {
        self.key = stun::long_term_key(&credential.username, &self.challenge.realm, &credential.password);
        self.credential = credential;
    }

    /// Whether it allocates with this credential.
    async fn takes(&mut self, credential: Option<Credential>) -> bool {
        let Some(credential) = credential else { return false };
        self.with(credential);
        let answer = self.ask(method::ALLOCATE, |w| w.with(attribute::REQUESTED_TRANSPORT, &RELAY_UDP)).await;
        answer.is_ok_and(|bytes| Message::read(&bytes).is_some_and(|a| a.class == Class::Success))
    }

    async fn release(&mut self) {
        // It would end by itself; who asks politely frees the port at once.
        let _ = self.ask(method::REFRESH, |w| w.with(attribute::LIFETIME, &[0; 4])).await;
    }
}

/// What is wrong where nothing came back.
fn silence(place: &str, transport: Transport, error: &io::Error) -> Trouble {
    let name = transport.name();
    let option = if transport == Transport::Udp { "no-udp" } else { "no-tcp" };
    let mend = format!(
        "start the TURN server, compare TURN_HOST and TURN_PORT with its listening-ip and listening-port, take {option} \
         out of turnserver.conf, and open the port for {name} in the firewall"
    );
    match error.kind() {
        io::ErrorKind::ConnectionRefused => trouble(format!("nothing listens at {place} over {name}"), mend),
        io::ErrorKind::TimedOut => trouble(
            format!("{place} gives no answer over {name}: host or port is wrong, or a firewall stands between"),
            mend,
        ),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => trouble(
            format!("what answers at {place} over {name} is no TURN server"),
            "mend TURN_HOST and TURN_PORT (coturn's listening-port, 3478 by default)",
        ),
        _ => trouble(format!("{place} cannot be reached over {name}: {error}"), mend),
    }
}

/// Asks without a credential, to be told the realm and a nonce.
async fn challenge(link: &mut Link, ids: &Ids, place: &str, transport: Transport) -> Result<Challenge, Trouble> {
    let request = Writer::new(Class::Request, method::ALLOCATE, ids.random())
        .with(attribute::REQUESTED_TRANSPORT, &RELAY_UDP)
        .unsigned();
    let bytes = ask(link, &request).await.map_err(|e| silence(place, transport, &e))?;
    let unread = || silence(place, transport, &io::ErrorKind::InvalidData.into());
    let answer = Message::read(&bytes).ok_or_else(unread)?;
    const REALM: &str =
        "set realm=… in turnserver.conf (any name, your domain for one), and use-auth-secret or lt-cred-mech";
    match (answer.class, answer.error()) {
        (Class::Success, _) => Err(trouble(
            format!("the TURN server at {place} relays for everybody, without credentials"),
            "take no-auth out of turnserver.conf; set use-auth-secret and static-auth-secret",
        )),
        (_, Some(401)) => match (answer.text(attribute::REALM), answer.get(attribute::NONCE)) {
            (Some(realm), Some(nonce)) if !realm.is_empty() => {
                Ok(Challenge { realm: realm.to_owned(), nonce: nonce.to_vec() })
            }
            _ => Err(trouble(format!("the TURN server at {place} names no realm, so that nobody can log in"), REALM)),
        },
        (_, Some(code @ (400 | 403 | 404 | 405 | 420 | 500))) => Err(trouble(
            format!("the server at {place} does not allocate (error {code}): perhaps it does STUN alone"),
            "take stun-only out of turnserver.conf, or mend TURN_HOST and TURN_PORT",
        )),
        (_, code) => Err(refused(place, code)),
    }
}

fn refused(place: &str, code: Option<u16>) -> Trouble {
    match code {
        Some(486) => trouble(
            format!("the TURN server at {place} has no allocation left for this user (error 486)"),
            "raise user-quota in turnserver.conf",
        ),
        Some(508) => trouble(
            format!("the TURN server at {place} has no port left (error 508)"),
            "widen min-port and max-port, or raise total-quota in turnserver.conf",
        ),
        Some(code) => {
            trouble(format!("the TURN server at {place} refuses (error {code})"), "look at the TURN server's log")
        }
        None => {
            trouble(format!("the TURN server at {place} refuses without a reason"), "look at the TURN server's log")
        }
    }
}

/// Says why the credential is not taken, by trying others.
async fn why_not(office: &Office<'_>, session: &mut Session, place: &str) -> Trouble {
    let realm = session.challenge.realm.clone();
    let now = office.clock.now_ms() / 1000;
    let ttl = i64::from(office.config.turn_ttl_seconds);
    let secrets = match office.config.turn_auth() {
        Some(TurnAuth::Secrets(secrets)) => secrets,
        _ => {
            return trouble(
                format!(
                    "the TURN server at {place} does not take TURN_USERNAME and TURN_PASSWORD in its realm {realm:?}"
                ),
                format!(
                    "compare them with user=… in turnserver.conf; an account in its database belongs to one realm: \
                         turnadmin -a -u … -r {realm}"
                ),
            );
        }
    };
    let Some(first) = secrets.first() else { return refused(place, Some(401)) };
    if session.takes(ephemeral(first, now + LONG)).await {
        session.release().await;
        return trouble(
            format!(
                "the TURN server at {place} has the secret, but takes credentials of {ttl} s for ended: its clock is ahead"
            ),
            "switch time synchronisation on, on both machines, or raise TURN_TTL_SECONDS",
        );
    }
    for (index, secret) in secrets.iter().enumerate().skip(1) {
        if session.takes(ephemeral(secret, now + ttl)).await {
            session.release().await;
            return trouble(
                format!(
                    "the TURN server at {place} takes secret number {} of TURN_SECRET, but the first one signs",
                    index + 1
                ),
                "give coturn the first one too (several static-auth-secret lines), or put that one first",
            );
        }
    }
    trouble(
        format!(
            "the TURN server at {place} does not take what TURN_SECRET signs (realm {realm:?}): the secret is wrong"
        ),
        "set TURN_SECRET to the static-auth-secret in turnserver.conf, where use-auth-secret must stand too; restart coturn",
    )
}

/// Whether clients outside can reach an address.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

/// A second socket, and where the TURN server sees it.
async fn other_side(ids: &Ids, server: SocketAddr) -> Option<(UdpSocket, SocketAddr)> {
    let mut link = Link::open(Transport::Udp, server).await.ok()?;
    let request = Writer::new(Class::Request, method::BINDING, ids.random()).unsigned();
    let bytes = ask(&mut link, &request).await.ok()?;
    let seen = Message::read(&bytes)?.address(attribute::XOR_MAPPED_ADDRESS)?;
    let Link::Udp(connected) = link else { return None };
    let local = connected.local_addr().ok()?;
    drop(connected);
    // The same port, from which anybody may be reached.
    let socket = UdpSocket::bind(SocketAddr::new(any(server).ip(), local.port())).await.ok()?;
    Some((socket, seen))
}

/// Sends a datagram to the relayed address and back through the relay; whether both came.
async fn round_trip(session: &mut Session, socket: &UdpSocket, relayed: SocketAddr) -> bool {
    let probe: [u8; 16] = session.ids.random();
    let deadline = Instant::now() + ANSWER;
    let mut back = None;
    while back.is_none() && Instant::now() < deadline {
        if socket.send_to(&probe, relayed).await.is_err() {
            return false;
        }
        let until = deadline.min(Instant::now() + REPEAT);
        while let Ok(Ok(bytes)) = timeout_at(until, session.link.receive()).await {
            let Some(data) = Message::read(&bytes).filter(|m| m.method == method::DATA) else { continue };
            if data.get(attribute::DATA) == Some(&probe) {
                back = data.address(attribute::XOR_PEER_ADDRESS);
                break;
            }
        }
    }
    let Some(peer) = back else { return false };
    let answer: [u8; 16] = session.ids.random();
    let mut bytes = vec![0; DATAGRAM];
    while Instant::now() < deadline {
        let indication = Writer::new(Class::Indication, method::SEND, session.ids.random())
            .with_address(attribute::XOR_PEER_ADDRESS, peer)
            .with(attribute::DATA, &answer)
            .unsigned();
        if session.link.send(&indication).await.is_err() {
            return false;
        }
        let until = deadline.min(Instant::now() + REPEAT);
        while let Ok(Ok((length, from))) = timeout_at(until, socket.recv_from(&mut bytes)).await {
            if from == relayed && bytes.get(..length) == Some(&answer) {
                return true;
            }
        }
    }
    false
}

/// Permits and relays; what to say of it.
async fn relay(session: &mut Session, server: SocketAddr, place: &str, relayed: SocketAddr) -> Result<String, Trouble> {
    let other = other_side(&session.ids, server).await;
    let mut permitted = false;
    for (ip, ours) in other.iter().map(|(_, seen)| (seen.ip(), true)).chain([(PUBLIC, false)]) {
        let permit = |w: Writer| w.with_address(attribute::XOR_PEER_ADDRESS, SocketAddr::new(ip, 9));
        let bytes = session.ask(method::CREATE_PERMISSION, permit).await.map_err(|e| {
            trouble(format!("the TURN server at {place} fell silent: {e}"), "look at the TURN server's log")
        })?;
        let answer = Message::read(&bytes);
        let (class, code) = answer.map_or((Class::Error, None), |a| (a.class, a.error()));
        match (class, code) {
            (Class::Success, _) => {
                permitted = ours;
                break;
            }
            // Rules against private addresses are good ones: then a public one must be let through.
            (_, Some(403)) if ours => {}
            (_, Some(403)) => {
                return Err(trouble(
                    format!("the TURN server at {place} allocates, but permits no address (error 403)"),
                    "look at denied-peer-ip and allowed-peer-ip in turnserver.conf: public addresses must be allowed",
                ));
            }
            (_, code) => return Err(refused(place, code)),
        }
    }
    let Some((socket, _)) = other.filter(|_| permitted) else {
        return Ok(format!(
            "{place} allocates ({relayed}) and permits; nothing was relayed, since it may not reach this machine's address"
        ));
    };
    if round_trip(session, &socket, relayed).await {
        return Ok(format!("{place} allocates ({relayed}), permits and relays, there and back"));
    }
    Err(trouble(
        format!("the TURN server at {place} allocates and permits, but its relayed address {relayed} does not answer"),
        "open min-port to max-port (49152 to 65535) for UDP in the firewall; behind NAT set external-ip. Where only this \
         machine cannot reach its own public address, run the doctor elsewhere with the same TURN settings",
    ))
}

async fn with_address(
    office: &Office<'_>,
    transport: Transport,
    server: SocketAddr,
    place: &str,
) -> Result<String, (bool, Trouble)> {
    let reached = |t: Trouble| (true, t);
    let silent = |e: io::Error| (false, silence(place, transport, &e));
    let mut link = Link::open(transport, server).await.map_err(silent)?;
    let challenge = challenge(&mut link, &office.ids, place, transport).await.map_err(|t| (false, t))?;
    let now = office.clock.now_ms() / 1000;
    let credential = match office.config.turn_auth() {
        Some(TurnAuth::Secrets([first, ..])) => ephemeral(first, now + i64::from(office.config.turn_ttl_seconds)),
        Some(TurnAuth::Fixed { username, password }) => {
            Some(Credential { username: username.to_owned(), password: password.expose().to_owned() })
        }
        _ => None,
    };
    let Some(credential) = credential else { return Err(reached(refused(place, Some(401)))) };
    let key = stun::long_term_key(&credential.username, &challenge.realm, &credential.password);
    let mut session = Session { link, ids: office.ids.clone(), credential, challenge, key };
    let answer = session.ask(method::ALLOCATE, |w| w.with(attribute::REQUESTED_TRANSPORT, &RELAY_UDP)).await;
    let bytes = answer.map_err(silent)?;
    let Some(answer) = Message::read(&bytes) else { return Err(silent(io::ErrorKind::InvalidData.into())) };
    match (answer.class, answer.error()) {
        (Class::Success, _) => {}
        (_, Some(401)) => return Err(reached(why_not(office, &mut session, place).await)),
        (_, Some(441)) => {
            let realm = &session.challenge.realm;
            let sentence =
                format!("the TURN server at {place} names the realm {realm:?} and takes no credential of it");
            return Err(reached(trouble(sentence, "set one realm=… in turnserver.conf, and no other in its database")));
        }
        (_, code) => return Err(reached(refused(place, code))),
    }
    if !answer.is_signed(&session.key) {
        let sentence = format!("what answers at {place} does not know the secret: its answer is not signed with it");
        return Err(reached(trouble(sentence, "mend TURN_HOST and TURN_PORT, or look who answers in the place of it")));
    }
    let Some(relayed) = answer.address(attribute::XOR_RELAYED_ADDRESS) else {
        return Err(reached(refused(place, None)));
    };
    if is_public(server.ip()) && !is_public(relayed.ip()) {
        session.release().await;
        return Err(reached(trouble(
            format!("the TURN server at {place} relays from {}, which nobody outside can reach", relayed.ip()),
            format!("set external-ip={}/{} in turnserver.conf", server.ip(), relayed.ip()),
        )));
    }
    let found = relay(&mut session, server, place, relayed).await;
    session.release().await;
    found.map_err(reached)
}

async fn look(office: &Office<'_>, host: &str, transport: Transport) -> Result<String, Trouble> {
    let port = office.config.turn_port;
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let mend = "mend TURN_HOST, or the name's DNS entry";
    let found = timeout(ANSWER, tokio::net::lookup_host((name, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.take(ADDRESSES).collect(),
        Ok(Err(e)) => return Err(trouble(format!("TURN_HOST {host} has no address: {e}"), mend)),
        Err(_) => return Err(trouble(format!("nobody tells the address of TURN_HOST {host}"), mend)),
    };
    let mut last = trouble(format!("TURN_HOST {host} has no address"), mend);
    for server in addresses {
        let place = if server.ip().to_string() == name { server.to_string() } else { format!("{host} ({server})") };
        match with_address(office, transport, server, &place).await {
            Ok(sentence) => return Ok(sentence),
            Err((true, trouble)) => return Err(trouble),
            Err((false, trouble)) => last = trouble,
        }
    }
    Err(last)
}

/// What one transport of the TURN server does.
pub(super) async fn check(office: &Office<'_>, transport: Transport) -> Check {
    let name = if transport == Transport::Udp { "turn_udp" } else { "turn_tcp" };
    match &office.config.turn_host {
        None => Check::skipped(name, "TURN_HOST is not set: calls work only where peers reach one another directly"),
        Some(host) => Check::of(name, look(office, host, transport).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_those_that_others_reach() {
        for public in ["9.9.9.9", "100.63.0.1", "2001:db8::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in ["10.0.0.1", "192.168.1.1", "172.20.0.1", "127.0.0.1", "0.0.0.0", "100.64.0.1", "::1", "fd00::1"]
        {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
