//! What happened over time: load, commits, latencies, and the faults that came meanwhile.

use super::super::figure::{Drawing, Figure, basis, n_of};
use super::super::plot::{Axis, DRAIN, Line, Mark, Plot, Shade, Shape};
use super::super::run::{RunFiles, Second};
use super::super::scale::{Scale, number};

/// Shorter sections, which a border between phases leaves, have no rate of their own: one transaction more or less
/// would double it.
const SECTION_MIN_S: f64 = 0.25;

/// Throughput by the second.
pub(super) fn over_time(run: &RunFiles) -> Option<Figure> {
    let seconds = lasting(run);
    seconds.first()?;
    let rate = |count: fn(&Second) -> f64| -> Vec<Option<(f64, f64)>> {
        seconds.iter().map(|second| Some((middle(second), count(second) / length(second)))).collect()
    };
    let offered = rate(|second| second.meant);
    let is_offered = seconds.iter().map(|second| second.phase != DRAIN);
    let offered = offered.into_iter().zip(is_offered).map(|(point, is_offered)| point.filter(|_| is_offered));
    let mut lines = vec![line("offered", 6, Shape::Dashed, offered.collect())];
    lines.push(line("committed", 0, Shape::Line, committed(run)));
    if run.shards() > 1 {
        lines.push(line("of these across shards", 1, Shape::Line, rate(|second| second.committed_cross)));
    }
    let most = lines
        .iter()
        .flat_map(|line| line.points.iter().flatten())
        .fold(0.0, |most: f64, (_, y)| most.max(*y));
    let committed = run.number(&["committed"]).unwrap_or_default();
    let tps =
        run.number(&["tps"]).map(|tps| format!("{} tx/s committed on average while measured", number(tps)));
    let faults = run.faults().len();
    let faults = match faults {
        0 => String::new(),
        1 => "; 1 planned fault is marked".into(),
        faults => format!("; {faults} planned faults are marked"),
    };
    Some(Figure {
        id: "throughput",
        title: "Throughput over time".into(),
        finding: tps.map(|tps| format!("{tps}{faults}.")).unwrap_or_default(),
        drawings: vec![Drawing::Plot(Plot {
            x: time(&seconds),
            y: Axis::of("transactions a second", "tx/s", Scale::from_zero(most * 1.02, 5)),
            lines,
            marks: marks(run),
            shades: shades(run),
            height: 200.0,
        })],
        list: Vec::new(),
        basis: basis(run, &n_of(committed, "committed transactions, counted when their receipts were read")),
    })
}

/// Transactions committed a second, by the second.
pub(in super::super) fn committed(run: &RunFiles) -> Vec<Option<(f64, f64)>> {
    lasting(run).iter().map(|second| Some((middle(second), second.committed / length(second)))).collect()
}

/// Latency by the second.
pub(super) fn latency_over_time(run: &RunFiles) -> Option<Figure> {
    let seconds = lasting(run);
    let points = |of: fn(&Second) -> Option<f64>| -> Vec<Option<(f64, f64)>> {
        seconds.iter().map(|second| Some((middle(second), of(second)?))).collect()
    };
    let lines = vec![
        line("99 % quantile", 1, Shape::Line, points(|second| second.p99_ms)),
        line("median", 0, Shape::Line, points(|second| second.p50_ms)),
    ];
    let values = || lines.iter().flat_map(|line| line.points.iter().flatten().map(|(_, y)| *y));
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    if most <= 0.0 {
        return None;
    }
    let committed = run.number(&["committed"]).unwrap_or_default();
    Some(Figure {
        id: "latency-over-time",
        title: "Latency over time".into(),
        finding: String::new(),
        drawings: vec![Drawing::Plot(Plot {
            x: time(&seconds),
            y: Axis::of("latency of what was committed in a second", "ms, log", Scale::log(least, most)),
            lines,
            marks: marks(run),
            shades: shades(run),
            height: 150.0,
        })],
        list: Vec::new(),
        basis: basis(
            run,
            &n_of(committed, "committed transactions, each from when it was meant to be sent to its receipt"),
        ),
    })
}

/// The sections that last long enough for a rate.
fn lasting(run: &RunFiles) -> Vec<Second> {
    run.series.iter().filter(|second| length(second) >= SECTION_MIN_S).cloned().collect()
}

fn length(second: &Second) -> f64 {
    second.until_s - second.from_s
}

fn middle(second: &Second) -> f64 {
    (second.from_s + second.until_s) / 2.0
}

fn time(seconds: &[Second]) -> Axis {
    let end = seconds.last().map_or(1.0, |second| second.until_s);
    Axis::of("time since the load began", "s", Scale::linear(0.0, end))
}

pub(super) fn line(label: &str, colour: usize, shape: Shape, points: Vec<Option<(f64, f64)>>) -> Line {
    Line { label: label.into(), colour, shape, points }
}

/// The planned faults that came, each at its time.
pub(super) fn marks(run: &RunFiles) -> Vec<Mark> {
    let faults = run.series.iter().flat_map(|second| second.faults.iter().map(move |fault| (second, fault)));
    let at = |second: &Second, fault: &str| span(fault).map_or(second.from_s, |(from, _)| from);
    faults.map(|(second, fault)| Mark { at: at(second, fault), label: fault.clone() }).collect()
}

/// Warm-up, drain, and how long faults last that end by themselves.
pub(super) fn shades(run: &RunFiles) -> Vec<Shade> {
    let phase = |name: &str| {
        let of = || run.series.iter().filter(|second| second.phase == name);
        let (first, last) = (of().next()?, of().next_back()?);
        Some(Shade { from: first.from_s, to: last.until_s, label: name.into() })
    };
    let lasting = run.series.iter().flat_map(|second| &second.faults).filter_map(|fault| {
        let (from, to) = span(fault)?;
        (to > from).then(|| Shade { from, to, label: String::new() })
    });
    [phase("warm-up"), phase(DRAIN)].into_iter().flatten().chain(lasting).collect()
}

/// When a fault `NAME:…@T` or `NAME:…@T+D` begins and ends, seconds.
fn span(fault: &str) -> Option<(f64, f64)> {
    let (_, at) = fault.rsplit_once('@')?;
    let (from, length) = at.split_once('+').unwrap_or((at, "0"));
    let (from, length): (f64, f64) = (from.parse().ok()?, length.parse().ok()?);
    (from.is_finite() && length.is_finite()).then_some((from, from + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_stand_at_their_times_and_last_as_long_as_they_say() {
        assert_eq!(span("crash:3+0@3.5"), Some((3.5, 3.5)));
        assert_eq!(span("partition:0+1/2+3@8+3"), Some((8.0, 11.0)));
        assert_eq!([span("crash:3"), span("crash:3@x")], [None, None]);
        let second = |from_s: f64, phase: &str, faults: &[&str]| Second {
            from_s,
            until_s: from_s + 1.0,
            phase: phase.into(),
            meant: 100.0,
            committed: 90.0,
            committed_cross: 0.0,
            p50_ms: Some(5.0),
            p99_ms: None,
            faults: faults.iter().map(|fault| fault.to_string()).collect(),
        };
        let run = RunFiles {
            series: vec![second(0.0, "warm-up", &[]), second(1.0, "measured", &["pause:2@1.5+2", "odd"])],
            ..RunFiles::default()
        };
        let marks: Vec<(f64, String)> = marks(&run).into_iter().map(|mark| (mark.at, mark.label)).collect();
        assert_eq!(
            marks,
            [(1.5, "pause:2@1.5+2".into()), (1.0, "odd".into())],
            "one that is not known, in its second"
        );
        let shades: Vec<(f64, f64)> = shades(&run).iter().map(|shade| (shade.from, shade.to)).collect();
        assert_eq!(shades, [(0.0, 1.0), (1.5, 3.5)]);
        assert!(over_time(&run).is_some() && latency_over_time(&run).is_some());
        assert!(over_time(&RunFiles::default()).is_none(), "no figure without its file");
    }
}
