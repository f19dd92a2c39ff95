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

/// How long the replay of a node may take for its page, and how long at the end of a run, where somebody waits.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_AFTER_RUN: Duration = Duration::from_secs(5);

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
