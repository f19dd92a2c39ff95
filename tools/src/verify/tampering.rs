//! A finished run of one shard and one of two, altered in one place at a time: each alteration must be noticed.
//!
//! The runs are real ones, of a second, in which node 3 was crashed (`runs/`). Every field of every file is raised,
//! cleared and replaced, every line removed, doubled and swapped with the next, every file cut off, emptied and
//! removed. What goes unnoticed must stand in [`BLIND`], with the reason why it may.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::testing::TestDir;

/// Alterations that are not noticed: files that begin so, a column, and why it may not be.
const BLIND: [(&str, &str, &str); 14] = [
    ("rounds-", "views", OWN),
    ("rounds-", "leader", OWN),
    ("rounds-", "spb_us", OWN),
    ("rounds-", "coin_us", OWN),
    ("rounds-", "decide_us", OWN),
    ("rounds-", "agreement_us", OWN),
    ("rounds-", "fetch_us", OWN),
    ("rounds-", "executed_ms", OWN),
    ("nodes.csv", "taken", "counts the transactions of all clients, of which the run knows its own"),
    (
        "clients.csv",
        "cut_off",
        "loads of which there is no other record; it matters where receipts are missing",
    ),
    ("clients.csv", "resubmitted", "it matters where nodes took more than was submitted"),
    ("rounds-3.csv", "(line)", DEAD),
    ("rounds-3.csv", "(file)", DEAD),
    (
        "clients.csv",
        "ended",
        "what the conductor of the run wrote of it; it decides what may be open, and here nothing is",
    ),
];
const OWN: &str = "a measurement of the node's own, of which there is no other record";
const DEAD: &str = "the node was killed, and may have written so much or less";

/// One alteration: what it is called, and the file's text with it; `None` if the file is gone.
struct Alteration {
    column: String,
    what: String,
    text: Option<String>,
}

/// All alterations of a file.
fn alterations(text: &str) -> Vec<Alteration> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let columns: Vec<&str> = lines[0].trim_end().split(',').collect();
    let mut all = Vec::new();
    let mut add = |column: &str, what: String, text: Option<String>| {
        all.push(Alteration { column: column.into(), what, text });
    };
    let with = |at: usize, replacement: &[&str]| -> String {
        let mut lines = lines.clone();
        lines.splice(at..=at, replacement.iter().copied());
        lines.concat()
    };
    for (at, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.trim_end().split(',').collect();
        for (index, word) in words.iter().enumerate() {
            for other in others(word) {
                let mut words = words.clone();
                words[index] = &other;
                let column = if at == 0 { "(header)" } else { columns[index] };
                let line = format!("{}\n", words.join(","));
                add(column, format!("line {}: '{word}' to '{other}'", at + 1), Some(with(at, &[&line])));
            }
        }
        let column = if at == 0 { "(header)" } else { "(line)" };
        add(column, format!("line {} removed", at + 1), Some(with(at, &[])));
        add(column, format!("line {} doubled", at + 1), Some(with(at, &[line, line])));
        if let Some(next) = lines.get(at + 1) {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            if line != next {
                add(column, format!("line {} swapped with the next", at + 1), Some(swapped.concat()));
            }
        }
    }
    let cuts = [0, lines[0].len() - 1, lines[0].len(), text.len() / 2, text.len() - 1];
    for cut in cuts.into_iter().filter(|cut| *cut < text.len()) {
        add("(file)", format!("cut off after {cut} bytes"), Some(text[..cut].into()));
    }
    add("(file)", "removed".into(), None);
    all
}

/// The values that a field is changed to.
fn others(word: &str) -> Vec<String> {
    let mut others = vec![String::new(), format!("{word}1")];
    match word.parse::<u128>() {
        Ok(number) => others.extend([
            number.wrapping_add(1).to_string(),
            number.saturating_sub(1).to_string(),
            "0".into(),
        ]),
        Err(_) if word.len() == 64 => {
            others.extend([format!("{}{}", &word[..63], if word.ends_with('0') { '1' } else { '0' })]);
        }
        Err(_) => others.extend(["up", "down", "drained", "no-quorum", "interrupted"].map(String::from)),
    }
    others.sort_unstable();
    others.dedup();
    others.retain(|other| other != word);
    others
}

fn is_noticed(log: &Path, committee: &Committee) -> bool {
    let verdict = Record::load(log, committee).and_then(|record| check(log, committee, &record));
    !verdict.is_ok_and(|verdict| verdict.is_clean())
}

#[test]
fn a_sample_of_the_alterations_is_noticed_or_listed() {
    tamper(11);
}

#[test]
#[ignore = "some 90,000 alterations take minutes"]
fn every_alteration_is_noticed_or_listed() {
    tamper(1);
}

/// Tries each alteration whose number is a multiple of `step`.
fn tamper(step: usize) {
    let mut needed = [false; BLIND.len()];
    for shards in ["1", "2"] {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verify/runs").join(shards);
        let committee = load_committee(&run.join("committee.txt")).unwrap();
        let dir = TestDir::new();
        let mut files: Vec<PathBuf> =
            fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
        files.sort();
        for file in &files {
            fs::copy(file, dir.path().join(file.file_name().unwrap())).unwrap();
        }
        assert!(!is_noticed(dir.path(), &committee), "the run itself is clean");
        let (mut tried, mut blind) = (0, BTreeMap::<(String, String), Vec<String>>::new());
        for file in &files {
            let name = file.file_name().unwrap().to_str().unwrap();
            let (copy, text) = (dir.path().join(name), fs::read_to_string(file).unwrap());
            for Alteration { column, what, text } in alterations(&text).into_iter().step_by(step) {
                match text {
                    Some(text) => fs::write(&copy, text).unwrap(),
                    None => fs::remove_file(&copy).unwrap(),
                }
                tried += 1;
                if !is_noticed(dir.path(), &committee) {
                    blind.entry((name.into(), column)).or_default().push(what);
                }
            }
            fs::write(&copy, text).unwrap();
        }
        let unnoticed: usize = blind.values().map(Vec::len).sum();
        println!("{shards} shard(s): {tried} alterations, {unnoticed} unnoticed");
        blind.retain(|(file, column), _| {
            let listed =
                BLIND.iter().position(|(prefix, blind, _)| file.starts_with(prefix) && column == blind);
            listed.iter().for_each(|at| needed[*at] = true);
            listed.is_none()
        });
        assert!(blind.is_empty(), "unnoticed and not listed: {blind:#?}");
    }
    assert!(step > 1 || needed == [true; BLIND.len()], "what is noticed need not be listed: {needed:?}");
}
