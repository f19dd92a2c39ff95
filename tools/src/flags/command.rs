//! Commands, their options and operands, and what is parsed by them.

use std::collections::BTreeMap;
use std::fmt;

use wire::nearest::nearest;
use wire::text::ParseError;

use super::range::Range;

/// One option of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    pub(crate) name: &'static str,
    /// The shape of its value, e.g. `R|max`; `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// The value it has if not given; `None` if it then has none.
    pub(crate) default: Option<&'static str>,
    /// The value it has if given without one; `None` if it then lacks one.
    pub(crate) bare: Option<&'static str>,
    /// The numbers that it may be; `None` if it is none, or other options decide.
    pub(crate) range: Option<Range>,
    /// Its meaning, in a sentence or two.
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
        Opt { name, value: Some(value), default: Some(default), bare: None, range: None, help }
    }

    /// An option with a value and no default.
    pub(crate) const fn without_default(name: &'static str, value: &'static str, help: &'static str) -> Opt {
        Opt { name, value: Some(value), default: None, bare: None, range: None, help }
    }

    /// A switch.
    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Opt {
        Opt { name, value: None, default: None, bare: None, range: None, help }
    }

    /// A switch that may have a value, and if given without one has `bare`.
    pub(crate) const fn switch_with(
        name: &'static str,
        value: &'static str,
        bare: &'static str,
        help: &'static str,
    ) -> Opt {
        Opt { name, value: Some(value), default: None, bare: Some(bare), range: None, help }
    }
}

/// A word of the command line that is no option: what a command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Operand {
    /// Its name, e.g. `DIR`.
    pub(crate) name: &'static str,
    /// The words it may be; any at all if there are none.
    pub(crate) words: &'static [&'static str],
    /// Its default; `None` if it must be given.
    pub(crate) default: Option<&'static str>,
    /// Its meaning, in a sentence or two.
    pub(crate) help: &'static str,
}

impl Operand {
    /// Whether it may be given more than once; its name ends with an ellipsis then. Only the last one may.
    pub(crate) fn is_repeated(&self) -> bool {
        self.name.ends_with('…')
    }
}

/// A command and what it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    /// Its name, the first word after `tools`.
    pub(crate) name: &'static str,
    /// Its purpose, in one line.
    pub(crate) summary: &'static str,
    /// Its description: paragraphs separated by empty lines.
    pub(crate) about: &'static str,
    /// Its operands, in their order; those that may be left out come last.
    pub(crate) operands: &'static [Operand],
    /// Its options, in the order in which help lists them.
    pub(crate) options: &'static [Opt],
    /// Further sections of the help: heading and text. A line of the text is a paragraph, or a term and what it
    /// means, with two spaces or more between them.
    pub(crate) sections: &'static [(&'static str, &'static str)],
}

/// A command line that was not understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum UsageError {
    /// No such option or command; with the nearest one, if any is near.
    Unknown { what: &'static str, given: String, nearest: Option<String> },
    /// An argument that is no option, where no operand is missing.
    Unexpected(String),
    /// An operand that must be given and was not.
    NoOperand { name: &'static str, words: &'static [&'static str] },
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
            UsageError::NoOperand { name, words: [] } => write!(f, "{name} must be given"),
            UsageError::NoOperand { name, words } => {
                write!(f, "{name} must be given, one of {}", words.join(", "))
            }
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

/// A parsed command line.
#[derive(Clone, Debug)]
pub(crate) enum Invocation {
    /// The manual page.
    Help,
    /// The command, with these options.
    Run(Values),
}

impl Command {
    /// Parses the arguments that follow the command's name.
    pub(crate) fn parse(&self, arguments: &[String]) -> Result<Invocation, UsageError> {
        if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
            return Ok(Invocation::Help);
        }
        let mut values = Values { command: *self, given: BTreeMap::new(), operands: Vec::new() };
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            let Some(name) = argument.strip_prefix("--") else {
                values.operands.push(self.parse_operand(values.operands.len(), argument)?);
                continue;
            };
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
            let value = match (option, inline) {
                (Opt { value: Some(_), .. }, Some(value)) => value,
                // Where the value is optional, an argument that looks like an option is the next option.
                (Opt { bare: Some(bare), .. }, None) => {
                    rest.next_if(|next| !next.starts_with('-')).map_or(bare.to_string(), String::clone)
                }
                (Opt { value: Some(shape), .. }, None) => {
                    rest.next().cloned().ok_or(UsageError::NoValue { option: option.name, shape })?
                }
                (Opt { value: None, .. }, None) => String::new(),
                (Opt { value: None, .. }, Some(_)) => return Err(UsageError::NeedlessValue(option.name)),
            };
            if values.given.insert(option.name, value).is_some() {
                return Err(UsageError::Twice(option.name));
            }
        }
        match self.operands.get(values.operands.len()) {
            Some(Operand { name, words, default: None, .. }) => Err(UsageError::NoOperand { name, words }),
            _ => Ok(Invocation::Run(values)),
        }
    }

    fn parse_operand(&self, index: usize, argument: &str) -> Result<String, UsageError> {
        let unexpected = || UsageError::Unexpected(argument.into());
        let repeated = self.operands.last().filter(|operand| operand.is_repeated());
        let operand = self.operands.get(index).or(repeated);
        let operand = operand.filter(|_| !argument.starts_with('-')).ok_or_else(unexpected)?;
        if !operand.words.is_empty() && !operand.words.contains(&argument) {
            return Err(UsageError::Unknown {
                what: operand.name,
                given: argument.into(),
                nearest: nearest(argument, operand.words.iter().copied()).map(String::from),
            });
        }
        Ok(argument.into())
    }

    fn option(&self, name: &str) -> Option<&'static Opt> {
        self.options.iter().find(|option| option.name == name)
    }
}

/// The operands and the values of the options of one command line.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    command: Command,
    given: BTreeMap<&'static str, String>,
    operands: Vec<String>,
}

impl Values {
    /// The operand of this name as given, or its default.
    ///
    /// # Panics
    /// If the command declares no such operand: a slip in our own tables.
    pub(crate) fn operand(&self, name: &str) -> &str {
        let operands = self.command.operands;
        let index = operands.iter().position(|operand| operand.name == name).expect("it is declared");
        let given = self.operands.get(index).map(String::as_str);
        given.or(operands[index].default).expect("parsing requires those without a default")
    }

    /// The last operand of the command, which may be given more than once, as often as it was given.
    pub(crate) fn repeated(&self) -> &[String] {
        self.operands.get(self.command.operands.len().saturating_sub(1)..).unwrap_or_default()
    }

    /// The same with one option more, as if it stood on the command line.
    ///
    /// # Panics
    /// If the command declares no such option: a slip in our own tables.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Values {
        let option = self.command.option(name).expect("the option is declared");
        self.given.insert(option.name, value.into());
        self
    }

    /// Whether the option stands on the command line.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The option's text, or its default; `None` if it has neither.
    ///
    /// # Panics
    /// If the command declares no such option: a slip in our own tables.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let option = self.command.option(name).expect("the option is declared");
        self.given.get(name).map(String::as_str).or(option.default)
    }

    /// The text of an option that must be given or has a default.
    pub(crate) fn required(&self, name: &'static str) -> Result<&str, UsageError> {
        let option = self.command.option(name).expect("the option is declared");
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

    /// The range that the table has for an option.
    ///
    /// # Panics
    /// If the command declares no such option: a slip in our own tables.
    pub(super) fn range(&self, name: &str) -> Option<Range> {
        self.command.option(name).expect("the option is declared").range
    }
}

/// A command with every kind of operand, option and section, for tests.
#[cfg(test)]
pub(super) const SAMPLE: Command = Command {
    name: "sample",
    summary: "shows flags",
    about: "First paragraph.\n\nSecond one.",
    operands: &[
        Operand { name: "ACTION", words: &["start", "stop"], default: None, help: "What to do." },
        Operand { name: "DIR", words: &[], default: Some("log"), help: "Where." },
    ],
    options: &[
        Opt::with("rate", "R|max", "10000", "Offered load, whatever becomes of it in the end.")
            .within(Range::WholeOr { min: 1, max: 99_999, word: "max" }),
        Opt::with("duration", "S", "10", "How long.").within(Range::PositiveSeconds),
        Opt::without_default("base-port", "P", "Where to listen."),
        Opt::without_default("nodes", "N", "How many.").within(Range::whole(1, 128)),
        Opt::without_default("part", "P", "How much.").within(Range::Fraction),
        Opt::with("sizes", "LIST", "1,2", "Which.").within(Range::List { min: 1, max: 9 }),
        Opt::switch_with("watch", "S", "1", "Again."),
        Opt::switch("signed", "Sign."),
    ],
    sections: &[
        ("EXIT STATUS", "0  all well, as far as anybody can see\n130  interrupted"),
        ("EXAMPLES", "tools sample --rate 5 start  Starts it."),
        ("NOTES", "Just a paragraph."),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Values, String> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        match SAMPLE.parse(&words) {
            Ok(Invocation::Run(values)) => Ok(values),
            Ok(Invocation::Help) => Err("help".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn values_come_from_the_line_or_the_default() {
        let values = parse("--rate=5 start --signed --nodes 4").unwrap();
        assert_eq!(values.number("rate", 1, 100), Ok(5));
        assert_eq!(values.number("duration", 1, 100), Ok(10));
        assert!(values.is_given("signed"));
        assert_eq!((values.operand("ACTION"), values.operand("DIR")), ("start", "log"));
        let values = parse("stop a/b").unwrap();
        assert!(!values.is_given("signed"));
        assert_eq!((values.operand("ACTION"), values.operand("DIR")), ("stop", "a/b"));
    }

    #[test]
    fn a_switch_with_a_value_has_one_without_it() {
        for (line, watch) in [
            ("start", None),
            ("start --watch", Some("1")),
            ("start --watch --signed", Some("1")),
            ("start --watch 5", Some("5")),
            ("start --watch=5", Some("5")),
        ] {
            assert_eq!(parse(line).unwrap().text("watch"), watch, "{line}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        for (line, expected) in [
            ("start --rat 5", "there is no option '--rat'; the nearest is '--rate'"),
            ("start --druation 5", "there is no option '--druation'; the nearest is '--duration'"),
            ("start --zzzzzzzz", "there is no option '--zzzzzzzz'"),
            ("start a four", "found 'four', expected an option (--name)"),
            ("start -x", "found '-x', expected an option (--name)"),
            ("strat", "there is no ACTION 'strat'; the nearest is 'start'"),
            ("", "ACTION must be given, one of start, stop"),
            ("start --rate", "--rate needs a value: --rate R|max"),
            ("start --signed=yes", "--signed takes no value"),
            ("start --rate 1 --rate 2", "--rate is given twice"),
            ("--rate 1 --help", "help"),
        ] {
            assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        }
        let values = parse("start --rate often").unwrap();
        assert_eq!(
            values.number("rate", 1, 9).unwrap_err().to_string(),
            "--rate: found 'often', expected a whole number from 1 to 9"
        );
        assert_eq!(values.number("nodes", 1, 9).unwrap_err().to_string(), "--nodes N must be given");
    }
}
