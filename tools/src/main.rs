//! `tools`: keygen, local runs and runs on other machines, load, verification and benchmarks, each a command of its
//! own.
//!
//! Exit codes are those of each command; a command line that is not understood is 2 everywhere.
#![forbid(unsafe_code)]

mod bench;
mod client;
mod compare;
mod completion;
mod deploy;
mod flags;
mod grid;
mod guest;
mod ids;
mod json;
mod keygen;
mod lag;
mod ledger;
mod load;
mod local;
mod logs;
mod pids;
mod procfs;
mod query;
mod replay;
mod report;
mod run;
mod sessions;
mod signals;
mod sim;
mod status;
mod submit;
mod sweep;
mod terminal;
mod testbed;
#[cfg(test)]
mod testing;
mod verify;
mod watch;

use std::process::ExitCode;

use wire::logging;
use wire::nearest::nearest;
use wire::version;

use crate::flags::{Command, Invocation, UsageError, Values, overview};
use crate::terminal::{columns, print};

/// A command and what runs it and gives its exit code.
type Entry = (&'static Command, fn(&Values) -> Result<u8, UsageError>);

const COMMANDS: &[Entry] = &[
    (&keygen::COMMAND, keygen::run),
    (&local::COMMAND, local::run_command),
    (&deploy::CHECK, deploy::check),
    (&deploy::INSTALL, deploy::install),
    (&deploy::START, deploy::start),
    (&deploy::STATUS, deploy::status),
    (&deploy::LOAD, deploy::load),
    (&deploy::STOP, deploy::stop),
    (&deploy::LOGS, deploy::logs),
    (&deploy::CLEAN, deploy::clean),
    (&deploy::RUN, deploy::run),
    (&guest::COMMAND, guest::run_command),
    (&submit::COMMAND, submit::run_command),
    (&query::COMMAND, query::run_command),
    (&status::COMMAND, status::run_command),
    (&verify::COMMAND, verify::run),
    (&logs::COMMAND, logs::run),
    (&replay::COMMAND, replay::run),
    (&ledger::COMMAND, ledger::run),
    (&report::COMMAND, report::run_command),
    (&compare::COMMAND, compare::run_command),
    (&sim::COMMAND, sim::run),
    (&bench::COMMAND, bench::run),
    (&sweep::COMMAND, sweep::run_command),
    (&completion::COMMAND, run_completion),
];

fn run_completion(_: &Values) -> Result<u8, UsageError> {
    let commands: Vec<&Command> = COMMANDS.iter().map(|(command, _)| *command).collect();
    Ok(completion::run(&commands))
}

fn main() -> ExitCode {
    match logging::filter("warn") {
        Ok(filter) => env_logger::Builder::new().parse_filters(&filter).init(),
        Err(error) => {
            eprintln!("tools: {error}");
            return ExitCode::from(2);
        }
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--version"] {
        print(version::line("tools", wire::commit!()));
        return ExitCode::SUCCESS;
    }
    // 'tools help COMMAND' is 'tools COMMAND --help'.
    let arguments = match arguments.split_first() {
        Some((first, about)) if first == "help" && !about.is_empty() => {
            about.iter().cloned().chain(["--help".to_string()]).collect()
        }
        _ => arguments,
    };
    let Some((command, run)) = COMMANDS.iter().find(|(command, _)| is_called(command.name, &arguments))
    else {
        return without_command(&arguments);
    };
    let (name, rest) = (command.name, &arguments[words(command.name)..]);
    let result = command.parse(rest).and_then(|invocation| match invocation {
        Invocation::Run(values) => run(&values),
        Invocation::Help => {
            print(command.page(columns()).trim_end());
            Ok(0)
        }
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // An error about a value is complete; the others may come from not knowing the options.
            let hint = if let UsageError::Value(_) = error { "" } else { " (--help lists all)" };
            eprintln!("tools {name}: {error}{hint}");
            ExitCode::from(2)
        }
    }
}

/// Whether a command line begins with the words of a command's name.
fn is_called(name: &str, arguments: &[String]) -> bool {
    arguments.len() >= words(name) && name.split(' ').zip(arguments).all(|(word, given)| word == given)
}

/// How many words the name of a command has: `deploy run` has two.
fn words(name: &str) -> usize {
    name.split(' ').count()
}

/// No command is named, or none is called so: lists all of them, or those whose names begin with the first word.
fn without_command(arguments: &[String]) -> ExitCode {
    let first = arguments.first().map(String::as_str).unwrap_or_default();
    let family = format!("{first} ");
    let is_family = COMMANDS.iter().any(|(command, _)| command.name.starts_with(&family));
    let family = if is_family { family.as_str() } else { "" };
    let named: Vec<&str> = arguments.iter().take(family.split(' ').count()).map(String::as_str).collect();
    let among =
        COMMANDS.iter().map(|(command, _)| *command).filter(|command| command.name.starts_with(family));
    match named.last() {
        Some(&("--help" | "-h" | "help")) => {
            print(overview(among, columns()).trim_end());
            ExitCode::SUCCESS
        }
        Some(last) if !(is_family && *last == first) => {
            let given = named.join(" ");
            let nearest = nearest(&given, among.map(|command| command.name)).map(String::from);
            let error = UsageError::Unknown { what: "command", given, nearest };
            eprintln!("tools: {error} (tools {family}--help lists all)");
            ExitCode::from(2)
        }
        _ => {
            eprint!("{}", overview(among, columns()));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::FILES;

    #[test]
    fn every_page_has_its_sections_and_fits_the_terminal() {
        for columns in [60, 80, 100] {
            for (command, _) in COMMANDS {
                let page = command.page(columns);
                for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS"] {
                    let count = page.lines().filter(|line| *line == heading).count();
                    assert_eq!(count, 1, "{heading} of {}", command.name);
                }
                let long = page.lines().find(|line| line.chars().count() > columns);
                assert_eq!(long, None, "tools {}, {columns} columns", command.name);
            }
        }
    }

    /// The exit codes in `docs/files.md` by command, those of its table and 2.
    fn documented_codes() -> BTreeSet<(String, String)> {
        let (_, section) = FILES.split_once("\n## Exit codes\n").unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut codes = BTreeSet::new();
        for row in rows {
            let cells: Vec<&str> = row.split(" | ").collect();
            for command in cells[0].trim_end_matches('`').split("`, `") {
                codes.extend(cells[1].split(", ").map(|code| (command.to_string(), code.to_string())));
                codes.insert((command.into(), "2".into()));
            }
        }
        codes
    }

    #[test]
    fn every_exit_code_of_a_page_is_documented_and_no_other() {
        let mut listed = BTreeSet::new();
        for (command, _) in COMMANDS {
            let section = |command: &Command| {
                let (_, text) =
                    command.sections.iter().find(|(heading, _)| *heading == "EXIT STATUS").unwrap();
                *text
            };
            // 'deploy load' refers to 'load'.
            let text = section(if command.name == "deploy load" { &guest::COMMAND } else { command });
            let codes = text.lines().map(|line| line.split_once("  ").unwrap().0);
            listed.extend(codes.map(|code| (command.name.to_string(), code.to_string())));
        }
        assert_eq!(documented_codes(), listed, "docs/files.md, Exit codes");
    }

    #[test]
    fn every_option_of_numbers_has_a_range_and_its_default_lies_in_it() {
        const NUMBERS: [&str; 11] = ["N", "K", "R", "R|max", "S", "B", "W", "M", "P", "C", "F"];
        // 'logs' has ids and rounds, of which any may be looked for.
        for (command, _) in COMMANDS.iter().filter(|(command, _)| command.name != "logs") {
            let options = command.options.iter();
            for option in options.filter(|option| option.value.is_some_and(|shape| NUMBERS.contains(&shape)))
            {
                let place = format!("tools {} --{}", command.name, option.name);
                let range = option.range.unwrap_or_else(|| panic!("{place} has no range"));
                let Some(default) = option.default else { continue };
                assert!(range.contains(default), "{place}: {default} is outside of its range");
            }
        }
    }

    #[test]
    fn tables_are_such_that_a_command_line_has_one_meaning() {
        for (command, _) in COMMANDS {
            for (at, option) in command.options.iter().enumerate() {
                assert!(option.name != "help" && !option.name.contains('='), "{}", option.name);
                let twice = command.options[..at].iter().any(|other| other.name == option.name);
                assert!(!twice, "tools {} --{}", command.name, option.name);
            }
            let optional = command.operands.iter().skip_while(|operand| operand.default.is_none());
            assert!(optional.into_iter().all(|operand| operand.default.is_some()), "{}", command.name);
        }
    }
}
