//! Fetching missing bodies: which members get a request, and when the next ones do.
//!
//! Guarantee: a body that is certified or decided arrives once messages do, since at least N−2f ≥ f+1 of the
//! certificate's signers are honest and hold it. Steps: a short wait, since the body may be under way from its owner;
//! then requests to the signers of the certificate, starting at a different one for each member and run of positions,
//! so that load spreads: one signer, after a wait two more, then four, and so on; then to all members; and again, ever
//! more slowly. So f signers in a row that do not answer cost log f waits (1.8 s at N = 128), and a body arrives more
//! than once only if an answer takes longer than the wait for it. A body that only its owner vouches for is requested
//! from the owner alone, a few times: nothing is lost if it never arrives.
//!
//! Requests name runs: an entry and those directly before it, at most [`RUN_ENTRIES_MAX`]. A member that catches up
//! requests runs of different positions from several members at once. The answer to a run may bring entries whose
//! digests the requester does not know yet, since each names its parent.
//!
//! Cost: an event costs what it changes. Due times stand in a queue, unanswered requests are counted for each member,
//! and a fetch for which all members are busy waits until one has answered; nothing walks over the table. The table
//! holds the bodies that the lanes report as missing ([`Fetches::follow`]), so it is bounded by their reach.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use wire::dest::Dest;
use wire::ids::{Digest, Index, Seq};
use wire::limits::RUN_ENTRIES_MAX;

use super::chain::{Cause, Chain, Missing, Need};
use super::{Bodies, LaneMessage};
use crate::member::Member;
use crate::mutant::{Mutant, in_force};
use crate::retries::Retries;
use crate::time::{Span, Time};

/// How long a decided body may still be under way from its owner before it is requested.
const PATIENCE_DECIDED: Span = Span::from_ms(50);
/// The same for a body that no block needs yet.
const PATIENCE_UNDECIDED: Span = Span::from_ms(200);
/// Wait for an answer of the first member before two more get a request: longer than most round trips.
const ANSWER_FIRST: Span = Span::from_ms(200);
/// Wait after each further group. With the first wait it adds up to the longest emulated round trip, 600 ms.
const ANSWER_NEXT: Span = Span::from_ms(400);
/// Longest wait for the owner of a body that nobody else vouches for.
const ANSWER_CLAIMED_MAX: Span = Span::from_ms(1_000);
/// Wait after all members got a request; doubles to [`PASS_MAX`] from pass to pass.
const PASS_MIN: Span = Span::from_ms(2_000);
const PASS_MAX: Span = Span::from_ms(10_000);
/// A transfer is given this much more time for each MiB, a link of 16 MiB/s.
const PER_MIB: Span = Span(62_500);
/// Requested entries of one member that may be unanswered at once: as many as fill these bytes at the length of recent
/// arrivals, so that large entries do not fill its outbox, and from [`ASKED_MIN`] to [`ASKED_MAX`].
const ASKED_BYTES: u64 = 4 << 20;
const ASKED_MIN: u64 = 4;
const ASKED_AT_FIRST: u64 = 8;
const ASKED_MAX: u64 = 64;
/// When all candidates have that many, the fetch is tried again after this, or once one of them has answered.
const BUSY: Span = Span::from_ms(20);
/// How many requests an owner gets for a body that nobody else vouches for.
const CLAIMED_TRIES_MAX: u32 = 6;

type Position = (Index, Seq);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fetch {
    digest: Digest,
    cause: Cause,
    bytes: Option<u64>,
    /// Entries that the last request covers: this one and unknown ones directly before it.
    entries: u64,
    /// Members that got a request in this pass.
    asked: u32,
    /// Wait at the end of this pass.
    pass: Span,
    /// The members that should answer before `due`; empty if all members got a request.
    awaiting: Vec<Index>,
    /// When the next request is due, unless the fetch waits for a busy member or was given up.
    due: Time,
    /// Requests before the last [`Fetches::retry_now`], which may have been lost, do not count.
    epoch: u64,
}

/// The outcome of a due request.
enum Asked {
    /// Requests go to these members.
    Of(Dest),
    /// Every candidate has as many unanswered requests as it may have.
    Busy,
    /// It was requested often enough.
    GivenUp,
}

/// A request: an entry, and the number of entries in all, downwards.
struct Run {
    dest: Dest,
    lane: Index,
    seq: Seq,
    digest: Digest,
    count: u64,
}

/// The bodies being fetched, of all lanes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Fetches {
    table: BTreeMap<Position, Fetch>,
    /// Those that no decided block needs; at most twice the pipeline a lane.
    undecided: BTreeSet<Position>,
    /// When the next request is due, for all fetches that neither wait for a busy member nor were given up.
    dues: Retries<Position>,
    /// Fetches that wait until a member has answered another request.
    blocked: BTreeSet<Position>,
    /// How many of them may look for a member that is no longer busy.
    tickets: u64,
    /// The blocked fetch that looked last; the next in order follows, so that none waits for ever.
    turn: Position,
    /// When blocked fetches look again although no request was answered.
    look_again: Option<Time>,
    given_up: BTreeSet<Position>,
    /// Entries that were requested from each member and have not arrived.
    load: BTreeMap<Index, u64>,
    /// The typical length of a fetched entry.
    typical_bytes: u64,
    epoch: u64,
    /// Fetches and members visited, for the work meter.
    #[serde(skip)]
    work: u64,
}

impl Fetches {
    pub(super) fn new() -> Fetches {
        Fetches {
            table: BTreeMap::new(),
            undecided: BTreeSet::new(),
            dues: Retries::new(PASS_MAX),
            blocked: BTreeSet::new(),
            tickets: 0,
            turn: (Index(0), Seq(0)),
            look_again: None,
            given_up: BTreeSet::new(),
            load: BTreeMap::new(),
            typical_bytes: ASKED_BYTES / ASKED_AT_FIRST,
            epoch: 0,
            work: 0,
        }
    }

    /// Fetches and members visited so far.
    pub(super) fn work(&self) -> u64 {
        self.work
    }

    /// A fetched entry has arrived.
    pub(super) fn arrived(&mut self, bytes: u64) {
        self.typical_bytes = (self.typical_bytes * 3 + bytes) / 4;
    }

    /// Follows the changes to the missing bodies of `lane`: new needs enter and satisfied ones leave. A fetch whose
    /// entry has become decided goes on with the holders that have a request; one that only its owner vouched for
    /// starts over with others.
    pub(super) fn follow(&mut self, now: Time, lane: Index, missing: Missing, bodies: Bodies) {
        let Missing { decided, arrived, undecided } = missing;
        let highest_decided = if decided.is_empty() { None } else { self.highest_decided(lane) };
        let mut under_way = BTreeMap::new();
        for seq in arrived {
            let Some(mut fetch) = self.remove((lane, seq)) else { continue };
            if fetch.entries > 1 {
                fetch.entries -= 1;
                under_way.insert(Seq(seq.0 - 1), fetch);
            }
        }
        for need in decided {
            let patience = match need.bytes {
                Some(_) => Span(0),
                // A successor was missing too and had its wait: this one is not under way either.
                None if Some(need.seq) < highest_decided || bodies == Bodies::Missed => Span(0),
                None => PATIENCE_DECIDED,
            };
            match under_way.remove(&need.seq) {
                // The answer that brought its successor brings this one next.
                Some(fetch) => self.enter((lane, need.seq), Fetch { digest: need.digest, ..fetch }),
                None => self.enter_decided(now, lane, &need, patience),
            }
        }
        self.drop_satisfied(lane, &undecided);
        for need in undecided {
            let position = (lane, need.seq);
            if self.table.get(&position).is_some_and(|fetch| fetch.cause <= need.cause) {
                continue;
            }
            let patience = if need.bytes.is_some() { Span(0) } else { PATIENCE_UNDECIDED };
            self.remove(position);
            self.enter(position, Fetch::new(&need, now + patience, self.epoch));
        }
    }

    fn enter_decided(&mut self, now: Time, lane: Index, need: &Need, patience: Span) {
        let position = (lane, need.seq);
        let epoch = self.epoch;
        let known = self.table.get_mut(&position);
        let is_certified =
            |fetch: &&mut Fetch| fetch.cause == Cause::Certified && fetch.digest == need.digest;
        let Some(fetch) = known.filter(is_certified) else {
            self.remove(position);
            return self.enter(position, Fetch::new(need, now + patience, epoch));
        };
        fetch.cause = Cause::Decided;
        self.undecided.remove(&position);
        if fetch.asked == 0 && self.dues.contains(&position) {
            fetch.due = fetch.due.min(now + patience);
            self.dues.start(position, fetch.due, PASS_MAX);
        }
    }

    /// Drops undecided fetches of `lane` that are no longer needed.
    fn drop_satisfied(&mut self, lane: Index, needs: &[Need]) {
        let ours = self.undecided.range((lane, Seq(0))..=(lane, Seq(u64::MAX)));
        let is_needed = |position: &Position| {
            let at = needs.binary_search_by_key(&position.1, |need| need.seq);
            at.is_ok_and(|at| needs[at].digest == self.table[position].digest)
        };
        let satisfied: Vec<Position> = ours.filter(|position| !is_needed(position)).copied().collect();
        for position in satisfied {
            self.remove(position);
        }
    }

    /// The highest position of a lane that a decided block needs. Those above it are few: undecided ones.
    fn highest_decided(&self, lane: Index) -> Option<Seq> {
        let ours = self.table.range((lane, Seq(0))..=(lane, Seq(u64::MAX)));
        ours.rev().find(|(_, fetch)| fetch.cause == Cause::Decided).map(|((_, seq), _)| *seq)
    }

    fn enter(&mut self, position: Position, fetch: Fetch) {
        self.work += 1;
        if fetch.cause != Cause::Decided {
            self.undecided.insert(position);
        }
        self.dues.start(position, fetch.due, PASS_MAX);
        if fetch.epoch == self.epoch {
            self.charge(&fetch);
        }
        self.table.insert(position, fetch);
    }

    fn charge(&mut self, fetch: &Fetch) {
        for asked in &fetch.awaiting {
            *self.load.entry(*asked).or_default() += fetch.entries;
        }
    }

    fn remove(&mut self, position: Position) -> Option<Fetch> {
        self.work += 1;
        let fetch = self.table.remove(&position)?;
        self.undecided.remove(&position);
        self.dues.stop(&position);
        self.blocked.remove(&position);
        self.given_up.remove(&position);
        self.release(&fetch);
        Some(fetch)
    }

    /// Stops waiting for its members; each entry of theirs lets one blocked fetch look for room.
    fn release(&mut self, fetch: &Fetch) {
        if fetch.epoch != self.epoch {
            return;
        }
        for asked in &fetch.awaiting {
            let load = self.load.get_mut(asked).expect("an awaited member has a request");
            *load -= fetch.entries;
            self.tickets += fetch.entries;
        }
    }

    /// Drops the fetches of `lane` up to `seq`: nobody needs those entries any more.
    pub(super) fn jump(&mut self, lane: Index, seq: Seq) {
        let useless = self.table.range((lane, Seq(0))..=(lane, seq));
        let useless: Vec<Position> = useless.map(|(position, _)| *position).collect();
        for position in useless {
            self.remove(position);
        }
    }

    /// Sends all requests that are due.
    pub(super) fn launch(
        &mut self,
        now: Time,
        member: &Member,
        chains: &[Chain],
    ) -> Vec<(Dest, LaneMessage)> {
        let mut runs: Vec<Run> = Vec::new();
        if self.look_again.is_some_and(|at| at <= now) {
            self.look_again = None;
            self.tickets = ASKED_MAX * member.committee.n() as u64;
        }
        // None looks twice in one event.
        self.tickets = self.tickets.min(self.blocked.len() as u64);
        while let Some(position) = self.dues.next(now).or_else(|| self.next_blocked()) {
            let mut fetch = self.table.remove(&position).expect("what is due or blocked is in the table");
            self.release(&fetch);
            fetch.renew(self.epoch);
            let (lane, seq) = position;
            let chain = &chains[usize::from(lane.0)];
            let candidates = candidates(member, chain, lane, seq, fetch.cause);
            self.work += candidates.len() as u64;
            if fetch.cause == Cause::Decided {
                fetch.entries = 1 + chain.unknown_below(seq, RUN_ENTRIES_MAX - 1);
            }
            let asked_max = (ASKED_BYTES / self.typical_bytes.max(1)).clamp(ASKED_MIN, ASKED_MAX);
            match fetch.ask(now, member, &candidates, &self.load, asked_max) {
                Asked::Of(dest) => {
                    self.charge(&fetch);
                    self.dues.start(position, fetch.due, PASS_MAX);
                    let run = Run { dest, lane, seq, digest: fetch.digest, count: fetch.entries };
                    match runs.last_mut().filter(|last| run.continues(last)) {
                        Some(last) => *last = Run { count: last.count + run.count, ..run },
                        None => runs.push(run),
                    }
                }
                Asked::Busy => {
                    self.dues.stop(&position);
                    self.blocked.insert(position);
                    self.look_again.get_or_insert(now + BUSY);
                }
                Asked::GivenUp => {
                    self.dues.stop(&position);
                    self.given_up.insert(position);
                }
            }
            self.table.insert(position, fetch);
        }
        runs.into_iter().map(Run::into_message).collect()
    }

    /// The next blocked fetch that may look for a member that is not busy.
    fn next_blocked(&mut self) -> Option<Position> {
        if self.tickets == 0 || self.blocked.is_empty() {
            self.tickets = 0;
            return None;
        }
        self.tickets -= 1;
        let above = self.blocked.range((Bound::Excluded(self.turn), Bound::Unbounded)).next();
        let position = *above.or_else(|| self.blocked.first()).expect("a blocked fetch exists");
        self.blocked.remove(&position);
        self.turn = position;
        Some(position)
    }

    /// Requests and answers may have been lost: everything is due again at once, as if nothing had been requested.
    pub(super) fn retry_now(&mut self, now: Time) {
        self.epoch += 1;
        self.load.clear();
        self.dues.retry_now(now);
        self.blocked.append(&mut self.given_up);
        self.look_again = Some(now);
    }

    /// When [`Fetches::launch`] is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        let look_again = self.look_again.filter(|_| !self.blocked.is_empty());
        [self.dues.due(), look_again].into_iter().flatten().min()
    }

    /// How many bodies are being fetched or were given up.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Run {
    /// Whether it continues where another request ends, to the same members, so that one request may name both.
    fn continues(&self, last: &Run) -> bool {
        self.lane == last.lane
            && self.seq.0 == last.seq.0 + self.count
            && self.dest == last.dest
            && self.count + last.count <= RUN_ENTRIES_MAX
    }

    fn into_message(self) -> (Dest, LaneMessage) {
        let Run { dest, lane, seq, digest, count } = self;
        let count = u16::try_from(count).expect("runs are short");
        (dest, LaneMessage::WantEntries { owner: lane, seq, digest, count })
    }
}

impl Fetch {
    fn new(need: &Need, due: Time, epoch: u64) -> Fetch {
        Fetch {
            digest: need.digest,
            cause: need.cause,
            bytes: need.bytes,
            entries: 1,
            asked: 0,
            pass: PASS_MIN,
            awaiting: Vec::new(),
            due,
            epoch,
        }
    }

    /// Resets it to the state before a request: nobody is awaited, and requests of an earlier epoch do not count.
    fn renew(&mut self, epoch: u64) {
        self.awaiting.clear();
        if self.epoch != epoch {
            self.epoch = epoch;
            self.asked = 0;
        }
    }

    /// Chooses the members that get a request now, if any, and sets the next due time.
    fn ask(
        &mut self,
        now: Time,
        member: &Member,
        candidates: &[Index],
        load: &BTreeMap<Index, u64>,
        asked_max: u64,
    ) -> Asked {
        if self.cause == Cause::Claimed && self.asked == CLAIMED_TRIES_MAX {
            return Asked::GivenUp;
        }
        let transfer = Span((self.bytes.unwrap_or(0) * PER_MIB.0) >> 20);
        let turn = self.asked as usize;
        if self.cause != Cause::Claimed && turn >= candidates.len() {
            self.due = now + self.pass + transfer;
            self.pass = self.pass.doubled(PASS_MAX);
            self.asked = 0;
            return Asked::Of(Dest::ShardOthers);
        }
        // 1, 2, 4 and so on: one more than all earlier ones.
        let group =
            if self.cause == Cause::Claimed || !in_force(Mutant::SecondHolderIsAsked) { 1 } else { turn + 1 };
        let group = group.min(candidates.len().saturating_sub(turn).max(1));
        self.awaiting = (0..candidates.len())
            .map(|step| candidates[(turn + step) % candidates.len()])
            .filter(|candidate| load.get(candidate).is_none_or(|asked| *asked < asked_max))
            .take(group)
            .collect();
        if self.awaiting.is_empty() {
            return Asked::Busy;
        }
        let wait = match self.cause {
            Cause::Claimed => Span(ANSWER_FIRST.0 << self.asked.min(8)).min(ANSWER_CLAIMED_MAX),
            _ if self.asked == 0 => ANSWER_FIRST,
            _ => ANSWER_NEXT,
        };
        self.asked += self.awaiting.len() as u32;
        self.due = now + wait + transfer;
        let nodes = self.awaiting.iter().map(|asked| member.node_at(*asked));
        Asked::Of(Dest::Set(nodes.collect()))
    }
}

/// The members that may hold a body, in the order in which they get a request.
fn candidates(member: &Member, chain: &Chain, lane: Index, seq: Seq, cause: Cause) -> Vec<Index> {
    if cause == Cause::Claimed {
        return vec![lane];
    }
    let mut holders: Vec<Index> = match chain.signers(seq) {
        Some(certificate) => certificate.signers().collect(),
        None => member.committee.indices().collect(),
    };
    holders.retain(|holder| *holder != member.index);
    if !holders.is_empty() {
        let start = (u64::from(member.index.0) + seq.0 / RUN_ENTRIES_MAX) % holders.len() as u64;
        holders.rotate_left(start as usize);
    }
    holders
}
