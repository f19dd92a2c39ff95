//! The command lines of the three processes of a node: `--name value` pairs and bare `--name` switches.
//!
//! Each error is one line that names the flag, its value and the expected one. (`tools`, which people type, has a
//! richer parser of its own.)

use std::path::PathBuf;

use crate::text::ParseError;

/// A flag that a program knows.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// With its dashes, e.g. `--id`.
    pub name: &'static str,
    /// The shape of its value, e.g. `N`; `None` for a switch.
    pub value: Option<&'static str>,
}

impl Flag {
    /// A flag with a value of a shape.
    pub const fn with(name: &'static str, shape: &'static str) -> Flag {
        Flag { name, value: Some(shape) }
    }

    /// A flag without a value.
    pub const fn switch(name: &'static str) -> Flag {
        Flag { name, value: None }
    }
}

/// The flags given, each at most once.
#[derive(Clone, Debug)]
pub struct Flags {
    given: Vec<(&'static str, String)>,
}

impl Flags {
    /// Parses the arguments after the program's name. Flags other than the `known` ones are errors.
    pub fn parse(arguments: impl IntoIterator<Item = String>, known: &[Flag]) -> Result<Flags, ParseError> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = known.iter().find(|flag| flag.name == argument) else {
                let names: Vec<&str> = known.iter().map(|flag| flag.name).collect();
                let expected = format!("one of {}", names.join(", "));
                return Err(ParseError::of("command line", &argument, expected));
            };
            if given.iter().any(|(name, _)| *name == flag.name) {
                return Err(ParseError::of(flag.name, "it twice", "it once"));
            }
            let value = match flag.value {
                Some(shape) => arguments.next().ok_or_else(|| {
                    ParseError::of(flag.name, "the end of the command line", format!("a value {shape}"))
                })?,
                None => String::new(),
            };
            given.push((flag.name, value));
        }
        Ok(Flags { given })
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

    /// A whole number from `min` to `max`, if the flag is given.
    pub fn number(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, ParseError> {
        self.value(name, &format!("a whole number from {min} to {max}"), |text| {
            text.parse().ok().filter(|number| (min..=max).contains(number))
        })
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

    const KNOWN: &[Flag] = &[Flag::with("--id", "N"), Flag::with("--log", "FILE"), Flag::switch("--once")];

    fn parse(line: &str) -> Result<Flags, ParseError> {
        Flags::parse(line.split_whitespace().map(String::from), KNOWN)
    }

    #[test]
    fn flags_are_found_by_name_in_any_order() {
        let flags = parse("--once --log a/b --id 7").unwrap();
        assert!(flags.has("--once"));
        assert_eq!(flags.number("--id", 0, 9), Ok(Some(7)));
        assert_eq!(flags.path("--log"), Ok(PathBuf::from("a/b")));
        let flags = parse("").unwrap();
        assert!(!flags.has("--once"));
        assert_eq!(flags.number("--id", 0, 9), Ok(None));
    }

    #[test]
    fn errors_name_flag_value_and_expectation() {
        let text = |result: Result<Flags, ParseError>| result.unwrap_err().to_string();
        assert_eq!(
            text(parse("--idd 7")),
            "command line: found '--idd', expected one of --id, --log, --once"
        );
        assert_eq!(text(parse("--id")), "--id: found 'the end of the command line', expected a value N");
        assert_eq!(text(parse("--id 1 --id 2")), "--id: found 'it twice', expected it once");
        let flags = parse("--id x").unwrap();
        assert_eq!(
            flags.number("--id", 0, 9).unwrap_err().to_string(),
            "--id: found 'x', expected a whole number from 0 to 9"
        );
        assert_eq!(
            flags.path("--log").unwrap_err().to_string(),
            "--log: found 'no such flag', expected it, with a path"
        );
    }
}
