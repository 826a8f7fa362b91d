//! From a frame to the use-case that it asks for. Decides nothing itself.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use mesh_protocol::{
    CloseCode, FEATURES, PROTOCOL_VERSION, PeerId,
    code::ErrorCode,
    envelope::{Envelope, valid_id},
    event::{
        ClientEvent, EventError,
        presence::Set,
        room::{Leave, Left},
        system::{Ack, Auth, Error as Refusal, Hello, Limits, Pong, Welcome},
    },
    limits::{HEARTBEAT_SECONDS, MAX_FRAME_BYTES, MAX_MALFORMED, SIGNALS_PER_SECOND, WELCOME_ROOMS},
    model::{MemberPeer, PeerStatus, Scope},
};

use super::{
    calls::{self, Part},
    conn::{Close, Conn},
    connection::Connection,
    encode::{details, plain_refusal, refusal},
    hub::Hub,
    join, p2p, ringing, shares, speech,
};
use crate::{
    app::App,
    domain::{outqueue::Class, scope},
    error::{self, Error, Result},
    service::{
        amend::What,
        arrival::{self, Arrival},
        auth::{self, Caller},
        ice, info,
    },
    trace::{self, Kind, Span},
};

/// Events refused for their rate in a row that end a connection with 4429.
const MAX_FLOODING: u32 = 1_000;
/// Characters of a device's name and of a client's version.
const MAX_LABEL_CHARS: usize = 100;

pub(super) type Command = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The clock in the form that buckets read.
pub(super) fn now_ms(app: &App) -> u64 {
    u64::try_from(app.clock.now_ms()).unwrap_or(0)
}

/// What an event is answered with: to whom, and under which id.
pub(super) struct Answer {
    pub(super) hub: Arc<Hub>,
    pub(super) conn: Arc<Conn>,
    pub(super) id: Option<Box<str>>,
    /// Over when the answer is given.
    span: Option<Span>,
}

impl Answer {
    pub(super) fn peer(&self) -> &str {
        // Before the welcome the connection has no name; the answer is for the one that asked.
        self.conn.peer().map_or("client", PeerId::as_str)
    }

    pub(super) fn send(&self, frame: Bytes) {
        self.conn.push(Class::Reply, frame);
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        if let Some(span) = &self.span {
            span.fail(refusal.code.as_str());
        }
        self.send(self.hub.encoder.error(refusal, self.peer(), self.id.as_deref()));
    }

    /// Done, nothing to tell; said only to who asked under an id.
    pub(super) fn ack(&self) {
        if self.id.is_some() {
            self.send(self.hub.encoder.event(&Ack::default(), self.peer(), self.id.as_deref()));
        }
    }

    pub(super) fn outcome(&self, outcome: Result<()>) {
        if let Err(e) = outcome {
            self.refuse(refusal(&e));
        }
    }
}

/// Counts a frame that is no event; ten in a row end the connection.
fn malformed(c: &mut Connection, id: Option<String>, message: String) {
    c.malformed += 1;
    answer(c, id.as_deref()).refuse(plain_refusal(ErrorCode::Malformed, message));
    if c.malformed >= MAX_MALFORMED {
        c.end(Close::new(CloseCode::Abuse, "malformed"));
    }
}

fn answer(c: &Connection, id: Option<&str>) -> Answer {
    Answer { hub: c.hub.clone(), conn: c.conn.clone(), id: id.map(Into::into), span: None }
}

/// A binary frame: no event is one.
pub(super) fn binary(c: &mut Connection) {
    malformed(c, None, "an event is a text frame, not a binary one".to_owned());
}

/// Acts on a text frame; what takes time is a command, which the connection finishes before it reads on.
pub(super) fn text(c: &mut Connection, text: &str) -> Option<Command> {
    let envelope = match Envelope::parse(text) {
        Ok(envelope) => envelope,
        Err(e) => {
            malformed(c, e.id, e.message);
            return None;
        }
    };
    c.malformed = 0;
    let id = envelope.id.as_deref();
    let mut answer = answer(c, id.filter(|id| valid_id(id)));
    let now = now_ms(c.hub.app());
    let rate = c.hub.app().config.events_per_second;
    let (bucket, rate) = match envelope.kind.starts_with("rtc.") {
        true => (&mut c.signals, SIGNALS_PER_SECOND.max(rate)),
        false => (&mut c.bucket, rate),
    };
    if let Err(wait) = bucket.take(now, 1) {
        c.flooding += 1;
        let message = format!("more than {rate} events a second");
        answer.refuse(Refusal { retry_after_ms: Some(wait), ..plain_refusal(ErrorCode::RateLimited, message) });
        if c.flooding >= MAX_FLOODING {
            c.end(Close::new(CloseCode::TooSlow, "flooding"));
        }
        return None;
    }
    c.flooding = 0;
    if let Err(refused) = check(c, &envelope) {
        answer.refuse(refused);
        return None;
    }
    match ClientEvent::parse(&envelope.kind, envelope.payload_text()) {
        Ok(event) => {
            c.hub.app().metrics.events_in.count(event.index());
            answer.span = c.hub.app().tracer.as_ref().and_then(|t| t.begin(event.name(), Kind::Server, None));
            let context = answer.span.as_ref().map(Span::context);
            match context {
                None => act(c, event, &envelope, answer),
                Some(context) => trace::within(context.clone(), || act(c, event, &envelope, answer))
                    .map(|command| Box::pin(trace::scoped(context, command)) as Command),
            }
        }
        Err(EventError::UnknownType) => {
            let kind: String = envelope.kind.chars().take(100).collect();
            answer.refuse(plain_refusal(ErrorCode::UnknownType, format!("there is no event of type {kind:?}")));
            None
        }
        Err(EventError::InvalidPayload { field, message }) => {
            let told = if field.is_empty() { message } else { format!("{field}: {message}") };
            let mut refused = plain_refusal(ErrorCode::InvalidPayload, told);
            refused.details = (!field.is_empty()).then(|| details(&field));
            answer.refuse(refused);
            None
        }
    }
}

/// Checks what every event's header must hold to.
fn check(c: &Connection, envelope: &Envelope<'_>) -> Result<(), Refusal> {
    if envelope.id.as_deref().is_some_and(|id| !valid_id(id)) {
        let mut refused = plain_refusal(ErrorCode::InvalidPayload, "id: must have 1 to 64 characters");
        refused.details = Some(details("id"));
        return Err(refused);
    }
    let Some(peer) = c.conn.peer() else {
        return match &*envelope.kind {
            "system.hello" => Ok(()),
            _ => Err(plain_refusal(ErrorCode::HelloRequired, "system.hello must come first")),
        };
    };
    match envelope.from.as_deref() {
        Some(from) if from != peer.as_str() => {
            let message = format!("from: this connection is {peer}");
            Err(plain_refusal(ErrorCode::InvalidFrom, message))
        }
        _ => Ok(()),
    }
}

fn act(c: &mut Connection, event: ClientEvent, envelope: &Envelope<'_>, answer: Answer) -> Option<Command> {
    let caller = c.conn.caller();
    if let Err(e) = caller.require(scope::for_event(event.name())) {
        answer.outcome(Err(e));
        return None;
    }
    // What was said before it comes before it.
    if !matches!(event, ClientEvent::MessageSend(_)) {
        c.sends.hand_over(c.hub.app());
    }
    c.arriving = matches!(event, ClientEvent::Hello(_) | ClientEvent::RoomJoin(_));
    match event {
        ClientEvent::Hello(hello) => {
            if c.conn.peer().is_some() {
                answer.refuse(plain_refusal(ErrorCode::Conflict, "this connection has said hello already"));
                return None;
            }
            let proposed = match envelope.from.as_deref().map(str::parse::<PeerId>).transpose() {
                Ok(proposed) => proposed,
                Err(e) => {
                    answer.refuse(plain_refusal(ErrorCode::InvalidFrom, format!("from: {e}")));
                    return None;
                }
            };
            Some(Box::pin(async move {
                let outcome = welcome(&answer, &caller, hello, proposed).await;
                answer.outcome(outcome);
            }))
        }
        ClientEvent::Ping(_) => {
            answer.send(answer.hub.encoder.event(&Pong {}, answer.peer(), answer.id.as_deref()));
            None
        }
        ClientEvent::Auth(Auth { token }) => Some(Box::pin(async move {
            let outcome = renew(&answer, &caller, &token).await;
            answer.outcome(outcome);
        })),
        ClientEvent::RoomJoin(ask) => Some(Box::pin(async move {
            let outcome = join::join(&answer.hub, &answer.conn, &caller, &ask, answer.id.as_deref()).await;
            answer.outcome(outcome);
        })),
        ClientEvent::RoomLeave(Leave { room_id }) => {
            answer.hub.leave(room_id, &answer.conn);
            answer.send(answer.hub.encoder.event(&Left { room_id }, answer.peer(), answer.id.as_deref()));
            None
        }
        ClientEvent::PresenceSet(Set { status }) => {
            if status == PeerStatus::Offline {
                let message = "must be online, away or busy: a peer is offline when it goes";
                answer.outcome(Err(Error::invalid_field("status", "invalid", message)));
            } else {
                // A connection that was replaced meanwhile is not there any more: it hears so in a moment.
                answer.hub.app().presence.set(caller.user_id, answer.conn.number, status);
                answer.ack();
            }
            None
        }
        ClientEvent::RtcOffer(signal) => calls::offer(caller, signal, envelope.to.as_deref(), answer),
        ClientEvent::RtcAnswer(signal) => {
            calls::part(&caller, Part::Answer, signal, envelope.to.as_deref(), &answer);
            None
        }
        ClientEvent::RtcIce(signal) => {
            calls::part(&caller, Part::Ice, signal, envelope.to.as_deref(), &answer);
            None
        }
        ClientEvent::RtcBye(signal) => {
            calls::part(&caller, Part::Bye, signal, envelope.to.as_deref(), &answer);
            None
        }
        ClientEvent::P2pRequest(ask) => p2p::request(caller, ask, answer),
        ClientEvent::P2pAccept(ask) => {
            p2p::accept(ask, &answer);
            None
        }
        ClientEvent::P2pReject(ask) => {
            p2p::reject(ask, &answer);
            None
        }
        ClientEvent::P2pClose(ask) => {
            p2p::close(ask.session_id, &answer);
            None
        }
        ClientEvent::FileShare(ask) => shares::share_file(caller, ask, answer),
        ClientEvent::FileUnshare(ask) => {
            shares::unshare_file(&caller, &ask, &answer);
            None
        }
        ClientEvent::TerminalShare(ask) => shares::share_terminal(caller, ask, answer),
        ClientEvent::TerminalUnshare(ask) => {
            shares::unshare_terminal(&caller, &ask, &answer);
            None
        }
        ClientEvent::ControlRequest(ask) => shares::ask_control(caller, ask, answer),
        ClientEvent::ControlGrant(ask) => {
            shares::grant(ask, &answer);
            None
        }
        ClientEvent::ControlRelease(ask) => {
            shares::release(&ask, &answer);
            None
        }
        ClientEvent::ControlRevoke(ask) => {
            shares::revoke(&ask, &answer);
            None
        }
        ClientEvent::CallRing(ask) => ringing::ring(caller, ask, answer),
        ClientEvent::CallCancel(ask) => {
            ringing::cancel(&caller, &ask, &answer);
            None
        }
        ClientEvent::CallDecline(ask) => {
            ringing::decline(&caller, ask, &answer);
            None
        }
        ClientEvent::MessageSend(send) => {
            speech::say(&caller, send, answer, &mut c.sends);
            None
        }
        ClientEvent::MessageEdit(ask) => {
            speech::amend(&caller, ask.room_id, ask.message_id, What::Edit(ask.content), answer)
        }
        ClientEvent::MessageDelete(ask) => speech::amend(&caller, ask.room_id, ask.message_id, What::Delete, answer),
        ClientEvent::ReactionAdd(ask) => {
            speech::amend(&caller, ask.room_id, ask.message_id, What::React(ask.emoji), answer)
        }
        ClientEvent::ReactionRemove(ask) => {
            speech::amend(&caller, ask.room_id, ask.message_id, What::Unreact(ask.emoji), answer)
        }
        ClientEvent::Read(ask) => speech::read(&caller, &ask, answer),
        ClientEvent::Typing(ask) => speech::typing(caller, ask, answer),
        ClientEvent::History(ask) => Some(Box::pin(async move {
            let outcome = speech::history(&answer, &caller, ask).await;
            answer.outcome(outcome);
        })),
    }
}

/// Puts a newer credential in the place of the one until now.
async fn renew(answer: &Answer, caller: &Caller, token: &str) -> Result<()> {
    let renewed = auth::authenticate(answer.hub.app(), token).await?;
    if renewed.user_id != caller.user_id {
        return Err(Error::forbidden("token: a connection stays with its user"));
    }
    // What it has joined goes on: the newer credential must allow that too.
    if !renewed.covers(caller) {
        return Err(Error::forbidden("token: a connection keeps its scopes; this token has fewer"));
    }
    answer.conn.renew(renewed.clone());
    // As with hello: what ended before was told for a login that this connection did not stand on.
    if let Err(e) = auth::still_valid(answer.hub.app(), &renewed).await {
        answer.conn.close(Close::new(CloseCode::Credential, e.code));
        return Ok(());
    }
    answer.send(answer.hub.encoder.event(&Ack::default(), answer.peer(), answer.id.as_deref()));
    Ok(())
}

/// Makes the connection a peer and tells it what it needs to begin.
async fn welcome(answer: &Answer, caller: &Caller, hello: Hello, proposed: Option<PeerId>) -> Result<()> {
    let too_long = |text: &str| text.chars().count() > MAX_LABEL_CHARS;
    for (field, text) in [("version", Some(&hello.version)), ("device_name", hello.device_name.as_ref())] {
        if text.is_some_and(|text| too_long(text)) {
            let message = format!("must have at most {MAX_LABEL_CHARS} characters");
            return Err(Error::invalid_field(field, "too_long", message));
        }
        if text.is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(Error::invalid_field(field, "invalid", "must not contain control characters"));
        }
    }
    let (hub, conn) = (&answer.hub, &answer.conn);
    let app = hub.app();
    let (peer_id, session) = hub.register(conn, caller.user_id, proposed);
    let peer = MemberPeer {
        peer_id: peer_id.clone(),
        peer_type: hello.peer_type,
        device_name: hello.device_name,
        status: PeerStatus::Online,
    };
    app.presence.connect(caller.user_id, conn.number, session, peer);
    // A login that ended before the connection had a name was told to nobody: it is judged once more.
    let arrival = match arrival::arrive(app, caller, WELCOME_ROOMS).await {
        Ok(arrival) => arrival,
        Err(e) if e.kind == error::Kind::Unauthorized => {
            conn.close(Close::new(CloseCode::Credential, e.code));
            return Ok(());
        }
        Err(e) => {
            // The name is taken and nothing was told of it: the client begins anew.
            conn.close(Close::new(CloseCode::GoingAway, "internal"));
            return Err(e);
        }
    };
    let Arrival { user, rooms, rooms_complete, memberships } = arrival;
    let welcome = Welcome {
        peer_id: peer_id.clone(),
        user,
        session_id: caller.session_id,
        server_version: info::VERSION.to_owned(),
        protocol: PROTOCOL_VERSION,
        features: FEATURES.iter().map(|f| (*f).to_owned()).collect(),
        heartbeat_seconds: HEARTBEAT_SECONDS,
        ice_servers: if caller.may(Scope::Rtc) { ice::servers(app, caller.user_id) } else { Vec::new() },
        limits: Limits {
            max_frame_bytes: MAX_FRAME_BYTES as u64,
            max_message_chars: u64::from(app.config.max_message_chars),
            events_per_second: app.config.events_per_second,
        },
        rooms,
        rooms_complete,
    };
    answer.send(hub.encoder.event(&welcome, answer.peer(), answer.id.as_deref()));
    // It can be warned of its credential's end from now on.
    conn.welcomed.store(true, Ordering::Release);
    // It shows in its rooms, whether it may list them or not; whoever hears of it can reach it.
    app.presence.arrived(caller.user_id, &peer_id, &memberships);
    if caller.may(Scope::Rtc) {
        hub.tell_what_rings(caller.user_id, conn);
    }
    conn.judge_times_anew();
    if caller.may(Scope::Rtc) {
        hub.ice_servers_given(conn);
    }
    Ok(())
}
