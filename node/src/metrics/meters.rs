//! The counters of the round loop itself: messages by kind, and executed blocks.

use bft::event::BlockReport;
use bft::message::MessageKind;

use super::histogram::Histogram;

/// The counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    /// Messages sent, each counted once, whatever the number of recipients.
    pub(crate) sent: Traffic,
    /// Messages received from peers.
    pub(crate) received: Traffic,
    /// Lane entries in executed blocks.
    pub(crate) entries: u64,
    /// Bytes of their payloads.
    pub(crate) payload_bytes: u64,
    phases: [Histogram; Phase::ALL.len()],
}

/// Messages and their bytes by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    by_kind: [(u64, u64); MessageKind::ALL.len()],
}

/// The phases of a round, as in `rounds-<id>.csv`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// From our input to N−f FINISHes of the deciding view.
    Spb,
    /// From there to the coin.
    Coin,
    /// From there to the decision.
    Decide,
    /// From our input to the decision.
    Agreement,
    /// From the decision to the execution.
    Fetch,
}

impl Phase {
    /// All phases, in the order of their numbers.
    pub(crate) const ALL: [Phase; 5] =
        [Phase::Spb, Phase::Coin, Phase::Decide, Phase::Agreement, Phase::Fetch];

    /// The name it is counted under.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Spb => "spb",
            Phase::Coin => "coin",
            Phase::Decide => "decide",
            Phase::Agreement => "agreement",
            Phase::Fetch => "fetch",
        }
    }

    /// Its time in a block; `None` if it was not measured here.
    fn of(self, report: &BlockReport) -> Option<u64> {
        let BlockReport { spb_us, coin_us, decide_us, agreement_us, fetch_us, .. } = *report;
        // Three phases begin or end with N−f FINISHes, which take time; the others may take none.
        let finishes_came = spb_us > 0;
        match self {
            Phase::Spb => finishes_came.then_some(spb_us),
            Phase::Coin => finishes_came.then_some(coin_us),
            Phase::Decide => finishes_came.then_some(decide_us),
            Phase::Agreement => (agreement_us > 0).then_some(agreement_us),
            Phase::Fetch => Some(fetch_us),
        }
    }
}

impl Meters {
    /// A block was executed.
    pub(crate) fn executed(&mut self, report: &BlockReport) {
        self.entries += report.entries;
        self.payload_bytes += report.payload_bytes;
        for phase in Phase::ALL {
            if let Some(us) = phase.of(report) {
                self.phases[phase as usize].add(us);
            }
        }
    }

    /// The times of a phase.
    pub(crate) fn phase(&self, phase: Phase) -> &Histogram {
        &self.phases[phase as usize]
    }
}

impl Traffic {
    /// A message with this body passed.
    pub(crate) fn count(&mut self, body: &[u8]) {
        let (messages, bytes) = &mut self.by_kind[MessageKind::of(body) as usize];
        *messages += 1;
        *bytes += body.len() as u64;
    }

    /// Messages and bytes of every kind.
    pub(crate) fn all(&self) -> impl Iterator<Item = (MessageKind, u64, u64)> {
        MessageKind::ALL
            .into_iter()
            .zip(self.by_kind)
            .map(|(kind, (messages, bytes))| (kind, messages, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_that_were_not_measured_are_not_counted() {
        let mut meters = Meters::default();
        meters.executed(&BlockReport { agreement_us: 1_500, entries: 2, ..BlockReport::default() });
        meters.executed(&BlockReport { entries: 1, ..BlockReport::default() });
        let counts = |meters: &Meters| Phase::ALL.map(|phase| meters.phase(phase).count());
        assert_eq!(counts(&meters), [0, 0, 0, 1, 2]);
        assert_eq!(meters.entries, 3);
        meters.executed(&BlockReport {
            spb_us: 900,
            coin_us: 600,
            agreement_us: 1_500,
            ..BlockReport::default()
        });
        assert_eq!(counts(&meters), [1, 1, 1, 2, 3], "a decision with the coin takes no time");
    }

    #[test]
    fn messages_are_counted_by_kind() {
        let mut traffic = Traffic::default();
        traffic.count(&[0; 10]);
        traffic.count(&[0; 5]);
        traffic.count(&[77]);
        let counted: Vec<_> = traffic.all().filter(|(_, messages, _)| *messages > 0).collect();
        assert_eq!(counted, [(MessageKind::Entry, 2, 15), (MessageKind::Unknown, 1, 1)]);
    }
}
