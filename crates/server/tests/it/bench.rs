//! `mesh-server bench`: every scenario in small, what it writes, and how it ends.

use std::{collections::BTreeSet, path::Path, process::Output};

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
    // What was started has ended, and left nothing.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
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
    // A cold start is no matter of a server that runs.
    let ran = bench(database.dir.path(), &["start", "--url", &server.base]);
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
