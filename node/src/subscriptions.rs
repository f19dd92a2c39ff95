//! Clients that want to hear of every block as it is executed.
//!
//! A subscriber grants events ([`wire::client::Request::Subscribe`]), and each block costs it one. Without a grant
//! left nothing is kept for it: the blocks pass, and the next event that it hears says how many it missed. So a slow
//! subscriber costs a few words of memory however slow it is, and its unread replies are bounded by what it granted.
//! The loop keeps subscriptions and not the core: they change no decision and stand in no journal, and a node that was
//! started again has none.

use std::collections::BTreeMap;

use bft::event::BlockReport;
use wire::bytes::Bytes;
use wire::client::{Commit, Reply};
use wire::codec;
use wire::ids::{ClientId, Round};
use wire::limits::SUBSCRIPTION_EVENTS_MAX;

/// See the module.
#[derive(Default)]
pub(crate) struct Subscriptions {
    by_client: BTreeMap<ClientId, Subscriber>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Subscriber {
    /// Events that it may still get.
    granted: u32,
    /// The height of the last one that it got.
    last: Option<Round>,
}

impl Subscriptions {
    /// Grants a client more events; no more than [`SUBSCRIPTION_EVENTS_MAX`] at a time.
    pub(crate) fn grant(&mut self, client: ClientId, events: u32) {
        let subscriber = self.by_client.entry(client).or_default();
        subscriber.granted = subscriber.granted.saturating_add(events).min(SUBSCRIPTION_EVENTS_MAX);
    }

    /// A client is gone.
    pub(crate) fn gone(&mut self, client: ClientId) {
        self.by_client.remove(&client);
    }

    /// The events about a block, which was executed after all earlier ones.
    pub(crate) fn executed(&mut self, report: &BlockReport) -> Vec<(ClientId, Bytes)> {
        let with_a_grant = self.by_client.iter_mut().filter(|(_, subscriber)| subscriber.granted > 0);
        let events = with_a_grant.map(|(client, subscriber)| {
            subscriber.granted -= 1;
            let last = subscriber.last.replace(report.round);
            let commit = Commit {
                height: report.round,
                header: report.header,
                finished: report.finished,
                rejected: report.rejected,
                finished_cross: report.finished_cross,
                cancelled: report.cancelled,
                missed: last.map_or(0, |last| report.round.0.saturating_sub(last.0 + 1)),
            };
            (*client, Bytes::from(codec::encode(&Reply::Commit(commit))))
        });
        events.collect()
    }
}

#[cfg(test)]
mod tests {
    use wire::ids::{Digest, NodeId};

    use super::*;

    const ONE: ClientId = ClientId(1);
    const OTHER: ClientId = ClientId(2);

    fn block(height: u64) -> BlockReport {
        BlockReport {
            round: Round(height),
            header: Digest([height as u8; 32]),
            finished: 5,
            rejected: 1,
            skipped: 0,
            spent: 0,
            finished_cross: 2,
            cancelled: 3,
            refunded: 0,
            closed: 0,
            entries: 1,
            payload_bytes: 100,
            views: 1,
            leader: NodeId(0),
            spb_us: 0,
            coin_us: 0,
            decide_us: 0,
            agreement_us: 0,
            fetch_us: 0,
        }
    }

    /// Height and missed blocks of what each client hears of a block.
    fn heard(subscriptions: &mut Subscriptions, height: u64) -> Vec<(ClientId, u64, u64)> {
        let events = subscriptions.executed(&block(height)).into_iter();
        let of = |(client, body): (ClientId, Bytes)| match codec::decode(&body) {
            Ok(Reply::Commit(commit)) => {
                assert_eq!((commit.header, commit.finished), (Digest([height as u8; 32]), 5));
                assert_eq!((commit.rejected, commit.finished_cross, commit.cancelled), (1, 2, 3));
                (client, commit.height.0, commit.missed)
            }
            other => panic!("a commit: {other:?}"),
        };
        events.map(of).collect()
    }

    #[test]
    fn a_subscriber_hears_as_many_as_it_granted_and_then_how_many_it_missed() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(heard(&mut subscriptions, 1), []);
        subscriptions.grant(ONE, 2);
        subscriptions.grant(OTHER, 100);
        assert_eq!(heard(&mut subscriptions, 2), [(ONE, 2, 0), (OTHER, 2, 0)]);
        assert_eq!(heard(&mut subscriptions, 3), [(ONE, 3, 0), (OTHER, 3, 0)]);
        assert_eq!(heard(&mut subscriptions, 4), [(OTHER, 4, 0)]);
        subscriptions.gone(OTHER);
        assert_eq!(heard(&mut subscriptions, 5), []);
        subscriptions.grant(ONE, 1);
        assert_eq!(heard(&mut subscriptions, 6), [(ONE, 6, 2)], "blocks 4 and 5");
        assert_eq!(heard(&mut subscriptions, 7), []);
    }

    #[test]
    fn a_state_that_was_taken_over_counts_as_missed_blocks() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.grant(ONE, 5);
        assert_eq!(heard(&mut subscriptions, 2), [(ONE, 2, 0)]);
        assert_eq!(heard(&mut subscriptions, 100), [(ONE, 100, 97)]);
    }

    #[test]
    fn grants_are_bounded() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.grant(ONE, u32::MAX);
        subscriptions.grant(ONE, 1);
        let heard = (1..).take_while(|height| !heard(&mut subscriptions, *height).is_empty()).count();
        assert_eq!(heard, SUBSCRIPTION_EVENTS_MAX as usize);
    }
}
