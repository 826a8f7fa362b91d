//! The report as one page that asks nobody for anything.

use std::fmt::Write as _;

use super::{
    report::{Latency, Outcome, Report, goal_words, number, verdict},
    usage::Sample,
};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2.5rem 0 .3rem}table{border-collapse:collapse;margin:.8rem 0}\
td,th{padding:.2rem .9rem .2rem 0;text-align:left;border-bottom:1px solid #8884}td.n{text-align:right;font-variant-numeric:tabular-nums}\
.ok{color:#1a7f37}.missed,.fault{color:#b3261e;font-weight:600}figure{display:inline-block;margin:.5rem 1.2rem .5rem 0}\
figcaption{font-size:.85rem;opacity:.8}svg{display:block}svg text{font:11px system-ui,sans-serif;fill:currentColor}\
@media(prefers-color-scheme:dark){body{color:#e6e9ec;background:#14171a}.ok{color:#57d364}.missed,.fault{color:#ff8a80}}";

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 62.0;
const BOTTOM: f64 = 20.0;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>mesh-server bench</title><style>{STYLE}</style></head><body><h1>mesh-server bench</h1><p>{}</p>\n",
        escaped(&report.origin())
    );
    for outcome in &report.outcomes {
        section(&mut out, outcome);
    }
    for failure in &report.failures {
        let _ = write!(out, "<p class=\"fault\">Not measured: {}</p>", escaped(failure));
    }
    out.push_str("</body></html>\n");
    out
}

fn section(out: &mut String, outcome: &Outcome) {
    let _ = write!(out, "<section><h2>{}</h2><p>{}</p><table>", outcome.scenario, escaped(&outcome.title));
    for figure in &outcome.figures {
        let goal = match (figure.goal, figure.met) {
            (Some(goal), Some(true)) => format!("<span class=\"ok\">{} ✓</span>", goal_words(goal)),
            (Some(goal), _) => format!("<span class=\"missed\">{} missed</span>", goal_words(goal)),
            _ => String::new(),
        };
        let (title, value) = (escaped(&figure.title), number(figure.value));
        let _ =
            write!(out, "<tr><td>{title}</td><td class=\"n\">{value}</td><td>{}</td><td>{goal}</td></tr>", figure.unit);
    }
    out.push_str("</table>");
    if outcome.deliveries > 0 {
        let class = if outcome.faults.none() { "ok" } else { "fault" };
        let _ = write!(out, "<p class=\"{class}\">{}</p>", verdict(outcome.deliveries, outcome.faults));
    }
    for latency in &outcome.latencies {
        bars(out, latency);
    }
    if outcome.samples.len() > 2 {
        let rate = |samples: &[Sample], value: fn(&Sample) -> f64| {
            let pairs = samples.windows(2).filter_map(|pair| match pair {
                [a, b] if b.at > a.at => Some((b.at, (value(b) - value(a)) / (b.at - a.at))),
                _ => None,
            });
            pairs.collect::<Vec<_>>()
        };
        line(out, &format!("{} a second", outcome.unit), &rate(&outcome.samples, |s| s.done as f64));
        let cpu: Vec<_> = rate(&outcome.samples, |s| s.cpu).iter().map(|(at, cpu)| (*at, cpu * 100.0)).collect();
        line(out, "CPU of the server, % of one core", &cpu);
        let memory: Vec<_> = outcome.samples.iter().map(|s| (s.at, s.resident_kib / 1024.0)).collect();
        line(out, "memory of the server, MiB", &memory);
    }
    out.push_str("</section>\n");
}

fn open(out: &mut String, caption: &str) {
    let _ = write!(
        out,
        "<figure><figcaption>{}</figcaption><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">",
        escaped(caption)
    );
}

fn line(out: &mut String, caption: &str, points: &[(f64, f64)]) {
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let last = points.last().map_or(1.0, |(at, _)| *at).max(0.001);
    if most <= 0.0 {
        return;
    }
    open(out, caption);
    axis(out, &number(most), &format!("{last:.1} s"));
    let mut path = String::new();
    for (at, value) in points {
        let x = LEFT + at / last * (WIDTH - LEFT - 4.0);
        let y = 4.0 + (1.0 - value / most) * (HEIGHT - BOTTOM - 4.0);
        let _ = write!(path, "{x:.1},{y:.1} ");
    }
    let _ = write!(
        out,
        "<polyline points=\"{path}\" fill=\"none\" stroke=\"#2f6fde\" stroke-width=\"1.6\"/></svg></figure>"
    );
}

fn axis(out: &mut String, most: &str, last: &str) {
    let floor = HEIGHT - BOTTOM;
    let _ = write!(
        out,
        "<path d=\"M{LEFT} 4V{floor}H{WIDTH}\" fill=\"none\" stroke=\"currentColor\" stroke-opacity=\".5\"/>\
         <text x=\"{}\" y=\"14\" text-anchor=\"end\">{most}</text><text x=\"{}\" y=\"{floor}\" text-anchor=\"end\">0</text>\
         <text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{last}</text>",
        LEFT - 5.0,
        LEFT - 5.0,
        HEIGHT - 5.0
    );
}

/// A histogram over steps that double.
fn bars(out: &mut String, Latency { title, times }: &Latency) {
    let bars = times.bars();
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0);
    if most == 0 {
        return;
    }
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| number(times.ms(quantile)));
    open(out, &format!("{title}: p50 {p50}, p99 {p99}, p99.9 {p999} ms"));
    let ends = bars.first().zip(bars.last());
    let (first, last) = ends.map_or((0, 0), |(first, last)| (first.from_us, last.to_us));
    axis(out, &number(most as f64), &format!("{} ms", number(last as f64 / 1e3)));
    let step = (WIDTH - LEFT - 4.0) / bars.len() as f64;
    for (index, bar) in bars.iter().enumerate() {
        let tall = bar.count as f64 / most as f64 * (HEIGHT - BOTTOM - 4.0);
        let (from, to) = (number(bar.from_us as f64 / 1e3), number(bar.to_us as f64 / 1e3));
        let _ = write!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"#2f6fde\"><title>{from} to {to} ms: {}</title></rect>",
            LEFT + 2.0 + index as f64 * step,
            HEIGHT - BOTTOM - tall,
            (step - 2.0).max(1.0),
            number(bar.count as f64)
        );
    }
    let _ =
        write!(out, "<text x=\"{LEFT}\" y=\"{}\">{}</text></svg></figure>", HEIGHT - 5.0, number(first as f64 / 1e3));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::times::Times;

    #[test]
    fn the_page_asks_nobody_and_escapes_what_it_shows() {
        let mut outcome = Outcome::new("send", "1 < 2 & so on".to_owned(), &[]);
        let mut times = Times::new();
        times.note_us(900);
        outcome.latency("a <send>", times);
        outcome.samples = (0..4)
            .map(|n| Sample { at: f64::from(n), done: u64::from(n as u32 * 9), cpu: 0.5, resident_kib: 9e3 })
            .collect();
        outcome.unit = "sends";
        let page = page(&Report::new(vec![outcome], vec!["join: <gone>".to_owned()], true, true));
        assert!(page.contains("1 &lt; 2 &amp; so on") && page.contains("a &lt;send&gt;"), "{page}");
        assert!(page.contains("Not measured: join: &lt;gone&gt;"), "{page}");
        assert_eq!(page.matches("<svg").count(), 3, "a histogram, a rate, memory: {page}");
        for asked in ["http://", "https://", "src=", "url(", "<script", "<link"] {
            assert!(!page.contains(asked), "{asked}");
        }
    }
}
