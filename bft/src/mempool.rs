//! The mempool: transactions that clients handed to this node and whose fate is still open.
//!
//! **Guarantee.** Every transaction that is handed in gets exactly one of: a refusal at once, with its reason, or one
//! final receipt, to the client that handed it in (while it is connected) and to the last one that asked for it. A
//! transaction is in at most one proposal of ours, and leaves only with a fate: what was proposed stays open until a
//! block settles it, since our lane never loses an entry.
//!
//! **Steps.** [`Mempool::submit`] checks and queues; [`Mempool::take`] moves the oldest into a proposal;
//! [`Mempool::on_executed`] settles what a block settled, whoever proposed it. First come, first served; the share that
//! one client may fill ([`MempoolLimits`]) keeps room for others.
//!
//! **Filter.** Before it proposes a transaction a node looks again whether it can still execute (DESIGN §6): of many
//! that spend one coin, those that still wait when the first is executed are never ordered, so double spends cost
//! their contact a look-up and the shard little. The look-up is left out while no block was executed since admission.
//!
//! **Cost and bounds.** A slice of the client's own submission is kept while a transaction waits, and only ids when it
//! is proposed: some 120 bytes each. Count and bytes are bounded; no allocation per transaction.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use wire::bytes::Bytes;
use wire::client::{Fate, Receipt, Refusal, Rejection};
use wire::ids::{ClientId, Round, TxId};
use wire::limits::{MEMPOOL_BYTES_MAX, MEMPOOL_CLIENT_PERCENT_MAX, MEMPOOL_TRANSACTIONS_MAX};

use crate::id_index::{Handle, IdIndex};
use crate::ledger::{BlockOutcome, GROUP, Ledger, Outcome, Settled, Standing};
use crate::proposal::{ProposalBuilder, Push, payload_bytes};
use crate::slab::{Place, Slab};
use crate::transaction::{self, Part, TransactionView, tx_id};

/// Final receipts by the client they go to.
pub type Receipts = BTreeMap<ClientId, Vec<Receipt>>;

/// Executed rounds between two searches for waiting transactions whose expiry has passed. They are never proposed
/// either way; this is how long their clients may wait for the receipt.
const COLLECT_EVERY_ROUNDS: u64 = 64;
/// Settled transactions that may linger in the queue before it is cleaned, besides as many as there are others.
const LINGERING_MAX: usize = 1_024;

/// How much a mempool holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MempoolLimits {
    /// Open transactions, waiting or proposed.
    pub transactions_max: usize,
    /// Bytes of waiting transactions.
    pub bytes_max: u64,
    /// Of both, what one client may fill, in percent.
    pub client_percent_max: usize,
}

impl Default for MempoolLimits {
    fn default() -> MempoolLimits {
        MempoolLimits {
            transactions_max: MEMPOOL_TRANSACTIONS_MAX,
            bytes_max: MEMPOOL_BYTES_MAX,
            client_percent_max: MEMPOOL_CLIENT_PERCENT_MAX,
        }
    }
}

/// The mempool of one node.
#[derive(Clone, Debug)]
pub struct Mempool {
    limits: MempoolLimits,
    index: IdIndex,
    open: Slab<Open>,
    /// Waiting transactions, oldest first, and settled ones not yet cleaned away.
    queue: VecDeque<Place>,
    lingering: usize,
    waiting_bytes: u64,
    clients: BTreeMap<ClientId, Client>,
    collect_at: Round,
}

/// A proposal's worth of transactions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The buffer with the payload, and its number of transactions; `None` if nothing that waits can be proposed.
    pub proposal: Option<(Vec<u8>, usize)>,
    /// For those that turned out to be past proposing.
    pub receipts: Receipts,
}

#[derive(Clone, Debug)]
struct Open {
    id: TxId,
    /// Who handed it in.
    client: ClientId,
    /// Who asked for it last; it gets the receipt too.
    asker: Option<ClientId>,
    expiry: Round,
    /// The ledger's height when it was last found fit to be proposed.
    checked: Round,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// In the queue, to be proposed.
    Waiting(Bytes),
    /// In an entry of our lane.
    Proposed,
    /// Has its fate; its place is freed when it leaves the queue.
    Settled,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    Connected,
    Gone,
}

/// What a client has in the mempool.
#[derive(Clone, Copy, Debug)]
struct Client {
    open: usize,
    waiting_bytes: u64,
    presence: Presence,
}

impl Mempool {
    /// An empty mempool; `hash_seed` as for the ledger.
    pub fn new(limits: MempoolLimits, hash_seed: u64) -> Mempool {
        Mempool {
            limits,
            index: IdIndex::new(hash_seed),
            open: Slab::default(),
            queue: VecDeque::new(),
            lingering: 0,
            waiting_bytes: 0,
            clients: BTreeMap::new(),
            collect_at: Round(0),
        }
    }

    /// Open transactions, waiting or proposed.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Transactions that wait to be proposed.
    pub fn waiting(&self) -> usize {
        self.queue.len() - self.lingering
    }

    /// Their bytes.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// Takes in the transactions that stand in `items` of a submission's `body`, and gives a receipt for each that it
    /// does not take.
    pub fn submit(
        &mut self,
        client: ClientId,
        body: &Bytes,
        items: &[Range<usize>],
        ledger: &Ledger,
    ) -> Vec<Receipt> {
        let mut refused = Vec::new();
        let mut group: Vec<Candidate<'_>> = Vec::with_capacity(GROUP);
        for items in items.chunks(GROUP) {
            group.clear();
            for item in items {
                let id = tx_id(&body[item.clone()]);
                match statically_fit(&body[item.clone()], ledger) {
                    Ok((view, expiry)) => group.push(Candidate { id, view, expiry, item }),
                    Err(reason) => refused.push(Receipt { id, fate: Fate::Refused(reason) }),
                }
            }
            self.warm(group.iter().map(|candidate| &candidate.id));
            ledger.warm(group.iter().map(|candidate| (&candidate.id, &candidate.view)));
            for candidate in &group {
                if let Err(fate) = self.admit(client, candidate, body, ledger) {
                    refused.push(Receipt { id: candidate.id, fate });
                }
            }
        }
        refused
    }

    /// Moves the oldest waiting transactions into a payload of at most `bytes_max` bytes and `count_max` transactions,
    /// written into `buffer` behind what is there, so that whoever frames it need not copy it. One that does not fit holds up those behind it: they wait for a call with more room.
    pub fn take(&mut self, buffer: Vec<u8>, bytes_max: usize, count_max: usize, ledger: &Ledger) -> Taken {
        let mut receipts = Receipts::new();
        let mut builder = ProposalBuilder::new(buffer, bytes_max, count_max);
        builder.reserve(self.bytes_in_proposal(count_max));
        let mut warmed = 0;
        while let Some(place) = self.queue.front().copied() {
            if warmed == 0 {
                self.warm_queue(ledger);
                warmed = GROUP;
            }
            warmed -= 1;
            match self.propose(place, &mut builder, ledger) {
                Propose::Leaves => {}
                Propose::Past(fate) => self.settle(place, fate, &mut receipts),
                Propose::Full => break,
            }
            self.queue.pop_front();
            if matches!(self.open.get(place).phase, Phase::Settled) {
                self.lingering -= 1;
                self.open.free(place);
            }
        }
        let count = builder.count();
        Taken { proposal: (count > 0).then(|| (builder.finish(), count)), receipts }
    }

    /// Settles the open transactions that a block settled.
    pub fn on_executed(&mut self, outcome: &BlockOutcome) -> Receipts {
        let mut receipts = Receipts::new();
        for (at, executed) in outcome.transactions.iter().enumerate() {
            if self.is_empty() {
                break;
            }
            if at % GROUP == 0 {
                let group = outcome.transactions[at..].iter().take(GROUP);
                self.warm(group.map(|executed| &executed.id));
            }
            // A skipped transaction was settled by an earlier block, or earlier in this one; so was it here.
            let Outcome::Settled(settled) = executed.outcome else { continue };
            // The output shard of one that is only spent here tells what becomes of it.
            let Some(fate) = settled.fate(outcome.round) else { continue };
            if let Some(place) = self.find(&executed.id) {
                self.settle(place, fate, &mut receipts);
            }
        }
        self.clean_queue();
        receipts
    }

    /// Settles waiting transactions whose expiry has passed. Cheap except every 64 rounds.
    pub fn collect_expired(&mut self, ledger: &Ledger) -> Receipts {
        let mut receipts = Receipts::new();
        let height = ledger.height();
        if height < self.collect_at {
            return receipts;
        }
        self.collect_at = Round(height.0 + COLLECT_EVERY_ROUNDS);
        for at in 0..self.queue.len() {
            let place = self.queue[at];
            let open = self.open.get(place);
            if matches!(open.phase, Phase::Waiting(_)) && open.expiry <= height {
                self.settle(place, Fate::Expired, &mut receipts);
            }
        }
        self.clean_queue();
        receipts
    }

    /// Tells a client what became of transactions, except of those still open: their receipts will go to it, too.
    pub fn query(&mut self, client: ClientId, ids: &[TxId], ledger: &Ledger) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for id in ids {
            if let Some(place) = self.find(id) {
                self.open.get_mut(place).asker = Some(client);
                self.clients.entry(client).or_default();
            } else {
                let settled = ledger.settled(id);
                let fate = settled.and_then(|(settled, round)| settled.fate(round)).unwrap_or(Fate::Unknown);
                receipts.push(Receipt { id: *id, fate });
            }
        }
        receipts
    }

    /// A client's connection has ended. Its transactions keep their places; their receipts go nowhere unless another
    /// client asks.
    pub fn client_gone(&mut self, client: ClientId) {
        if let Some(state) = self.clients.get_mut(&client) {
            state.presence = Presence::Gone;
            if state.open == 0 {
                self.clients.remove(&client);
            }
        }
    }

    /// Admission of what is statically fit, cheapest checks first.
    fn admit(
        &mut self,
        client: ClientId,
        candidate: &Candidate<'_>,
        body: &Bytes,
        ledger: &Ledger,
    ) -> Result<(), Fate> {
        let refused = |reason| Err(Fate::Refused(reason));
        let Candidate { id, view, expiry, item } = candidate;
        let hashed = self.index.hash(&id.0);
        if self.index.find(hashed, |handle| self.open.get(place_of(handle)).id == *id).is_some() {
            return refused(Refusal::Duplicate);
        }
        let bytes = item.len() as u64;
        if let Some(reason) = self.no_room(client, bytes) {
            return refused(reason);
        }
        match ledger.standing(id, view) {
            Standing::Open => {}
            Standing::Settled(Settled::Rejected(reason), _) => return Err(Fate::Rejected(reason)),
            Standing::Settled(Settled::Finished | Settled::Spent, _) | Standing::Spent => {
                return refused(Refusal::Duplicate);
            }
            Standing::Settled(Settled::Expired, _) | Standing::Expired => return refused(Refusal::Expired),
            Standing::ExpiryTooFar => return refused(Refusal::ExpiryTooFar),
            Standing::Never(Rejection::Spent) => return refused(Refusal::Spent),
            Standing::Never(reason) => return Err(Fate::Rejected(reason)),
        }
        let phase = Phase::Waiting(body.slice((*item).clone()));
        let open = Open { id: *id, client, asker: None, expiry: *expiry, checked: ledger.height(), phase };
        let place = self.open.insert(open);
        self.index.insert(hashed, Handle::new(u64::from(place.0)));
        self.queue.push_back(place);
        self.waiting_bytes += bytes;
        let state = self.clients.entry(client).or_default();
        state.open += 1;
        state.waiting_bytes += bytes;
        Ok(())
    }

    /// Why `bytes` more of a client do not fit, if they do not.
    fn no_room(&self, client: ClientId, bytes: u64) -> Option<Refusal> {
        let MempoolLimits { transactions_max, bytes_max, client_percent_max } = self.limits;
        // What lingers in the queue takes memory as well; it is bounded by what is open.
        if self.len() >= transactions_max || self.waiting_bytes + bytes > bytes_max {
            return Some(Refusal::Full);
        }
        let state = self.clients.get(&client)?;
        let share = |whole: u64| whole * client_percent_max as u64 / 100;
        let full = state.open as u64 >= share(transactions_max as u64)
            || state.waiting_bytes + bytes > share(bytes_max);
        full.then_some(Refusal::ClientShare)
    }

    /// Has the processor fetch what a search for these ids will look at.
    fn warm<'a>(&self, ids: impl Iterator<Item = &'a TxId>) {
        let sink = ids.fold(0, |sink, id| sink ^ self.index.warm(self.index.hash(&id.0)));
        std::hint::black_box(sink);
    }

    /// Does so for those at the head of the queue that the ledger must be asked about again.
    fn warm_queue(&self, ledger: &Ledger) {
        let mut group = Vec::with_capacity(GROUP);
        for place in self.queue.iter().take(GROUP) {
            let open = self.open.get(*place);
            if let Phase::Waiting(bytes) = &open.phase
                && open.checked < ledger.height()
            {
                group.push((&open.id, TransactionView::parse(bytes).expect("it was validated at admission")));
            }
        }
        ledger.warm(group.iter().map(|(id, view)| (*id, view)));
    }

    /// Puts the transaction at the head of the queue into a proposal, if it still belongs into one.
    fn propose(&mut self, place: Place, builder: &mut ProposalBuilder, ledger: &Ledger) -> Propose {
        let open = self.open.get_mut(place);
        let Phase::Waiting(bytes) = &open.phase else {
            // It was settled while it waited and only leaves the queue.
            return Propose::Leaves;
        };
        if open.checked < ledger.height() {
            let view = TransactionView::parse(bytes).expect("it was validated at admission");
            if let Some(fate) = past_proposing(ledger.standing(&open.id, &view)) {
                return Propose::Past(fate);
            }
            open.checked = ledger.height();
        }
        if builder.push(bytes) == Push::Full {
            return Propose::Full;
        }
        let bytes = bytes.len() as u64;
        let client = open.client;
        open.phase = Phase::Proposed;
        self.waiting_bytes -= bytes;
        self.client_mut(client).waiting_bytes -= bytes;
        Propose::Leaves
    }

    /// Gives an open transaction its fate: receipts for those it concerns, and its memory back as far as possible.
    fn settle(&mut self, place: Place, fate: Fate, receipts: &mut Receipts) {
        let open = self.open.get_mut(place);
        let (id, client, asker) = (open.id, open.client, open.asker);
        let phase = std::mem::replace(&mut open.phase, Phase::Settled);
        self.index.remove(self.index.hash(&id.0), Handle::new(u64::from(place.0)));
        let state = self.client_mut(client);
        state.open -= 1;
        match phase {
            Phase::Waiting(bytes) => {
                state.waiting_bytes -= bytes.len() as u64;
                self.waiting_bytes -= bytes.len() as u64;
                self.lingering += 1;
            }
            Phase::Proposed => self.open.free(place),
            Phase::Settled => {
                unreachable!("a settled transaction is not in the index, where open ones are found")
            }
        }
        self.notify(client, Receipt { id, fate }, receipts);
        if let Some(asker) = asker.filter(|asker| *asker != client) {
            self.notify(asker, Receipt { id, fate }, receipts);
        }
        if let Some(Client { open: 0, presence: Presence::Gone, .. }) = self.clients.get(&client) {
            self.clients.remove(&client);
        }
    }

    fn notify(&self, client: ClientId, receipt: Receipt, receipts: &mut Receipts) {
        if let Some(Client { presence: Presence::Connected, .. }) = self.clients.get(&client) {
            receipts.entry(client).or_default().push(receipt);
        }
    }

    fn find(&self, id: &TxId) -> Option<Place> {
        let found =
            self.index.find(self.index.hash(&id.0), |handle| self.open.get(place_of(handle)).id == *id);
        found.map(place_of)
    }

    /// Takes settled transactions out of the queue once they outnumber the others; so their memory is bounded and
    /// each costs a constant.
    fn clean_queue(&mut self) {
        if self.lingering <= LINGERING_MAX.max(self.queue.len() / 2) {
            return;
        }
        let queue = std::mem::take(&mut self.queue);
        for place in queue {
            match self.open.get(place).phase {
                Phase::Settled => self.open.free(place),
                Phase::Waiting(_) | Phase::Proposed => self.queue.push_back(place),
            }
        }
        self.lingering = 0;
    }

    /// About how many bytes the next `count_max` transactions take in a proposal.
    fn bytes_in_proposal(&self, count_max: usize) -> usize {
        let waiting = self.waiting().max(1);
        let bytes = self.waiting_bytes as usize + 4 * waiting;
        if count_max >= waiting { bytes } else { (bytes / waiting + 1) * count_max }
    }

    fn client_mut(&mut self, client: ClientId) -> &mut Client {
        self.clients.get_mut(&client).expect("a client with open transactions is kept note of")
    }
}

/// A transaction of a submission that has passed what bytes alone decide.
struct Candidate<'a> {
    id: TxId,
    view: TransactionView<'a>,
    expiry: Round,
    item: &'a Range<usize>,
}

/// The view and the expiry of a transaction that this shard alone can execute and one proposal can hold.
fn statically_fit<'a>(bytes: &'a [u8], ledger: &Ledger) -> Result<(TransactionView<'a>, Round), Refusal> {
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
        (Part::Intra, Some(expiry)) => Ok((view, expiry)),
        _ => Err(Refusal::WrongShard),
    }
}

/// What became of the transaction at the head of the queue.
enum Propose {
    /// It is in the proposal, or was settled before.
    Leaves,
    /// It leaves without being proposed, with this fate.
    Past(Fate),
    /// It does not fit and stays.
    Full,
}

/// The fate of a transaction that can no longer be proposed; `None` if it can.
///
/// It is final everywhere: what the ledger has executed every node will have, and none of these standings can turn
/// back into an open one.
fn past_proposing(standing: Standing) -> Option<Fate> {
    match standing {
        // A too far expiry comes within reach as rounds pass, and admission has found it there.
        Standing::Open | Standing::ExpiryTooFar => None,
        Standing::Settled(settled, round) => settled.fate(round),
        Standing::Spent => None,
        Standing::Expired => Some(Fate::Expired),
        Standing::Never(reason) => Some(Fate::Rejected(reason)),
    }
}

impl Default for Client {
    fn default() -> Client {
        Client { open: 0, waiting_bytes: 0, presence: Presence::Connected }
    }
}

fn place_of(handle: Handle) -> Place {
    Place(u32::try_from(handle.number()).expect("handles of open transactions are made of places"))
}

#[cfg(test)]
mod tests;
