//! `--resume`: the options with which nodes that have journals go on.
//!
//! A run whose nodes have journals writes down which options its nodes depend on. A run that goes on takes these from
//! there: they need not be given again, and none may differ, since a core with other settings would do other things
//! with the same events. All others, those of the load above all, are its own.

use std::fs;
use std::path::{Path, PathBuf};

use wire::text::ParseError;

use super::error::StartError;
use crate::flags::{UsageError, Values};

/// What a run begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begins {
    /// Fresh keys.
    Anew,
    /// The keys and journals of an earlier run.
    WithJournals,
}

/// These are taken from there too, but may be given anew.
const KEPT: [&str; 2] = ["durability", "log-dir"];

const FIRST_LINE: &str = "dumbo-testbed options 1";

fn path(data: &Path) -> PathBuf {
    data.join("options.txt")
}

/// What a run with these options has to write down. On those that are `bound` a core depends, or the place of its
/// journal does.
pub(crate) fn noted(values: &Values, bound: &[&str]) -> String {
    let lines = bound.iter().chain(&KEPT).filter_map(|name| match *name {
        "signed" => values.is_given("signed").then(|| "signed\n".into()),
        name => values.text(name).map(|value| format!("{name} {value}\n")),
    });
    format!("{FIRST_LINE}\n{}", lines.collect::<String>())
}

/// Writes that down.
pub(crate) fn note(data: &Path, noted: &str) -> Result<(), StartError> {
    fs::write(path(data), noted).map_err(|error| StartError::file("write", &path(data), error))
}

/// The options of a run with this command line: those of the run in its data directory if it goes on with that one.
///
/// # Errors
/// If a `bound` option differs from that run's, or if that run or this one has no journals.
pub(crate) fn resolve(values: &Values, bound: &[&'static str]) -> Result<(Values, Begins), UsageError> {
    if !values.is_given("resume") {
        return Ok((values.clone(), Begins::Anew));
    }
    let values = completed(values, bound)?;
    refuse_without_journal(&values)?;
    Ok((values, Begins::WithJournals))
}

/// A command line with the options of the run in its data directory.
fn completed(values: &Values, bound: &[&'static str]) -> Result<Values, UsageError> {
    let data = Path::new(values.required("data-dir")?);
    let place = path(data).display().to_string();
    let text = fs::read_to_string(path(data)).map_err(|error| {
        let expected = "that of a run that can go on: one whose nodes have journals, so not --durability off";
        ParseError::of(&place, &error.to_string(), expected)
    })?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(ParseError::at_line(&place, 1, text.lines().next().unwrap_or(""), FIRST_LINE).into());
    }
    let noted: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
    let began = |name: &str| noted.iter().find(|(noted, _)| *noted == name).map(|(_, value)| *value);
    for &name in bound {
        let expected = match began(name) {
            _ if !values.is_given(name) => continue,
            Some(value) if values.text(name).unwrap_or("") == value => continue,
            Some(value) => format!("{value}, with which the run in {} began", data.display()),
            None => format!("none, as the run in {} began", data.display()),
        };
        let found = values.text(name).filter(|text| !text.is_empty()).unwrap_or("given");
        return Err(ParseError::of(&format!("--{name}"), found, expected).into());
    }
    let all = bound.iter().chain(&KEPT).filter(|name| !values.is_given(name));
    let missing = all.filter_map(|name| Some((*name, began(name)?)));
    Ok(missing.fold(values.clone(), |values, (name, value)| values.with(name, value)))
}

/// Refuses a run that goes on without what the next one would need.
fn refuse_without_journal(values: &Values) -> Result<(), UsageError> {
    match values.text("durability") {
        Some("off") => {
            let expected = "process or power, since a run that goes on has journals";
            Err(ParseError::of("--durability", "off", expected).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Invocation;
    use crate::local::COMMAND;
    use crate::testing::TestDir;

    const BOUND: [&str; 5] = ["nodes", "shards", "signed", "history-mib", "limits"];

    fn values(line: &str) -> Values {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        match COMMAND.parse(&words) {
            Ok(Invocation::Run(values)) => values,
            _ => panic!("{line}"),
        }
    }

    #[test]
    fn what_is_not_given_is_as_it_was_and_what_differs_is_named() {
        let dir = TestDir::new();
        let data = dir.path().display().to_string();
        let line = |rest: &str| values(&format!("--resume --data-dir {data} {rest}"));
        let error = |rest: &str| resolve(&line(rest), &BOUND).unwrap_err().to_string();
        assert!(error("").contains("options.txt: found 'No such file"), "{}", error(""));
        let first = values(
            "--nodes 4 --shards 2 --signed --limits clients=9 --durability power --rate 7 --history-mib 123",
        );
        note(dir.path(), &noted(&first, &BOUND)).unwrap();
        let (again, begins) = resolve(&line("--nodes 4 --rate 9 --log-dir other"), &BOUND).unwrap();
        assert_eq!(begins, Begins::WithJournals);
        let text = |name| again.text(name).unwrap();
        assert_eq!((text("nodes"), text("shards"), text("history-mib")), ("4", "2", "123"));
        assert_eq!((text("limits"), text("durability")), ("clients=9", "power"));
        assert_eq!((text("rate"), text("log-dir")), ("9", "other"));
        assert!(again.is_given("signed"));
        assert!(error("--nodes 7").contains("--nodes: found '7', expected 4, with which the run in"));
        assert!(error("--history-mib 9").contains("--history-mib: found '9', expected 123"));
        note(dir.path(), &noted(&values("--nodes 4"), &BOUND)).unwrap();
        assert!(error("--signed").contains("--signed: found 'given', expected none"));
        assert!(error("--limits clients=1").contains("--limits: found 'clients=1', expected none"));
        assert!(error("--durability off").contains("--durability: found 'off', expected process or power"));
        assert_eq!(resolve(&line(""), &BOUND).unwrap().0.text("durability"), Some("process"));
    }
}
