//! Schedules: in which order letters arrive when no script says so. All that is random comes from one seed.

use wire::ids::Index;

use crate::effects::To;
use crate::prng::Prng;
use crate::sim::bench::letter::Kind;
use crate::sim::bench::{Bench, Letter, SPB, Violation};
use crate::time::Span;

/// Which letter comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Any.
    Random,
    /// The oldest.
    FirstInFirstOut,
    /// The newest.
    LastInFirstOut,
    /// Any, but letters to and from these two members only when nothing else is under way.
    Starved(Index, Index),
    /// Any, but as soon as the sent coin shares give a leader away, letters of its SPB only when nothing else is
    /// under way.
    StarvedLeader,
}

/// A way to run the bench.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Which letter comes next.
    pub order: Order,
    /// In a thousand deliveries, how many letters arrive twice.
    pub repeats_permille: u64,
    /// In a thousand deliveries, how often the clock jumps a second, so that all is sent again.
    pub jumps_permille: u64,
    /// In a thousand letters of traitors, how many are lost, and how many say something else than the traitor's seat
    /// would.
    pub treason_permille: u64,
    /// The source of all chance.
    pub prng: Prng,
}

impl Schedule {
    /// A schedule without repeats, jumps and treason.
    pub fn new(order: Order, seed: u64) -> Schedule {
        Schedule { order, repeats_permille: 0, jumps_permille: 0, treason_permille: 0, prng: Prng::new(seed) }
    }

    /// Place of the next letter among those under way.
    fn next(&mut self, bench: &Bench) -> usize {
        let count = bench.net.len();
        let starved: Box<dyn Fn(&Letter) -> bool> = match self.order {
            Order::FirstInFirstOut => return 0,
            Order::LastInFirstOut => return count - 1,
            Order::Random => return self.any(count),
            Order::Starved(one, other) => Box::new(move |letter: &Letter| {
                [one, other].contains(&letter.from) || [one, other].contains(&letter.to)
            }),
            Order::StarvedLeader => Box::new(|letter: &Letter| is_of_known_leader(bench, letter)),
        };
        let letters: Vec<&Letter> = bench.net.under_way().collect();
        // A few tries find a letter that is not starved, if most are not.
        for _ in 0..8 {
            let at = self.any(count);
            if !starved(letters[at]) {
                return at;
            }
        }
        let fed: Vec<usize> = (0..count).filter(|at| !starved(letters[*at])).collect();
        match self.prng.pick(&fed) {
            Some(at) => *at,
            None => self.any(count),
        }
    }

    fn any(&mut self, count: usize) -> usize {
        self.prng.below(count as u64) as usize
    }
}

fn is_of_known_leader(bench: &Bench, letter: &Letter) -> bool {
    let Some((round, view, _)) = letter.agreement() else { return letter.kind() == Kind::Halt };
    SPB.contains(&letter.kind()) && letter.spb().is_some() && bench.leader_known(round, view) == letter.spb()
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
        let letter = self.net.take_nth(at).expect("it is under way");
        if schedule.prng.chance(schedule.repeats_permille, 1_000) {
            self.net.send_surely(self.now, letter.clone());
        }
        if self.traitors.contains(&letter.from) && schedule.prng.chance(schedule.treason_permille, 1_000) {
            if let Some(parcel) = self.twisted(&letter, &mut schedule.prng) {
                let to = To::Member(self.node(letter.to));
                self.seal(letter.from, to, parcel).into_iter().for_each(|letter| self.hand_over(letter));
            }
            return;
        }
        self.hand_over(letter);
    }
}
