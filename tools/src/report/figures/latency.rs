//! How long transactions took: whole distributions, and the hops of single ones.

use super::super::figure::{Drawing, Figure, basis, n_of, quantiles};
use super::super::plot::{Axis, Line, Plot, Shape};
use super::super::rows::{Row, Rows, Shown};
use super::super::run::{Bucket, RunFiles};
use super::super::scale::{Scale, number};
use super::throughput::line;

/// Bins of the linear plot.
const BINS: usize = 60;
/// The kinds of committed transactions, with their labels and colours.
const KINDS: [(&str, &str, usize); 2] = [("intra", "within a shard", 0), ("cross", "across shards", 1)];

/// The distribution of latencies: what most transactions see on a linear axis, and all of it on a logarithmic one.
pub(super) fn distribution(run: &RunFiles) -> Option<Figure> {
    let kinds: Vec<(&str, usize, Vec<&Bucket>)> = KINDS
        .iter()
        .map(|(kind, label, colour)| (*label, *colour, of_kind(run, kind)))
        .filter(|(_, _, buckets)| !buckets.is_empty())
        .collect();
    let count: f64 = kinds.iter().flat_map(|(_, _, buckets)| buckets).map(|bucket| bucket.count).sum();
    let p99 = kinds.iter().filter_map(|(_, _, buckets)| quantile(buckets, 0.99)).reduce(f64::max)?;
    let has_both = kinds.len() > 1;
    let label = |label: &str| if has_both { label.to_string() } else { String::new() };
    let end = Scale::from_zero(p99, 6).max;
    let width = end / BINS as f64;
    let bins: Vec<Line> = kinds
        .iter()
        .map(|(name, colour, buckets)| {
            line(&label(name), *colour, Shape::Area, corners(&binned(buckets, width), width))
        })
        .collect();
    let most =
        bins.iter().flat_map(|line| line.points.iter().flatten()).fold(0.0, |most: f64, (_, y)| most.max(*y));
    let linear = Plot {
        x: Axis::of("latency, up to the 99 % quantile", "ms", Scale::linear(0.0, end)),
        y: Axis::of(
            &format!("share of transactions in each {} ms", number(width)),
            "%",
            Scale::from_zero(most, 4),
        ),
        lines: bins,
        marks: Vec::new(),
        shades: Vec::new(),
        height: 150.0,
    };
    let shares = kinds
        .iter()
        .map(|(name, colour, buckets)| line(&label(name), *colour, Shape::Line, cumulated(buckets)));
    let log = cdf_plot(shares.collect());
    let words = kinds.iter().map(|(name, _, buckets)| in_words(name, buckets, has_both));
    let never: f64 = of_kind(run, "never sent").iter().map(|bucket| bucket.count).sum();
    let never = match never {
        0.0 => String::new(),
        never => format!("; {} more were never sent, since nodes did not take them in time", number(never)),
    };
    Some(Figure {
        id: "latency",
        title: "Latency of transactions".into(),
        finding: words.collect::<Vec<_>>().join(" "),
        drawings: vec![Drawing::Plot(linear), Drawing::Plot(log)],
        list: Vec::new(),
        basis: basis(
            run,
            &format!(
                "{}{never}",
                n_of(count, "committed transactions that were meant to be sent in the measured part")
            ),
        ),
    })
}

/// The share of transactions that took at most so long, by latency, of whatever kind.
pub(in super::super) fn cdf(run: &RunFiles) -> Vec<Option<(f64, f64)>> {
    let mut buckets: Vec<&Bucket> = KINDS.iter().flat_map(|(kind, _, _)| of_kind(run, kind)).collect();
    buckets.sort_by(|a, b| a.until_ms.total_cmp(&b.until_ms));
    cumulated(&buckets)
}

/// A plot of shares by latency on a logarithmic axis.
pub(in super::super) fn cdf_plot(lines: Vec<Line>) -> Plot {
    let values = || lines.iter().flat_map(|line| line.points.iter().flatten().map(|(x, _)| *x));
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    Plot {
        x: Axis::of("latency", "ms, log", Scale::log(least, most)),
        y: Axis::of("share of transactions that took at most so long", "%", Scale::linear(0.0, 100.0)),
        lines,
        marks: Vec::new(),
        shades: Vec::new(),
        height: 150.0,
    }
}

fn of_kind<'a>(run: &'a RunFiles, kind: &str) -> Vec<&'a Bucket> {
    run.latency.iter().filter(|bucket| bucket.kind == kind).collect()
}

fn quantile(buckets: &[&Bucket], share: f64) -> Option<f64> {
    let total: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let mut seen = 0.0;
    buckets.iter().find_map(|bucket| {
        seen += bucket.count;
        (seen >= share * total && seen > 0.0).then_some(bucket.until_ms)
    })
}

fn in_words(name: &str, buckets: &[&Bucket], is_named: bool) -> String {
    let of = |share| quantile(buckets, share).map(number).unwrap_or_default();
    let name = if is_named { format!("{}{}: h", name[..1].to_uppercase(), &name[1..]) } else { "H".into() };
    format!("{name}alf took at most {} ms, 90 % {} ms, 99 % {} ms.", of(0.5), of(0.9), of(0.99))
}

/// The share in each bin, percent. A bucket that lies in several counts in each by its overlap.
fn binned(buckets: &[&Bucket], width: f64) -> Vec<f64> {
    let total: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let mut bins = vec![0.0; BINS];
    for bucket in buckets {
        let length = (bucket.until_ms - bucket.from_ms).max(1e-9);
        let first = (bucket.from_ms / width) as usize;
        for (index, bin) in bins.iter_mut().enumerate().skip(first) {
            let (from, until) = (index as f64 * width, (index + 1) as f64 * width);
            let overlap = bucket.until_ms.min(until) - bucket.from_ms.max(from);
            if overlap <= 0.0 {
                break;
            }
            *bin += 100.0 * bucket.count * overlap / length / total;
        }
    }
    bins
}

/// The corners of the steps that bins are.
fn corners(bins: &[f64], width: f64) -> Vec<Option<(f64, f64)>> {
    let corners = |(index, bin): (usize, &f64)| {
        [Some((index as f64 * width, *bin)), Some(((index + 1) as f64 * width, *bin))]
    };
    bins.iter().enumerate().flat_map(corners).collect()
}

fn cumulated(buckets: &[&Bucket]) -> Vec<Option<(f64, f64)>> {
    let total: f64 = buckets.iter().map(|bucket| bucket.count).sum();
    let mut seen = 0.0;
    let first = buckets.first().map(|bucket| Some((bucket.from_ms.max(0.001), 0.0)));
    let rest = buckets.iter().map(|bucket| {
        seen += bucket.count;
        Some((bucket.until_ms, 100.0 * seen / total))
    });
    first.into_iter().chain(rest).collect()
}

/// The hops of single transactions as the load saw them.
pub(super) fn hops(run: &RunFiles) -> Option<Figure> {
    let stands_for: f64 = run.transactions.iter().map(|(_, _, times)| times).sum();
    let (mut waited, mut answered): (Vec<f64>, Vec<f64>) =
        run.transactions.iter().map(|(waited, answered, _)| (*waited, *answered)).unzip();
    let hops = [
        ("meant to be sent → sent", quantiles(&mut waited)?, 6),
        ("sent → receipt read", quantiles(&mut answered)?, 0),
    ];
    Some(Figure {
        id: "hops-of-the-load",
        title: "Hops of a transaction, as the load saw them".into(),
        finding: "A long first hop means that nodes did not take transactions as fast as they were offered."
            .into(),
        drawings: vec![Drawing::Rows(ranges(&hops))],
        list: Vec::new(),
        basis: basis(
            run,
            &format!(
                "{RANGE} {}, which stand for {}",
                n_of(run.transactions.len() as f64, "finished transactions in transactions.csv"),
                number(stands_for)
            ),
        ),
    })
}

/// What a range shows, for captions.
pub(in super::super) const RANGE: &str = "Stroke: median; box: the middle half; line: all but the fastest and slowest 1 %; 0 stands at the left edge.";

/// Rows of ranges of milliseconds on a logarithmic axis.
pub(in super::super) fn ranges(all: &[(&str, [f64; 5], usize)]) -> Rows {
    let values = || all.iter().flat_map(|(_, range, _)| range.iter().copied()).filter(|value| *value > 0.0);
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    let row = |(name, range, colour): &(&str, [f64; 5], usize)| Row {
        name: name.to_string(),
        colour: *colour,
        shown: Shown::Range(*range),
        text: format!("{} ms, 99 %: {} ms", number(range[2]), number(range[4])),
    };
    Rows {
        x: Axis::of("time", "ms, log", Scale::log(least.max(0.001), most)),
        rows: all.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(kind: &str, from_ms: f64, until_ms: f64, count: f64) -> Bucket {
        Bucket { kind: kind.into(), from_ms, until_ms, count }
    }

    #[test]
    fn bins_hold_each_transaction_once_and_shares_end_at_all() {
        let all = [bucket("intra", 0.5, 1.5, 30.0), bucket("intra", 4.0, 4.1, 70.0)];
        let buckets: Vec<&Bucket> = all.iter().collect();
        let bins = binned(&buckets, 1.0);
        assert!(
            (bins[0] - 15.0).abs() < 1e-9 && (bins[1] - 15.0).abs() < 1e-9 && (bins[4] - 70.0).abs() < 1e-9
        );
        assert!((bins.iter().sum::<f64>() - 100.0).abs() < 1e-9);
        assert_eq!(cumulated(&buckets), [Some((0.5, 0.0)), Some((1.5, 30.0)), Some((4.1, 100.0))]);
        assert_eq!([0.3, 0.31].map(|share| quantile(&buckets, share)), [Some(1.5), Some(4.1)]);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn both_kinds_have_names_and_one_alone_has_none() {
        let one = RunFiles { latency: vec![bucket("intra", 1.0, 2.0, 9.0)], ..RunFiles::default() };
        assert!(distribution(&one).unwrap().finding.starts_with("Half took at most 2 ms"));
        let mut both = one.clone();
        both.latency.push(bucket("cross", 8.0, 9.0, 1.0));
        both.latency.push(bucket("never sent", 1.0, 2.0, 4.0));
        let figure = distribution(&both).unwrap();
        assert!(figure.finding.contains("Across shards: half took at most 9 ms"), "{}", figure.finding);
        assert!(
            figure.basis.contains("N = 10 ") && figure.basis.contains("4 more were never sent"),
            "{}",
            figure.basis
        );
        assert!(distribution(&RunFiles::default()).is_none() && hops(&RunFiles::default()).is_none());
    }
}
