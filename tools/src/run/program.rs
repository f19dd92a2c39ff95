//! Our executables, which all stand in one directory.

use std::fmt;
use std::io;
use std::path::PathBuf;

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
                let path = path.display();
                write!(f, "{path} is missing; build it with cargo build -p node --features byzantine")
            }
            ProgramError::Missing(path) => {
                write!(f, "{} is missing; build all binaries with cargo build --workspace", path.display())
            }
        }
    }
}

/// The path of one of our executables.
pub(crate) fn program(name: &str) -> Result<PathBuf, ProgramError> {
    let path = std::env::current_exe().map_err(ProgramError::Own)?.with_file_name(name);
    if path.is_file() { Ok(path) } else { Err(ProgramError::Missing(path)) }
}
