//! Schedules: the order in which messages arrive without a script. One seed determines it.

use wire::ids::Index;

use crate::effects::To;
use crate::prng::Prng;
use crate::sim::bench::message::Kind;
use crate::sim::bench::{Bench, Message, SPB, Violation};
use crate::time::Span;

/// Which message comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Any.
    Random,
    /// The oldest.
    FirstInFirstOut,
    /// The newest.
    LastInFirstOut,
    /// Any, but messages to and from these two members only when nothing else is under way.
    Starved(Index, Index),
    /// Any, but as soon as the sent coin shares determine a leader, messages of its SPB only when nothing else is under
    /// way.
    StarvedLeader,
}

/// A way to run the bench.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Which message comes next.
    pub order: Order,
    /// In a thousand deliveries, how many messages arrive twice.
    pub repeats_permille: u64,
    /// In a thousand deliveries, how often the clock jumps a second, so that open messages are sent again.
    pub jumps_permille: u64,
    /// Of a thousand messages of Byzantine members, how many are altered or lost.
    pub altered_permille: u64,
    /// The source of all random choices.
    pub prng: Prng,
}

impl Schedule {
    /// A schedule without repeats, jumps and alterations.
    pub fn new(order: Order, seed: u64) -> Schedule {
        Schedule { order, repeats_permille: 0, jumps_permille: 0, altered_permille: 0, prng: Prng::new(seed) }
    }

    /// Position of the next message among those under way.
    fn next(&mut self, bench: &Bench) -> usize {
        let count = bench.net.len();
        let starved: Box<dyn Fn(&Message) -> bool> = match self.order {
            Order::FirstInFirstOut => return 0,
            Order::LastInFirstOut => return count - 1,
            Order::Random => return self.any(count),
            Order::Starved(one, other) => Box::new(move |message: &Message| {
                [one, other].contains(&message.from) || [one, other].contains(&message.to)
            }),
            Order::StarvedLeader => Box::new(|message: &Message| is_of_known_leader(bench, message)),
        };
        let messages: Vec<&Message> = bench.net.under_way().collect();
        // A few tries find a message that is not starved, if most are not.
        for _ in 0..8 {
            let at = self.any(count);
            if !starved(messages[at]) {
                return at;
            }
        }
        let fed: Vec<usize> = (0..count).filter(|at| !starved(messages[*at])).collect();
        match self.prng.pick(&fed) {
            Some(at) => *at,
            None => self.any(count),
        }
    }

    fn any(&mut self, count: usize) -> usize {
        self.prng.below(count as u64) as usize
    }
}

fn is_of_known_leader(bench: &Bench, message: &Message) -> bool {
    let Some((round, view, _)) = message.agreement() else { return message.kind() == Kind::Halt };
    SPB.contains(&message.kind())
        && message.spb().is_some()
        && bench.leader_known(round, view) == message.spb()
}

impl Bench {
    /// Runs until all honest members have decided up to `round`, every lane advancing whenever some member has
    /// decided, in at most `steps_max` deliveries.
    pub fn run(&mut self, schedule: &mut Schedule, round: u64, steps_max: u64) -> Result<(), Violation> {
        self.run_for(&self.honest(), schedule, round, steps_max)
    }

    /// The same until these members have.
    pub fn run_for(
        &mut self,
        members: &[Index],
        schedule: &mut Schedule,
        round: u64,
        steps_max: u64,
    ) -> Result<(), Violation> {
        let mut advanced = 0;
        for _ in 0..steps_max {
            self.check()?;
            let decided: Vec<u64> = members.iter().map(|member| self.decided(*member).0).collect();
            if decided.iter().all(|decided| *decided >= round) {
                return Ok(());
            }
            let most = decided.into_iter().max().unwrap_or(0);
            if advanced <= most && most < round {
                for lane in self.members() {
                    self.advance(lane);
                }
                advanced = most + 1;
            }
            self.deliver_next(schedule);
        }
        Err(self.stalled())
    }

    fn deliver_next(&mut self, schedule: &mut Schedule) {
        if self.net.len() == 0 {
            return self.wake_next();
        }
        if schedule.prng.chance(schedule.jumps_permille, 1_000) {
            self.ping();
            self.sleep(Span::from_ms(1_000));
        }
        let at = schedule.next(self);
        let message = self.net.take_nth(at).expect("it is under way");
        if schedule.prng.chance(schedule.repeats_permille, 1_000) {
            self.net.send_surely(self.now, message.clone());
        }
        if self.byzantine.contains(&message.from) && schedule.prng.chance(schedule.altered_permille, 1_000) {
            if let Some(content) = self.altered(&message, &mut schedule.prng) {
                let to = To::Member(self.node(message.to));
                self.encode(message.from, to, content)
                    .into_iter()
                    .for_each(|message| self.deliver_now(message));
            }
            return;
        }
        self.deliver_now(message);
    }
}
