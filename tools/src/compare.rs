//! `tools compare`: two runs side by side, and whether what differs is more than noise.
//!
//! Each side is one run or several of the same. [`run`] reads a summary, [`figures`] lists what is compared, [`noise`]
//! judges a difference by how much repeated runs differ among themselves, [`report`] prints it.

mod figures;
mod noise;
mod report;
mod run;

pub(crate) use self::run::PLACES;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::flags::{Command, Operand, Opt, UsageError, Values};
use crate::terminal::{columns, print};

use self::report::Comparison;
use self::run::Run;

pub(crate) const COMMAND: Command = Command {
    name: "compare",
    summary: "puts two runs side by side, and separates differences from noise",
    about: "Compares the summaries of two runs, figure by figure, with ratios, and lists which options, machines and \
            versions differ. Options that only say where files are or how hosts are reached do not count. A run is named by its summary.json or its log directory.\n\n\
            Two runs of the same differ too. So give several runs of each side, joined by commas: from how much they \
            differ among themselves follows a band (95 %, Student's t over both sides with one deviation), and only \
            what lies beyond it is called better or worse. With twenty figures one lies beyond it by chance. With fewer \
            than three runs of a side no difference is judged.",
    operands: &[
        Operand {
            name: "A",
            words: &[],
            default: None,
            help: "The run, or comma-separated runs, to compare with.",
        },
        Operand { name: "B", words: &[], default: None, help: "The run, or comma-separated runs, to judge." },
    ],
    options: &[Opt::switch("json", "Prints JSON.")],
    sections: &[
        ("EXIT STATUS", "0  compared\n2  usage, or a summary cannot be read or understood"),
        (
            "EXAMPLES",
            "tools compare log-old log-new  Two runs; no difference is judged.\n\
             tools compare old-1,old-2,old-3 new-1,new-2,new-3  Three of each, whose --log-dir these were.",
        ),
    ],
};

/// Runs of one side: more are of no use, and each is read into memory.
const RUNS_MAX: usize = 100;

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let comparison = Comparison::of(side(values.operand("A"))?, side(values.operand("B"))?);
    let text = if values.is_given("json") {
        comparison.to_json().to_string()
    } else {
        comparison.to_text(columns())
    };
    print(text.trim_end());
    Ok(0)
}

/// The runs of one side, of which there is at least one.
fn side(list: &str) -> Result<Vec<Run>, UsageError> {
    let paths: Vec<PathBuf> = list.split(',').map(PathBuf::from).collect();
    if paths.len() > RUNS_MAX || paths.iter().any(|path| path.as_os_str().is_empty()) {
        let expected = format!("1 to {RUNS_MAX} summaries or log directories, joined by commas");
        return Err(wire::text::ParseError::of("runs", list, expected).into());
    }
    let real: BTreeSet<PathBuf> = paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let runs = paths.iter().map(|path| Run::load(path)).collect::<Result<Vec<_>, _>>()?;
    if real.len() < runs.len() {
        return Err(wire::text::ParseError::of("runs", list, "each run once").into());
    }
    Ok(runs)
}
