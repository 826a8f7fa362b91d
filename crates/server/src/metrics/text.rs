//! The text that a scraper reads: Prometheus' own (0.0.4), or OpenMetrics (1.0).

use std::fmt::{Display, Write as _};

use super::Histogram;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format that a request asks for by `Accept`.
    pub fn wanted(accept: &str) -> Self {
        // Scrapers that read both name the one they like better; quality values are theirs to leave out.
        let asked = accept.split(',').any(|part| {
            let mut words = part.split(';').map(str::trim);
            let is_it = words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            is_it && !words.any(|word| matches!(word, "q=0" | "q=0.0"))
        });
        if asked { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// What it is called.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family of figures is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How often values fell into which range.
    Histogram,
    /// Words; the value is 1.
    Info,
}

/// The text, as it is written.
pub struct Text {
    out: String,
    format: Format,
    family: &'static str,
}

impl Text {
    /// Nothing yet.
    pub fn new(format: Format) -> Self {
        Self { out: String::with_capacity(32 * 1024), format, family: "" }
    }

    /// Begins a family; `name` is without `_total`.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let open = self.format == Format::OpenMetrics;
        let suffix = match kind {
            Kind::Counter if !open => "_total",
            Kind::Info if !open => "_info",
            _ => "",
        };
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info if open => "info",
            Kind::Info => "gauge",
        };
        self.family = name;
        let _ = writeln!(self.out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}");
        if open && name.ends_with("_seconds") {
            let _ = writeln!(self.out, "# UNIT {name} seconds");
        } else if open && name.ends_with("_bytes") {
            let _ = writeln!(self.out, "# UNIT {name} bytes");
        }
    }

    /// A sample of the family.
    pub fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.out, "{}{suffix}", self.family);
        for (index, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{name}=\"", if index == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample("", &[], value);
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help);
        self.sample("_total", &[], value);
    }

    /// A counter for each word of a label.
    pub fn counters<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'a str, u64)>,
    ) {
        self.family(name, Kind::Counter, help);
        for (word, value) in values {
            self.sample("_total", &[(label, word)], value);
        }
    }

    /// A histogram of times.
    pub fn times(&mut self, name: &'static str, help: &str, histogram: &Histogram) {
        self.family(name, Kind::Histogram, help);
        self.histogram(&[], histogram, 1e-9);
    }

    /// A histogram of numbers.
    pub fn sizes(&mut self, name: &'static str, help: &str, histogram: &Histogram) {
        self.family(name, Kind::Histogram, help);
        self.histogram(&[], histogram, 1.0);
    }

    /// One histogram of the family; its numbers count so many units.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram, unit: f64) {
        let (buckets, sum) = histogram.read();
        let mut all = 0;
        for (bound, until) in buckets {
            all = until;
            // OpenMetrics wants a fraction.
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| decimal(in_units(bound, unit)));
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.sample("_bucket", &labels, until);
        }
        self.sample("_sum", labels, in_units(sum, unit));
        self.sample("_count", labels, all);
    }

    /// The whole.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

#[allow(clippy::cast_precision_loss, reason = "a figure of a page, not a sum of money")]
fn in_units(value: u64, unit: f64) -> f64 {
    if unit < 1.0 { value as f64 / (1.0 / unit).round() } else { value as f64 * unit }
}

fn decimal(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.1}") } else { value.to_string() }
}
