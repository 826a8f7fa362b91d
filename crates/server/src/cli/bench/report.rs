//! What was measured, and how it is told: a table with histograms, JSON, Markdown.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use super::{Fallible, check::Faults, times::Times, usage::Sample};
use crate::{clock::Clock, service::info};

/// What a figure should be, as `docs/performance.md` says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// One number.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) goal: Option<Goal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) met: Option<bool>,
}

/// How long one kind of thing took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) title: String,
    #[serde(flatten)]
    pub(super) times: Times,
}

/// What one scenario gave.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) scenario: &'static str,
    /// One sentence: what was done.
    pub(super) title: String,
    pub(super) parameters: BTreeMap<&'static str, u64>,
    pub(super) figures: Vec<Figure>,
    pub(super) latencies: Vec<Latency>,
    /// How it went over time.
    pub(super) samples: Vec<Sample>,
    /// What `done` counts in them.
    pub(super) unit: &'static str,
    pub(super) deliveries: u64,
    pub(super) faults: Faults,
}

impl Outcome {
    pub(super) fn new(scenario: &'static str, title: String, parameters: &[(&'static str, u64)]) -> Self {
        Self {
            scenario,
            title,
            parameters: parameters.iter().copied().collect(),
            figures: Vec::new(),
            latencies: Vec::new(),
            samples: Vec::new(),
            unit: "",
            deliveries: 0,
            faults: Faults::default(),
        }
    }

    /// Adds a figure without a goal.
    pub(super) fn figure(&mut self, name: &'static str, title: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name, title: title.into(), value, unit, goal: None, met: None });
    }

    /// Adds a figure with a goal.
    pub(super) fn judged(
        &mut self,
        name: &'static str,
        title: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        let met = match goal {
            Goal::AtMost(most) => value <= most,
            Goal::AtLeast(least) => value >= least,
        };
        self.figures.push(Figure { name, title: title.into(), value, unit, goal: Some(goal), met: Some(met) });
    }

    /// Adds a figure in seconds, or of a second, which are a machine's own: its goal counts where it stands `alone`, and
    /// not beside what the same machine did otherwise.
    pub(super) fn judged_alone(
        &mut self,
        alone: bool,
        name: &'static str,
        title: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        match alone {
            true => self.judged(name, title, value, unit, goal),
            false => self.figure(name, title, value, unit),
        }
    }

    pub(super) fn latency(&mut self, title: impl Into<String>, times: Times) {
        self.latencies.push(Latency { title: title.into(), times });
    }
}

/// The machine that it ran on.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    cores: usize,
    processor: String,
    memory_mib: u64,
    kernel: String,
}

impl Machine {
    fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_mib: memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }

    fn words(&self) -> String {
        let gib = self.memory_mib as f64 / 1024.0;
        format!("{} cores ({}), {gib:.0} GiB, Linux {}", self.cores, self.processor, self.kernel)
    }
}

/// All that one run gave.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    date: String,
    machine: Machine,
    quick: bool,
    /// Whether every delivery came, once and in order.
    faultless: bool,
    pub(super) faults: Faults,
    /// Scenarios that could not be measured, each with its reason.
    pub(super) failures: Vec<String>,
    pub(super) outcomes: Vec<Outcome>,
}

impl Report {
    /// Where `judged` is false, goals are left out: they are meant for the scenarios' own sizes.
    pub(super) fn new(mut outcomes: Vec<Outcome>, failures: Vec<String>, quick: bool, judged: bool) -> Self {
        if !judged {
            outcomes.iter_mut().flat_map(|outcome| &mut outcome.figures).for_each(|f| (f.goal, f.met) = (None, None));
        }
        let mut faults = Faults::default();
        outcomes.iter().for_each(|outcome| faults += outcome.faults);
        let date = Clock::System.now().to_string();
        Self {
            version: info::VERSION,
            date,
            machine: Machine::this(),
            quick,
            faultless: faults.none(),
            faults,
            failures,
            outcomes,
        }
    }

    pub(super) fn json(&self) -> Fallible<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|e| e.to_string())
    }

    /// What it was measured on and when, in a line.
    pub(super) fn origin(&self) -> String {
        let day = self.date.split('T').next().unwrap_or_default();
        let quick = if self.quick { ", sizes of --quick, which say nothing of speed" } else { "" };
        format!("mesh-server {}, {day}, {}{quick}", self.version, self.machine.words())
    }

    /// The table for a terminal.
    pub(super) fn text(&self) -> String {
        let mut out = format!("{}\n", self.origin());
        for outcome in &self.outcomes {
            let _ = write!(out, "\n{}: {}\n", outcome.scenario, outcome.title);
            for figure in &outcome.figures {
                let value = format!("{} {}", number(figure.value), figure.unit);
                let _ = writeln!(out, "  {:<58} {value:>16}{}", figure.title, judgement(figure));
            }
            for latency in &outcome.latencies {
                histogram(&mut out, latency);
            }
            if outcome.deliveries > 0 {
                let _ = writeln!(out, "  {}", verdict(outcome.deliveries, outcome.faults));
            }
        }
        for failure in &self.failures {
            let _ = writeln!(out, "\nNOT MEASURED: {failure}");
        }
        out
    }

    /// The same as Markdown, for a document.
    pub(super) fn markdown(&self) -> String {
        let mut out =
            format!("{}.\n\n| scenario | figure | measured | goal |\n| --- | --- | ---: | --- |\n", self.origin());
        for outcome in &self.outcomes {
            for figure in &outcome.figures {
                let goal = match (figure.goal, figure.met) {
                    (Some(goal), Some(met)) => format!("{}{}", goal_words(goal), if met { "" } else { ", **missed**" }),
                    _ => String::new(),
                };
                let (title, value) = (&figure.title, number(figure.value));
                let _ = writeln!(out, "| `{}` | {title} | {value} {} | {goal} |", outcome.scenario, figure.unit);
            }
            for Latency { title, times } in &outcome.latencies {
                let ms = [0.5, 0.99, 0.999].map(|quantile| number(times.ms(quantile)));
                let [p50, p99, p999] = ms;
                let _ =
                    writeln!(out, "| `{}` | {title}: p50, p99, p99.9 | {p50}, {p99}, {p999} ms | |", outcome.scenario);
            }
        }
        let deliveries = self.outcomes.iter().map(|outcome| outcome.deliveries).sum();
        let _ = write!(out, "\n{}.\n", verdict(deliveries, self.faults));
        for failure in &self.failures {
            let _ = write!(out, "\nNot measured: {failure}.\n");
        }
        out
    }
}

/// What became of the deliveries.
pub(super) fn verdict(deliveries: u64, faults: Faults) -> String {
    if faults.none() {
        return format!("{} deliveries, each once and in order", number(deliveries as f64));
    }
    let Faults { lost, repeated, out_of_order } = faults;
    format!(
        "FAULTS in {} deliveries: {lost} lost, {repeated} repeated, {out_of_order} out of order",
        number(deliveries as f64)
    )
}

pub(super) fn goal_words(goal: Goal) -> String {
    match goal {
        Goal::AtMost(most) => format!("≤ {}", number(most)),
        Goal::AtLeast(least) => format!("≥ {}", number(least)),
    }
}

fn judgement(figure: &Figure) -> String {
    match (figure.goal, figure.met) {
        (Some(goal), Some(met)) => format!("   {} {}", goal_words(goal), if met { "ok" } else { "MISSED" }),
        _ => String::new(),
    }
}

/// Three digits that matter, or a whole number; thousands set apart.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if value.abs() < 1_000.0 {
        return text;
    }
    let mut out = String::new();
    for (index, digit) in text.chars().enumerate() {
        if index > 0 && (text.len() - index) % 3 == 0 && digit.is_ascii_digit() && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn histogram(out: &mut String, Latency { title, times }: &Latency) {
    if times.count() == 0 {
        return;
    }
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|quantile| number(times.ms(quantile)));
    let _ = writeln!(
        out,
        "  {title}: p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, most {} ms, of {}",
        number(times.max_ms()),
        number(times.count() as f64)
    );
    let bars = times.bars();
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
    for bar in bars {
        // What is there at all is seen.
        let width = (bar.count * 50).div_ceil(most) as usize;
        let (to, stars) = (number(bar.to_us as f64 / 1e3), "#".repeat(width));
        let _ = writeln!(out, "  {:>14} ms |{stars:<50}| {}", format!("< {to}"), number(bar.count as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_no_goal_beside_a_ratio() {
        let mut out = Outcome::new("x", String::new(), &[]);
        out.judged_alone(true, "a", "a", 9.0, "s", Goal::AtMost(8.0));
        out.judged_alone(false, "b", "b", 9.0, "s", Goal::AtMost(8.0));
        assert_eq!(out.figures.iter().map(|figure| figure.met).collect::<Vec<_>>(), [Some(false), None]);
    }

    #[test]
    fn numbers_are_short_and_whole() {
        let cases = [
            (0.0, "0"),
            (20.0, "20"),
            (0.24, "0.240"),
            (0.0312, "0.0312"),
            (4.857, "4.86"),
            (14.24, "14.2"),
            (999.4, "999"),
            (3_090_123.0, "3,090,123"),
            (52_999.7, "53,000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn faults_are_told_everywhere() {
        let mut outcome = Outcome::new("fanout", "a test".to_owned(), &[("connections", 3)]);
        outcome.judged("cpu", "CPU", 0.5, "s", Goal::AtMost(0.4));
        (outcome.deliveries, outcome.faults) = (1_000, Faults { lost: 2, repeated: 0, out_of_order: 1 });
        let report = Report::new(vec![outcome], vec!["idle: no such server".to_owned()], true, true);
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!((&json["faultless"], &json["faults"]["lost"]), (&false.into(), &2.into()));
        for text in [report.text(), report.markdown()] {
            assert!(text.contains("1,000 deliveries: 2 lost, 0 repeated, 1 out of order"), "{text}");
        }
        assert!(report.text().contains("≤ 0.400 MISSED"));
        assert!(report.text().contains("NOT MEASURED: idle: no such server"));
        let unjudged = Report::new(report.outcomes, Vec::new(), true, false);
        assert!(!unjudged.text().contains("MISSED") && !unjudged.json().unwrap().contains("\"met\""));
    }
}
