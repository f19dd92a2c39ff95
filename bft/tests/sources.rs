//! Checks of the source texts: docs/design.md §17 lists every module that hashes and every tag, and the document names
//! every rule that tests switch off; the core imports nothing of its simulator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bft::mutant::Mutant;

const DESIGN: &str = include_str!("../../docs/design.md");
/// Source text that shows that a module computes a digest or a MAC.
const HASHES: [&str; 4] = ["Sha256::", "Sha512::", "MacKey::new", "raw_sign::"];

/// Name and source text of each module of `bft` and `wire`, without tests.
fn modules() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut folders: Vec<PathBuf> = vec![root.join("bft/src"), root.join("wire/src")];
    let mut modules = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("within it").to_string_lossy().into_owned();
            let is_test = name.contains("/tests") || name.contains("/digests");
            if path.is_dir() {
                folders.push(path);
            } else if !is_test && let Some(name) = name.strip_suffix(".rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let text = text.split("#[cfg(test)]\nmod tests {").next().expect("a beginning").to_owned();
                modules.push((name.replace("/src/", "::").replace('/', "::"), text));
            }
        }
    }
    assert!(modules.len() > 80, "{} modules", modules.len());
    modules
}

#[test]
fn every_module_that_hashes_is_listed() {
    let mut hashing = 0;
    for (module, text) in modules() {
        if HASHES.iter().any(|hash| text.contains(hash)) {
            assert!(
                DESIGN.contains(&format!("`{module}`")),
                "{module} hashes, but docs/design.md does not list it"
            );
            hashing += 1;
        }
    }
    assert!(hashing >= 15, "{hashing} modules hash");
}

#[test]
fn every_rule_that_tests_switch_off_is_named() {
    for rule in Mutant::ALL {
        assert!(DESIGN.contains(&format!("`{rule:?}`")), "docs/design.md does not name {rule:?}");
    }
}

/// A tag is a constant of four letters; each is listed and used in one place.
#[test]
fn every_tag_is_listed_and_used_once() {
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, text) in modules() {
        for literal in text.split("b\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let tag: String = literal.chars().take_while(char::is_ascii_uppercase).collect();
            if tag.len() == 4 && literal[4..].chars().all(|rest| ".\\0".contains(rest)) {
                tags.entry(tag).or_default().push(module.clone());
            }
        }
    }
    for (tag, modules) in &tags {
        assert!(DESIGN.contains(&format!("| `{tag}` |")), "{tag} of {modules:?} is not listed");
        assert_eq!(modules.len(), 1, "{tag} is used in several places: {modules:?}");
    }
    assert_eq!(tags.len(), 22, "{tags:?}");
}

/// The simulator is an attacker of the core: the core must be complete without it.
#[test]
fn the_core_imports_nothing_of_the_simulator() {
    let is_core = |module: &str| module.starts_with("bft::") && module.split("::").nth(1) != Some("sim");
    let core: Vec<(String, String)> = modules().into_iter().filter(|(module, _)| is_core(module)).collect();
    assert!(core.len() > 60, "{} modules", core.len());
    for (module, text) in core {
        assert!(!text.contains("crate::sim"), "{module} imports the simulator");
    }
}
