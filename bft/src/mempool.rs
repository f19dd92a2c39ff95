//! The mempool: transactions that clients handed to this node, or peers asked it to order, and whose fate is open.
//!
//! **Guarantee.** Every transaction that a client hands in gets exactly one of: a refusal at once, with its reason, or
//! one final receipt, to the client that handed it in (while it is connected) and to the last one that asked for it. A
//! transaction is in at most one proposal of ours, and leaves only with a fate: what was proposed stays open until a
//! block settles it, since our lane never loses an entry.
//!
//! **Steps.** [`Mempool::submit`] checks and queues; [`Mempool::take`] moves the oldest into a proposal;
//! [`Mempool::on_executed`] settles what a block settled, whoever proposed it. First come, first served; the share that
//! one client may fill ([`MempoolLimits`]) keeps room for others.
//!
//! **Cross-shard transactions** have two sides here (docs/design.md §14). At the output shard the node that a client
//! chose is their *contact*: it keeps a record with the bytes until their fate, and lists them too if they have inputs
//! here. At an input shard they come as orders of members of the output shard ([`Mempool::order`]), to be proposed at
//! once by their home and by the others only later; they leave the list as soon as a block spends their inputs or
//! rejects them.
//!
//! **Filter.** Before it proposes a transaction a node looks again whether it can still execute (docs/design.md §13):
//! of many that spend one coin, those that still wait when the first is executed are never ordered, so double spends
//! cost their contact a look-up and the shard little. The look-up is left out while no block was executed since
//! admission. Cross-shard transactions that can never execute here leave as votes for the other shards.
//!
//! **Cost and bounds.** A slice of the client's own submission is kept while a transaction waits, and only ids when it
//! is proposed: some 120 bytes each. Count and bytes are bounded; no allocation per intra-shard transaction. A
//! cross-shard one is kept longer, so it is copied out of the message it came in: some 200 bytes besides its own.

use std::collections::BTreeMap;
use std::ops::Range;

use wire::bytes::Bytes;
use wire::client::{Fate, Receipt, Refusal, Rejection};
use wire::ids::{ClientId, NodeId, Round, TxId};

use crate::id_index::{GROUP, Steps};
use crate::id_map::IdMap;
use crate::ledger::{BlockOutcome, Cause, Ledger, Outcome, Settled, Standing};
use crate::mempool::accounts::Accounts;
use crate::mempool::contacts::Contact;
use crate::mempool::list::{Freed, Line, List, Open, Owner, Phase};
use crate::proposal::{ProposalBuilder, Push, payload_bytes};
use crate::shard::message::RejectVote;
use crate::slab::Place;
use crate::transaction::{self, Part, TransactionView, tx_id};

pub use accounts::MempoolLimits;
pub(crate) use cross::other_shards;
pub use cross::{Order, Ordered};

mod accounts;
mod contacts;
mod cross;
mod list;

/// Final receipts by the client they go to.
pub type Receipts = BTreeMap<ClientId, Vec<Receipt>>;

/// Executed rounds between two searches for waiting transactions whose expiry has passed. They are never proposed
/// either way; this is how long their clients may wait for the receipt.
const COLLECT_EVERY_ROUNDS: u64 = 64;

/// The mempool of one node.
#[derive(Clone, Debug)]
pub struct Mempool {
    list: List,
    /// Cross-shard transactions of clients. Bound: the clients' room.
    contacts: IdMap<Contact>,
    accounts: Accounts,
    collect_at: Round,
}

/// What became at once of a submission.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Submitted {
    /// A receipt for each transaction that was not taken.
    pub refused: Vec<Receipt>,
    /// The cross-shard transactions that were taken: other shards are to order them.
    pub cross: Vec<TxId>,
}

/// What left the list without being proposed, since it can never execute.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// For the clients of such transactions.
    pub receipts: Receipts,
    /// CL_M for the shards of those that are cross-shard, each with the peer that asked us to order it, if one did.
    pub votes: Vec<(Option<NodeId>, RejectVote)>,
}

impl Mempool {
    /// An empty mempool; `hash_seed` as for the ledger.
    pub fn new(limits: MempoolLimits, hash_seed: u64) -> Mempool {
        Mempool {
            list: List::new(hash_seed),
            contacts: IdMap::new(hash_seed),
            accounts: Accounts::new(limits),
            collect_at: Round(0),
        }
    }

    /// Open transactions: waiting, proposed, or waiting for other shards.
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

    /// What searching its tables costs. For checkers: it reads whole tables.
    pub fn steps(&self) -> Steps {
        self.list.steps().and(self.contacts.steps())
    }

    /// Transactions that wait to be proposed; those that others are to propose first do not.
    pub fn waiting(&self) -> usize {
        self.list.waiting()
    }

    /// Their bytes.
    pub fn waiting_bytes(&self) -> u64 {
        self.list.waiting_bytes()
    }

    /// Takes in the transactions that stand in `items` of a submission's `body`. `believed` returns why other shards
    /// reject a transaction, if they do.
    pub fn submit(
        &mut self,
        client: ClientId,
        body: &Bytes,
        items: &[Range<usize>],
        believed: impl Fn(&TxId) -> Option<Cause>,
        ledger: &Ledger,
    ) -> Submitted {
        let mut submitted = Submitted::default();
        let mut group: Vec<Candidate<'_>> = Vec::with_capacity(GROUP);
        for items in items.chunks(GROUP) {
            group.clear();
            for item in items {
                let id = tx_id(&body[item.clone()]);
                match statically_fit(&body[item.clone()], ledger) {
                    Ok((view, concern)) => group.push(Candidate { id, view, concern, item }),
                    Err(reason) => submitted.refused.push(Receipt { id, fate: Fate::Refused(reason) }),
                }
            }
            self.list.warm(group.iter().map(|candidate| &candidate.id));
            ledger.warm(group.iter().map(|candidate| (&candidate.id, &candidate.view)));
            for Candidate { id, view, concern, item } in &group {
                let admitted = match concern {
                    Concern::Intra(expiry) => {
                        self.admit(client, id, view, *expiry, body.slice((*item).clone()), ledger)
                    }
                    Concern::Output => {
                        let admitted = self.admit_as_contact(client, id, view, &believed, ledger);
                        admitted.map(|()| submitted.cross.push(*id))
                    }
                };
                if let Err(fate) = admitted {
                    submitted.refused.push(Receipt { id: *id, fate });
                }
            }
        }
        submitted
    }

    /// Moves waiting transactions into a proposal, the oldest of our own first, then those that others left to us. One
    /// that does not fit holds up those behind it: they wait for a call with more room.
    pub fn take(&mut self, builder: &mut ProposalBuilder, ledger: &Ledger) -> Left {
        let mut left = Left::default();
        builder.reserve(self.bytes_in_proposal(builder.places_left()));
        for line in [Line::Own, Line::Spare] {
            let mut warmed = 0;
            while let Some(place) = self.list.front(line) {
                if warmed == 0 {
                    self.list.warm_line(line, ledger);
                    warmed = GROUP;
                }
                warmed -= 1;
                match self.propose(place, builder, ledger) {
                    Propose::Leaves => {}
                    Propose::Past(past) => self.leave(place, past, &mut left),
                    Propose::Full => return left,
                }
                self.list.pop(line);
            }
        }
        left
    }

    /// Settles the open transactions that a block settled. `believed` returns why other shards reject a transaction, if
    /// they do.
    pub fn on_executed(
        &mut self,
        outcome: &BlockOutcome,
        believed: impl Fn(&TxId) -> Option<Cause>,
    ) -> Receipts {
        let mut receipts = Receipts::new();
        for (at, executed) in outcome.transactions.iter().enumerate() {
            if self.list.is_empty() {
                break;
            }
            if at % GROUP == 0 {
                let group = outcome.transactions[at..].iter().take(GROUP);
                self.list.warm(group.map(|executed| &executed.id));
            }
            // A skipped transaction was settled by an earlier block, or earlier in this one; so was it here.
            let Outcome::Settled(settled) = executed.outcome else { continue };
            if let Some(place) = self.list.find(&executed.id) {
                match Standing::Settled(settled, outcome.round).fate() {
                    Some(fate) => self.settle(place, fate, &mut receipts),
                    // Its inputs here are spent: nothing is left to propose, and its output shard reports the rest.
                    None => _ = self.free(place),
                }
            }
        }
        self.settle_contacts(outcome, believed, &mut receipts);
        self.list.clean();
        receipts
    }

    /// Settles waiting transactions whose expiry has passed. Cheap except every 64 rounds.
    pub fn collect_expired(&mut self, ledger: &Ledger) -> Left {
        let mut left = Left::default();
        let height = ledger.height();
        if height < self.collect_at {
            return left;
        }
        self.collect_at = Round(height.0 + COLLECT_EVERY_ROUNDS);
        for place in self.list.expired(height) {
            if let Some(past) = self.list.get(place).past(ledger) {
                self.leave(place, past, &mut left);
            }
        }
        self.list.clean();
        left
    }

    /// Tells a client what became of transactions, except of those still open: their receipts will go to it, too.
    pub fn query(&mut self, client: ClientId, ids: &[TxId], ledger: &Ledger) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for id in ids {
            let place = self.list.find(id);
            let listed = place.map(|place| &mut self.list.get_mut(place).owner);
            if let Some(Owner::Client { asker, .. }) = listed {
                *asker = Some(client);
                self.accounts.note(client);
            } else if let Some(contact) = self.contacts.get_mut(id) {
                contact.asker = Some(client);
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

    /// Admission of an intra-shard transaction that is statically fit, cheapest checks first.
    fn admit(
        &mut self,
        client: ClientId,
        id: &TxId,
        view: &TransactionView<'_>,
        expiry: Round,
        bytes: Bytes,
        ledger: &Ledger,
    ) -> Result<(), Fate> {
        let hashed = self.list.hash(id);
        if self.list.find_hashed(hashed, id).is_some() {
            return Err(Fate::Refused(Refusal::Duplicate));
        }
        let length = bytes.len() as u64;
        if let Some(reason) = self.accounts.no_room(client, length) {
            return Err(Fate::Refused(reason));
        }
        admissible(ledger.standing(id, view))?;
        let owner = Owner::Client { client, asker: None };
        let phase = Phase::Waiting(bytes);
        self.list.insert(hashed, Open { id: *id, owner, expiry, checked: ledger.height(), phase });
        self.accounts.add(client, length);
        Ok(())
    }

    /// Puts the transaction at the head of a line into a proposal, if it still belongs into one.
    fn propose(&mut self, place: Place, builder: &mut ProposalBuilder, ledger: &Ledger) -> Propose {
        let open = self.list.get_mut(place);
        if open.checked < ledger.height() {
            if let Some(past) = open.past(ledger) {
                return Propose::Past(past);
            }
            open.checked = ledger.height();
        }
        // What is not waiting was settled while it stood in the line, and only leaves it.
        let Phase::Waiting(bytes) = &open.phase else { return Propose::Leaves };
        if builder.push(bytes) == Push::Full {
            return Propose::Full;
        }
        let freed = self.list.proposed(place);
        match freed.owner {
            Owner::Client { client, .. } => self.accounts.release(client, freed.bytes),
            Owner::Contact => {}
            Owner::Peer(peer) => self.accounts.release_of_peer(peer, freed.bytes),
        }
        Propose::Leaves
    }

    /// Takes a transaction that can never execute off the list.
    fn leave(&mut self, place: Place, past: Past, left: &mut Left) {
        match past {
            Past::Intra(fate) => self.settle(place, fate, &mut left.receipts),
            Past::Cross(vote) => {
                let asker = match self.list.get(place).owner {
                    Owner::Peer(peer) => Some(peer),
                    Owner::Client { .. } | Owner::Contact => None,
                };
                self.settle(place, vote.cause.fate(), &mut left.receipts);
                self.settle_contact(&vote.id, vote.cause.fate(), &mut left.receipts);
                left.votes.push((asker, vote));
            }
        }
    }

    /// Takes a transaction off the list. If it concerns this shard alone, that is its fate, and its clients get a
    /// receipt.
    fn settle(&mut self, place: Place, fate: Fate, receipts: &mut Receipts) {
        let id = self.list.get(place).id;
        if let Owner::Client { client, asker } = self.free(place) {
            self.notify(client, asker, Receipt { id, fate }, receipts);
        }
    }

    /// Takes a transaction off the list and off the books; returns its owner.
    fn free(&mut self, place: Place) -> Owner {
        let Freed { owner, bytes } = self.list.settle(place);
        match owner {
            Owner::Client { client, .. } => self.accounts.remove(client, bytes),
            // The contact's record stands in the books for both.
            Owner::Contact => {}
            Owner::Peer(peer) => self.accounts.remove_of_peer(peer, bytes),
        }
        owner
    }

    /// Tells the client that handed in a transaction, and the one that asked for it last.
    fn notify(&self, client: ClientId, asker: Option<ClientId>, receipt: Receipt, receipts: &mut Receipts) {
        for to in [Some(client), asker.filter(|asker| *asker != client)].into_iter().flatten() {
            if self.accounts.is_connected(to) {
                receipts.entry(to).or_default().push(receipt);
            }
        }
    }

    /// About how many bytes the next `count_max` transactions take in a proposal.
    fn bytes_in_proposal(&self, count_max: usize) -> usize {
        let waiting = self.waiting().max(1);
        let bytes = self.waiting_bytes() as usize + 4 * waiting;
        if count_max >= waiting { bytes } else { (bytes / waiting + 1) * count_max }
    }
}

impl Open {
    /// What becomes of a transaction that waits if it can no longer be proposed; `None` if it can.
    fn past(&self, ledger: &Ledger) -> Option<Past> {
        let Phase::Waiting(bytes) = &self.phase else { return None };
        let view = TransactionView::parse(bytes).expect("it was validated at admission");
        let standing = ledger.standing(&self.id, &view);
        match self.owner {
            // An expiry that is too far ahead comes within reach as rounds pass.
            _ if standing == Standing::Never(Cause::ExpiryTooFar) => None,
            Owner::Client { .. } => standing.fate().map(Past::Intra),
            Owner::Contact | Owner::Peer(_) => {
                let cause = standing.never()?;
                Some(Past::Cross(RejectVote {
                    id: self.id,
                    others: other_shards(&view, ledger.shard()),
                    cause,
                }))
            }
        }
    }
}

/// A transaction of a submission that has passed what bytes alone decide.
struct Candidate<'a> {
    id: TxId,
    view: TransactionView<'a>,
    concern: Concern,
    item: &'a Range<usize>,
}

/// How a transaction that a client may hand in here concerns this shard.
enum Concern {
    /// It concerns no other; this is its last round.
    Intra(Round),
    /// It has its output here, and inputs elsewhere.
    Output,
}

/// The view of a transaction that clients may hand in here and one proposal can hold.
fn statically_fit<'a>(bytes: &'a [u8], ledger: &Ledger) -> Result<(TransactionView<'a>, Concern), Refusal> {
    let committee = ledger.committee();
    let view = match transaction::validate(bytes, committee) {
        Ok(view) => view,
        Err(transaction::Invalid::TooLarge) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::Invalid),
    };
    // One that no proposal can hold would wait for ever, and hold up all behind it.
    if payload_bytes(bytes.len()) > committee.protocol().proposal_bytes_max {
        return Err(Refusal::TooLarge);
    }
    match (view.part_of(ledger.shard()), view.expiry_in(ledger.shard())) {
        (Part::Intra, Some(expiry)) => Ok((view, Concern::Intra(expiry))),
        _ if view.output_shard() == ledger.shard() => Ok((view, Concern::Output)),
        _ => Err(Refusal::WrongShard),
    }
}

/// What becomes of the transaction at the head of a line.
enum Propose {
    /// It is in the proposal, or was settled before.
    Leaves,
    /// It leaves without being proposed.
    Past(Past),
    /// It does not fit and stays.
    Full,
}

/// The end of a transaction that can never execute here.
enum Past {
    /// The fate of one that concerns this shard alone.
    Intra(Fate),
    /// The CL_M of one that concerns other shards.
    Cross(RejectVote),
}

/// Whether a transaction of this standing is admitted; if not, the fate to report to its client.
fn admissible(standing: Standing) -> Result<(), Fate> {
    match standing {
        Standing::Open => Ok(()),
        Standing::Settled(Settled::Finished | Settled::Spent, _) | Standing::Spent => {
            Err(Fate::Refused(Refusal::Duplicate))
        }
        Standing::Settled(Settled::Never(Cause::Expired), _) | Standing::Never(Cause::Expired) => {
            Err(Fate::Refused(Refusal::Expired))
        }
        Standing::Never(Cause::Rejected(Rejection::Spent)) => Err(Fate::Refused(Refusal::Spent)),
        Standing::Settled(Settled::Never(cause), _) | Standing::Never(cause) => Err(cause.fate()),
    }
}

#[cfg(test)]
mod tests;
