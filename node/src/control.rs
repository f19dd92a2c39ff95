//! The thread that reads standard input: requests to stop, and rules of links.
//!
//! A node that lives with its starter ends when that does: its standard input is a pipe of the starter's, whose end is
//! a request to stop. A node that outlives its starter has a named pipe there, which ends whenever a writer closes it,
//! so that its end is ignored. Lines are the same in both ([`wire::control`]).

use std::io::{self, BufRead, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wire::committee::Committee;
use wire::control::{CONTROL_BYTES_MAX, Control};
use wire::ids::NodeId;
use wire::name::Name;

use crate::inbound::{Inbound, InboundSender};

/// Reads standard input and passes on its requests.
pub(crate) struct StdinReader {
    pub(crate) id: NodeId,
    pub(crate) committee: Arc<Committee>,
    pub(crate) inbound: InboundSender,
    /// Set by a request to stop, before the loop that reads the inbound queue may have begun.
    pub(crate) stops: Arc<AtomicBool>,
}

/// How reading standard input ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum StdinEnd {
    /// With a request to stop.
    Stop,
    /// Without one.
    Silent,
}

impl StdinReader {
    /// Stops the node at the end of standard input at the latest.
    pub(crate) fn stop_at_end(self) {
        if let Err(error) = self.read(&mut io::stdin().lock()) {
            log::warn!("standard input cannot be read, which counts as its end: {error}");
        }
        self.stop();
    }

    /// Stops the node at a request only.
    pub(crate) fn ignore_end(self) {
        match self.read(&mut io::stdin().lock()) {
            Ok(StdinEnd::Stop) => self.stop(),
            Ok(StdinEnd::Silent) => {
                log::info!("standard input has ended; only a signal can stop this node now");
            }
            Err(error) => {
                log::warn!("standard input cannot be read ({error}); only a signal can stop this node now");
            }
        }
    }

    fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
        // Fails only if the loop has ended already.
        let _ = self.inbound.send(Inbound::Stop);
    }

    /// Reads lines up to a request to stop or the end. The rest of a line that is too long counts as further lines.
    fn read(&self, source: &mut impl BufRead) -> io::Result<StdinEnd> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if source.by_ref().take(CONTROL_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok(StdinEnd::Silent);
            }
            // An incomplete line: its writer was killed, or it is too long.
            let Some(text) = line.strip_suffix(b"\n") else { continue };
            match Control::parse(&String::from_utf8_lossy(text)) {
                Ok(Control::Stop) => return Ok(StdinEnd::Stop),
                Ok(Control::Link(peer, rule)) if peer != self.id && self.committee.contains(peer) => {
                    log::info!("the link to {} has the rule {rule} now", Name::Node(peer));
                    // Fails only if the loop has ended already.
                    let _ = self.inbound.send(Inbound::Rule { peer, rule });
                }
                Ok(Control::Link(peer, _)) => {
                    log::warn!("standard input: found 'link {peer}', expected the id of another node");
                }
                Err(error) => log::warn!("{error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::committee::{Member, Protocol};
    use wire::link_rule::LinkRule;

    use super::*;
    use crate::inbound;

    /// How reading this ends, and the rules that it passes on.
    fn read(input: &str) -> (StdinEnd, Vec<(NodeId, LinkRule)>) {
        let (sender, receiver) = inbound::queue();
        let members = (0..4).map(|id| Member { public_key: [id; 32], coin_commitment: [0; 32] }).collect();
        let reader = StdinReader {
            id: NodeId(0),
            committee: Arc::new(Committee::new(4, Protocol::default(), members, [0; 32])),
            inbound: sender,
            stops: Arc::default(),
        };
        let end = reader.read(&mut input.as_bytes()).unwrap();
        let rules = receiver.try_iter().map(|inbound| match inbound {
            Inbound::Rule { peer, rule } => (peer, rule),
            _ => panic!("only rules"),
        });
        (end, rules.collect())
    }

    #[test]
    fn only_the_line_stop_stops() {
        let long = format!("{}stop\n", "x".repeat(CONTROL_BYTES_MAX as usize));
        for (input, end) in [
            ("stop\n", StdinEnd::Stop),
            ("status\nstop\n", StdinEnd::Stop),
            ("stop", StdinEnd::Silent),
            ("stop it\n", StdinEnd::Silent),
            ("", StdinEnd::Silent),
            ("\u{0}\n\n", StdinEnd::Silent),
            // The rest of a line that is too long counts as a line of its own.
            (&long, StdinEnd::Stop),
        ] {
            assert_eq!(read(input).0, end, "{input:?}");
        }
    }

    #[test]
    fn rules_are_passed_on_if_they_are_for_links_to_other_nodes() {
        let (end, rules) =
            read("link 0 cut\nlink 3 cut\nlink 4 cut\nlink 1 cut it\nlink 3 none\nstop\nlink 1 cut\n");
        assert_eq!(end, StdinEnd::Stop);
        assert_eq!(rules, [(NodeId(3), LinkRule::Cut), (NodeId(3), LinkRule::None)]);
    }
}
