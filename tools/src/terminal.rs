//! Standard output of commands.
//!
//! A reader that went away (`tools local … | head`) must not end a run whose processes are still to be wound up, so
//! what cannot be written is dropped; `println!` would panic.

use std::io::{self, Write as _};

/// Writes a line to standard output at once.
pub(crate) fn tell(line: impl AsRef<str>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{}", line.as_ref()).and_then(|()| stdout.flush());
}
