//! The links of a simulation: everything that is going to happen, in an order that depends on the seed alone. Frames
//! get their time of arrival when they are sent, from the delay of their link and from what holds the link up at
//! present: starvation and partitions delay frames, as a connection that is interrupted and resumed does, and lose
//! none. Frames are lost only with a dying child process. Last-in-first-out delivery keeps frames on a stack instead.
//!
//! [`Links::heal`] ends all influence of the adversary on the network: from then on every frame, those under way
//! included, arrives within [`HEALED_DELAY_MAX`].

use std::collections::{BTreeMap, BTreeSet};

use wire::ids::NodeId;

use crate::prng::Prng;
use crate::sim::net::Net;
use crate::sim::parcel::Frame;
use crate::time::{Span, Time};

/// Longest delay of a frame once the network is healed.
pub const HEALED_DELAY_MAX: Span = Span::from_ms(20);

/// Virtual time between two deliveries when frames arrive last in first out.
const LIFO_STEP: Span = Span(200);

/// How long a link takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Delay {
    /// Between two bounds, evenly.
    Even {
        /// Shortest, in microseconds.
        min_us: u64,
        /// Longest.
        max_us: u64,
    },
    /// Mostly short, now and then very long.
    LongTail {
        /// Longest of the usual delays, in microseconds.
        usual_us: u64,
        /// Longest of the rare ones.
        rare_us: u64,
        /// How rare, in percent.
        percent: u64,
    },
}

impl Delay {
    fn sample(self, prng: &mut Prng) -> Span {
        match self {
            Delay::Even { min_us, max_us } => Span(prng.within(min_us..max_us + 1)),
            Delay::LongTail { usual_us, rare_us, percent } => {
                let max_us = if prng.chance(percent, 100) { rare_us } else { usual_us };
                Span(prng.within(1..max_us + 1))
            }
        }
    }
}

/// In which order frames are delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// By the delay of each; frames of one link may overtake each other.
    Reordered,
    /// By the delay of each, but those of one link in the order they were sent.
    LinkByLink,
    /// The last message sent arrives first.
    LastInFirstOut,
}

/// Nodes that cannot reach the others, for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Partition {
    side: BTreeSet<NodeId>,
    until: Time,
}

/// The links and the schedule; `H` are scheduled events other than the arrival of a frame.
#[derive(Debug)]
pub(super) struct Links<H> {
    prng: Prng,
    order: Order,
    delays: BTreeMap<(NodeId, NodeId), Delay>,
    net: Net<Scheduled<H>>,
    stack: Vec<Frame>,
    /// When the stack gives its next frame.
    stack_at: Time,
    /// Links that are starved, and until when.
    starved: BTreeMap<(NodeId, NodeId), Time>,
    partition: Option<Partition>,
    last_arrivals: BTreeMap<(NodeId, NodeId), Time>,
    healed: bool,
}

/// One scheduled thing.
#[derive(Clone, Debug)]
pub(super) enum Scheduled<H> {
    /// A frame arrives.
    Frame(Frame),
    /// Anything else.
    Other(H),
}

impl<H> Scheduled<H> {
    fn frame(&self) -> Option<&Frame> {
        if let Scheduled::Frame(frame) = self { Some(frame) } else { None }
    }
}

impl<H> Links<H> {
    /// An empty network whose links have these delays.
    pub(super) fn new(prng: Prng, order: Order, delays: BTreeMap<(NodeId, NodeId), Delay>) -> Links<H> {
        Links {
            prng,
            order,
            delays,
            net: Net::default(),
            stack: Vec::new(),
            stack_at: Time(0),
            starved: BTreeMap::new(),
            partition: None,
            last_arrivals: BTreeMap::new(),
            healed: false,
        }
    }

    /// Sends a frame.
    pub(super) fn send(&mut self, now: Time, frame: Frame) {
        if self.order == Order::LastInFirstOut && !self.healed {
            if self.stack.is_empty() {
                self.stack_at = now + LIFO_STEP;
            }
            self.stack.push(frame);
            return;
        }
        let at = self.arrival(now, frame.from, frame.to);
        self.net.send(at, Scheduled::Frame(frame));
    }

    /// Schedules something else.
    pub(super) fn schedule(&mut self, at: Time, happening: H) {
        self.net.send(at, Scheduled::Other(happening));
    }

    /// Schedules something that travels like a frame on a link, outside the order of frames.
    pub(super) fn schedule_on_link(&mut self, now: Time, from: NodeId, to: NodeId, happening: H) {
        let at = self.held_until(from, to).max(now) + self.sample(from, to);
        self.net.send(at, Scheduled::Other(happening));
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Time> {
        let stacked = (!self.stack.is_empty()).then_some(self.stack_at);
        self.net.next_at().into_iter().chain(stacked).min()
    }

    /// Takes the next thing, and its time.
    pub(super) fn pop(&mut self) -> Option<(Time, Scheduled<H>)> {
        if !self.stack.is_empty() && self.net.next_at().is_none_or(|queued| self.stack_at < queued) {
            let at = self.stack_at;
            self.stack_at = at + LIFO_STEP;
            return self.stack.pop().map(|frame| (at, Scheduled::Frame(frame)));
        }
        self.net.pop()
    }

    /// Frames under way.
    pub(super) fn frames(&self) -> usize {
        self.stack.len() + self.net.under_way().filter(|scheduled| scheduled.frame().is_some()).count()
    }

    /// Holds up everything that is sent on a link from now on, until then.
    pub(super) fn starve(&mut self, from: NodeId, to: NodeId, until: Time) {
        self.starved.insert((from, to), until);
    }

    /// Holds up, until then, the frames already under way that `picks` chooses.
    pub(super) fn delay_under_way(&mut self, until: Time, picks: impl Fn(&Frame) -> bool) {
        for frame in self.take_frames(|at, frame| at < until && picks(frame)) {
            let at = until + self.sample(frame.from, frame.to);
            self.net.send(at, Scheduled::Frame(frame));
        }
    }

    /// Cuts `side` off from the others until then.
    pub(super) fn partition(&mut self, side: BTreeSet<NodeId>, until: Time) {
        self.partition = Some(Partition { side, until });
    }

    /// Loses frames under way that `picks` chooses; how many.
    pub(super) fn lose(&mut self, mut picks: impl FnMut(&Frame) -> bool) -> usize {
        let stacked = self.stack.extract_if(.., |frame| picks(frame)).count();
        stacked + self.take_frames(|_, frame| picks(frame)).len()
    }

    /// Ends everything that holds frames up: see [`HEALED_DELAY_MAX`].
    pub(super) fn heal(&mut self, now: Time) {
        self.healed = true;
        self.starved.clear();
        self.partition = None;
        self.last_arrivals.clear();
        let stacked = std::mem::take(&mut self.stack);
        let latest = now + HEALED_DELAY_MAX;
        let late = self.take_frames(|at, _| at > latest);
        for frame in stacked.into_iter().chain(late) {
            self.send(now, frame);
        }
    }

    fn take_frames(&mut self, mut picks: impl FnMut(Time, &Frame) -> bool) -> Vec<Frame> {
        let taken =
            self.net.take_all(|at, scheduled| scheduled.frame().is_some_and(|frame| picks(at, frame)));
        let frame = |scheduled| if let Scheduled::Frame(frame) = scheduled { Some(frame) } else { None };
        taken.into_iter().filter_map(frame).collect()
    }

    fn arrival(&mut self, now: Time, from: NodeId, to: NodeId) -> Time {
        let at = self.held_until(from, to).max(now) + self.sample(from, to);
        if self.order != Order::LinkByLink {
            return at;
        }
        let last = self.last_arrivals.entry((from, to)).or_default();
        *last = at.max(*last + Span(1));
        *last
    }

    fn sample(&mut self, from: NodeId, to: NodeId) -> Span {
        let healed = Delay::Even { min_us: 1_000, max_us: HEALED_DELAY_MAX.0 };
        let delay =
            if self.healed { healed } else { self.delays.get(&(from, to)).copied().unwrap_or(healed) };
        delay.sample(&mut self.prng)
    }

    fn held_until(&self, from: NodeId, to: NodeId) -> Time {
        let starved = self.starved.get(&(from, to)).copied().unwrap_or_default();
        let cut_off = match &self.partition {
            Some(Partition { side, until }) if side.contains(&from) != side.contains(&to) => *until,
            _ => Time(0),
        };
        starved.max(cut_off)
    }
}

#[cfg(test)]
mod tests {
    use wire::bytes::Bytes;
    use wire::envelope::Class;

    use super::*;
    use crate::sim::parcel::Parcel;

    fn frame(from: u16, to: u16, byte: u8) -> Frame {
        let parcel = Parcel::new(Bytes::from(vec![0xFF, byte]));
        Frame { from: NodeId(from), to: NodeId(to), class: Class::Keep, parcel }
    }

    fn links(order: Order) -> Links<()> {
        let delay = Delay::Even { min_us: 1_000, max_us: 9_000 };
        Links::new(Prng::new(1), order, BTreeMap::from([((NodeId(0), NodeId(1)), delay)]))
    }

    fn drain(links: &mut Links<()>) -> Vec<(Time, u8)> {
        std::iter::from_fn(|| links.pop())
            .map(|(at, scheduled)| match scheduled {
                Scheduled::Frame(frame) => (at, frame.parcel.body()[1]),
                Scheduled::Other(()) => (at, 0),
            })
            .collect()
    }

    fn send_ten(links: &mut Links<()>) {
        (0..10).for_each(|byte| links.send(Time(u64::from(byte)), frame(0, 1, byte)));
    }

    #[test]
    fn each_order_delivers_as_named() {
        let bytes = |order| {
            let mut links = links(order);
            send_ten(&mut links);
            drain(&mut links).into_iter().map(|(_, byte)| byte).collect::<Vec<_>>()
        };
        assert_eq!(bytes(Order::LinkByLink), (0..10).collect::<Vec<_>>());
        assert_eq!(bytes(Order::LastInFirstOut), (0..10).rev().collect::<Vec<_>>());
        let reordered = bytes(Order::Reordered);
        assert_ne!(reordered, (0..10).collect::<Vec<_>>());
        assert_eq!(reordered.len(), 10);
    }

    #[test]
    fn starved_and_cut_links_delay_frames_and_lose_none() {
        let mut links = links(Order::Reordered);
        links.starve(NodeId(0), NodeId(1), Time(1_000_000));
        send_ten(&mut links);
        links.partition(BTreeSet::from([NodeId(1)]), Time(2_000_000));
        send_ten(&mut links);
        let arrivals = drain(&mut links);
        assert_eq!(arrivals.len(), 20);
        assert_eq!(arrivals.iter().filter(|(at, _)| (1_000_000..1_010_000).contains(&at.0)).count(), 10);
        assert_eq!(arrivals.iter().filter(|(at, _)| at.0 >= 2_000_000).count(), 10);
    }

    #[test]
    fn all_frames_arrive_soon_after_healing() {
        for order in [Order::Reordered, Order::LinkByLink, Order::LastInFirstOut] {
            let mut links = links(order);
            links.starve(NodeId(0), NodeId(1), Time(u64::MAX / 2));
            send_ten(&mut links);
            links.heal(Time(500));
            send_ten(&mut links);
            let arrivals = drain(&mut links);
            assert_eq!(arrivals.len(), 20, "{order:?}");
            assert!(arrivals.iter().all(|(at, _)| at.0 <= 500 + HEALED_DELAY_MAX.0), "{order:?}");
        }
    }

    #[test]
    fn a_dying_child_loses_the_picked_frames() {
        for order in [Order::Reordered, Order::LastInFirstOut] {
            let mut links = links(order);
            send_ten(&mut links);
            assert_eq!(links.lose(|frame| frame.parcel.body()[1] < 4), 4);
            assert_eq!((links.frames(), drain(&mut links).len()), (6, 6));
        }
    }
}
