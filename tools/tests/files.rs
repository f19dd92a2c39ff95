//! `docs/files.md` names every file of a run and every column in it, and `docs/analysis.py` gets from them what the
//! summary has.

mod documented;
mod place;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use documented::documented;
use place::{Place, text};

const RUN: &str = "--nodes 4 --shards 2 --cross 0.5 --rate 200 --duration 3 --transactions --metrics";

/// The names of the files in a directory, each with `<id>` for the node's.
fn names(place: &Place, directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(place.0.join(directory)).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            match name.rsplit_once('-').and_then(|(head, tail)| Some((head, tail.split_once('.')?))) {
                Some((head, (id, end))) if id.parse::<u16>().is_ok() => format!("{head}-<id>.{end}"),
                _ => name,
            }
        })
        .collect()
}

#[test]
fn every_file_and_column_of_a_run_is_defined() {
    let place = Place::new();
    let output = place.local(RUN);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let defined = documented("Where they are");
    let keys = names(&place, "data/keys").into_iter().map(|name| format!("keys/{name}"));
    for name in names(&place, "log").into_iter().chain(names(&place, "data")).chain(keys) {
        assert!(defined.contains(&name), "docs/files.md does not list {name}");
        if name.ends_with(".csv") {
            let columns = place.read(&format!("log/{}", name.replace("<id>", "5")));
            let columns = columns.lines().next().unwrap();
            assert_eq!(documented(&format!("`{name}`")).join(","), columns, "docs/files.md, {name}");
        }
    }
    // The page that the run leaves may lack what is replayed, on a machine that has no time for it.
    let page = place.read("log/report.html");
    assert!(
        page.contains("<figure id=\"throughput\">") && page.contains("<figure id=\"processes\">"),
        "{page}"
    );
    let output = place.command("report", "log --out again.html").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let page = place.read("again.html");
    for id in ["throughput", "latency", "hops", "phases", "round", "traffic-by-link", "processes"] {
        assert!(page.contains(&format!("<figure id=\"{id}\">")), "no figure {id} in {page}");
    }
    let output = place.command("report", "log log").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(place.read("comparison.html").contains("2 runs side by side"));
    assert_eq!(place.command("report", "data").output().unwrap().status.code(), Some(2), "there is no run");
}

#[test]
fn a_sweep_is_not_run_again_and_has_a_row_for_each_combination() {
    let place = Place::new();
    let sweep = "--rate 100,200 --repeat 1 --duration 1 --warmup 0 --durability off --out s";
    let output = place.command("sweep", sweep).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(place.read("s/sweep.csv").lines().count(), 3, "{}", place.read("s/sweep.csv"));
    assert!(place.read("s/sweep.html").contains("<figure id=\"median\">"));
    fs::write(place.0.join("peers.csv"), "name,tps,latency_ms\nOther,150,9\n").unwrap();
    let output = place.command("sweep", &format!("{sweep} --against peers.csv")).output().unwrap();
    assert!(text(&output).contains("2 of 2 runs are in runs.csv already"), "{}", text(&output));
    assert!(place.read("s/sweep.html").contains("Other (theirs)"));
}

/// The columns of a file's lines, all numbers but for empty ones and names.
fn columns(place: &Place, file: &str) -> Vec<Vec<String>> {
    let text = place.read(file);
    text.lines().skip(1).map(|line| line.split(',').map(String::from).collect()).collect()
}

fn number(word: &str) -> f64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// A quantile of a latency in the summary, milliseconds.
fn quantile_ms(place: &Place, latency: &str, name: &str) -> f64 {
    let summary = place.read("log/summary.json");
    let (_, object) = summary.split_once(&format!("\"{latency}\": {{")).unwrap();
    let (_, value) = object.split_once(&format!("\"{name}\": ")).unwrap();
    number(value.split([',', '\n']).next().unwrap())
}

#[test]
fn the_analysis_in_python_agrees_with_the_summary() {
    let has_pandas = Command::new("python3").args(["-c", "import pandas"]).stderr(Stdio::null()).status();
    if !has_pandas.is_ok_and(|status| status.success()) {
        // Not by a macro, whose output a test that passes does not show.
        let _ =
            writeln!(io::stderr(), "SKIPPED, a test of docs/analysis.py: there is no python3 with pandas");
        return;
    }
    let place = Place::new();
    let output = place.local(RUN);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/analysis.py");
    let output = Command::new("python3").args([script, "log", "."]).current_dir(&place.0).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let cdf = columns(&place, "cdf.csv");
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let line = cdf.iter().find(|line| number(&line[1]) >= share - 1e-9).unwrap();
        // The end of the bucket, but not more than the longest.
        let found_ms = ((number(&line[0]) - 1.0) / 1e3).min(quantile_ms(&place, "latency_ms", "max"));
        assert_eq!(found_ms, quantile_ms(&place, "latency_ms", name), "{name}");
    }
    // from_s, until_s, phase, tps, p99_ms: as many a second as the summary counts, and no p99 above the maximum.
    let over_time = columns(&place, "over_time.csv");
    let committed: f64 =
        over_time.iter().map(|line| number(&line[3]) * (number(&line[1]) - number(&line[0]))).sum();
    assert_eq!(committed.round(), number(&place.summary("committed")), "{over_time:?}");
    let max_ms = quantile_ms(&place, "latency_ms", "max");
    assert!(over_time.iter().all(|line| line[4].is_empty() || number(&line[4]) <= max_ms), "{over_time:?}");
    // The summary's quantile is the end of a bucket and leaves out the rounds of the drain.
    let stages = columns(&place, "stages.csv");
    let agreement = stages.iter().find(|line| line[0] == "agreement_us").unwrap();
    let (found_ms, expected_ms) = (number(&agreement[1]) / 1e3, quantile_ms(&place, "round_ms", "p50"));
    assert!((found_ms / expected_ms - 1.0).abs() < 0.2, "{found_ms} and {expected_ms} ms");
    let leaders = columns(&place, "leaders.csv");
    assert_eq!(leaders.len(), place.number("rounds") as usize);
    assert!(leaders.iter().all(|line| number(&line[2]) as u16 / 4 == number(&line[0]) as u16), "{leaders:?}");
}
