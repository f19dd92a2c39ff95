//! `--faults`: which node fails how and when, in seconds since load began.
//!
//! `LIST = FAULT ["," FAULT]…`, `FAULT = NAME ":" IDS "@" T`, `IDS = RUN ["+" RUN]…`, `RUN = ID ["-" ID]`; e.g.
//! `crash:3@3,kill-client:1@5.5`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use wire::ids::NodeId;
use wire::nearest;
use wire::text::ParseError;

use crate::flags::{parse_seconds, seconds_text};
use crate::ids;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// All three processes are killed and stay dead, unless a restart follows.
    Crash,
    /// The node is started from its journal; before that it is killed, if it runs.
    Restart,
    /// `net_client` is killed; the node restarts it.
    KillClient,
    /// `net_server` is killed; the node restarts it.
    KillServer,
}

impl Kind {
    const ALL: [(Kind, &'static str); 4] = [
        (Kind::Crash, "crash"),
        (Kind::Restart, "restart"),
        (Kind::KillClient, "kill-client"),
        (Kind::KillServer, "kill-server"),
    ];

    /// Its name in the list.
    pub(crate) fn name(self) -> &'static str {
        Kind::ALL.iter().find(|(kind, _)| *kind == self).expect("every kind has a name").1
    }
}

/// One planned fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// To whom, in the order given.
    pub(crate) nodes: Vec<NodeId>,
    /// When, since load began.
    pub(crate) at: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.kind.name(), ids::nodes(&self.nodes), seconds_text(self.at))
    }
}

/// Reads the value of `--faults` for nodes 0 to `nodes` − 1; the result is in order of time.
pub(crate) fn parse(text: &str, nodes: u16) -> Result<Vec<Fault>, ParseError> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let mut faults = text.split(',').map(|item| parse_one(item, nodes)).collect::<Result<Vec<_>, _>>()?;
    faults.sort_by_key(|fault| fault.at);
    let mut crashed = BTreeSet::new();
    for fault in &faults {
        if fault.kind == Kind::Restart {
            crashed.retain(|node| !fault.nodes.contains(node));
        }
        if let Some(node) = fault.nodes.iter().find(|node| crashed.contains(*node)) {
            let expected = format!("nothing but a restart for node {node}, which has been crashed by then");
            return Err(ParseError::of("--faults", &fault.to_string(), expected));
        }
        if fault.kind == Kind::Crash {
            crashed.extend(fault.nodes.iter().copied());
        }
    }
    Ok(faults)
}

fn parse_one(item: &str, nodes: u16) -> Result<Fault, ParseError> {
    let error = |value: &str, expected: String| ParseError::of("--faults", value, expected);
    let (name, rest) = item.split_once(':').ok_or_else(|| error(item, "NAME:IDS@SECONDS".into()))?;
    let kind = Kind::ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind);
    let kind = kind.ok_or_else(|| {
        let known = Kind::ALL.map(|(_, name)| name);
        error(name, format!("one of {}{}", known.join(", "), nearest::hint(name, &known)))
    })?;
    let (ids, at) = rest.split_once('@').ok_or_else(|| error(item, format!("{name}:IDS@SECONDS")))?;
    let known = |ids: &Vec<NodeId>| ids.iter().all(|id| id.0 < nodes);
    let nodes = ids::parse(ids)
        .filter(known)
        .ok_or_else(|| error(item, format!("node ids from 0 to {}, joined by '+'", nodes - 1)))?;
    let at = parse_seconds(at).ok_or_else(|| error(item, "a time after '@', in seconds".into()))?;
    Ok(Fault { kind, nodes, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_sorted_by_time() {
        let faults = parse("kill-client:1-2@5.5,crash:3+0@3,kill-server:2@5", 4).unwrap();
        let texts: Vec<String> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(texts, ["crash:3+0@3", "kill-server:2@5", "kill-client:1-2@5.5"]);
        assert_eq!(faults[0].nodes, [NodeId(3), NodeId(0)]);
        assert_eq!(parse("none", 4), Ok(Vec::new()));
        let faults = parse("crash:3@3,restart:0-2@4,restart:3@6,crash:3@7,restart:3@7", 4).unwrap();
        assert_eq!(
            faults.last().map(|fault| fault.kind),
            Some(Kind::Restart),
            "as given where times are equal"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (list, expected) in [
            ("", "--faults: found '', expected NAME:IDS@SECONDS"),
            ("crash", "--faults: found 'crash', expected NAME:IDS@SECONDS"),
            ("crash:3", "--faults: found 'crash:3', expected crash:IDS@SECONDS"),
            (
                "crush:3@1",
                "--faults: found 'crush', expected one of crash, restart, kill-client, kill-server; the nearest is 'crash'",
            ),
            (
                "pause:3@1+2",
                "--faults: found 'pause', expected one of crash, restart, kill-client, kill-server",
            ),
            ("crash:4@1", "--faults: found 'crash:4@1', expected node ids from 0 to 3, joined by '+'"),
            ("crash:@1", "--faults: found 'crash:@1', expected node ids from 0 to 3, joined by '+'"),
            (
                "crash:1@1,kill-client:2+1@2.9999",
                "--faults: found 'kill-client:2+1@2.9999', expected nothing but a restart for node 1, which has been crashed by then",
            ),
            ("crash:1@x", "--faults: found 'crash:1@x', expected a time after '@', in seconds"),
            ("crash:1@-1", "--faults: found 'crash:1@-1', expected a time after '@', in seconds"),
            ("crash:1@NaN", "--faults: found 'crash:1@NaN', expected a time after '@', in seconds"),
        ] {
            assert_eq!(parse(list, 4).unwrap_err().to_string(), expected);
        }
    }
}
