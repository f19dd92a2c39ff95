//! The answer to `--version`, also part of summaries.
//!
//! The commit comes from the build script of each program (`wire/commit.rs`), not from here, so that a commit does not
//! compile the libraries anew.

/// The version of all programs.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit from which the calling program was built, marked if its sources differed; `None` if unknown.
#[macro_export]
macro_rules! commit {
    () => {
        option_env!("TESTBED_COMMIT")
    };
}

/// The line that a program of this name prints: `node 0.1.0 (commit 0123456789ab)`.
pub fn line(program: &str, commit: Option<&str>) -> String {
    format!("{program} {VERSION} (commit {})", commit.unwrap_or("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_program_version_and_commit() {
        assert_eq!(line("node", Some("c0ffee")), format!("node {VERSION} (commit c0ffee)"));
        assert!(line("node", None).ends_with("(commit unknown)"));
    }
}
