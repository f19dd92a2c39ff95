//! The three programs of a node as a person meets them: the manual page, the version, the table of their flags.
//!
//! `tools` starts them, so their pages are for those who deploy by hand or look into a process list. A page is made
//! from the table that parses the command line, so ranges and defaults cannot differ.

use crate::flags::{Flag, Flags, Value};
use crate::limits::local::{self, LocalLimits};
use crate::text::{ParseError, lines};
use crate::version;

/// A program, and what it takes.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name of its file.
    pub name: &'static str,
    /// Its purpose, in one line.
    pub summary: &'static str,
    /// Its description: paragraphs.
    pub about: &'static [&'static str],
    /// Its flags beside those that all three have.
    pub own: &'static [Flag],
    /// Its exit codes, each with the cause.
    pub exit_status: &'static [(u8, &'static str)],
}

/// The flags that all three programs have.
const SHARED: [Flag; 4] = [
    Flag::required("--id", "N", "The node: an id from 0, below the number of nodes in committee.txt."),
    Flag::required("--hosts", "FILE", "The addresses of all nodes, a line each."),
    Flag::required(
        "--keys",
        "DIR",
        "The directory of committee.txt and node-N.key, as 'tools keygen' writes them.",
    ),
    Flag::optional(
        "--limits",
        LocalLimits::SHAPE,
        "Memory and time limits that differ from the defaults, for all three processes of the node. See LIMITS.",
    ),
];

/// Pages are as wide as the narrowest usual terminal.
const COLUMNS: usize = 80;
const INDENT: usize = 4;

impl Program {
    /// The answer to `--help` or `-h` anywhere on a command line, or to `--version` alone; `None` without these.
    pub fn answer(
        &self,
        arguments: impl IntoIterator<Item = String>,
        commit: Option<&str>,
    ) -> Option<String> {
        let arguments: Vec<String> = arguments.into_iter().collect();
        if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
            return Some(self.page());
        }
        (arguments == ["--version"]).then(|| version::line(self.name, commit))
    }

    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    /// As [`Flags::parse`].
    pub fn parse(&self, arguments: impl IntoIterator<Item = String>) -> Result<Flags, ParseError> {
        Flags::parse(arguments, self.flags())
    }

    fn flags(&self) -> Vec<Flag> {
        [&SHARED, self.own].concat()
    }

    fn page(&self) -> String {
        let flags = self.flags();
        let required = flags.iter().filter(|flag| matches!(flag.value, Value::Required(_)));
        let required: Vec<String> = required.map(Flag::usage).collect();
        let mut page = format!("NAME\n{}", paragraph(&format!("{} - {}", self.name, self.summary), INDENT));
        page += "\nSYNOPSIS\n";
        page += &lines(
            [self.name.into()].into_iter().chain(required).chain(["[options]".into()]),
            INDENT,
            COLUMNS,
        );
        let about: Vec<String> = self.about.iter().map(|text| paragraph(text, INDENT)).collect();
        page += &format!("\nDESCRIPTION\n{}\nOPTIONS\n", about.join("\n"));
        page += &flags.iter().map(described).collect::<String>();
        page += &format!("{:INDENT$}--help\n{:INDENT$}    Shows this page.\n", "", "");
        page += &format!("{:INDENT$}--version\n{:INDENT$}    Shows version and commit.\n", "", "");
        page += "\nLIMITS\n";
        page += &paragraph(
            "A comma-separated list of NAME=VALUE; names end in the unit, or are counts. The names, with default and \
             range:",
            INDENT,
        );
        page += &local::help().lines().map(|line| format!("{:INDENT$}{line}\n", "")).collect::<String>();
        page += &format!("\nENVIRONMENT\n{:INDENT$}RUST_LOG\n", "");
        page += &paragraph(
            "What is logged: off, error, warn, info, debug or trace, or levels by crate, e.g. info,node=trace. Default: \
             info.",
            2 * INDENT,
        );
        page += "\nEXIT STATUS\n";
        for (code, cause) in self.exit_status {
            // The blanks of the first line make room for the code.
            page += &format!("{:INDENT$}{code}{}", "", &paragraph(cause, INDENT + 3)[INDENT + 1..]);
        }
        page.truncate(page.trim_end().len());
        page
    }
}

fn paragraph(text: &str, indent: usize) -> String {
    lines(text.split_whitespace().map(String::from), indent, COLUMNS)
}

fn described(flag: &Flag) -> String {
    let numbers = match flag.value {
        Value::Number { min, max, default, .. } => {
            let default = default.map(|number| format!(" Default: {number}.")).unwrap_or_default();
            format!(" From {min} to {max}.{default}")
        }
        Value::Absent | Value::Required(_) | Value::Optional(_) => String::new(),
    };
    format!("{:INDENT$}{}\n{}", "", flag.usage(), paragraph(&format!("{}{numbers}", flag.help), 2 * INDENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: Program = Program {
        name: "sample",
        summary: "shows pages",
        about: &["First paragraph.", "Second one."],
        own: &[
            Flag::required("--log", "FILE", "Where to log."),
            Flag {
                name: "--history-mib",
                value: Value::Number { shape: "M", min: 1, max: 9, default: Some(2) },
                help: "Memory in MiB.",
            },
            Flag::switch("--once", "Ends."),
        ],
        exit_status: &[(0, "all well"), (2, "usage")],
    };

    fn answer(line: &str) -> Option<String> {
        SAMPLE.answer(line.split_whitespace().map(String::from), Some("c0ffee"))
    }

    #[test]
    fn a_page_has_every_flag_with_range_and_default_and_fits_a_terminal() {
        let page = answer("--help").unwrap();
        for part in [
            "NAME\n    sample - shows pages\n",
            "SYNOPSIS\n    sample --id N --hosts FILE --keys DIR --log FILE [options]\n",
            "DESCRIPTION\n    First paragraph.\n\n    Second one.\n",
            "    --limits NAME=VALUE,…\n        Memory and time limits",
            "    --history-mib M\n        Memory in MiB. From 1 to 9. Default: 2.\n    --once\n        Ends.\n",
            "    ping-timeout-ms         10000, from 10 to 86400000\n",
            "EXIT STATUS\n    0  all well\n    2  usage",
        ] {
            assert!(page.contains(part), "{part:?} in\n{page}");
        }
        let long = page.lines().find(|line| line.chars().count() > COLUMNS);
        assert_eq!(long, None);
    }

    #[test]
    fn help_is_found_anywhere_and_version_alone() {
        assert_eq!(answer("--id 7 -h"), answer("--help"));
        assert_eq!(answer("--version"), Some(version::line("sample", Some("c0ffee"))));
        assert_eq!(answer("--version --id"), None);
        assert_eq!(answer(""), None);
    }
}
