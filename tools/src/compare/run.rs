//! One run as in its summary.json: the figures that are compared, and what it was a run of.

use std::fs;
use std::path::{Path, PathBuf};

use wire::text::ParseError;

use super::figures::FIGURES;
use crate::json::Json;
use crate::report::summary_text;
use crate::verify::VERDICT;

/// A run.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Run {
    /// The path of its summary.
    pub(super) path: PathBuf,
    /// Its figures, in the order of [`FIGURES`]; `None` where it has none.
    pub(super) figures: Vec<Option<f64>>,
    /// Options, machine and version, each by its name.
    pub(super) facts: Vec<(String, String)>,
    /// Why it is not to be trusted, if it is not.
    pub(super) trouble: Option<String>,
}

/// Options of places and of ways to reach them, not of what is run: they differ between any two runs that are kept, and
/// commands of which one has them and the other has not run the same.
pub(crate) const PLACES: [&str; 8] =
    ["log-dir", "data-dir", "base-port", "hosts", "keys", "ssh-config", "remote-dir", "timeout"];

impl Run {
    /// Reads the summary at `path`, or in the directory that it is.
    pub(super) fn load(path: &Path) -> Result<Run, ParseError> {
        let path = if path.is_dir() { path.join("summary.json") } else { path.into() };
        let text = summary_text(&path)?;
        Run::parse(&path, &text, verdict_on(&path).as_ref())
    }

    /// `verdict` is that of `tools verify` on the testbed whose files stand there.
    fn parse(path: &Path, text: &str, verdict: Option<&Json>) -> Result<Run, ParseError> {
        let place = path.display().to_string();
        let json = Json::parse(text)
            .map_err(|error| ParseError::at_line(&place, error.line, &error.found, error.expected))?;
        let verdict = verdict.filter(|verdict| json.field("testbed") == verdict.field("testbed"));
        let summary = Summary { place: &place, json: &json, verdict };
        // Every summary has these; a document without them is something else.
        for field in ["tps", "duration_s", "committed", "exit_code"] {
            if summary.number(&[field])?.is_none() {
                return Err(summary.wrong(&[field], None, "a number"));
            }
        }
        let figures = FIGURES.iter().map(|figure| summary.number(figure.field)).collect::<Result<_, _>>()?;
        Ok(Run { figures, facts: summary.facts()?, trouble: summary.trouble()?, path: path.into() })
    }
}

/// The verdict beside a summary, or above it, where that of an earlier load was moved aside; one that cannot be read
/// counts as none.
fn verdict_on(summary: &Path) -> Option<Json> {
    let directory = summary.canonicalize().ok()?.parent()?.to_path_buf();
    let is_earlier = directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with("load-"));
    let directory = if is_earlier { directory.parent()? } else { &directory };
    Json::parse(&fs::read_to_string(directory.join(VERDICT)).ok()?).ok()
}

/// A summary that is being read.
struct Summary<'a> {
    place: &'a str,
    json: &'a Json,
    /// What `tools verify` found later, if it was run.
    verdict: Option<&'a Json>,
}

impl Summary<'_> {
    /// A number; `None` if there is none or nothing was measured.
    fn number(&self, field: &[&str]) -> Result<Option<f64>, ParseError> {
        match self.at(field)? {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Int(number)) => Ok(Some(*number as f64)),
            Some(Json::Float(number)) => Ok(Some(*number)),
            found => Err(self.wrong(field, found, "a number")),
        }
    }

    /// The value of a field within a field within …
    fn at(&self, field: &[&str]) -> Result<Option<&Json>, ParseError> {
        let mut value = self.json;
        for (depth, name) in field.iter().enumerate() {
            let Json::Object(fields) = value else {
                return Err(self.wrong(&field[..depth], Some(value), "an object"));
            };
            let Some((_, inner)) = fields.iter().find(|(field, _)| field == name) else { return Ok(None) };
            value = inner;
        }
        Ok(Some(value))
    }

    fn facts(&self) -> Result<Vec<(String, String)>, ParseError> {
        let mut facts = Vec::new();
        for (heading, field) in [("option --", "options"), ("machine: ", "machine")] {
            match self.at(&[field])? {
                Some(Json::Object(fields)) => facts.extend(
                    fields
                        .iter()
                        .filter(|(name, _)| !PLACES.contains(&name.as_str()))
                        .map(|(name, value)| (format!("{heading}{name}"), plain(value))),
                ),
                found => return Err(self.wrong(&[field], found, "an object")),
            }
        }
        for field in ["version", "commit"] {
            facts.push((field.into(), self.at(&[field])?.map_or_else(|| plain(&Json::Null), plain)));
        }
        Ok(facts)
    }

    /// Why the run is not to be trusted, the gravest first. An answer that the summary does not have yet is that of
    /// `tools verify`.
    fn trouble(&self) -> Result<Option<String>, ParseError> {
        let mut unknown = None;
        for (field, problem) in
            [("agreement", "nodes disagree"), ("value_conserved", "coins were made or lost")]
        {
            let found = self.at(&[field])?;
            let later = self.verdict.and_then(|verdict| verdict.field(field));
            match (found, later) {
                (Some(Json::Bool(false)), _)
                | (Some(Json::Bool(true) | Json::Null), Some(Json::Bool(false))) => {
                    return Ok(Some(problem.into()));
                }
                (Some(Json::Bool(true)), _) | (Some(Json::Null), Some(Json::Bool(true))) => {}
                (Some(Json::Null), Some(_)) => unknown = Some(format!("{field} could not be judged")),
                (Some(Json::Null), None) => {
                    unknown = Some(format!("{field} is not judged yet (tools verify judges it)"));
                }
                (found, _) => return Err(self.wrong(&[field], found, "true, false or null")),
            }
        }
        if self.verdict.is_some_and(|verdict| verdict.field("is_clean") != Some(&Json::Bool(true))) {
            return Ok(Some(unknown.unwrap_or("tools verify found something wrong".into())));
        }
        if self.at(&["interrupted"])? == Some(&Json::Bool(true)) {
            return Ok(Some("it was interrupted, so its figures are of a part of it".into()));
        }
        let code = self.number(&["exit_code"])?.unwrap_or_default();
        Ok(unknown.or_else(|| (code != 0.0).then(|| format!("its exit code was {code}"))))
    }

    fn wrong(&self, field: &[&str], found: Option<&Json>, expected: &str) -> ParseError {
        let found = found.map_or("no such field".into(), |value| value.to_string().replace('\n', " "));
        let place =
            if field.is_empty() { self.place.into() } else { format!("{}, {}", self.place, field.join(".")) };
        ParseError::of(&place, &found, expected)
    }
}

/// A value as people write it.
fn plain(value: &Json) -> String {
    match value {
        Json::Null => "-".into(),
        Json::Text(text) => text.clone(),
        value => value.to_string().replace('\n', " "),
    }
}

/// A sample for tests.
#[cfg(test)]
pub(super) fn sample(name: &str, tps: f64, rate: u64) -> Run {
    sample_of(name, tps, rate, 5.5)
}

/// The same with a median latency.
#[cfg(test)]
pub(super) fn sample_of(name: &str, tps: f64, rate: u64, p50_ms: f64) -> Run {
    let text = format!(
        "{{\"tps\": {tps}, \"duration_s\": 10, \"committed\": 1000, \"exit_code\": 0, \"rounds_per_s\": 50, \"lost\": 0,
          \"latency_ms\": {{\"p50\": {p50_ms}, \"p90\": null}}, \"agreement\": true, \"value_conserved\": true,
          \"options\": {{\"rate\": {rate}, \"log-dir\": \"{name}\", \"keys\": \"{name}/keys\"}}, \"machine\": {{\"cores\": 2}},
          \"version\": \"0.1.0\", \"commit\": null}}"
    );
    Run::parse(Path::new(name), &text, None).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_and_facts_are_found_where_they_stand() {
        let run = sample("a", 100.5, 7);
        let figure = |name: &str| run.figures[FIGURES.iter().position(|figure| figure.name == name).unwrap()];
        assert_eq!(figure("committed"), Some(100.5));
        assert_eq!(figure("latency p50"), Some(5.5));
        assert_eq!(figure("latency p90"), None, "nothing was measured");
        assert_eq!(figure("rounds"), Some(50.0));
        assert_eq!(figure("views a round"), None, "no such field");
        let facts: Vec<_> = run.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected =
            [("option --rate", "7"), ("machine: cores", "2"), ("version", "0.1.0"), ("commit", "-")];
        assert_eq!(facts, expected);
        assert_eq!(run.trouble, None);
    }

    #[test]
    fn what_the_summary_of_a_load_leaves_open_is_answered_by_its_verdict() {
        let load = "{\"testbed\": \"t\", \"tps\": 1, \"duration_s\": 1, \"committed\": 1, \"exit_code\": 0, \
                    \"agreement\": null, \"value_conserved\": null, \"interrupted\": false, \"options\": {}, \
                    \"machine\": {}}";
        let trouble = |load: &str, verdict: Option<&str>| {
            let verdict = verdict.map(|text| Json::parse(text).unwrap());
            Run::parse(Path::new("s"), load, verdict.as_ref()).unwrap().trouble
        };
        let verdict =
            "{\"testbed\": \"t\", \"agreement\": true, \"value_conserved\": true, \"is_clean\": true}";
        let cut_short = load.replace("\"interrupted\": false", "\"interrupted\": true");
        for (load, verdict, expected) in [
            (load, None, Some("value_conserved is not judged yet (tools verify judges it)")),
            (
                load,
                Some(verdict.replace("\"t\"", "\"u\"")),
                Some("value_conserved is not judged yet (tools verify judges it)"),
            ),
            (load, Some(verdict.into()), None),
            (load, Some(verdict.replacen("true", "false", 1)), Some("nodes disagree")),
            (load, Some(verdict.replacen("true", "null", 1)), Some("agreement could not be judged")),
            (
                load,
                Some(verdict.replace("clean\": true", "clean\": false")),
                Some("tools verify found something wrong"),
            ),
            (&cut_short, None, Some("it was interrupted, so its figures are of a part of it")),
        ] {
            assert_eq!(trouble(load, verdict.as_deref()).as_deref(), expected);
        }
    }

    #[test]
    fn an_error_names_the_field_that_is_missing() {
        let whole = "{\"tps\": 1, \"duration_s\": 1, \"committed\": 1, \"exit_code\": 3, \"agreement\": true, \
                     \"value_conserved\": true, \"options\": {}, \"machine\": {}}";
        let parse = |text: &str| Run::parse(Path::new("s"), text, None).map_err(|error| error.to_string());
        assert_eq!(parse(whole).unwrap().trouble.as_deref(), Some("its exit code was 3"));
        for (from, to, expected) in [
            ("\"tps\": 1", "\"tps\": \"1\"", "s, tps: found '\\\"1\\\"', expected a number"),
            ("\"tps\": 1", "\"tpss\": 1", "s, tps: found 'no such field', expected a number"),
            ("\"tps\": 1", "\"tps\": null", "s, tps: found 'no such field', expected a number"),
            ("\"options\": {}", "\"options\": []", "s, options: found '[]', expected an object"),
            (
                "\"agreement\": true",
                "\"agreement\": 1",
                "s, agreement: found '1', expected true, false or null",
            ),
            ("\"tps\": 1", "\"tps\": 1, \"latency_ms\": 5", "s, latency_ms: found '5', expected an object"),
            ("}", "", "s, line 1: found"),
        ] {
            let error = parse(&whole.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(parse("[]").unwrap_err(), "s: found '[]', expected an object");
        assert_eq!(parse("").unwrap_err(), "s, line 1: found 'the end', expected a value");
    }
}
