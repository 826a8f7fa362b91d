//! The dashboard and the alert rules of `deploy/` ask for nothing that the server does not tell.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use super::scrape;
use crate::kit::Server;

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name)).unwrap()
}

/// The names of figures in an expression, and the labels' values that it selects by.
fn asked(expression: &str) -> (BTreeSet<String>, Vec<(String, String)>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c| !is_name(c));
    let names = words.filter(|w| w.starts_with("mesh_") || w.starts_with("process_")).map(str::to_owned);
    let mut selected = Vec::new();
    for part in expression.split('{').skip(1) {
        let Some((inside, _)) = part.split_once('}') else { continue };
        for pair in inside.split(',') {
            if let Some((label, value)) = pair.split_once('=').filter(|(_, value)| value.starts_with('"')) {
                selected.push((label.trim_end_matches('!').trim().to_owned(), value.trim_matches('"').to_owned()));
            }
        }
    }
    (names.collect(), selected)
}

fn expressions(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => into.push(text.clone()),
                    value => expressions(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, into)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_ask_for_what_there_is() {
    let server = Server::start().await;
    let ana = server.register("ana").await;
    let room = server.room(&ana, "Cuisine").await;
    let mut peer = server.peer(&ana).await;
    peer.join(&room).await;
    peer.say(&room, "Bonjour").await;
    // A refusal by a handler that failed is nothing that a test can have; its class is in the table all the same.
    // The first of all makes the scrape's own route known.
    scrape(&server).await;
    let samples = scrape(&server).await;
    let told: BTreeSet<&str> = samples.iter().map(|s| s.name.as_str()).collect();

    let dashboard: Value = serde_json::from_str(&file("grafana-dashboard.json")).unwrap();
    let mut all = Vec::new();
    expressions(&dashboard, &mut all);
    assert!(all.len() >= 20, "{}", all.len());
    let rules = file("prometheus-alerts.yml");
    let alerts: Vec<String> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect();
    assert_eq!(alerts.len(), rules.matches("- alert: ").count());
    assert!(alerts.len() >= 10, "{}", alerts.len());
    all.extend(alerts);
    for expression in &all {
        let (names, selected) = asked(expression);
        assert!(!names.is_empty() || expression.contains("up{"), "{expression} asks for nothing of ours");
        for name in &names {
            assert!(told.contains(name.as_str()), "{expression} asks for {name}, which the server does not tell");
        }
        for (label, value) in selected {
            if ["job", "instance", "status", "route"].contains(&label.as_str()) || value.starts_with('$') {
                continue;
            }
            let there = samples.iter().any(|s| names.contains(&s.name) && s.labels.get(&label) == Some(&value));
            assert!(there, "{expression} asks for {label}={value:?}, which the server does not tell");
        }
    }
    // Each family of ours stands on the dashboard or in a rule: what nobody looks at need not be counted.
    let everything = all.join("\n");
    for name in told.iter().filter(|name| name.starts_with("mesh_")) {
        let family = ["_bucket", "_sum", "_count"].iter().fold(*name, |n, suffix| n.strip_suffix(suffix).unwrap_or(n));
        assert!(everything.contains(family), "nobody looks at {family}");
    }
    let ids: Vec<_> = dashboard["panels"].as_array().unwrap().iter().map(|p| p["id"].clone()).collect();
    assert_eq!(json!(ids), json!((1..=ids.len()).collect::<Vec<_>>()), "every panel has its own number");
    server.stop().await;
}
