//! Times, and what is said of many of them.

use hdrhistogram::Histogram;
use serde::{Serialize, Serializer, ser::SerializeSeq as _};

/// How long something took, many times.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// In microseconds. None until there is something to note: most connections only listen, and memory for it would be a
    /// sixth of what opening one costs the bench.
    histogram: Option<Box<Histogram<u64>>>,
}

/// A step of a printed histogram.
pub(super) struct Bar {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    pub(super) count: u64,
}

impl Times {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// From a microsecond to ten minutes, to two digits.
    fn histogram(&mut self) -> &mut Histogram<u64> {
        self.histogram.get_or_insert_with(|| {
            let histogram = Histogram::new_with_bounds(1, 600_000_000, 2);
            // The bounds are in order.
            Box::new(histogram.unwrap_or_else(|_| unreachable!("the bounds are constants")))
        })
    }

    /// Takes the memory now that the first time would need: while times are taken it would be part of them.
    pub(super) fn prepare(&mut self) {
        self.histogram();
    }

    pub(super) fn note_us(&mut self, microseconds: u64) {
        self.histogram().saturating_record(microseconds.max(1));
    }

    pub(super) fn note(&mut self, time: std::time::Duration) {
        self.note_us(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn add(&mut self, other: &Self) {
        if let Some(other) = &other.histogram {
            // Both have the same bounds.
            let _ = self.histogram().add(&**other);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.len())
    }

    /// A quantile in milliseconds.
    pub(super) fn ms(&self, quantile: f64) -> f64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile)) as f64 / 1e3
    }

    pub(super) fn max_ms(&self) -> f64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.max()) as f64 / 1e3
    }

    /// Steps that double, from the first that holds something to the last.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let mut bars: Vec<Bar> = Vec::new();
        for value in self.histogram.iter().flat_map(|histogram| histogram.iter_recorded()) {
            let (at, count) = (value.value_iterated_to(), value.count_at_value());
            let from_us = 1_u64 << at.max(1).ilog2();
            loop {
                match bars.last_mut() {
                    Some(last) if last.from_us == from_us => {
                        last.count += count;
                        break;
                    }
                    Some(last) => {
                        let next = last.to_us;
                        bars.push(Bar { from_us: next, to_us: next * 2, count: 0 });
                    }
                    None => bars.push(Bar { from_us, to_us: from_us * 2, count: 0 }),
                }
            }
        }
        bars
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct Bars<'a>(&'a Times);
        impl Serialize for Bars<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let recorded = || self.0.histogram.iter().flat_map(|histogram| histogram.iter_recorded());
                let mut list = to.serialize_seq(Some(recorded().count()))?;
                for value in recorded() {
                    list.serialize_element(&(value.value_iterated_to(), value.count_at_value()))?;
                }
                list.end()
            }
        }
        #[derive(Serialize)]
        struct View<'a> {
            count: u64,
            p50_ms: f64,
            p90_ms: f64,
            p99_ms: f64,
            p999_ms: f64,
            max_ms: f64,
            /// Up to so many microseconds, so often.
            buckets: Bars<'a>,
        }
        let ms = |quantile| self.ms(quantile);
        View {
            count: self.count(),
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: self.max_ms(),
            buckets: Bars(self),
        }
        .serialize(to)
    }
}

/// The one in the middle; of two, the higher.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The median of what each is as a multiple of its fellow, round by round: a slow second of the machine hits both of a pair.
pub(super) fn multiple(ours: impl Iterator<Item = f64>, theirs: impl Iterator<Item = f64>) -> Option<f64> {
    median(ours.zip(theirs).map(|(ours, theirs)| ours / theirs.max(0.001)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(multiple([3.0, 10.0, 8.0].into_iter(), [1.0, 5.0, 8.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0].into_iter()), Some(4.0));
        assert_eq!(median([].into_iter()), None);
    }

    #[test]
    fn times_are_counted_into_steps_that_double() {
        let mut times = Times::new();
        for us in [3, 3, 5, 40] {
            times.note_us(us);
        }
        let bars: Vec<_> = times.bars().iter().map(|bar| (bar.from_us, bar.to_us, bar.count)).collect();
        assert_eq!(bars, [(2, 4, 2), (4, 8, 1), (8, 16, 0), (16, 32, 0), (32, 64, 1)]);
        assert_eq!(times.count(), 4);
    }
}
