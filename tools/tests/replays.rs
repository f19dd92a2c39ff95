//! Every fixture in `tests/replays/`: a core that is fed what a node of a real run was fed does what the node did.
//!
//! `tools replay --nodes ID --until ROUND --test tools/tests/replays/NAME` adds one (docs/testing.md).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wire::journal::{MAGIC, Reader};
use wire::rand;
use wire::record::Item;

/// A copy of a fixture, as a data directory; removed when dropped.
struct Copy(PathBuf);

impl Copy {
    fn of(fixture: &Path) -> Copy {
        let copy = std::env::temp_dir().join(format!("replay-{}-{:x}", std::process::id(), rand::u64()));
        for folder in fs::read_dir(fixture).unwrap() {
            let folder = folder.unwrap().path();
            let there = copy.join(folder.file_name().unwrap());
            fs::create_dir_all(&there).unwrap();
            for file in fs::read_dir(&folder).unwrap() {
                let file = file.unwrap().path();
                let there = there.join(file.file_name().unwrap());
                fs::copy(&file, &there).unwrap();
                // A checkout does not keep the mode of a key.
                fs::set_permissions(&there, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        Copy(copy)
    }

    fn replay(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tools"))
            .args(["replay", "--data-dir", ".", "--log-dir", "."])
            .current_dir(&self.0)
            .output()
            .unwrap()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Nothing depends on it; a left directory is only untidy.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fixtures() -> Vec<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replays");
    let mut fixtures: Vec<PathBuf> =
        fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    fixtures.retain(|path| path.is_dir());
    fixtures.sort();
    fixtures
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The number before these words.
fn number(text: &str, words: &str) -> u64 {
    let before = text.split(words).next().and_then(|text| text.split(' ').next_back()).unwrap_or_default();
    before.replace(',', "").parse().unwrap_or_else(|_| panic!("no number before '{words}': {text}"))
}

#[test]
fn every_fixture_is_replayed_to_its_end_and_does_the_same() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty(), "there is one at least");
    for fixture in fixtures {
        let output = Copy::of(&fixture).replay();
        let text = shown(&output);
        let name = fixture.display();
        assert_eq!(output.status.code(), Some(0), "{name}: {text}");
        assert!(number(&text, " effects of ") > 0 && number(&text, " events, ") > 0, "{name}: {text}");
        assert!(!text.contains("up to round 0"), "{name}: no block was executed: {text}");
        assert!(!text.contains("have no checksum"), "{name}: its end is not compared: {text}");
    }
}

/// A core that does something else is noticed: without one message of a peer it does.
#[test]
fn a_missing_message_is_noticed() {
    for fixture in fixtures().iter().take(1) {
        let copy = Copy::of(fixture);
        let journal = fs::read_dir(&copy.0).unwrap().map(|entry| entry.unwrap().path());
        let journal = journal.into_iter().find(|path| path.to_string_lossy().contains("journal-")).unwrap();
        let mut reader = Reader::open(&journal).unwrap();
        let mut items = Vec::new();
        while let Some(item) = reader.next_item().unwrap() {
            items.push(item);
        }
        let bodies = |item: &Item| matches!(item, Item::Record(record) if record.digest.is_some());
        let from = items.len() / 2;
        let at = from + items[from..].iter().position(bodies).expect("peers send to the end");
        items.remove(at);
        let mut bytes = MAGIC.to_vec();
        for item in &items {
            let (Item::Opening(record) | Item::Record(record)) = item;
            record.write_to(&mut bytes);
        }
        fs::write(journal.join("journal-00000001"), bytes).unwrap();
        let output = copy.replay();
        assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
        assert!(shown(&output).contains("did something else than the node"), "{}", shown(&output));
    }
}
