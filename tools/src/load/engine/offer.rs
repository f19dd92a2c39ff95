//! A load while it is offered: its clock, what is due, and the books on it.
//!
//! All moments are microseconds since the load began, by the engine's clock alone. The offering ends at one moment, its
//! *deadline*: transactions intended before it belong to the load, and receipts read before it count as committed
//! while load was offered, whenever the engine gets to either.

use std::io;
use std::time::{Duration, Instant};

use wire::client::Receipt;
use wire::ids::{NodeId, Round};

use super::link::Link;
use super::pace::Pace;
use crate::load::plan::{Plan, Rate};
use crate::load::series::Series;
use crate::load::window::{Found, Window};
use crate::load::workload::{WhenUnknown, Workload};

/// Most transactions made in one turn: some ten milliseconds of work, between which receipts are read.
const MADE_PER_TURN_MAX: u64 = 10_000;
/// How late the last turn of the offering may be and still hand over what is due.
const LATE_US_MAX: u64 = 50_000;
/// Groups of transactions that were never sent and counted alike: an hour at ten million a second must not hold up its
/// own end.
const UNSENT_GROUPS_MAX: u64 = 1_000_000;

/// See the module.
pub(super) struct Load {
    pub(super) workload: Workload,
    plan: Plan,
    began: Instant,
    /// When the contacts last had their turn.
    pub(super) watched: Instant,
    pub(super) is_offering: bool,
    pub(super) series: Series,
    pacing: Pacing,
    pub(super) when_unknown: WhenUnknown,
    /// Transactions made; in an open loop, of those intended.
    made: u64,
    /// Open loop: whose turn it is.
    turn: usize,
    /// By shard.
    paces: Vec<Pace>,
}

/// When the next transaction is due.
enum Pacing {
    /// Open loop: at its time, so many a second.
    Open { rate: u64 },
    /// Closed loop: when it fits the window.
    Closed(Window),
}

/// Whether an offer made all it could.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offered {
    /// There was nothing left to make, or no node took more.
    All,
    /// The turn was over.
    Part,
}

impl Load {
    /// A load of these transactions, offered from `began` on to so many nodes.
    pub(super) fn new(mut workload: Workload, plan: Plan, began: Instant, nodes: usize) -> Load {
        let until_us = plan.duration.map_or(u64::MAX, |duration| duration.as_micros() as u64);
        let tally = workload.tally_mut();
        tally.borders.measured_from_us = plan.warmup.as_micros() as u64;
        tally.borders.offered_until_us = until_us;
        let chains = workload.chains();
        let tally = workload.tally();
        let paces = tally.heights.iter().map(|height| Pace::new(began, *height)).collect();
        Load {
            workload,
            began,
            watched: began,
            is_offering: true,
            series: Series::default(),
            pacing: match plan.rate {
                Rate::PerSecond(rate) => Pacing::Open { rate },
                Rate::Max => Pacing::Closed(Window::new(plan.tx_bytes, chains, began)),
            },
            when_unknown: WhenUnknown::Resubmit,
            made: 0,
            turn: plan.seed as usize % nodes,
            paces,
            plan,
        }
    }

    /// A moment in the load's time.
    pub(super) fn us(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.began).as_micros() as u64
    }

    /// How long a contact may be silent; zero for any time.
    pub(super) fn hands_on_after(&self) -> Duration {
        self.plan.hand_on_after
    }

    /// How long load is or was offered.
    pub(super) fn offered_until_us(&self) -> u64 {
        self.workload.tally().borders.offered_until_us
    }

    /// Transactions meant to be sent before a moment.
    pub(super) fn meant_by(&self, at_us: u64) -> u64 {
        self.pacing.meant_by(self.made, self.offered_until_us(), at_us)
    }

    /// The size that a closed loop has found.
    pub(super) fn window_found(&self) -> Option<Found> {
        match &self.pacing {
            Pacing::Open { .. } => None,
            Pacing::Closed(window) => window.found(),
        }
    }

    /// Lets a closed loop's window observe what has come back.
    pub(super) fn observe_window(&mut self, now: Instant) {
        if let Pacing::Closed(window) = &mut self.pacing {
            window.observe(now, self.workload.tally().returned, self.workload.open() as usize);
        }
    }

    /// Closes the sections of the series that are over.
    pub(super) fn advance(&mut self, now_us: u64) {
        let borders = self.workload.tally().borders;
        if !self.series.is_due(now_us, &borders) {
            return;
        }
        let (open, made, pacing) = (self.workload.open(), self.made, &self.pacing);
        self.series.advance(now_us, &borders, self.workload.tally_mut(), open, |at_us| {
            pacing.meant_by(made, borders.offered_until_us, at_us)
        });
    }

    /// Takes receipts that were read just now.
    pub(super) fn on_receipts(&mut self, node: NodeId, receipts: &[Receipt], read_us: u64) {
        self.advance(read_us);
        for receipt in receipts {
            self.workload.on_receipt(node, receipt, read_us, self.when_unknown);
        }
    }

    /// Follows the heights of all shards.
    pub(super) fn watch_pace(&mut self, now: Instant) {
        let heights = self.workload.tally().heights.iter();
        self.paces.iter_mut().zip(heights).for_each(|(pace, height)| pace.observe(*height, now));
    }

    /// Makes the transactions that are due.
    pub(super) fn offer(&mut self, links: &mut [Link], now_us: u64) -> Offered {
        if !self.is_offering {
            return Offered::All;
        }
        let expiries = self.expiries();
        match &self.pacing {
            Pacing::Open { rate } => self.offer_due(links, *rate, &expiries, now_us),
            Pacing::Closed(window) => {
                let open = window.open_at_each(links.len());
                self.fill_window(links, open, &expiries, now_us)
            }
        }
    }

    /// Open loop: hands what is due to one node after the other, until none takes more.
    fn offer_due(&mut self, links: &mut [Link], rate: u64, expiries: &[Round], now_us: u64) -> Offered {
        let due = intended_before(now_us.min(self.offered_until_us()), rate);
        let (first, count, before) = (self.turn, links.len(), self.made);
        let this_turn = due.min(before + MADE_PER_TURN_MAX);
        for step in 0..count {
            let link = &mut links[(first + step) % count];
            while self.made < this_turn
                && link.make(&mut self.workload, expiries, intended_us(self.made, rate), now_us)
            {
                self.made += 1;
            }
        }
        if self.made > before {
            self.turn = (first + 1) % count;
        }
        if self.made == this_turn && this_turn < due { Offered::Part } else { Offered::All }
    }

    /// Closed loop: lets each node have as many open as fit the window.
    fn fill_window(&mut self, links: &mut [Link], window: usize, expiries: &[Round], now_us: u64) -> Offered {
        let before = self.made;
        for link in links {
            while self.workload.open_at(link.node) < window
                && link.make(&mut self.workload, expiries, now_us, now_us)
            {
                self.made += 1;
                if self.made - before == MADE_PER_TURN_MAX {
                    return Offered::Part;
                }
            }
        }
        Offered::All
    }

    /// Of transactions made now, by shard.
    fn expiries(&self) -> Vec<Round> {
        let heights = self.workload.tally().heights.iter();
        let expiry = |(pace, height): (&Pace, &Round)| match self.plan.expiry_rounds {
            Some(rounds) => Round(height.0 + rounds),
            None => pace.expiry(*height),
        };
        self.paces.iter().zip(heights).map(expiry).collect()
    }

    /// Ends the offering, at its deadline or now if that has not come. What is due is still handed over; whatever was
    /// meant to be sent and cannot be has waited until the end.
    pub(super) fn end_offering(&mut self, links: &mut [Link], now_us: u64) {
        if !self.is_offering {
            return;
        }
        let until_us = self.offered_until_us().min(now_us);
        // A closed section belongs to the phase in which it was closed.
        self.advance(until_us);
        self.workload.tally_mut().borders.offered_until_us = until_us;
        if let Pacing::Open { rate } = self.pacing {
            // Transactions due since the last turn belong to the load; an engine that was stopped has missed its time.
            while now_us < until_us + LATE_US_MAX && self.offer(links, now_us) == Offered::Part {}
            let meant = intended_before(until_us, rate);
            let size = meant.saturating_sub(self.made).div_ceil(UNSENT_GROUPS_MAX).max(1);
            for first in (self.made..meant).step_by(size as usize) {
                self.workload.tally_mut().never_sent(intended_us(first, rate), size.min(meant - first));
            }
            self.workload.log_unsent(self.made..meant, |number| intended_us(number, rate));
        }
        self.is_offering = false;
        self.advance(now_us);
    }

    /// How long the measured part has lasted.
    pub(super) fn measured_for(&self, now_us: u64) -> Duration {
        let borders = self.workload.tally().borders;
        Duration::from_micros(borders.offered_until_us.min(now_us).saturating_sub(borders.measured_from_us))
    }

    /// Ends the series and the log of transactions.
    pub(super) fn finish(&mut self, now_us: u64) -> io::Result<()> {
        self.advance(now_us);
        let (open, meant, borders) =
            (self.workload.open(), self.meant_by(now_us), self.workload.tally().borders);
        self.series.finish(now_us, &borders, self.workload.tally_mut(), open, meant);
        self.workload.finish_log()
    }
}

impl Pacing {
    /// Transactions meant to be sent before a moment, of a load offered until another one, of which `made` are made.
    fn meant_by(&self, made: u64, until_us: u64, at_us: u64) -> u64 {
        match self {
            Pacing::Open { rate } => intended_before(at_us.min(until_us), *rate),
            Pacing::Closed(_) => made,
        }
    }
}

/// When transaction k of an open loop is intended.
fn intended_us(k: u64, rate: u64) -> u64 {
    (u128::from(k) * 1_000_000 / u128::from(rate)) as u64
}

/// How many transactions of an open loop are intended before a moment.
fn intended_before(us: u64, rate: u64) -> u64 {
    (u128::from(us) * u128::from(rate)).div_ceil(1_000_000) as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use bft::transaction;
    use wire::client::Fate;
    use wire::committee::Protocol;
    use wire::ids::TxId;

    use super::*;
    use crate::load::mix::Mix;
    use crate::load::phase::Phase;

    /// A load of two seconds with half a second of warm-up at 100 a second.
    fn load() -> Load {
        let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(7));
        let plan = Plan {
            rate: Rate::PerSecond(100),
            duration: Some(Duration::from_secs(2)),
            warmup: Duration::from_millis(500),
            tx_bytes: 250,
            mix: Mix::default(),
            expiry_rounds: None,
            hand_on_after: Duration::from_secs(1),
            seed: 1,
        };
        let workload = Workload::genesis(&Arc::new(committee), plan.tx_bytes, plan.seed, plan.mix);
        Load::new(workload, plan, Instant::now(), 4)
    }

    /// Hands the next transaction over as a link would.
    fn send(load: &mut Load) -> TxId {
        let mut out = Vec::new();
        let intended = intended_us(load.made, 100);
        assert!(load.workload.make(NodeId(0), &[Round(1_000)], intended, intended, &mut out));
        load.made += 1;
        transaction::tx_id(&out[4..])
    }

    fn finish(load: &mut Load, id: TxId, read_us: u64) {
        load.on_receipts(NodeId(0), &[Receipt { id, fate: Fate::Finished(Round(1)) }], read_us);
    }

    #[test]
    fn figures_end_at_the_deadline_however_late_the_engine_gets_to_it() {
        let mut load = load();
        // Of 200 transactions that are meant, 150 are sent, each at its time.
        let sent: Vec<TxId> = (0..150).map(|_| send(&mut load)).collect();
        finish(&mut load, sent[0], 400_000);
        finish(&mut load, sent[49], 600_000);
        finish(&mut load, sent[50], 1_999_999);
        // Read after the deadline, before the engine ends the offering.
        finish(&mut load, sent[51], 2_000_000);
        load.end_offering(&mut [], 2_700_000);
        finish(&mut load, sent[52], 2_800_000);
        let tally = load.workload.tally().clone();
        assert_eq!((tally.submitted, tally.submitted_measured), (150, 100));
        assert_eq!((tally.committed, tally.committed_offering, tally.committed_measured), (5, 3, 2));
        assert_eq!(load.measured_for(9_000_000), Duration::from_millis(1_500));
        // Numbers 0 and 49 were intended in the warm-up; 50, 51 and 52 count, whenever their receipts came.
        let latencies: Vec<u64> = tally.latency_intra.buckets().map(|(_, _, count)| count).collect();
        assert_eq!((latencies.iter().sum::<u64>(), tally.latency_intra.max_us()), (3, Some(2_280_000)));
        assert_eq!(tally.unsent, 50, "what was meant and not sent");
        let waited = tally.unsent_waited.max_us();
        assert_eq!(waited, Some(500_000), "the first of them was intended half a second before the deadline");
    }

    #[test]
    fn the_series_adds_up_to_the_load() {
        let mut load = load();
        let sent: Vec<TxId> = (0..150).map(|_| send(&mut load)).collect();
        for (id, read_us) in sent.iter().zip((100_000..).step_by(20_000)) {
            finish(&mut load, *id, read_us);
        }
        load.end_offering(&mut [], 3_200_000);
        load.finish(3_300_000).unwrap();
        let sections = load.series.take();
        let of = |phase| sections.iter().filter(move |section| section.phase == phase);
        assert_eq!(of(Phase::WarmUp).map(|section| section.meant).sum::<u64>(), 50);
        assert_eq!(of(Phase::Measured).map(|section| section.meant).sum::<u64>(), 150);
        assert_eq!(of(Phase::Drain).map(|section| section.meant).sum::<u64>(), 0);
        let committed: Vec<u64> = sections.iter().map(|section| section.committed).collect();
        assert_eq!(committed, [20, 25, 50, 50, 5], "by the second in which their receipts were read");
        assert_eq!(sections.iter().map(|section| section.committed).sum::<u64>(), 150);
    }

    #[test]
    fn intended_times_and_counts_agree() {
        for rate in [1, 3, 999, 10_000, 1_000_003] {
            for k in [0, 1, 2, 17, 123_456] {
                let at = intended_us(k, rate);
                assert!(
                    intended_before(at + 1, rate) > k,
                    "transaction {k} of {rate}/s is due after its time"
                );
                assert!(intended_before(at, rate) <= k, "and not before");
            }
            assert_eq!(intended_before(3_000_000, rate), 3 * rate, "as many as were meant, and no more");
        }
    }
}
