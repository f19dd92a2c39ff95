//! The build script of the four programs: tells them the commit they are built from, as `TESTBED_COMMIT`, with a mark
//! if sources differ from it. Without git or a repository the programs say that they do not know.

use std::path::Path;
use std::process::Command;

fn main() {
    // Built into the program that uses it; sources of others do not change it.
    println!("cargo::rerun-if-changed=src");
    for path in ["wire/commit.rs", "Cargo.lock", "wire/src", "bft/src"] {
        println!("cargo::rerun-if-changed=../{path}");
    }
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]);
        // A path that is not there would run this at every build.
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["describe", "--always", "--dirty", "--abbrev=12"]) {
        println!("cargo::rustc-env=TESTBED_COMMIT={commit}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}
