//! The text format of Prometheus, version 0.0.4: each metric with its help, type and samples.

use std::fmt::{Display, Write as _};

use super::Scrape;
use super::histogram::Histogram;
use super::table::{METRICS, Metric};

/// The content type of a page.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole page.
pub(super) fn page(scrape: &Scrape) -> String {
    let mut page = String::new();
    for metric in METRICS {
        let Metric { name, kind, help, .. } = metric;
        put(&mut page, format_args!("# HELP {name} {}\n# TYPE {name} {}\n", escape_help(help), kind.name()));
        (metric.samples)(scrape, &mut Samples { metric, page: &mut page });
    }
    page
}

/// Appends the samples of one metric to a page.
pub(super) struct Samples<'a> {
    metric: &'static Metric,
    page: &'a mut String,
}

impl Samples<'_> {
    /// Adds a sample with a value for each label of the metric.
    pub(super) fn add(&mut self, labels: &[&dyn Display], value: impl Display) {
        self.line("", labels, None, value);
    }

    /// Adds the samples of a histogram, in seconds.
    pub(super) fn add_histogram(&mut self, labels: &[&dyn Display], histogram: &Histogram) {
        for (bound_us, count) in histogram.cumulative() {
            self.line("_bucket", labels, Some(&seconds(bound_us)), count);
        }
        self.line("_bucket", labels, Some(&"+Inf"), histogram.count());
        self.line("_sum", labels, None, seconds(histogram.sum_us()));
        self.line("_count", labels, None, histogram.count());
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[&dyn Display],
        bound: Option<&dyn Display>,
        value: impl Display,
    ) {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "{}", self.metric.name);
        let labels = self.metric.labels.iter().copied().zip(labels.iter().copied());
        let pairs: Vec<String> = labels
            .chain(bound.map(|bound| ("le", bound)))
            .map(|(name, value)| format!("{name}=\"{}\"", escape_label(&value.to_string())))
            .collect();
        let pairs = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        put(self.page, format_args!("{}{suffix}{pairs} {value}\n", self.metric.name));
    }
}

/// Seconds, the base unit.
pub(super) fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("writing to a String does not fail");
}

fn escape_help(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn escape_label(text: &str) -> String {
    escape_help(text).replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_help_are_escaped() {
        assert_eq!(escape_label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
        assert_eq!(escape_help("a\"b\\c\nd"), "a\"b\\\\c\\nd");
    }
}
