//! Helpers of several unit tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::json::Json;

// Shared with the tests of whole runs.
#[path = "../tests/documented/mod.rs"]
mod documented;

pub(crate) use self::documented::{FILES, documented};

/// The names that `docs/files.md` defines under a heading, whatever their order.
pub(crate) fn documented_keys(heading: &str) -> BTreeSet<String> {
    documented(heading).into_iter().collect()
}

/// The keys of an object and of the objects in it, but for those in the objects of the keys `counted`.
pub(crate) fn json_keys(json: &Json, counted: &[&str]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    match json {
        Json::Object(fields) => {
            for (name, value) in fields {
                keys.insert(name.clone());
                if !counted.contains(&name.as_str()) {
                    keys.append(&mut json_keys(value, counted));
                }
            }
        }
        Json::List(items) => keys.extend(items.iter().flat_map(|item| json_keys(item, counted))),
        _ => {}
    }
    keys
}

/// A directory of its own for one test, removed when it ends.
pub(crate) struct TestDir(PathBuf);

impl TestDir {
    pub(crate) fn new() -> TestDir {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tools-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        TestDir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        // Nothing depends on it; a left directory is only untidy.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
