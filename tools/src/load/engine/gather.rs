//! Finding the coins that a load may spend on a testbed that has executed blocks: those that a member of each shard
//! lists as unspent, page by page.
//!
//! A member that is asked and lost gives way to another, which is asked from the beginning: places mean something to
//! one node only. The member that has executed most is asked first, since one that is behind lists spent coins.

use wire::client::Request;
use wire::committee::Committee;
use wire::ids::{NodeId, Round, ShardId};

use super::link::Link;
use crate::load::workload::Coins;

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
}

enum Progress {
    /// No member that could list them is connected.
    Idle,
    /// This one lists them.
    Asked(NodeId),
    Done,
}

impl Gathering {
    /// Nobody is asked yet. The coins are those of this owner.
    pub(super) fn new(shards: u16, owner: [u8; 32]) -> Gathering {
        let listing = |_| Listing { coins: Vec::new(), progress: Progress::Idle };
        Gathering { owner, listings: (0..shards).map(listing).collect() }
    }

    /// Asks a member of each shard that nobody lists. `executed` is how far a node has come, if that is known.
    pub(super) fn ask(
        &mut self,
        committee: &Committee,
        links: &mut [Link],
        executed: impl Fn(NodeId) -> Option<Round>,
    ) {
        for (shard, listing) in (0..).map(ShardId).zip(&mut self.listings) {
            if !matches!(listing.progress, Progress::Idle) {
                continue;
            }
            let here = links.iter_mut().filter(|link| committee.shard_of(link.node) == shard);
            let up = here.filter(|link| !link.is_gone && link.connection.is_up());
            if let Some(link) = up.max_by_key(|link| executed(link.node)) {
                link.connection.send(&Request::CoinsFrom { owner: self.owner, place: 0 }, &[]);
                listing.progress = Progress::Asked(link.node);
            }
        }
    }

    /// The connection to a node was lost.
    pub(super) fn lost(&mut self, node: NodeId) {
        for listing in &mut self.listings {
            if matches!(listing.progress, Progress::Asked(asked) if asked == node) {
                *listing = Listing { coins: Vec::new(), progress: Progress::Idle };
            }
        }
    }

    /// Takes a page, and asks for the next one.
    pub(super) fn take(&mut self, shard: ShardId, link: &mut Link, coins: Coins, next: Option<u32>) {
        let listing = &mut self.listings[usize::from(shard.0)];
        if !matches!(listing.progress, Progress::Asked(asked) if asked == link.node) {
            return;
        }
        listing.coins.extend(coins);
        match next {
            Some(place) => link.connection.send(&Request::CoinsFrom { owner: self.owner, place }, &[]),
            None => listing.progress = Progress::Done,
        }
    }

    /// The coins by shard, once all are there.
    pub(super) fn finished(&mut self) -> Option<Vec<Coins>> {
        let all = self.listings.iter().all(|listing| matches!(listing.progress, Progress::Done));
        all.then(|| self.listings.iter_mut().map(|listing| std::mem::take(&mut listing.coins)).collect())
    }
}
