//! The command lines of the three processes of a node: `--name value` pairs and bare `--name` switches.
//!
//! A table of [`Flag`]s has the shape, range and default of each value; parsing and the manual page
//! ([`crate::program`]) both read it. Each error is one line that names the flag, its value and the expected one.
//! (`tools`, which people type, has a richer parser of its own.)

use std::path::PathBuf;

use crate::nearest;
use crate::text::ParseError;

/// A flag that a program knows.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// With its dashes, e.g. `--id`.
    pub name: &'static str,
    /// The values it takes.
    pub value: Value,
    /// Its meaning and unit, in a sentence or two.
    pub help: &'static str,
}

/// The values that a flag takes. A shape stands for them in usage texts, e.g. `N`.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// None: the flag is a switch.
    Absent,
    /// A text of this shape, which must be given.
    Required(&'static str),
    /// A text of this shape, which may be given.
    Optional(&'static str),
    /// A whole number from `min` to `max`.
    Number {
        /// The shape.
        shape: &'static str,
        /// The least one.
        min: u64,
        /// The greatest one.
        max: u64,
        /// The number if the flag is not given; `None` if there is none then.
        default: Option<u64>,
    },
}

impl Flag {
    /// A flag that must be given.
    pub const fn required(name: &'static str, shape: &'static str, help: &'static str) -> Flag {
        Flag { name, value: Value::Required(shape), help }
    }

    /// A flag that may be given.
    pub const fn optional(name: &'static str, shape: &'static str, help: &'static str) -> Flag {
        Flag { name, value: Value::Optional(shape), help }
    }

    /// A flag without a value.
    pub const fn switch(name: &'static str, help: &'static str) -> Flag {
        Flag { name, value: Value::Absent, help }
    }

    /// The flag as it is typed, with the shape of its value.
    pub fn usage(&self) -> String {
        self.shape().map_or(self.name.into(), |shape| format!("{} {shape}", self.name))
    }

    fn shape(&self) -> Option<&'static str> {
        match self.value {
            Value::Absent => None,
            Value::Required(shape) | Value::Optional(shape) | Value::Number { shape, .. } => Some(shape),
        }
    }

    fn check(&self, text: &str) -> Result<(), ParseError> {
        let Value::Number { min, max, .. } = self.value else { return Ok(()) };
        match text.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            _ => Err(ParseError::of(self.name, text, format!("a whole number from {min} to {max}"))),
        }
    }
}

/// The flags given, each at most once.
#[derive(Clone, Debug)]
pub struct Flags {
    known: Vec<Flag>,
    given: Vec<(&'static str, String)>,
}

impl Flags {
    /// Parses the arguments after the program's name. Flags other than the `known` ones and numbers outside of their
    /// range are errors.
    pub fn parse(arguments: impl IntoIterator<Item = String>, known: Vec<Flag>) -> Result<Flags, ParseError> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = known.iter().find(|flag| flag.name == argument) else {
                let names: Vec<&str> = known.iter().map(|flag| flag.name).collect();
                let expected = format!("one of {}{}", names.join(", "), nearest::hint(&argument, &names));
                return Err(ParseError::of("command line", &argument, expected));
            };
            if given.iter().any(|(name, _)| *name == flag.name) {
                return Err(ParseError::of(flag.name, "it twice", "it once"));
            }
            let value = match flag.shape() {
                Some(shape) => arguments.next().ok_or_else(|| {
                    ParseError::of(flag.name, "the end of the command line", format!("a value {shape}"))
                })?,
                None => String::new(),
            };
            flag.check(&value)?;
            given.push((flag.name, value));
        }
        Ok(Flags { known, given })
    }

    /// Whether a switch is given.
    pub fn has(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// The value of a flag, parsed, if the flag is given; `expected` describes a valid value in the error.
    pub fn value<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ParseError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| ParseError::of(name, text, expected))
    }

    /// As [`Flags::value`], for a flag that must be given.
    pub fn required<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ParseError> {
        self.value(name, expected, parse)?
            .ok_or_else(|| ParseError::of(name, "no such flag", format!("it, with {expected}")))
    }

    /// The number of a flag, which the command line gives or the table; `None` if neither does.
    ///
    /// # Panics
    /// If the table has no such number: a slip in our own tables.
    pub fn number(&self, name: &str) -> Option<u64> {
        let flag = self.known.iter().find(|flag| flag.name == name);
        let Some(Flag { value: Value::Number { default, .. }, .. }) = flag else {
            panic!("{name} is no number")
        };
        self.text(name).map(|text| text.parse().expect("parsing has checked it")).or(*default)
    }

    /// A path, which must be given.
    pub fn path(&self, name: &str) -> Result<PathBuf, ParseError> {
        self.required(name, "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)))
    }

    /// The value of a flag as it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, text)| text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, ParseError> {
        let number = |name, default| Flag {
            name,
            value: Value::Number { shape: "N", min: 0, max: 9, default },
            help: "",
        };
        let known = vec![
            number("--id", None),
            number("--batch", Some(3)),
            Flag::required("--log", "FILE", ""),
            Flag::switch("--once", ""),
        ];
        Flags::parse(line.split_whitespace().map(String::from), known)
    }

    #[test]
    fn flags_are_found_by_name_in_any_order() {
        let flags = parse("--once --log a/b --id 7 --batch 0").unwrap();
        assert!(flags.has("--once"));
        assert_eq!((flags.number("--id"), flags.number("--batch")), (Some(7), Some(0)));
        assert_eq!(flags.path("--log"), Ok(PathBuf::from("a/b")));
        let flags = parse("").unwrap();
        assert!(!flags.has("--once"));
        assert_eq!((flags.number("--id"), flags.number("--batch")), (None, Some(3)));
    }

    #[test]
    fn errors_name_flag_value_and_expectation() {
        for (line, error) in [
            (
                "--bach 7",
                "command line: found '--bach', expected one of --id, --batch, --log, --once; the nearest is '--batch'",
            ),
            (
                "once",
                "command line: found 'once', expected one of --id, --batch, --log, --once; the nearest is '--once'",
            ),
            ("--id", "--id: found 'the end of the command line', expected a value N"),
            ("--id 1 --id 2", "--id: found 'it twice', expected it once"),
            ("--id x", "--id: found 'x', expected a whole number from 0 to 9"),
            ("--batch 10", "--batch: found '10', expected a whole number from 0 to 9"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), error);
        }
        assert_eq!(
            parse("").unwrap().path("--log").unwrap_err().to_string(),
            "--log: found 'no such flag', expected it, with a path"
        );
    }
}
