//! Pending transactions: everything this node knows of a transaction before its fate, in one record by its id.
//!
//! **Guarantee.** Every transaction that a client hands in gets exactly one of: a refusal at once, with its reason, or
//! one final receipt, to the client that handed it in (while it is connected) and to the last one that asked for it. A
//! transaction is in at most one proposal of ours, and leaves only with a fate: what was proposed stays open until a
//! block settles it, since our lane never loses an entry.
//!
//! **What a record holds** (`list`): on whose account it is pending (a client's, a peer's, or only the pool's), whether
//! and where it waits to be proposed, and which other shards are asked to order it. What peers say of it, CL_M and CL,
//! and what we believe, stands in a half of its own (`opinions`), since peers choose the ids in it.
//!
//! **What can happen to it,** one method each: a client hands it in ([`Pending::submit`]), asks for it
//! ([`Pending::query`]) or goes ([`Pending::client_gone`]); a peer orders it ([`Pending::on_order`]), answers our order
//! ([`Pending::on_spent`]), calls it rejected ([`Pending::on_reject`]), has us hold a copy ([`Pending::on_copies`]) or
//! holds one of ours ([`Pending::on_held`]); it is put into a proposal or found to be beyond hope ([`Pending::take`]);
//! a block is executed ([`Pending::executed`]); time passes ([`Pending::tick`], [`Pending::promote`],
//! [`Pending::share`]); a child restarts ([`Pending::on_child_restarted`]). Each returns an [`Output`]: receipts and
//! messages.
//!
//! **Cross-shard transactions** have two sides here (docs/design.md §14). At the output shard the node that a client
//! chose is their *contact*: it keeps the bytes until their fate, asks their input shards to order them (`asking`), and
//! lists them too if they have inputs here. Their fate is *finished* or *cancelled* by a block of this shard,
//! *rejected* by a block of this shard that could not spend its inputs here, or believed to be rejected by another
//! shard that spent nothing. Each of these is final. At an input shard they come as orders of members of the output
//! shard (`order`), to be proposed at once by their home and by the others only later.
//!
//! **Filter.** Before it proposes a transaction a node looks again whether it can still execute (docs/design.md §13):
//! of many that spend one coin, those that still wait when the first is executed are never ordered, so double spends
//! cost their contact a look-up and the shard little. The look-up is left out while no block was executed since
//! admission.
//!
//! **Cost and bounds.** A slice of the client's own submission is kept while a transaction waits, and some 130 bytes
//! once it is proposed. Count and bytes are bounded ([`MempoolLimits`]); no allocation per intra-shard transaction. A
//! cross-shard one is kept longer, so it is copied out of the message it came in. An event costs what it changes, times
//! the logarithm of what waits.

mod accounts;
mod admission;
mod asking;
mod copies;
mod crowd;
pub mod gather;
mod jump;
mod list;
mod opinions;
mod order;
mod queues;
mod sharing;
mod timeline;

use std::collections::BTreeMap;

use wire::bytes::Bytes;
use wire::client::{Fate, Receipt, Rejection};
use wire::dest::Dest;
use wire::ids::{ClientId, Index, NodeId, PartNumber, Round, ShardId, TxId};

use crate::fault::{Fault, FaultKind};
use crate::id_index::{GROUP, Steps};
use crate::image::image;
use crate::ledger::{BlockOutcome, Cause, CrossEvent, Ledger, Outcome, Standing};
use crate::member::Member;
use crate::pending::accounts::Accounts;
use crate::pending::asking::Asking;
use crate::pending::list::{Line, List, Payer, Phase, Record};
use crate::pending::opinions::{Draft, Opinions};
use crate::pending::sharing::Sharing;
use crate::proposal::{ProposalBuilder, Push};
use crate::shard::home::{Claim, Turn};
use crate::shard::message::{RejectMessage, RejectVote};
use crate::slab::Place;
use crate::time::{Span, Time};
use crate::transaction::{Part, TransactionView};

pub use accounts::MempoolLimits;
pub use sharing::{Copies, Share};
pub use timeline::Position;

/// Receipts by the client they go to.
pub type Receipts = BTreeMap<ClientId, Vec<Receipt>>;

/// The result of a step.
#[must_use = "receipts and messages must go out"]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Output {
    /// Receipts for clients.
    pub receipts: Receipts,
    /// Messages to members of any shard.
    pub sends: Vec<(Dest, PendingSend)>,
    /// For the client whose submission found no room: about when there is some.
    pub try_again: Option<(ClientId, Span)>,
    /// Encoded messages that are not collected first.
    pub prompt: Vec<(Dest, Bytes)>,
    /// Steps that leave no other mark, for those who follow a transaction.
    pub steps: Vec<PendingStep>,
    /// Misbehaviour noticed.
    pub faults: Vec<Fault>,
}

/// A message about pending transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PendingSend {
    /// Put these on your list.
    Order(Vec<Bytes>),
    /// Answer to an order: these have spent their inputs here, and this part carries each.
    Spent(Vec<(TxId, PartNumber)>),
    /// CL_M or CL. A message holds less than this may: see [`gather`].
    Reject(RejectMessage),
}

/// A step of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PendingStep {
    /// A client has handed it in, and we are its contact; how it concerns this shard.
    Admitted(TxId, Part),
    /// It is believed never to execute.
    Believed(TxId, Cause),
}

impl Output {
    fn fault(peer: NodeId, kind: FaultKind) -> Output {
        Output { faults: vec![Fault { peer, kind }], ..Output::default() }
    }

    fn receipt(&mut self, client: ClientId, id: TxId, fate: Fate) {
        self.receipts.entry(client).or_default().push(Receipt { id, fate });
    }
}

/// Transactions that can never execute here, by the peer that asked us to order them, if one did: each has a ration.
type Hopeless = BTreeMap<Option<NodeId>, Vec<RejectVote>>;

/// The pending transactions of one node.
#[derive(Clone, Debug)]
pub struct Pending {
    member: Member,
    list: List,
    accounts: Accounts,
    asking: Asking,
    opinions: Opinions,
    sharing: Sharing,
}

image! {
    Pending:
    given member = |given| given.member.clone();
    parts opinions;
    plain list, accounts, asking, sharing;
}

impl Pending {
    /// Nothing pending; `hash_seed` as for the ledger.
    pub fn new(member: Member, limits: MempoolLimits, hash_seed: u64) -> Pending {
        Pending {
            list: List::new(hash_seed),
            accounts: Accounts::new(limits),
            asking: Asking::new(),
            opinions: Opinions::new(member.clone(), hash_seed),
            sharing: Sharing::new(limits.share, &member),
            member,
        }
    }

    /// Open transactions of clients and peers: waiting, proposed, or waiting for other shards.
    pub fn len(&self) -> usize {
        self.accounts.open()
    }

    /// Transactions taken from clients so far.
    pub fn taken(&self) -> u64 {
        self.accounts.taken()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cost of searching its tables. For checkers: it reads whole tables.
    pub fn steps(&self) -> Steps {
        self.list.steps().and(self.opinions.steps())
    }

    /// Steps over its tables so far, for the work meter: look-ups, and what loops looked at.
    pub fn work(&self) -> u64 {
        self.list.work() + self.opinions.work()
    }

    /// Transactions that wait to be proposed; those that others are to propose first do not.
    pub fn waiting(&self) -> usize {
        self.list.waiting()
    }

    /// Their bytes.
    pub fn waiting_bytes(&self) -> u64 {
        self.list.waiting_bytes()
    }

    /// When [`Pending::tick`], [`Pending::promote`] or [`Pending::share`] has something to do though no round passes.
    pub fn next_wakeup(&self, height: Round) -> Option<Time> {
        let backups = self.list.next_due(height, |home| self.sharing.rank(home, &self.member));
        let timers = [self.asking.due(), backups, self.sharing.due(&self.list)];
        timers.into_iter().flatten().min()
    }

    /// Moves waiting transactions into a proposal, the oldest of our own first, then those that others left to us. One
    /// that does not fit holds up those behind it: they wait for a call with more room.
    pub fn take(&mut self, now: Time, builder: &mut ProposalBuilder, ledger: &Ledger) -> Output {
        let mut output = Output::default();
        let mut hopeless = Hopeless::new();
        builder.reserve(self.bytes_in_proposal(builder.places_left()));
        'lines: for line in [Line::Own, Line::Spare] {
            let mut warmed = 0;
            while let Some(place) = self.list.front(line) {
                if warmed == 0 {
                    self.list.warm_line(line, ledger);
                    warmed = GROUP;
                }
                warmed -= 1;
                if self.pass_over(place, ledger, &mut hopeless, &mut output) {
                    continue;
                }
                let bytes = self.list.get(place).bytes.as_ref().expect("what waits has its bytes");
                if builder.push(bytes) == Push::Full {
                    break 'lines;
                }
                self.proposed(place);
            }
        }
        self.report(now, hopeless, ledger, &mut output);
        output
    }

    /// BACK: at most `max` pool entries that our next proposal is to list as cancelled. Each is named once for each
    /// entry, so what is returned must be listed.
    pub fn cancels(&mut self, ledger: &Ledger, max: usize) -> Vec<TxId> {
        self.opinions.cancels(ledger, max)
    }

    /// Whether [`Pending::cancels`] may have something to list.
    pub fn has_cancels(&self) -> bool {
        self.opinions.has_cancels()
    }

    /// Settles what a block settled, and what it left no time to execute; waits for what it brought into the pool.
    pub fn executed(&mut self, now: Time, outcome: &BlockOutcome, ledger: &Ledger) -> Output {
        let mut output = Output::default();
        // Beliefs are judged first, since the receipts of cancelled transactions name the cause.
        let mut draft = Draft::default();
        self.opinions.executed(now, &outcome.cross, ledger, &mut draft);
        self.heed(draft, ledger, &mut output);
        let mut duplicates = 0;
        for group in outcome.transactions.chunks(GROUP) {
            if self.list.is_empty() {
                break;
            }
            self.list.warm(group.iter().map(|executed| &executed.id));
            for executed in group {
                // One that was passed over was settled by an earlier block, or earlier in this one; so was it here.
                let Outcome::Settled(settled) = executed.outcome else {
                    duplicates += usize::from(executed.outcome == Outcome::Duplicate);
                    continue;
                };
                let Some(place) = self.list.find(&executed.id) else { continue };
                match Standing::Settled(settled, outcome.round).fate() {
                    Some(fate) => self.settle(place, fate, ledger, &mut output),
                    // Its inputs here are spent: nothing is left to propose, and its output shard reports the rest.
                    None => self.unlist(place, ledger, &mut output),
                }
            }
        }
        self.sharing.crowd.count(now, duplicates, outcome.transactions.len());
        self.accounts.measure(now);
        for event in &outcome.cross {
            match event {
                CrossEvent::Pooled { id } => {
                    let place = self.list.find(id).unwrap_or_else(|| self.list.add(*id));
                    self.asking.start(now, &mut self.list, place);
                }
                CrossEvent::Finished { id } => {
                    self.settle_by_id(id, Fate::Finished(outcome.round), ledger, &mut output);
                }
                CrossEvent::Cancelled { id } => {
                    let known = self.opinions.believed(id).filter(|cause| *cause != Cause::ExpiryTooFar);
                    let cause = known.unwrap_or(Cause::Rejected(Rejection::Cancelled));
                    // Proposed or not: a block that orders it later passes it over.
                    self.settle_by_id(id, cause.fate(), ledger, &mut output);
                }
                // The outcome of the transaction has settled it above.
                CrossEvent::Rejected { .. } | CrossEvent::Spent { .. } => {}
                CrossEvent::Refunded { .. } | CrossEvent::Closed { .. } => {}
            }
        }
        let mut hopeless = Hopeless::new();
        for place in self.list.expired(outcome.round) {
            self.pass_over(place, ledger, &mut hopeless, &mut output);
        }
        self.report(now, hopeless, ledger, &mut output);
        output
    }

    /// The fates of transactions, for a client. Those still open have none yet; their receipts will go to it too.
    pub fn query(&mut self, client: ClientId, ids: &[TxId], ledger: &Ledger) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for id in ids {
            let record = self.list.find(id).map(|place| self.list.get_mut(place));
            let waits = |record: &Record| record.payer.is_of_shard(&self.member) || record.asker.is_some();
            if let Some(record) = record.filter(|record| waits(record)) {
                record.asker = Some(client);
                self.accounts.note(client);
            } else {
                let fate = ledger.known(id).fate().unwrap_or(Fate::Unknown);
                receipts.push(Receipt { id: *id, fate });
            }
        }
        receipts
    }

    /// A client's connection has ended. Its transactions keep their places; their receipts go nowhere unless another
    /// client asks.
    pub fn client_gone(&mut self, client: ClientId) {
        self.accounts.client_gone(client);
    }

    /// CL_M or CL of another member of any shard.
    pub fn on_reject(&mut self, now: Time, from: NodeId, message: RejectMessage, ledger: &Ledger) -> Output {
        let (mut output, mut draft) = (Output::default(), Draft::default());
        self.opinions.handle(now, from, message, ledger, &mut draft);
        self.heed(draft, ledger, &mut output);
        output
    }

    /// A decided cut has an entry of this member.
    pub fn hear(&mut self, now: Time, home: Index) {
        self.list.hear(now, home);
    }

    /// Our turn as a holder of what this member has.
    pub fn turn(&self, home: Index) -> Turn {
        let rank = self.sharing.rank(home, &self.member);
        Turn { claim: Claim::Copied, heard: self.list.heard(home), rank }
    }

    /// Has backups wait to be proposed whose home has had its chance. `idle_cuts` returns for how many decided cuts a
    /// member's lane has not advanced.
    pub fn promote(&mut self, now: Time, height: Round, idle_cuts: impl Fn(Index) -> u64) {
        let Pending { list, sharing, member, .. } = self;
        list.promote(now, height, idle_cuts, |home| sharing.rank(home, member));
    }

    /// Has a waiting transaction leave if it can never execute; whether it did.
    fn pass_over(
        &mut self,
        place: Place,
        ledger: &Ledger,
        hopeless: &mut Hopeless,
        output: &mut Output,
    ) -> bool {
        let id = self.list.id(place);
        let record = self.list.get_mut(place);
        let Phase::Waiting { checked, .. } = &mut record.phase else { return false };
        if *checked >= ledger.height() {
            return false;
        }
        *checked = ledger.height();
        let view = record.view();
        let standing = ledger.standing(&id, &view);
        // An expiry that is too far ahead comes within reach as rounds pass. A copy has waited for that already, and a
        // block that passed it over would leave it here for ever.
        let is_copy = matches!(record.payer, Payer::Peer(_));
        let end = standing.fate().filter(|_| is_copy || standing != Standing::Never(Cause::ExpiryTooFar));
        let Some(fate) = end else { return false };
        if view.part_of(ledger.shard()) == Part::Cross
            && let Some(cause) = standing.never()
        {
            let asker = match record.payer {
                Payer::Peer(peer) => Some(peer),
                Payer::Client(_) | Payer::Pool => None,
            };
            let vote = RejectVote { id, others: other_shards(&view, ledger.shard()), cause };
            hopeless.entry(asker).or_default().push(vote);
        }
        self.settle(place, fate, ledger, output);
        true
    }

    /// A waiting transaction went into a proposal.
    fn proposed(&mut self, place: Place) {
        self.list.set_phase(place, Phase::Proposed);
        let record = self.list.get_mut(place);
        // A contact keeps the bytes of what other shards are asked for.
        let keeps_bytes = record.asked.is_some() && matches!(record.payer, Payer::Client(_));
        if !keeps_bytes {
            let (payer, held) = (record.payer, record.held_bytes());
            record.bytes = None;
            self.accounts.release(payer, held);
        }
    }

    /// Reports what can never execute here to the shard.
    fn report(&mut self, now: Time, hopeless: Hopeless, ledger: &Ledger, output: &mut Output) {
        let mut draft = Draft::default();
        for (asker, votes) in hopeless {
            self.opinions.report(now, asker, votes, ledger, &mut draft);
        }
        self.heed(draft, ledger, output);
    }

    /// Acts on new opinions: what is believed needs no block, so it leaves the list unless it is proposed. If nothing
    /// of it is in our pool, that is its end, and the contact's client gets a receipt; if something is, the block that
    /// cancels it brings the receipt.
    fn heed(&mut self, mut draft: Draft, ledger: &Ledger, output: &mut Output) {
        let messages = draft.messages(&self.member, ledger);
        output.sends.extend(messages.into_iter().map(|(dest, message)| (dest, PendingSend::Reject(message))));
        output.faults.append(&mut draft.faults);
        for (id, cause) in draft.believed {
            output.steps.push(PendingStep::Believed(id, cause));
            let Some(place) = self.list.find(&id) else { continue };
            let record = self.list.get(place);
            match record.payer {
                // It is this shard's alone: no other has a say in it.
                Payer::Client(_) if record.asked.is_none() => {}
                Payer::Client(_) if ledger.pool_entry(&id).is_none() => {
                    self.settle(place, cause.fate(), ledger, output);
                }
                _ if record.phase == Phase::Proposed => {}
                _ => self.unlist(place, ledger, output),
            }
        }
    }

    fn settle_by_id(&mut self, id: &TxId, fate: Fate, ledger: &Ledger, output: &mut Output) {
        if let Some(place) = self.list.find(id) {
            self.settle(place, fate, ledger, output);
        }
    }

    /// A transaction has its fate: it leaves the list and the books, and its clients get a receipt.
    fn settle(&mut self, place: Place, fate: Fate, ledger: &Ledger, output: &mut Output) {
        let id = self.list.id(place);
        self.list.set_phase(place, Phase::Unlisted);
        let asker = self.list.get_mut(place).asker.take();
        let client = match self.take_over(place) {
            Payer::Client(client) => Some(client),
            Payer::Peer(_) | Payer::Pool => None,
        };
        for to in [client, asker.filter(|asker| Some(*asker) != client)].into_iter().flatten() {
            if self.accounts.is_connected(to) {
                output.receipt(to, id, fate);
            }
        }
        self.forget_if_done(place, ledger, output);
    }

    /// There is nothing to propose of a transaction. A client goes on waiting for its fate.
    fn unlist(&mut self, place: Place, ledger: &Ledger, output: &mut Output) {
        self.list.set_phase(place, Phase::Unlisted);
        if matches!(self.list.get(place).payer, Payer::Peer(_)) {
            self.take_over(place);
        }
        self.forget_if_done(place, ledger, output);
    }

    /// Takes a transaction off its payer's account; returns that. It stays in its line.
    fn take_over(&mut self, place: Place) -> Payer {
        let record = self.list.get_mut(place);
        let (payer, held) = (std::mem::replace(&mut record.payer, Payer::Pool), record.held_bytes());
        self.accounts.remove(payer, held);
        payer
    }

    /// Forgets a transaction that nobody waits for: that is on no account and not in the pool.
    fn forget_if_done(&mut self, place: Place, ledger: &Ledger, output: &mut Output) {
        let record = self.list.get(place);
        if record.payer != Payer::Pool {
            return;
        }
        let (id, asker) = (self.list.id(place), record.asker);
        if (record.asked.is_some() || asker.is_some()) && ledger.pool_entry(&id).is_some() {
            self.list.get_mut(place).bytes = None;
            return;
        }
        if let Some(asker) = asker.filter(|asker| self.accounts.is_connected(*asker)) {
            // The block that spent its inputs here may have finished it, too.
            output.receipt(asker, id, ledger.known(&id).fate().unwrap_or(Fate::Unknown));
        }
        self.asking.stop(&mut self.list, place);
        self.list.remove(place);
    }

    /// About how many bytes the next `count_max` transactions take in a proposal.
    fn bytes_in_proposal(&self, count_max: usize) -> usize {
        let waiting = self.waiting().max(1);
        let bytes = self.waiting_bytes() as usize + 4 * waiting;
        if count_max >= waiting { bytes } else { (bytes / waiting + 1) * count_max }
    }
}

/// All shards of a transaction but one, ascending.
fn other_shards(transaction: &TransactionView<'_>, but: ShardId) -> Vec<ShardId> {
    let inputs = transaction.expiries().map(|expiry| expiry.shard);
    let mut shards: Vec<ShardId> = inputs.chain([transaction.output_shard()]).collect();
    shards.retain(|shard| *shard != but);
    shards.sort_unstable();
    shards.dedup();
    shards
}

#[cfg(test)]
mod tests;
