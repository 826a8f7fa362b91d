use std::time::Duration;

use super::*;

#[test]
fn values_fall_into_the_range_that_they_do_not_exceed() {
    let sizes = Histogram::of_sizes();
    for value in [1, 1, 2, 3, 256, 257, 0] {
        sizes.note(value);
    }
    let (buckets, sum) = sizes.read();
    let until = |bound| buckets.iter().find(|(b, _)| *b == bound).unwrap().1;
    assert_eq!((until(Some(1)), until(Some(2)), until(Some(4)), until(Some(256)), until(None)), (3, 4, 5, 6, 7));
    assert_eq!(sum, 520);
}

#[test]
fn what_no_table_names_is_counted_without_its_name() {
    let http = Http::default();
    http.answered("GET", Some("/api/rooms/{id}"), 200, Duration::from_millis(3));
    for index in 0..100 {
        http.answered(&format!("BREW{index}"), None, 404, Duration::ZERO);
    }
    let counters = Counters::new(LOGINS);
    counters.count_word("ok");
    counters.count_word("anything");
    assert_eq!(counters.read().filter(|(_, n)| *n > 0).collect::<Vec<_>>(), [("ok", 1), ("other", 1)]);
    let mut text = Text::new(Format::Prometheus);
    http.write(&mut text);
    let text = text.finish();
    assert!(
        text.contains("mesh_http_requests_total{method=\"other\",route=\"(none)\",status=\"4xx\"} 100\n"),
        "{text}"
    );
    assert!(text.contains("{method=\"GET\",route=\"/api/rooms/{id}\",le=\"0.005\"} 1\n"), "{text}");
    assert!(!text.contains("BREW"), "{text}");
}

#[test]
fn trouble_is_news_once() {
    let store = Store::default();
    assert_eq!((store.trouble(), store.note(None)), (None, false));
    assert!(store.note(Some(Trouble::DiskFull)) && !store.note(Some(Trouble::DiskFull)));
    assert_eq!(store.trouble(), Some(Trouble::DiskFull));
    assert!(store.note(Some(Trouble::Unreachable)) && store.note(None) && !store.note(None));
    assert_eq!(store.trouble(), None);
}

#[test]
fn the_format_is_the_scrapers_choice() {
    for (accept, open) in [
        ("", false),
        ("*/*", false),
        ("text/plain;version=0.0.4", false),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2", true),
        ("text/plain, application/openmetrics-text", true),
        ("application/openmetrics-text; q=0, text/plain", false),
    ] {
        assert_eq!(Format::wanted(accept) == Format::OpenMetrics, open, "{accept}");
    }
}

#[test]
fn both_formats_say_the_same_in_their_own_way() {
    let write = |format| {
        let mut text = Text::new(format);
        text.counter("a", "A.", 3);
        text.family("b", Kind::Info, "B.");
        text.sample("_info", &[("word", "\"x\"\\\n")], 1);
        text.finish()
    };
    let same = "a_total 3\n";
    let prometheus = write(Format::Prometheus);
    assert!(prometheus.starts_with("# HELP a_total A.\n# TYPE a_total counter\n") && prometheus.contains(same));
    assert!(prometheus.ends_with("# TYPE b_info gauge\nb_info{word=\"\\\"x\\\"\\\\\\n\"} 1\n"), "{prometheus}");
    let open = write(Format::OpenMetrics);
    assert!(open.starts_with("# HELP a A.\n# TYPE a counter\n") && open.contains(same) && open.ends_with("# EOF\n"));
}
