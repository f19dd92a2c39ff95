//! Watching the contacts: which nodes are silent, and handing on what is open there.

use std::time::Instant;

use wire::client::Request;
use wire::committee::Committee;
use wire::ids::{NodeId, ShardId};

use super::link::Link;
use super::offer::Load;
use crate::load::contact::{Advice, Others, Turn};

/// How many members of a shard answer, and how many of these send receipts.
#[derive(Clone, Copy, Default)]
struct Reliable {
    answer: usize,
    deliver: usize,
}

impl Load {
    /// Takes a turn of all contacts: pings those that are quiet, and hands on what is open at those that are silent or
    /// gone. Costs a few operations a node.
    pub(super) fn watch_contacts(&mut self, links: &mut [Link], committee: &Committee, now: Instant) {
        let elapsed = now.saturating_duration_since(self.watched);
        self.watched = now;
        if self.hands_on_after().is_zero() {
            return;
        }
        let mut reliable = vec![Reliable::default(); usize::from(committee.shards())];
        for link in links.iter() {
            let here = &mut reliable[usize::from(committee.shard_of(link.node).0)];
            here.answer += usize::from(link.reliance() >= Others::Answer);
            here.deliver += usize::from(link.reliance() == Others::Deliver);
        }
        for index in 0..links.len() {
            let link = &mut links[index];
            let shard = committee.shard_of(link.node);
            let Reliable { answer, deliver } = reliable[usize::from(shard.0)];
            let own = link.reliance();
            // One of two others, two of three.
            let are_most = |count: usize| count > 0 && count * 2 >= committee.n() - 1;
            let others = if are_most(deliver - usize::from(own == Others::Deliver)) {
                Others::Deliver
            } else if are_most(answer - usize::from(own >= Others::Answer)) {
                Others::Answer
            } else {
                Others::None
            };
            let open = self.workload.open_at(link.node);
            let heard = link.connection.heard();
            let turn = Turn {
                elapsed,
                heard: heard != std::mem::replace(&mut link.heard, heard),
                receipts: std::mem::take(&mut link.has_receipts),
                waits: open > 0,
                others,
            };
            match link.contact.turn(turn) {
                Advice::Ping => link.connection.ping(),
                Advice::HandOn(silence) => {
                    log::info!("node {} is silent ({silence}): {open} open there are handed on", link.node);
                    self.workload.note_silence(link.node, true);
                    if !link.connection.is_up() {
                        self.workload.forget_coin_request(link.node);
                    }
                }
                Advice::Back => {
                    self.workload.note_silence(link.node, false);
                    link.is_catching_up = true;
                    link.connection.send(&Request::Status, &[]);
                }
                Advice::Nothing => {}
            }
            link.is_passed_over =
                (link.contact.is_doubtful() || link.is_catching_up) && others > Others::None;
            if open > 0 && (link.contact.is_silent() || link.is_out()) {
                let to = successors(links, committee, shard, links[index].node);
                self.workload.hand_on(links[index].node, &to);
            }
        }
    }
}

/// The members of a shard that can be relied on most, but for one.
fn successors(links: &[Link], committee: &Committee, shard: ShardId, but: NodeId) -> Vec<NodeId> {
    let here = || links.iter().filter(|link| link.node != but && committee.shard_of(link.node) == shard);
    let Some(best) = here().map(Link::reliance).max().filter(|best| *best > Others::None) else {
        return Vec::new();
    };
    here().filter(|link| link.reliance() == best).map(|link| link.node).collect()
}
