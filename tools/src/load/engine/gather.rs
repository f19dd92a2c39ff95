//! Finding the coins that a load may spend on a testbed that has executed blocks: those that a member of each shard
//! lists as unspent, page by page.
//!
//! A member that is asked and lost, or silent for [`PATIENCE`], gives way to another, which is asked from the
//! beginning: places mean something to one node only. The member that has executed most is asked first, since one that
//! is behind lists spent coins.

use std::time::{Duration, Instant};

use wire::client::Request;
use wire::committee::Committee;
use wire::ids::{NodeId, Round, ShardId};

use super::link::Link;
use crate::load::workload::Coins;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Gathering {
    owner: [u8; 32],
    /// By shard.
    listings: Vec<Listing>,
}

/// The coins of a shard.
struct Listing {
    coins: Coins,
    progress: Progress,
    /// Members that have been asked in vain, which are asked again when there is no other.
    given_up: Vec<NodeId>,
    /// Members that still owe a page that nobody waits for any more, once for each.
    late: Vec<NodeId>,
}

enum Progress {
    /// No member that could list them is connected.
    Idle,
    /// This one lists them, and was last asked then.
    Asked(NodeId, Instant),
    Done,
}

impl Gathering {
    /// Nobody is asked yet. The coins are those of this owner.
    pub(super) fn new(shards: u16, owner: [u8; 32]) -> Gathering {
        let listing = |_| Listing {
            coins: Vec::new(),
            progress: Progress::Idle,
            given_up: Vec::new(),
            late: Vec::new(),
        };
        Gathering { owner, listings: (0..shards).map(listing).collect() }
    }

    /// Asks a member of each shard whose coins nobody lists. `executed` is how far a node has come, if that is known.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        committee: &Committee,
        links: &mut [Link],
        executed: impl Fn(NodeId) -> Option<Round>,
    ) {
        for (shard, listing) in (0..).map(ShardId).zip(&mut self.listings) {
            match listing.progress {
                Progress::Asked(node, at) if now.duration_since(at) > PATIENCE => {
                    listing.late.push(node);
                    listing.give_up(node);
                }
                Progress::Idle => {}
                Progress::Asked(..) | Progress::Done => continue,
            }
            let here = links.iter_mut().filter(|link| committee.shard_of(link.node) == shard);
            let up = here.filter(|link| !link.is_gone && link.connection.is_up());
            let best = up.max_by_key(|link| (!listing.given_up.contains(&link.node), executed(link.node)));
            if let Some(link) = best {
                link.connection.send(&Request::CoinsFrom { owner: self.owner, place: 0 }, &[]);
                listing.progress = Progress::Asked(link.node, now);
            }
        }
    }

    /// The connection to a node was lost.
    pub(super) fn lost(&mut self, node: NodeId) {
        for listing in &mut self.listings {
            listing.late.retain(|late| *late != node);
            if matches!(listing.progress, Progress::Asked(asked, _) if asked == node) {
                listing.give_up(node);
            }
        }
    }

    /// Takes a page, and asks for the next one.
    pub(super) fn take(
        &mut self,
        now: Instant,
        shard: ShardId,
        link: &mut Link,
        coins: Coins,
        next: Option<u32>,
    ) {
        let listing = &mut self.listings[usize::from(shard.0)];
        // Replies come in the order of the requests.
        if let Some(at) = listing.late.iter().position(|late| *late == link.node) {
            listing.late.swap_remove(at);
            return;
        }
        if !matches!(listing.progress, Progress::Asked(asked, _) if asked == link.node) {
            return;
        }
        listing.coins.extend(coins);
        listing.progress = match next {
            Some(place) => {
                link.connection.send(&Request::CoinsFrom { owner: self.owner, place }, &[]);
                Progress::Asked(link.node, now)
            }
            None => Progress::Done,
        };
    }

    /// The coins by shard, once all are there.
    pub(super) fn finished(&mut self) -> Option<Vec<Coins>> {
        let all = self.listings.iter().all(|listing| matches!(listing.progress, Progress::Done));
        all.then(|| self.listings.iter_mut().map(|listing| std::mem::take(&mut listing.coins)).collect())
    }
}

impl Listing {
    /// Begins anew with another member, if there is one.
    fn give_up(&mut self, node: NodeId) {
        self.coins.clear();
        self.progress = Progress::Idle;
        self.given_up.push(node);
    }
}
