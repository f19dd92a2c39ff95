//! Our executables, which all stand in one directory.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The program of Byzantine nodes, which an ordinary build leaves out.
pub(crate) const BYZANTINE: &str = "byzantine_node";

/// Why there is no such program.
#[derive(Debug)]
pub(crate) enum ProgramError {
    /// The path of this program is unknown.
    Own(io::Error),
    Missing(PathBuf),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramError::Own(error) => write!(f, "cannot find this program: {error}"),
            ProgramError::Missing(path) if path.ends_with(BYZANTINE) => {
                let command = "cargo build -p node --features byzantine --bin byzantine_node --profile";
                write!(f, "{} is missing; build it with {command} {}", path.display(), profile(path))
            }
            ProgramError::Missing(path) => {
                write!(f, "{} is missing; build all binaries with cargo build --workspace", path.display())
            }
        }
    }
}

/// The cargo profile that builds into the directory of a program.
fn profile(program: &Path) -> &str {
    match program.parent().and_then(Path::file_name).and_then(OsStr::to_str) {
        Some("debug") => "dev",
        Some(name) => name,
        None => "release",
    }
}

/// The path of one of our executables.
pub(crate) fn program(name: &str) -> Result<PathBuf, ProgramError> {
    let path = std::env::current_exe().map_err(ProgramError::Own)?.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(ProgramError::Missing(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_builds_into_the_directory_of_the_program() {
        for (directory, profile) in [("debug", "dev"), ("release", "release"), ("quick", "quick")] {
            let missing = ProgramError::Missing(Path::new("target").join(directory).join(BYZANTINE));
            let text = missing.to_string();
            assert!(text.ends_with(&format!("--bin byzantine_node --profile {profile}")), "{text}");
        }
    }
}
