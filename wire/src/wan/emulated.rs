//! An emulated link by the clock of a process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Conditions, Wan, WanLink};
use crate::ids::NodeId;

/// Both directions of the link to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Emulated {
    there: WanLink,
    back: WanLink,
    /// When this process read the time of day, and how long ago the first phase had begun by then. All processes of a
    /// run count from the same time of day; setting the clock later changes nothing.
    looked: Instant,
    since_begin: Duration,
}

impl Emulated {
    /// The link from `node` to `peer`; `None` if neither direction is emulated.
    pub fn between(wan: &Wan, node: NodeId, peer: NodeId) -> Option<Emulated> {
        Emulated::of(wan.link(node, peer), wan.link(peer, node))
    }

    /// The link from the clients to a node; `None` if neither direction is emulated.
    pub fn of_clients(wan: &Wan, node: NodeId) -> Option<Emulated> {
        let (there, back) = wan.clients_links(node)?;
        Emulated::of(there, back)
    }

    fn of(there: WanLink, back: WanLink) -> Option<Emulated> {
        if there.is_plain() && back.is_plain() {
            return None;
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_begin = since_epoch.saturating_sub(Duration::from_millis(there.begins_ms));
        Some(Emulated { there, back, looked: Instant::now(), since_begin })
    }

    /// The conditions of what is sent to the node.
    pub fn there(&self, now: Instant) -> Conditions {
        self.there.at(self.since_begin(now))
    }

    /// The delay of what comes back.
    pub fn delay_back(&self, now: Instant) -> Duration {
        self.back.at(self.since_begin(now)).delay
    }

    /// How long a connection takes that is dialled: a round trip of TCP, another for hello and reply.
    pub fn dial_time(&self, now: Instant) -> Duration {
        2 * (self.there(now).delay + self.delay_back(now))
    }

    /// The seed of jitter and loss on the way to the node.
    pub fn seed(&self) -> u64 {
        self.there.seed
    }

    fn since_begin(&self, now: Instant) -> Duration {
        self.since_begin + now.saturating_duration_since(self.looked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_count_from_the_time_of_day_that_the_file_gives() {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let begins_ms = now_ms - 90_000;
        let text = format!(
            "regions all\nbegins {begins_ms}\nphase 120\nlink * * delay=50ms\nphase 120\nlink * * delay=300ms"
        );
        let wan = Wan::parse("w", &text).unwrap();
        let emulated = Emulated::between(&wan, NodeId(0), NodeId(1)).unwrap();
        let delay_ms = |after_s| {
            let delay = emulated.there(emulated.looked + Duration::from_secs(after_s)).delay;
            assert_eq!(emulated.delay_back(emulated.looked + Duration::from_secs(after_s)), delay);
            delay.as_millis()
        };
        assert_eq!([0, 25, 35, 140, 160].map(delay_ms), [50, 50, 300, 300, 50]);
        assert_eq!(emulated.dial_time(emulated.looked), Duration::from_millis(200));
    }

    #[test]
    fn a_link_that_is_plain_in_both_directions_is_not_emulated() {
        let wan = Wan::parse("w", "regions a b\nlink a b delay=0ms\nlink b a delay=1ms").unwrap();
        assert!(Emulated::between(&wan, NodeId(0), NodeId(2)).is_none());
        let emulated = Emulated::between(&wan, NodeId(0), NodeId(1)).unwrap();
        let now = Instant::now();
        assert!(emulated.there(now).is_plain());
        assert_eq!(emulated.delay_back(now), Duration::from_millis(1));
    }
}
