//! `clocks.csv`: how far the clocks of hosts are apart, written when the logs of several are fetched.
//!
//! ```text
//! host,nodes,offset_ms,uncertainty_ms
//! user@host-a,0+2,-12.250,0.500
//! ```
//!
//! *Offset* is the host's time less that of the machine which fetched the logs, right within the uncertainty. Times in
//! logs are moved by it before they are compared, and `tools logs` prints so. Logs of one machine need no such file,
//! so without it times are compared as they stand, and nothing is said.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use wire::ids::NodeId;
use wire::text::ParseError;

use crate::ids;

const HEADER: &str = "host,nodes,offset_ms,uncertainty_ms";
/// A century: what is farther off is no clock.
const OFFSET_MS_MAX: f64 = 100.0 * 366.0 * 86_400_000.0;
/// More lines than there can be hosts.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The clocks of all hosts.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Clocks {
    hosts: Vec<HostClock>,
    /// By node.
    offsets_us: BTreeMap<NodeId, i64>,
}

/// The clock of one host.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct HostClock {
    host: String,
    nodes: Vec<NodeId>,
    offset_ms: f64,
    uncertainty_ms: f64,
}

impl fmt::Display for HostClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostClock { host, nodes, offset_ms, uncertainty_ms } = self;
        let nodes = ids::nodes_text(nodes);
        write!(
            f,
            "times of {nodes} on {host} are moved by {:+.3} ms, right within {uncertainty_ms:.3} ms",
            -offset_ms
        )
    }
}

impl Clocks {
    /// Those of the file in `directory`; none if there is no such file.
    pub(crate) fn load(directory: &Path) -> Result<Clocks, ParseError> {
        let path = directory.join("clocks.csv");
        let place = path.display().to_string();
        let unreadable =
            |error: io::Error| ParseError::of(&place, &error.to_string(), "a file that can be read");
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Clocks::default()),
            Err(error) => return Err(unreadable(error)),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                let found = format!("{} bytes", metadata.len());
                return Err(ParseError::of(&place, &found, format!("at most {FILE_BYTES_MAX}")));
            }
            Ok(_) => {}
        }
        Clocks::parse(&place, &std::fs::read_to_string(&path).map_err(unreadable)?)
    }

    fn parse(place: &str, text: &str) -> Result<Clocks, ParseError> {
        let mut clocks = Clocks::default();
        let mut lines = (1..).zip(text.lines());
        let (_, header) = lines.next().unwrap_or((1, ""));
        if header != HEADER {
            return Err(ParseError::at_line(place, 1, header, HEADER));
        }
        for (number, line) in lines {
            let clock = parse_line(line).ok_or_else(|| {
                let expected = "a host, its nodes joined by '+', offset and uncertainty in milliseconds";
                ParseError::at_line(place, number, line, expected)
            })?;
            for node in &clock.nodes {
                if clocks.offsets_us.insert(*node, (clock.offset_ms * 1e3) as i64).is_some() {
                    let expected = format!("node {node} on one line only");
                    return Err(ParseError::at_line(place, number, line, expected));
                }
            }
            clocks.hosts.push(clock);
        }
        Ok(clocks)
    }

    /// How far the clock of a node's host is ahead, as far as is known.
    pub(crate) fn offset_us(&self, node: NodeId) -> i64 {
        self.offsets_us.get(&node).copied().unwrap_or(0)
    }

    /// How times are moved, a line for each host.
    pub(super) fn notes(&self) -> Vec<String> {
        self.hosts.iter().map(HostClock::to_string).collect()
    }
}

fn parse_line(line: &str) -> Option<HostClock> {
    let mut fields = line.split(',');
    let (host, nodes) = (fields.next()?, fields.next()?);
    let is_valid = |ms: &f64| ms.is_finite() && ms.abs() <= OFFSET_MS_MAX;
    let mut ms = || fields.next()?.parse().ok().filter(is_valid);
    let (offset_ms, uncertainty_ms) = (ms()?, ms()?);
    if fields.next().is_some() || host.is_empty() || host.contains(char::is_control) {
        return None;
    }
    Some(HostClock { host: host.into(), nodes: ids::parse(nodes)?, offset_ms, uncertainty_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_noted_and_known_by_node() {
        let text = format!("{HEADER}\nx,0+2,-12.250,0.500\ny,1,3,1\nz,3-5,0,1\n");
        let clocks = Clocks::parse("c", &text).unwrap();
        assert_eq!([0, 1, 2, 3].map(|id| clocks.offset_us(NodeId(id))), [-12_250, 3_000, -12_250, 0]);
        let notes = clocks.notes();
        assert!(notes[2].starts_with("times of nodes 3-5 on z"), "{}", notes[2]);
        assert_eq!(notes[0], "times of nodes 0+2 on x are moved by +12.250 ms, right within 0.500 ms");
        assert!(Clocks::default().notes().is_empty(), "a local run needs no clocks");
    }

    #[test]
    fn each_mistake_names_its_line() {
        for (line, expected) in [
            ("", "line 2: found ''"),
            ("x,0,1", "line 2: found 'x,0,1'"),
            ("x,0,1,2,3", "line 2:"),
            ("x,,1,2", "line 2:"),
            ("x,0+,1,2", "line 2:"),
            ("x,70000,1,2", "line 2:"),
            ("x,0,NaN,2", "line 2:"),
            ("x,0,1e300,2", "line 2:"),
            (",0,1,2", "line 2:"),
            ("x,0+0,1,2", "node 0 on one line only"),
        ] {
            let error = Clocks::parse("c", &format!("{HEADER}\n{line}\n")).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(Clocks::parse("c", "").unwrap_err().to_string().contains(HEADER));
    }
}
