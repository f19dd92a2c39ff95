//! The command line of every command, declared as data.
//!
//! A [`Command`] names its options with the shape of their values, their defaults and a sentence of help; from that
//! one table come parsing, `--help` and the errors. An unknown option names the nearest right one; a wrong value
//! names option, value and what was expected. `--name value` and `--name=value` mean the same.

use std::collections::BTreeMap;
use std::fmt;

use wire::text::ParseError;

/// One option of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    /// Its name without the dashes.
    pub(crate) name: &'static str,
    /// What its value looks like, e.g. `R|max`; `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// The value it has if not given; `None` if it then has none.
    pub(crate) default: Option<&'static str>,
    /// What it means, in a sentence or two.
    pub(crate) help: &'static str,
}

impl Opt {
    /// An option with a value and a default.
    pub(crate) const fn with(
        name: &'static str,
        value: &'static str,
        default: &'static str,
        help: &'static str,
    ) -> Opt {
        Opt { name, value: Some(value), default: Some(default), help }
    }

    /// An option with a value and no default.
    pub(crate) const fn without_default(name: &'static str, value: &'static str, help: &'static str) -> Opt {
        Opt { name, value: Some(value), default: None, help }
    }

    /// A switch.
    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Opt {
        Opt { name, value: None, default: None, help }
    }
}

/// A command and what it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    /// Its name, the first word after `tools`.
    pub(crate) name: &'static str,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// What it does, in full: paragraphs separated by empty lines.
    pub(crate) about: &'static str,
    /// Its options, in the order in which help tells them.
    pub(crate) options: &'static [Opt],
    /// Further sections of the help: heading and text.
    pub(crate) sections: &'static [(&'static str, &'static str)],
}

/// A command line that was not understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum UsageError {
    /// No such option or command; with the nearest one, if any is near.
    Unknown { what: &'static str, given: String, nearest: Option<String> },
    /// An argument that is no option.
    Unexpected(String),
    /// An option without the value it needs.
    NoValue { option: &'static str, shape: &'static str },
    /// A switch with a value.
    NeedlessValue(&'static str),
    /// An option given twice.
    Twice(&'static str),
    /// An option that must be given and was not.
    Missing { option: &'static str, shape: &'static str },
    /// A value that is not what was expected.
    Value(ParseError),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::Unknown { what, given, nearest: Some(nearest) } => {
                write!(f, "there is no {what} '{given}'; the nearest is '{nearest}'")
            }
            UsageError::Unknown { what, given, nearest: None } => write!(f, "there is no {what} '{given}'"),
            UsageError::Unexpected(given) => write!(f, "found '{given}', expected an option (--name)"),
            UsageError::NoValue { option, shape } => {
                write!(f, "--{option} needs a value: --{option} {shape}")
            }
            UsageError::NeedlessValue(option) => write!(f, "--{option} takes no value"),
            UsageError::Twice(option) => write!(f, "--{option} is given twice"),
            UsageError::Missing { option, shape } => write!(f, "--{option} {shape} must be given"),
            UsageError::Value(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UsageError {}

impl From<ParseError> for UsageError {
    fn from(error: ParseError) -> UsageError {
        UsageError::Value(error)
    }
}

/// What a command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// The manual page.
    Help,
    /// The command, with these options.
    Run(Values),
}

impl Command {
    /// Parses the arguments that follow the command's name.
    pub(crate) fn parse(&self, arguments: &[String]) -> Result<Asked, UsageError> {
        if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
            return Ok(Asked::Help);
        }
        let mut given = BTreeMap::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let name = argument.strip_prefix("--").ok_or_else(|| UsageError::Unexpected(argument.clone()))?;
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (name, None),
            };
            let option = self.option(name).ok_or_else(|| UsageError::Unknown {
                what: "option",
                given: format!("--{name}"),
                nearest: nearest(name, self.options.iter().map(|option| option.name))
                    .map(|name| format!("--{name}")),
            })?;
            let value = match (option.value, inline) {
                (Some(_), Some(value)) => value,
                (Some(shape), None) => {
                    rest.next().cloned().ok_or(UsageError::NoValue { option: option.name, shape })?
                }
                (None, None) => String::new(),
                (None, Some(_)) => return Err(UsageError::NeedlessValue(option.name)),
            };
            if given.insert(option.name, value).is_some() {
                return Err(UsageError::Twice(option.name));
            }
        }
        Ok(Asked::Run(Values { options: self.options, given }))
    }

    fn option(&self, name: &str) -> Option<&'static Opt> {
        self.options.iter().find(|option| option.name == name)
    }

    /// The manual page.
    pub(crate) fn help(&self) -> String {
        let mut text = format!("NAME\n    tools {} - {}\n", self.name, self.summary);
        text += &format!("\nSYNOPSIS\n    tools {} [options]\n", self.name);
        text += "\nDESCRIPTION\n";
        for (index, paragraph) in self.about.split("\n\n").enumerate() {
            if index > 0 {
                text.push('\n');
            }
            text += &wrapped(paragraph, 4);
        }
        text += "\nOPTIONS\n";
        for option in self.options {
            let shape = option.value.map(|shape| format!(" {shape}")).unwrap_or_default();
            text += &format!("    --{}{shape}\n", option.name);
            let default = option.default.map(|value| format!(" Default: {value}.")).unwrap_or_default();
            text += &wrapped(&format!("{}{default}", option.help), 8);
        }
        text += "    --help\n        Shows this page.\n";
        for (heading, body) in self.sections {
            text += &format!("\n{heading}\n");
            for line in body.lines() {
                text += &format!("    {line}\n");
            }
        }
        text
    }
}

/// The values of the options of one command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Values {
    options: &'static [Opt],
    given: BTreeMap<&'static str, String>,
}

impl PartialEq for Opt {
    fn eq(&self, other: &Opt) -> bool {
        self.name == other.name
    }
}

impl Eq for Opt {}

impl Values {
    /// Whether the option stands on the command line.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The option's text, or its default; `None` if it has neither.
    ///
    /// # Panics
    /// If the command declares no such option: a slip in our own tables.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let option = self.options.iter().find(|option| option.name == name).expect("the option is declared");
        self.given.get(name).map(String::as_str).or(option.default)
    }

    /// The text of an option that must be given or has a default.
    pub(crate) fn required(&self, name: &'static str) -> Result<&str, UsageError> {
        let option = self.options.iter().find(|option| option.name == name).expect("the option is declared");
        self.text(name).ok_or(UsageError::Missing { option: name, shape: option.value.unwrap_or_default() })
    }

    /// The option's value as `parse` understands it; `None` if it has none. `expected` completes "expected …".
    pub(crate) fn optional<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, UsageError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(ParseError::of(&format!("--{name}"), text, expected).into()),
        }
    }

    /// The value of an option that must be given or has a default.
    pub(crate) fn value<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, UsageError> {
        self.required(name)?;
        Ok(self.optional(name, expected, parse)?.expect("a required option has a value"))
    }

    /// A whole number within bounds, both included.
    pub(crate) fn number(&self, name: &'static str, min: u64, max: u64) -> Result<u64, UsageError> {
        self.value(name, &format!("a whole number from {min} to {max}"), |text| within(text, min, max))
    }

    /// The same, of an option that may be absent.
    pub(crate) fn optional_number(
        &self,
        name: &'static str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, UsageError> {
        self.optional(name, &format!("a whole number from {min} to {max}"), |text| within(text, min, max))
    }
}

fn within(text: &str, min: u64, max: u64) -> Option<u64> {
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

/// The candidate with the least edit distance to `given`, if that is near enough to be what was meant: at most a
/// third of the letters differ, and at least one may.
pub(crate) fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (edit_distance(given, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().max(given.chars().count()) / 3).max(1)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, with a swap of neighbours counted as one edit.
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // Three rows of the usual table: the one being filled and the two above it.
    let mut above2 = vec![0; to.len() + 1];
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i; to.len() + 1];
        for j in 1..=to.len() {
            let change = above[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                row[j] = row[j].min(above2[j - 2] + 1);
            }
        }
        above2 = std::mem::replace(&mut above, row);
    }
    above[to.len()]
}

/// `text` as lines of at most 96 columns, indented.
fn wrapped(text: &str, indent: usize) -> String {
    const COLUMNS: usize = 96;
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines += &format!("{:indent$}{line}\n", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &format!("{:indent$}{line}\n", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: Command = Command {
        name: "sample",
        summary: "shows flags",
        about: "First paragraph.\n\nSecond one.",
        options: &[
            Opt::with("rate", "R|max", "10000", "Offered load."),
            Opt::with("duration", "S", "10", "How long."),
            Opt::without_default("base-port", "P", "Where to listen."),
            Opt::without_default("nodes", "N", "How many."),
            Opt::switch("signed", "Sign."),
        ],
        sections: &[("EXIT STATUS", "0 all well")],
    };

    fn parse(line: &str) -> Result<Values, String> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        match COMMAND.parse(&words) {
            Ok(Asked::Run(values)) => Ok(values),
            Ok(Asked::Help) => Err("help".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn values_come_from_the_line_or_the_default() {
        let values = parse("--rate=5 --signed --nodes 4").unwrap();
        assert_eq!(values.number("rate", 1, 100), Ok(5));
        assert_eq!(values.number("duration", 1, 100), Ok(10));
        assert_eq!(values.optional_number("base-port", 1, 65535), Ok(None));
        assert!(values.is_given("signed"));
        assert!(!parse("").unwrap().is_given("signed"));
    }

    #[test]
    fn each_mistake_is_named() {
        for (line, expected) in [
            ("--rat 5", "there is no option '--rat'; the nearest is '--rate'"),
            ("--druation 5", "there is no option '--druation'; the nearest is '--duration'"),
            ("--zzzzzzzz", "there is no option '--zzzzzzzz'"),
            ("four", "found 'four', expected an option (--name)"),
            ("--rate", "--rate needs a value: --rate R|max"),
            ("--signed=yes", "--signed takes no value"),
            ("--rate 1 --rate 2", "--rate is given twice"),
            ("--rate 1 --help", "help"),
        ] {
            assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        }
        let values = parse("--rate often").unwrap();
        assert_eq!(
            values.number("rate", 1, 9).unwrap_err().to_string(),
            "--rate: found 'often', expected a whole number from 1 to 9"
        );
        assert_eq!(values.number("nodes", 1, 9).unwrap_err().to_string(), "--nodes N must be given");
    }

    #[test]
    fn the_page_tells_every_option_its_default_and_every_section() {
        let page = COMMAND.help();
        for part in [
            "tools sample - shows flags",
            "--rate R|max",
            "Default: 10000.",
            "--base-port P",
            "--help",
            "EXIT STATUS",
        ] {
            assert!(page.contains(part), "{part} in\n{page}");
        }
    }

    #[test]
    fn edit_distances() {
        for (from, to, distance) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3), ("a", "", 1)]
        {
            assert_eq!(edit_distance(from, to), distance, "{from} {to}");
            assert_eq!(edit_distance(to, from), distance, "{to} {from}");
        }
    }

    #[test]
    fn long_help_is_wrapped_within_the_columns() {
        let text = wrapped(&"word ".repeat(60), 8);
        assert!(text.lines().count() > 1);
        assert!(text.lines().all(|line| line.starts_with("        word") && line.len() <= 96));
    }
}
