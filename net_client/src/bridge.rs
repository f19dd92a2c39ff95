//! From the IPC queue into the outboxes: destinations are expanded here, and a body that the core has not hashed is
//! hashed here, once.

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
    /// Ascending by id, all nodes but ourselves.
    peers: Vec<Arc<Peer>>,
    /// The peers whose outboxes have received something since they were last woken.
    to_wake: BTreeSet<usize>,
}

impl Bridge {
    /// A bridge to these peers.
    pub(crate) fn new(process: Arc<Process>, peers: Vec<Arc<Peer>>) -> Bridge {
        Bridge { process, peers, to_wake: BTreeSet::new() }
    }

    /// Reads the queue to its end.
    ///
    /// # Errors
    /// If the queue fails or carries something else than messages of the core.
    pub(crate) fn run(mut self, mut queue: impl Read) -> Result<(), IpcError> {
        let mut reader: IpcReader<FromCore> = IpcReader::new();
        loop {
            while let Some((message, body)) = reader.pop()? {
                self.take(message, body);
            }
            // All that one read brought is queued before anyone is woken for it: a burst is one wake-up a peer.
            for place in std::mem::take(&mut self.to_wake) {
                self.peers[place].wake();
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
            let place = self.place(node);
            self.peers[place].push(item.clone());
            self.to_wake.insert(place);
        }
    }

    /// Where in `peers` another node stands: they are all nodes in order, without ourselves.
    fn place(&self, node: NodeId) -> usize {
        usize::from(node.0) - usize::from(node > self.process.id)
    }
}
