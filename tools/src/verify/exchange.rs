//! The exchanges between shards, by the books of each, compared with each other.
//!
//! At any time, at every node: unspent coins + inputs held under open records + what went to other shards = genesis +
//! what came from other shards. And members of a shard with the same header have the same books.
//!
//! Between a payer A and a payee B, or a shard and itself (`wire::client::Exchange`): whatever spent in A for an output
//! in B goes there in numbered parts, and so does back what finished or was cancelled. So the numbers of the parts show
//! what can be compared, whatever else is open:
//!
//! - B has executed all of A's parts: what A has spent is what B has ticked.
//! - A has executed all of B's parts: what B has finished A has closed, with the same value, and what B has cancelled A
//!   has refunded.
//! - Some are on their way: the later of the two is no more than the earlier, and the difference is no more than what A
//!   still holds under open records.
//!
//! Ids are compared as multisets, so nothing was lost, made up, or both finished and given back.

use wire::client::{Exchange, IdSum};
use wire::committee::Committee;
use wire::ids::{NodeId, ShardId};

use super::record::{LastStatus, Record};
use super::{Place, Verdict};
use crate::ids;

/// Judges the last statuses.
pub(super) fn check(committee: &Committee, record: &Record, verdict: &mut Verdict) {
    let protocol = committee.protocol();
    let genesis = u128::from(protocol.genesis_coins) * u128::from(protocol.genesis_amount);
    for (node, status) in &record.nodes {
        if let Some(status) = status {
            check_value(*node, status, genesis, verdict);
        }
    }
    let mut books = Vec::new();
    for shard in (0..committee.shards()).map(ShardId) {
        match Books::of(committee, record, shard, verdict) {
            Some(of_shard) => books.push(of_shard),
            None => {
                let why = format!("{}no member was up at the end", Place::of(committee, shard));
                verdict.value_conserved.limit(&why);
                verdict.exchange_holds.limit(&why);
            }
        }
    }
    for one in &books {
        verdict.refunds += one.status.exchanged.iter().map(|exchange| exchange.refunded.count).sum::<u64>();
        verdict.unrest.extend(one.unrest());
        one.check(verdict);
    }
    for payer in &books {
        for payee in &books {
            Pair { payer, payee, has_rested: record.clients.had_to_rest() }.check(verdict);
        }
    }
    check_total(committee, genesis, &books, verdict);
}

fn check_value(node: NodeId, status: &LastStatus, genesis: u128, verdict: &mut Verdict) {
    let sum = |value: fn(&Exchange) -> u128| {
        status.exchanged.iter().fold(0, |sum: u128, exchange| sum.saturating_add(value(exchange)))
    };
    let (gone, come) = (sum(|exchange| exchange.value_out), sum(|exchange| exchange.value_in));
    let here = status.value.saturating_add(status.held);
    if here.saturating_add(gone) != genesis.saturating_add(come) {
        verdict.value_conserved.break_it();
        verdict.find(format!(
            "node {node} holds coins worth {} and {} under open records, {gone} went to other shards and {come} came \
             from them, but genesis was {genesis}",
            status.value, status.held
        ));
    }
}

/// All shards together: coins, and inputs under records that are not known to have finished, are what there was.
fn check_total(committee: &Committee, genesis: u128, books: &[Books<'_>], verdict: &mut Verdict) {
    if books.len() < usize::from(committee.shards()) || !verdict.exchange_holds.holds() {
        return;
    }
    let there = |book: &Books<'_>| book.status.value.saturating_add(book.status.held);
    let total = books.iter().fold(0, |sum: u128, book| sum.saturating_add(there(book)));
    let all = genesis * books.len() as u128;
    if total != all {
        verdict.value_conserved.break_it();
        verdict.find(format!("all shards together hold {total}, but genesis was {all}"));
    }
}

/// The books of a shard, as those of its members have them that are furthest.
struct Books<'a> {
    shard: ShardId,
    /// The members with these books.
    nodes: Vec<NodeId>,
    status: &'a LastStatus,
}

impl<'a> Books<'a> {
    /// `None` if no member was up at the end.
    fn of(
        committee: &Committee,
        record: &'a Record,
        shard: ShardId,
        verdict: &mut Verdict,
    ) -> Option<Books<'a>> {
        let up = || record.members(committee, shard).filter_map(|(node, status)| Some((node, status?)));
        let height = up().map(|(_, status)| status.executed).max()?;
        let mut furthest = up().filter(|(_, status)| status.executed == height);
        let (first, status) = furthest.next()?;
        let mut nodes = vec![first];
        let place = Place::of(committee, shard);
        for (node, other) in furthest {
            nodes.push(node);
            if other.books() != status.books() && other.header == status.header {
                verdict.agreement.break_it();
                verdict.find(format!("{place}nodes {first} and {node} have the same header and other books"));
            }
        }
        Some(Books { shard, nodes, status })
    }

    /// A note on everything still open.
    fn unrest(&self) -> Option<String> {
        let LastStatus { open_records, pool, held, .. } = self.status;
        (*open_records > 0 || *pool > 0 || *held > 0).then(|| {
            format!(
                "shard {} ended with {open_records} open records over {held} and {pool} in its pool",
                self.shard
            )
        })
    }

    /// Its books against each other: what is open is what was begun and has not ended.
    fn check(&self, verdict: &mut Verdict) {
        let LastStatus { open_records, pool, exchanged, .. } = self.status;
        let sum = |of: fn(&Exchange) -> IdSum| exchanged.iter().map(of).fold(IdSum::default(), IdSum::plus);
        let (spent, ended) = (sum(|one| one.spent), sum(|one| one.closed.plus(one.refunded)));
        let open = spent.count.checked_sub(ended.count);
        if open != Some(*open_records) || *open_records == 0 && spent != ended {
            verdict.exchange_holds.break_it();
            verdict.find(format!(
                "shard {}: {open_records} records are open, but spent is {spent} and closed and refunded is {ended}",
                self.shard
            ));
        }
        let (ticked, ended) = (sum(|one| one.ticked), sum(|one| one.finished.plus(one.cancelled)));
        let waiting = ticked.count.checked_sub(ended.count);
        if waiting.is_none_or(|waiting| waiting < *pool) || *pool == 0 && ticked != ended {
            verdict.exchange_holds.break_it();
            verdict.find(format!(
                "shard {}: {pool} wait in the pool, but ticked is {ticked} and finished and cancelled is {ended}",
                self.shard
            ));
        }
    }

    /// Its exchange with another.
    fn with(&self, shard: ShardId) -> Exchange {
        let exchanged = &self.status.exchanged;
        let found = exchanged.binary_search_by_key(&shard, |exchange| exchange.shard);
        found.map_or_else(|_| Exchange { shard, ..Exchange::default() }, |at| exchanged[at].clone())
    }

    fn reporters(&self) -> String {
        ids::nodes_text(&self.nodes)
    }
}

/// A shard that spent, and the output shard, which may be the same.
struct Pair<'a> {
    payer: &'a Books<'a>,
    payee: &'a Books<'a>,
    /// Whether nothing may be on its way.
    has_rested: bool,
}

/// How many of the parts that one shard has sent another has executed, by the books of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Arrived,
    /// Some are on their way.
    Open,
    /// More than were sent: the sender's books are older than the receiver's.
    Ahead,
}

impl Pair<'_> {
    fn check(&self, verdict: &mut Verdict) {
        let (out, back) = (self.payer.with(self.payee.shard), self.payee.with(self.payer.shard));
        let is_own = self.payer.shard == self.payee.shard;
        let way = |sent, executed| match executed {
            _ if is_own || executed == sent => Way::Arrived,
            _ if executed < sent => Way::Open,
            _ => Way::Ahead,
        };
        let there = way(out.part_out, back.part_in);
        let home = way(back.part_out, out.part_in);
        for (way, sent, executed, (from, to)) in [
            (there, out.part_out, back.part_in, (self.payer, self.payee)),
            (home, back.part_out, out.part_in, (self.payee, self.payer)),
        ] {
            let (from, to) = (from.shard, to.shard);
            if way == Way::Ahead && self.has_rested {
                verdict.exchange_holds.break_it();
                verdict.find(format!(
                    "shard {to} has executed {executed} parts of shard {from}, which has sent {sent}"
                ));
            } else if way != Way::Arrived {
                let why = format!(
                    "of {sent} parts of shard {from} shard {to} had executed {executed} at the end; compared by bounds"
                );
                verdict.exchange_holds.limit(&why);
                verdict.value_conserved.limit(&why);
            }
        }
        self.compare(there, "spent", out.spent, "ticked", back.ticked, verdict);
        self.compare(home, "finished", back.finished, "closed", out.closed, verdict);
        self.compare(home, "cancelled", back.cancelled, "refunded", out.refunded, verdict);
        self.compare_value(home, back.value_in, out.value_out, verdict);
    }

    /// Compares a sum at the shard that acts first with the one that follows from it at the other shard.
    fn compare(
        &self,
        way: Way,
        first: &str,
        earlier: IdSum,
        then: &str,
        later: IdSum,
        verdict: &mut Verdict,
    ) {
        let fits = match way {
            Way::Arrived => earlier == later,
            Way::Open => later.count <= earlier.count,
            Way::Ahead => true,
        };
        if !fits {
            self.object(format!("{first} is {earlier} and {then} is {later}"), verdict);
        }
    }

    fn compare_value(&self, way: Way, come: u128, gone: u128, verdict: &mut Verdict) {
        let unclosed = come.checked_sub(gone);
        let fits = match way {
            Way::Arrived => unclosed == Some(0),
            // Transactions that finished there and are not closed here are held here.
            Way::Open => unclosed.is_some_and(|unclosed| unclosed <= self.payer.status.held),
            Way::Ahead => true,
        };
        if !fits {
            verdict.value_conserved.break_it();
            self.object(format!("value in is {come} and value out is {gone}"), verdict);
        }
    }

    fn object(&self, what: String, verdict: &mut Verdict) {
        verdict.exchange_holds.break_it();
        verdict.find(format!(
            "from shard {} to shard {}: {what} ({}; {})",
            self.payer.shard,
            self.payee.shard,
            self.payer.reporters(),
            self.payee.reporters()
        ));
    }
}
