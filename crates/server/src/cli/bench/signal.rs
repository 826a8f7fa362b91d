//! The relay of signalling: pairs of peers in a call, whose candidates go there and back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Bench, Fallible,
    check::{Faults, Follow},
    http::Http,
    load,
    report::Outcome,
    target::{Settings, Target},
    times::Times,
    usage::Stretch,
    watch::Watch,
    wire::{Socket, number_of},
};

/// What numbers a relayed event: an unknown field passes untouched.
const NUMBER: &str = "bench_n";

/// Two peers in a call.
struct Pair {
    room: Arc<str>,
    call: String,
    caller: Socket,
    callee: Socket,
}

impl Pair {
    /// Connects two peers and opens a call between them.
    async fn open(target: &Target, index: usize) -> Fallible<Self> {
        let mut http = Http::new(&target.addr);
        let one = target.account(&mut http, &format!("{index}-a")).await?;
        let other = target.account(&mut http, &format!("{index}-b")).await?;
        let room = target.room(&mut http, &one.token, &index.to_string()).await?;
        http.must("POST", &format!("/api/rooms/{room}/join"), &other.token, None).await?;
        let (mut caller, mut callee) =
            (Socket::open(&target.addr, &one.token).await?, Socket::open(&target.addr, &other.token).await?);
        caller.join(&room, None, |_| {}).await?;
        callee.join(&room, None, |_| {}).await?;
        let ask = json!({"room_id": &*room, "capabilities": ["call"]});
        let granted = http.must("POST", "/api/auth/capability", &one.token, Some(&ask)).await?;
        let call = format!("call-{index}");
        let payload = json!({
            "room_id": &*room, "call_id": call, "capability_token": granted["capability_token"], "sdp": "v=0\r\n",
        });
        let offer = json!({"type": "rtc.offer", "id": "offer", "to": callee.peer, "payload": payload});
        caller.say(&[offer.to_string()]).await?;
        caller.answers(["offer"], |_| {}).await?;
        Ok(Self { room, call, caller, callee })
    }
}

/// A candidate on its way.
fn candidate(room: &str, call: &str, to: &str, number: u64) -> String {
    let candidate = json!({
        "candidate": "candidate:842163049 1 udp 1677729535 192.0.2.7 46154 typ srflx raddr 10.0.0.5 rport 46154",
        "sdpMid": "0", "sdpMLineIndex": 0,
    });
    let payload = json!({"room_id": room, "call_id": call, "candidate": candidate, NUMBER: number});
    json!({"type": "rtc.ice", "to": to, "payload": payload}).to_string()
}

/// Waits until a candidate has come that had not; those that come are followed.
async fn hear(socket: &mut Socket, follow: &mut Follow) -> Fallible<()> {
    let before = follow.position();
    while follow.position() == before {
        let mut refused = None;
        socket
            .read(|frame| {
                if frame.starts_with(br#"{"type":"rtc.ice","#)
                    && let Some(number) = number_of(frame, NUMBER)
                {
                    follow.hear(number);
                } else if frame.starts_with(br#"{"type":"system.error""#) {
                    refused = Some(String::from_utf8_lossy(frame).into_owned());
                }
            })
            .await?;
        if let Some(refused) = refused {
            return Err(format!("the relay refused: {refused}"));
        }
    }
    Ok(())
}

/// There and back, again and again, one pair beside the other.
pub(super) async fn run(bench: &Bench) -> Fallible<Outcome> {
    let (count, length) = (bench.connections(50, 3), bench.seconds(10.0, 0.5));
    let target = Target::get(&bench.options, Settings::CHEAP).await?;
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        pairs.push(Pair::open(&target, index).await?);
    }
    load::settle(target.process).await?;
    let stretch = Stretch::begin(target.process)?;
    let watch = Watch::begin("signal", "relayed", stretch);
    let begun = stretch.begun();
    let mut tasks = JoinSet::new();
    for Pair { room, call, mut caller, mut callee } in pairs {
        let relayed = watch.done.clone();
        tasks.spawn(async move {
            let (mut there, mut back, mut times) = (Follow::after(0), Follow::after(0), Times::new());
            let mut sent = 0;
            while begun.elapsed() < length {
                sent += 1;
                let said = Instant::now();
                let round = async {
                    caller.say(&[candidate(&room, &call, &callee.peer, sent)]).await?;
                    hear(&mut callee, &mut there).await?;
                    callee.say(&[candidate(&room, &call, &caller.peer, sent)]).await?;
                    hear(&mut caller, &mut back).await
                };
                match tokio::time::timeout(load::PATIENCE, round).await {
                    Ok(done) => done?,
                    // What has not come by now is lost.
                    Err(_) => break,
                }
                times.note(said.elapsed());
                relayed.fetch_add(2, Ordering::Relaxed);
            }
            let mut faults = there.finish(sent);
            faults += back.finish(sent);
            Ok::<_, String>((sent * 2, faults, times))
        });
    }
    let (mut sent, mut faults, mut times) = (0, Faults::default(), Times::new());
    while let Some(done) = tasks.join_next().await {
        let (one, wrong, took) = done.map_err(|e| format!("a pair died: {e}"))??;
        sent += one;
        faults += wrong;
        times.add(&took);
    }
    let cost = stretch.end()?;

    let title = format!("{count} pairs in calls, one candidate of each on its way");
    let mut out = Outcome::new("signal", title, &[("connections", count as u64 * 2)]);
    out.samples = watch.end().await;
    out.unit = "relayed";
    (out.deliveries, out.faults) = (sent, faults);
    out.figure("relayed_per_second", "relayed events a second", sent as f64 / cost.seconds, "");
    if let Some(cpu) = cost.cpu {
        out.figure("cpu_seconds_per_million", "CPU seconds a million relayed", cpu / sent.max(1) as f64 * 1e6, "s");
    }
    out.latency("there and back, two relays", times);
    Ok(out)
}
