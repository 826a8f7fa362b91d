//! What somebody needs who runs a server for years.

mod backup;
mod backups;
mod copy;
mod deploy;
mod faults;
mod metrics;
mod traces;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};

use crate::kit::Server;

/// A line of figures.
#[derive(Debug, Clone)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Reads Prometheus' text, and refuses what is none.
pub fn parse(text: &str) -> Vec<Sample> {
    let mut types = BTreeMap::new();
    let mut samples = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            let (word, name) = (words.next().unwrap(), words.next().unwrap());
            if word == "TYPE" {
                let twice = types.insert(name.to_owned(), words.next().unwrap().to_owned());
                assert_eq!(twice, None, "{name} has two types");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, rest) = series.split_once('{').unwrap_or((series, ""));
        let mut labels = BTreeMap::new();
        let mut rest = rest.trim_end_matches('}');
        while let Some((label, after)) = rest.split_once("=\"") {
            let end = after.find('"').unwrap();
            let twice = labels.insert(label.trim_start_matches(',').to_owned(), after[..end].to_owned());
            assert_eq!(twice, None, "{line}");
            rest = &after[end + 1..];
        }
        let of = |suffix: &str| name.strip_suffix(suffix).is_some_and(|name| types.contains_key(name));
        assert!(
            types.contains_key(name) || ["_bucket", "_sum", "_count", "_total", "_info"].into_iter().any(of),
            "{line}"
        );
        samples.push(Sample { name: name.to_owned(), labels, value: value.parse().unwrap() });
    }
    samples
}

/// What the server's figures say.
pub async fn scrape(server: &Server) -> Vec<Sample> {
    let response = server.http.get(server.url("/metrics")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    parse(&response.text().await.unwrap())
}

/// The sum of the samples that bear this name and these labels.
pub fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let known: BTreeSet<_> = samples.iter().map(|s| s.name.as_str()).collect();
    assert!(known.contains(name), "there is no {name} among {known:?}");
    let bears = |s: &&Sample| labels.iter().all(|(label, value)| s.labels.get(*label).is_some_and(|is| is == value));
    samples.iter().filter(|s| s.name == name).filter(bears).map(|s| s.value).sum()
}
