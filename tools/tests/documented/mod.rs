//! What `docs/files.md` defines, for tests that compare it with what is written.
#![allow(dead_code, reason = "each test program uses a part of it")]

/// The document.
pub(crate) const FILES: &str = include_str!("../../../docs/files.md");

/// The names in the first cells of the tables under a heading, in order, its smaller headings included.
///
/// # Panics
/// If there is no such heading.
pub(crate) fn documented(heading: &str) -> Vec<String> {
    let (_, section) =
        FILES.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).flat_map(names).collect()
}

/// What stands between backticks in a cell.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(String::from).collect()
}
