//! Moves messages from the IPC queue into the outboxes: expands each destination, and hashes a body once if the core
//! has not.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use wire::bytes::Bytes;
use wire::dest::Dest;
use wire::envelope::{Class, FromCore};
use wire::ids::{Digest, NodeId};
use wire::ipc::{IpcError, IpcRead, IpcReader};

use crate::outbox::Item;
use crate::peer::Peer;
use crate::process::Process;

/// The thread that reads the IPC queue.
pub(crate) struct Bridge {
    process: Arc<Process>,
    /// All nodes except our own, ascending by id.
    peers: Vec<Arc<Peer>>,
    /// The peers whose outboxes have received something since they were last woken.
    to_wake: BTreeSet<usize>,
}

impl Bridge {
    pub(crate) fn new(process: Arc<Process>, peers: Vec<Arc<Peer>>) -> Bridge {
        Bridge { process, peers, to_wake: BTreeSet::new() }
    }

    /// Reads the queue to its end.
    ///
    /// # Errors
    /// If the queue fails or a message is malformed.
    pub(crate) fn run(mut self, mut queue: impl Read) -> Result<(), IpcError> {
        let mut reader: IpcReader<FromCore> = IpcReader::new();
        loop {
            while let Some((message, body)) = reader.pop()? {
                self.take(message, body);
            }
            // Wakes after the whole read is queued, so a burst costs one wake-up a peer.
            for index in std::mem::take(&mut self.to_wake) {
                self.peers[index].wake();
            }
            if reader.read_from(&mut queue)? == IpcRead::Ended {
                return Ok(());
            }
        }
    }

    fn take(&mut self, message: FromCore, body: Bytes) {
        match message {
            FromCore::Send { dest, class, digest } => self.send(&dest, class, digest, body),
            FromCore::Progress(progress) => {
                for peer in &self.peers {
                    peer.finish(&progress);
                }
                self.process.set_decided(progress.decided);
            }
            FromCore::Dial { peer } => self.peers[self.index(peer)].dial_now(),
            FromCore::Rule { peer, rule } => self.peers[self.index(peer)].set_rule(rule),
            FromCore::Reply { .. } | FromCore::Status => {
                log::error!("the core sent net_client a message for net_server: {message:?}");
            }
        }
    }

    fn send(&mut self, dest: &Dest, class: Class, digest: Option<Digest>, body: Bytes) {
        let recipients = dest.expand(&self.process.committee, self.process.id);
        if recipients.is_empty() {
            return;
        }
        let digest = digest.unwrap_or_else(|| Digest(Sha256::digest(&body).into()));
        let item = Item { class, digest, body };
        for node in recipients {
            let index = self.index(node);
            self.peers[index].push(item.clone());
            self.to_wake.insert(index);
        }
    }

    /// The index of a node in `peers`, which skips our own node.
    fn index(&self, node: NodeId) -> usize {
        usize::from(node.0) - usize::from(node > self.process.id)
    }
}
