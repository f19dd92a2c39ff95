//! `faults-<id>.log`: what was done to a node by plan, in lines like those of the node's own logs, so that `tools logs`
//! shows it among them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::SystemTime;

use wire::ids::NodeId;

use super::directories::Directories;
use crate::logs::written;

/// Notes something in the files of these nodes now. The error is for people.
pub(super) fn note(directories: &Directories, nodes: &[NodeId], text: &str) -> Result<(), String> {
    let line = format!("[{} WARN  tools] {text}\n", written(SystemTime::now()));
    for node in nodes {
        let path = directories.faults(*node);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}
