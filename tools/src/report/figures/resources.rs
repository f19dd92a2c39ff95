//! What the processes of nodes used: processor time, memory, threads.

use std::collections::BTreeMap;

use super::super::figure::{Drawing, Figure, basis, n_of};
use super::super::plot::Shape;
use super::super::plot::{Axis, Line, Plot};
use super::super::run::{Look, RunFiles};
use super::super::scale::{Scale, number};
use super::throughput::{marks, shades};

/// The programs, each with its colour.
const PROGRAMS: [(&str, usize); 3] = [("node", 0), ("net_client", 1), ("net_server", 2)];

/// A line has no more points: at the width of the page they would lie on each other.
const POINTS_MAX: usize = 300;
/// A process that was not seen for so many times the usual pause was not there.
const GAP: f64 = 2.5;

/// The looks at one process, in order of time: those of a node and a program.
type Processes<'a> = BTreeMap<(usize, u16), Vec<&'a Look>>;

/// A line for each process.
pub(super) fn processes(run: &RunFiles) -> Option<Figure> {
    let mut processes: Processes<'_> = BTreeMap::new();
    for look in &run.looks {
        let Some(program) = PROGRAMS.iter().position(|(name, _)| *name == look.program) else { continue };
        processes.entry((program, look.node)).or_default().push(look);
    }
    let end_s = run.looks.last()?.at_s;
    for looks in processes.values_mut() {
        let every = looks.len().div_ceil(POINTS_MAX);
        let mut at = 0;
        looks.retain(|_| {
            at += 1;
            at % every == 0
        });
    }
    let cores = lines(&processes, |before, look| {
        // A process that was started again begins anew.
        let before = before.filter(|before| before.cpu_s <= look.cpu_s && before.at_s < look.at_s)?;
        Some((look.cpu_s - before.cpu_s) / (look.at_s - before.at_s))
    });
    let memory = lines(&processes, |_, look| look.resident_mb);
    let threads = lines(&processes, |_, look| Some(look.threads));
    let plots = [
        ("processor time of a process", "cores", cores),
        ("resident memory of a process", "MB", memory),
        ("threads of a process", "number", threads),
    ];
    let drawings = plots.into_iter().filter_map(|(what, unit, lines)| {
        let most =
            lines.iter().flat_map(|line| line.points.iter().flatten()).map(|(_, y)| *y).reduce(f64::max)?;
        Some(Drawing::Plot(Plot {
            x: Axis::of("time since the load began", "s", Scale::linear(0.0, end_s)),
            y: Axis::of(what, unit, Scale::from_zero(most, 4)),
            lines,
            marks: marks(run),
            shades: shades(run),
            height: 120.0,
        }))
    });
    let busy = run.number(&["cores_busy"]).map(|busy| {
        let cores = run
            .number(&["machine", "cores"])
            .map(|cores| format!(" of {}", number(cores)))
            .unwrap_or_default();
        format!(
            "All programs together, the load included, kept {}{cores} cores busy while measured.",
            number(busy)
        )
    });
    Some(Figure {
        id: "processes",
        title: "Processor time, memory and threads of processes".into(),
        finding: busy.unwrap_or_default(),
        drawings: drawings.collect(),
        list: Vec::new(),
        basis: basis(run, &n_of(processes.len() as f64, "processes, looked at once a second; a line each")),
    })
}

/// A line a process; one of each program is named, that which ends highest.
fn lines(processes: &Processes<'_>, value: impl Fn(Option<&Look>, &Look) -> Option<f64>) -> Vec<Line> {
    let mut lines: Vec<(usize, Line)> = processes
        .iter()
        .map(|((program, _), looks)| {
            let pause_s = usual_pause_s(looks);
            let points = looks.iter().enumerate().flat_map(|(at, look)| {
                let before = at.checked_sub(1).map(|before| looks[before]);
                let before = before.filter(|before| look.at_s - before.at_s <= GAP * pause_s);
                let gap = (at > 0 && before.is_none()).then_some(None);
                gap.into_iter().chain([value(before, look).map(|value| (look.at_s, value))])
            });
            let points = points.collect();
            (
                *program,
                Line { label: String::new(), colour: PROGRAMS[*program].1, shape: Shape::Line, points },
            )
        })
        .filter(|(_, line): &(usize, Line)| line.points.iter().any(Option::is_some))
        .collect();
    for (program, (name, _)) in PROGRAMS.iter().enumerate() {
        let last = |line: &Line| line.points.iter().rev().flatten().next().map_or(0.0, |(_, y)| *y);
        let of_program = lines.iter_mut().filter(|(of, _)| *of == program).map(|(_, line)| line);
        if let Some(line) = of_program.max_by(|a, b| last(a).total_cmp(&last(b))) {
            line.label = name.to_string();
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

/// How long it was between most looks.
fn usual_pause_s(looks: &[&Look]) -> f64 {
    let mut pauses: Vec<f64> = looks.windows(2).map(|two| two[1].at_s - two[0].at_s).collect();
    pauses.sort_by(f64::total_cmp);
    pauses.get(pauses.len() / 2).copied().unwrap_or(1.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_differences_and_a_restarted_process_begins_anew() {
        let look = |at_s: f64, cpu_s: f64| Look {
            at_s,
            node: 0,
            program: "node".into(),
            cpu_s,
            resident_mb: None,
            threads: 5.0,
        };
        let run =
            RunFiles { looks: vec![look(1.0, 1.0), look(2.0, 1.5), look(3.0, 0.25)], ..RunFiles::default() };
        let figure = processes(&run).unwrap();
        assert_eq!(figure.drawings.len(), 2, "no plot of memory where none was read");
        let Drawing::Plot(plot) = &figure.drawings[0] else { panic!("no plot") };
        assert_eq!(plot.lines[0].points, [None, Some((2.0, 0.5)), None]);
        assert_eq!(plot.lines[0].label, "node");
        assert!(processes(&RunFiles::default()).is_none());
    }
}
