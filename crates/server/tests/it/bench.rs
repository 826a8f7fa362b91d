//! `mesh-server bench`: every scenario in small, what it writes, and how it ends.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::Output,
    thread,
};

use serde_json::Value;

use crate::kit::{Binary, Database};

fn bench(dir: &Path, arguments: &[&str]) -> Output {
    Binary::command(dir).arg("bench").args(arguments).output().unwrap()
}

fn json(dir: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("bench.json")).unwrap()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Each figure is a number, each delivery was made, and the documents agree.
#[test]
fn every_scenario_runs_in_small() {
    let dir = tempfile::tempdir().unwrap();
    let ran = bench(dir.path(), &["all", "--quick", "--json", "bench.json", "--html", "bench.html"]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let report = json(dir.path());
    assert_eq!((&report["faultless"], &report["quick"]), (&true.into(), &true.into()));
    let outcomes = report["outcomes"].as_array().unwrap();
    let names: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome["scenario"].as_str().unwrap()).collect();
    let all = ["fanout", "fanout-paced", "idle", "join", "login", "mixed", "rest", "send", "signal", "start", "storm"];
    assert_eq!(names, BTreeSet::from(all));
    let page = std::fs::read_to_string(dir.path().join("bench.html")).unwrap();
    for outcome in outcomes {
        let name = outcome["scenario"].as_str().unwrap();
        let figures = outcome["figures"].as_array().unwrap();
        assert!(!figures.is_empty() && figures.iter().all(|figure| figure["value"].is_f64()), "{outcome}");
        assert!(outcome["deliveries"].as_u64().unwrap() > 0 || ["start", "rest"].contains(&name), "{outcome}");
        for latency in outcome["latencies"].as_array().unwrap() {
            assert!(latency["count"].as_u64().unwrap() > 0 && latency["p50_ms"].as_f64() <= latency["max_ms"].as_f64());
        }
        assert!(text(&ran.stdout).contains(&format!("\n{name}: ")) && page.contains(&format!("<h2>{name}</h2>")));
    }
    let beside = [
        ("fanout", "limit_deliveries_per_second"),
        ("fanout", "cpu_of_limit"),
        ("fanout-paced", "cpu_of_limit"),
        ("rest", "me_of_limit"),
        ("rest", "rooms_of_limit"),
    ];
    for (scenario, name) in beside {
        let outcome = outcomes.iter().find(|outcome| outcome["scenario"] == scenario).unwrap();
        assert!(
            outcome["figures"].as_array().unwrap().iter().any(|figure| figure["name"] == name),
            "{name}: {outcome}"
        );
    }
    // What was started has ended, and left nothing.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

/// nats-server is given the same loads, and each of its deliveries is looked at too.
#[test]
fn nats_server_stands_beside() {
    // `./test` installs it, or says that it could not.
    let Some(nats) = std::env::var_os("MESH_TEST_NATS_SERVER") else { return };
    let dir = tempfile::tempdir().unwrap();
    let nats = nats.into_string().unwrap();
    let ran = bench(dir.path(), &["idle", "fanout", "--quick", "--nats", &nats, "--json", "bench.json"]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let report = json(dir.path());
    assert_eq!(report["faultless"], true);
    let figure = |outcome: usize, name: &str| {
        let figures = report["outcomes"][outcome]["figures"].as_array().unwrap();
        let found = figures.iter().find(|figure| figure["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {report}"))["value"].as_f64().unwrap()
    };
    assert!(figure(0, "nats_accepted_per_second") > 0.0 && figure(1, "nats_deliveries_per_second") > 0.0);
    assert!(figure(2, "nats_p99_ms") > 0.0);
    // Ten receivers heard what two servers said.
    let deliveries = report["outcomes"][2]["deliveries"].as_u64().unwrap();
    assert_eq!(deliveries, 10 * 2 * 10, "half a second at 20 messages a second, twice: {report}");
    let ran = bench(dir.path(), &["fanout", "--quick", "--nats", "/nowhere/nats-server"]);
    assert!(text(&ran.stderr).contains("/nowhere/nats-server cannot be started"), "{}", text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(1));
}

/// Receivers that have their events compressed hear the same, in fewer bytes.
#[test]
fn compressed_deliveries_are_counted_too() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = |more: &[&str]| {
        let ran = bench(dir.path(), &[&["fanout", "--quick", "--json", "bench.json"], more].concat());
        assert!(ran.status.success(), "{}", text(&ran.stderr));
        let report = json(dir.path());
        assert_eq!(report["faultless"], true);
        assert!(report["outcomes"][1]["deliveries"].as_u64().unwrap() > 0);
        let figures = report["outcomes"][0]["figures"].as_array().unwrap();
        let bytes = figures.iter().find(|figure| figure["name"] == "bytes_per_delivery");
        bytes.unwrap_or_else(|| panic!("{report}"))["value"].as_f64().unwrap()
    };
    let (plain, compressed) = (bytes(&[]), bytes(&["--compressed"]));
    assert!(plain > 500.0 && compressed < plain * 0.7, "{plain} {compressed}");
    // A server that is not set to it.
    let database = Database::new();
    let settings = [("MESH_EVENTS_PER_SECOND", "1000000"), ("MESH_LOGIN_ATTEMPTS", "1000000")];
    let server = Binary::start(&database, &settings);
    let ran = bench(dir.path(), &["fanout", "--quick", "--compressed", "--url", &server.base]);
    assert!(text(&ran.stderr).contains("MESH_WS_COMPRESSION=on"), "{}", text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(1));
    server.stop();
}

/// A server that runs already is measured by its process.
#[test]
fn a_running_server_is_measured() {
    let database = Database::new();
    let settings = [("MESH_EVENTS_PER_SECOND", "1000000"), ("MESH_LOGIN_ATTEMPTS", "1000000")];
    let server = Binary::start(&database, &settings);
    let pid = server.pid().to_string();
    let arguments =
        ["send", "idle", "--quick", "--url", &server.base, "--pid", &pid, "--json", "bench.json", "--markdown"];
    let ran = bench(database.dir.path(), &arguments);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    assert!(text(&ran.stdout).contains("| `send` | acknowledged sends a second |"), "{}", text(&ran.stdout));
    let report = json(database.dir.path());
    for outcome in report["outcomes"].as_array().unwrap() {
        let figures = outcome["figures"].as_array().unwrap();
        assert!(figures.iter().any(|figure| figure["name"].as_str().unwrap().starts_with("cpu_seconds")), "{outcome}");
    }
    // A cold start is no matter of a server that runs; what else was asked for is measured all the same.
    let ran = bench(database.dir.path(), &["start", "idle", "--quick", "--url", &server.base, "--json", "bench.json"]);
    let report = json(database.dir.path());
    assert_eq!(report["outcomes"][0]["scenario"], "idle", "{report}");
    assert!(report["failures"][0].as_str().unwrap().starts_with("start: "), "{report}");
    assert_eq!((ran.status.code(), text(&ran.stderr).contains("leave --url out")), (Some(1), true));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, word) in [
        (&["sleep"][..], "possible values"),
        (&["fanout", "--rate", "0"], "from 0.001"),
        (&["idle", "--connections", "0"], "--connections"),
        (&["idle", "--url", "https://box"], "not its proxy"),
        (&["idle", "--pid", "1"], "--url"),
    ] {
        let ran = bench(dir.path(), arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}");
        assert!(text(&ran.stderr).contains(word), "{}", text(&ran.stderr));
    }
    let ran = bench(dir.path(), &["idle", "--quick", "--url", "http://127.0.0.1:1"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(text(&ran.stderr).contains("cannot connect to 127.0.0.1:1"), "{}", text(&ran.stderr));
}

/// What becomes of the message with the number 5 on its way to each client.
#[derive(Clone, Copy)]
enum Fault {
    Lost,
    Repeated,
    Late,
}

/// Stands before a server and passes everything on, but for that message; its address.
fn faulty(server: &str, fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("http://").to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else { return };
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            thread::spawn(move || {
                let _ = pass_on(server, &client, fault);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    base
}

fn pass_on(server: TcpStream, mut client: &TcpStream, fault: Fault) -> io::Result<()> {
    let mut server = BufReader::new(server);
    let mut line = String::new();
    server.read_line(&mut line)?;
    client.write_all(line.as_bytes())?;
    if !line.starts_with("HTTP/1.1 101") {
        io::copy(&mut server, &mut client)?;
        return Ok(());
    }
    while !["", "\r\n"].contains(&&*line) {
        line.clear();
        server.read_line(&mut line)?;
        client.write_all(line.as_bytes())?;
    }
    let mut late = Vec::new();
    loop {
        let mut frame = vec![0; 2];
        server.read_exact(&mut frame)?;
        frame.resize(2 + [0, 2, 8][usize::from(frame[1].saturating_sub(125))], 0);
        server.read_exact(&mut frame[2..])?;
        let length = match &frame[1..] {
            [length] => usize::from(*length),
            [_, long @ ..] => long.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            [] => 0,
        };
        let head = frame.len();
        frame.resize(head + length, 0);
        server.read_exact(&mut frame[head..])?;
        let words = text(&frame[head..]);
        if words.starts_with(r#"{"type":"chat.message.created""#) && words.contains(r#","seq":5,"#) {
            match fault {
                Fault::Lost => {}
                Fault::Repeated => client.write_all(&[&*frame, &*frame].concat())?,
                Fault::Late => late = frame,
            }
        } else {
            client.write_all(&frame)?;
            client.write_all(&std::mem::take(&mut late))?;
        }
    }
}

/// The checks can fail, each by its name.
#[test]
fn a_fault_on_the_way_is_found() {
    let database = Database::new();
    let settings = [("MESH_EVENTS_PER_SECOND", "1000000"), ("MESH_LOGIN_ATTEMPTS", "1000000")];
    let server = Binary::start(&database, &settings);
    for (fault, name) in [(Fault::Lost, "lost"), (Fault::Repeated, "repeated"), (Fault::Late, "out_of_order")] {
        let base = faulty(&server.base, fault);
        let arguments = ["fanout", "--rate", "100", "--seconds", "0.9", "--connections", "3", "--url", &base];
        let ran = bench(database.dir.path(), &[&arguments[..], &["--json", "bench.json"]].concat());
        assert_eq!(ran.status.code(), Some(1), "{name}: {}", text(&ran.stderr));
        let report = json(database.dir.path());
        // One message in each of nine rounds, at three receivers.
        let mut wanted = serde_json::json!({"lost": 0, "repeated": 0, "out_of_order": 0});
        wanted[name] = 27.into();
        assert_eq!((&report["faults"], &report["faultless"]), (&wanted, &false.into()), "{name}");
        assert!(text(&ran.stderr).contains("lost, repeated or out of order"), "{}", text(&ran.stderr));
    }
}
