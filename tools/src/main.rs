//! `tools`: keygen, local runs, load, verification and benchmarks, each a command of its own.
//!
//! Exit codes are those of each command; a command line that is not understood is 2 everywhere.
#![forbid(unsafe_code)]

mod bench;
mod client;
mod flags;
mod grid;
mod json;
mod keygen;
mod load;
mod local;
mod pids;
mod procfs;
mod signals;
mod sim;
mod status;
mod summary;
mod terminal;
#[cfg(test)]
mod testing;
mod verify;

use std::process::ExitCode;

use crate::flags::{Asked, Command, UsageError, Values, nearest, overview};
use crate::terminal::{columns, tell};

/// A command and what runs it and gives its exit code.
type Entry = (&'static Command, fn(&Values) -> Result<u8, UsageError>);

const COMMANDS: &[Entry] = &[
    (&keygen::COMMAND, keygen::run),
    (&local::COMMAND, local::run_command),
    (&load::COMMAND, load::run_command),
    (&status::COMMAND, status::run_command),
    (&verify::COMMAND, verify::run),
    (&sim::COMMAND, sim::run),
    (&bench::COMMAND, bench::run),
];

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = || COMMANDS.iter().map(|(command, _)| *command);
    let Some((name, rest)) = arguments.split_first() else {
        eprint!("{}", overview(all(), columns()));
        return ExitCode::from(2);
    };
    // 'tools help COMMAND' asks for what 'tools COMMAND --help' does.
    let (name, rest) = match (name.as_str(), rest) {
        ("help", [about]) => (about, &["--help".to_string()][..]),
        _ => (name, rest),
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        tell(overview(all(), columns()).trim_end());
        return ExitCode::SUCCESS;
    }
    let Some((command, run)) = COMMANDS.iter().find(|(command, _)| command.name == name) else {
        let nearest = nearest(name, all().map(|command| command.name)).map(String::from);
        let error = UsageError::Unknown { what: "command", given: name.clone(), nearest };
        eprintln!("tools: {error} (tools --help tells all)");
        return ExitCode::from(2);
    };
    let result = command.parse(rest).and_then(|asked| match asked {
        Asked::Run(values) => run(&values),
        Asked::Help => {
            tell(command.page(columns()).trim_end());
            Ok(0)
        }
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // What is wrong with a value is told in full; who does not know the options may want all of them.
            let hint = if let UsageError::Value(_) = error { "" } else { " (--help tells all)" };
            eprintln!("tools {name}: {error}{hint}");
            ExitCode::from(2)
        }
    }
}
