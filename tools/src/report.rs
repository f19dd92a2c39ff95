//! `tools report`: a run as one page for a browser, `report.html`.
//!
//! Every run writes it at its end; the command makes it again from the files of a run, whatever is left of them.
//! [`run`] reads the files, [`figures`] chooses what is shown, [`plot`], [`rows`] and [`matrix`] draw it as SVG on
//! [`scale`]s, and [`page`] puts it together. Pages are trees of [`markup`], so nothing of a run enters one unescaped.
//!
//! A figure shows its unit, how many of what it rests on, and what was offered; without its file it is left out, and
//! the page names the file.

mod csv;
mod curve;
mod diagram;
mod figure;
mod figures;
mod markup;
mod matrix;
mod overlay;
mod page;
mod plot;
mod recorded;
mod rows;
mod run;
mod scale;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::text::ParseError;

pub(crate) use self::csv::read as read_csv;
pub(crate) use self::curve::{Peer, peers, sweep_page};
pub(crate) use self::run::summary_text;

use self::overlay::RUNS_MAX;
use self::recorded::Journals;
use self::run::RunFiles;
use crate::flags::{Command, Operand, Opt, UsageError, Values};
use crate::run::Directories;
use crate::terminal::print;
use crate::testbed;

pub(crate) const COMMAND: Command = Command {
    name: "report",
    summary: "shows a run in figures, as a page for a browser",
    about: "Makes LOGDIR/report.html from the files of a run: throughput and latency over time with the faults that came, \
            distributions of latencies, the phases of a round, heights and lags of nodes, traffic, what processes used, and what \
            was run. Every run writes it at its end. The page is one file that needs nothing else and has no script; a run of \
            which files are missing has a page that names them.",
    operands: &[Operand {
        name: "LOGDIR…",
        words: &[],
        default: None,
        help: "The log directory of the run. Several are laid over each other: throughput, latency, a table, what differs.",
    }],
    options: &[
        testbed::DATA_DIR,
        Opt::without_default(
            "out",
            "FILE",
            "Where the page goes; LOGDIR/report.html if not given, or comparison.html of several runs.",
        ),
    ],
    sections: &[
        ("EXIT STATUS", "0  written\n2  usage, or there is no run in LOGDIR\n4  the page cannot be written"),
        (
            "EXAMPLES",
            "tools report log  The page of the last run in this directory.\n\
             tools report log-4 log-7 --out n.html  Two runs on one page.",
        ),
    ],
};

/// How long the replays of all nodes may take together, and how long at the end of a run, where somebody waits.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_AFTER_RUN: Duration = Duration::from_secs(2);

/// The page of a run, in its log directory.
pub(crate) const FILE: &str = "report.html";
/// The page of several runs, in the current directory.
const FILE_OF_SEVERAL: &str = "comparison.html";

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let logs: Vec<PathBuf> = values.repeated().iter().map(PathBuf::from).collect();
    if logs.len() > RUNS_MAX {
        let found = format!("{} runs", logs.len());
        return Err(ParseError::of("LOGDIR…", &found, format!("at most {RUNS_MAX}")).into());
    }
    let mut runs: Vec<RunFiles> = logs.iter().map(|log| RunFiles::load(log)).collect();
    if let Some(run) = runs.iter().find(|run| run.is_nothing()) {
        let expected = "the log directory of a run, with a summary.json, a series.csv or rounds files";
        return Err(ParseError::of("LOGDIR", &run.name(), expected).into());
    }
    let out = values.text("out").map(PathBuf::from);
    let (out, text) = match runs.as_mut_slice() {
        [run] => {
            let directories = Directories { log: logs[0].clone(), data: testbed::data_dir(values) };
            let out = out.unwrap_or_else(|| directories.log.join(FILE));
            (out, page_of(run, Some(&Journals { directories, patience: PATIENCE })))
        }
        runs => (out.unwrap_or_else(|| PathBuf::from(FILE_OF_SEVERAL)), overlay::of_runs(runs)),
    };
    Ok(match fs::write(&out, text) {
        Ok(()) => {
            print(format!("written to {}", out.display()));
            0
        }
        Err(error) => {
            eprintln!("tools report: cannot write {}: {error}", out.display());
            4
        }
    })
}

/// Writes the page of a run that has ended into its log directory.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write(directories: &Directories) -> io::Result<PathBuf> {
    let path = directories.log.join(FILE);
    let journals = Journals { directories: directories.clone(), patience: PATIENCE_AFTER_RUN };
    fs::write(&path, page_of(&mut RunFiles::load(&directories.log), Some(&journals)))?;
    Ok(path)
}

/// Writes the page of a load, whose nodes go on elsewhere, into its log directory.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_of_load(log: &Path) -> io::Result<PathBuf> {
    let path = log.join(FILE);
    fs::write(&path, page_of(&mut RunFiles::load(log), None))?;
    Ok(path)
}

fn page_of(run: &mut RunFiles, journals: Option<&Journals>) -> String {
    let figures = figures::all(run, journals);
    page::of_run(run, &figures)
}

#[cfg(test)]
mod tests {
    use super::figure::{Drawing, Figure};
    use super::markup::check;
    use super::*;
    use crate::run::made_up;
    use crate::testing::TestDir;
    use crate::verify::HEADER;

    /// The files of a made-up run, but for its journals.
    fn write_files(log: &Path) {
        let write = |name: &str, text: &str| fs::write(log.join(name), text).unwrap();
        write("summary.json", &made_up().to_json().to_string());
        write(
            "series.csv",
            "from_s,until_s,phase,meant,sent,committed,committed_cross,rejected,open,p50_ms,p99_ms,max_ms,nodes_up,faults\n\
             0,1,warm-up,100,100,90,0,0,10,5,9,9,4,\n1,2,measured,100,100,100,0,0,10,5,9,9,3,crash:3@1.5; pause:2@1.6+0.3\n",
        );
        write("latency.csv", "kind,from_us,until_us,count\nintra,4000,5000,90\nintra,9000,9100,10\n");
        write(
            "processes.csv",
            "at_s,node,program,cpu_s,resident_mb,threads\n1,0,node,0.5,20,9\n2,0,node,0.9,21,9\n",
        );
        write(
            "traffic.csv",
            "node,direction,kind,peer,messages,bytes\n0,received,entry,,5,900\n0,sent,,1,,950\n1,sent,,0,,800\n",
        );
        write(
            "transactions.csv",
            "tx,stands_for,intended_us,sent_us,receipt_us,fate\nab,1,0,10,5010,finished\n",
        );
        for node in 0..4 {
            let row = |round: u64| {
                let header = "0".repeat(64);
                format!(
                    "{node},0,{round},{header},5,0,0,0,0,0,0,0,4,1000,1,2,900,300,0,1200,0,{}\n",
                    1_700_000_000_000 + 400 * round
                )
            };
            write(&format!("rounds-{node}.csv"), &format!("{HEADER}\n{}{}", row(1), row(2)));
        }
    }

    fn axes(figure: &Figure) -> Vec<String> {
        let axes = figure.drawings.iter().flat_map(|drawing| match drawing {
            Drawing::Plot(plot) => vec![plot.x.label.clone(), plot.y.label.clone()],
            Drawing::Rows(rows) => vec![rows.x.label.clone()],
            Drawing::Matrix(matrix) => vec![matrix.label.clone()],
            Drawing::Drawn(_) => Vec::new(),
        });
        axes.collect()
    }

    #[test]
    fn a_whole_run_has_all_figures_with_units_a_count_and_what_was_offered() {
        let dir = TestDir::new();
        write_files(dir.path());
        let mut run = RunFiles::load(dir.path());
        assert_eq!(run.missing, [] as [String; 0]);
        let figures = figures::all(&mut run, None);
        let ids: Vec<&str> = figures.iter().map(|figure| figure.id).collect();
        assert_eq!(
            ids,
            [
                "throughput",
                "latency-over-time",
                "latency",
                "hops-of-the-load",
                "phases",
                "views",
                "heights",
                "traffic-by-kind",
                "traffic-by-link",
                "processes"
            ]
        );
        for figure in &figures {
            assert!(figure.basis.contains("N = "), "{}: {}", figure.id, figure.basis);
            assert!(figure.basis.contains("1,000 tx/s offered"), "{}: {}", figure.id, figure.basis);
            for axis in axes(figure) {
                assert!(axis.ends_with(')') && axis.contains('('), "{}: '{axis}' has no unit", figure.id);
            }
        }
        let text = page::of_run(&run, &figures);
        let names = check(&text).unwrap();
        let count = |name: &str| names.iter().filter(|one| *one == name).count();
        assert_eq!(count("figure"), figures.len());
        assert_eq!(count("script") + count("link") + count("img"), 0, "a page stands alone");
        assert!(text.contains("crash:3@1.5") && text.contains("pause:2@1.6+0.3") && text.contains("--rate"));
    }

    #[test]
    fn a_run_that_was_killed_has_a_page_that_says_what_is_missing() {
        let dir = TestDir::new();
        write_files(dir.path());
        for name in ["summary.json", "latency.csv", "traffic.csv"] {
            fs::remove_file(dir.path().join(name)).unwrap();
        }
        let journals = Journals {
            directories: Directories { log: dir.path().into(), data: dir.path().into() },
            patience: PATIENCE,
        };
        let text = page_of(&mut RunFiles::load(dir.path()), Some(&journals));
        check(&text).unwrap();
        for part in [
            "the run has not ended, or was killed",
            "latency.csv",
            "no traffic",
            "message by message",
            "id=\"throughput\"",
        ] {
            assert!(text.contains(part), "{part}");
        }
    }
}
