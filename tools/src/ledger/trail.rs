//! One transaction or one coin, block by block: where it appears, and how its standing in the ledger changes.
//!
//! Two replays: the first finds the whole id that begins with the digits given, among all transactions that were
//! ordered and all coins that they name or make; the second follows it.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;

use bft::event::Effect;
use bft::journal::Replay;
use bft::ledger::{Item, Ledger, Standing};
use bft::time::Time;
use bft::trace::Tracing;
use bft::transaction::{TransactionView, output_coin, refund_coin};
use wire::audit::Section;
use wire::hex;
use wire::ids::{CoinId, Round, TxId};

use super::Holder;
use super::block::fate;
use crate::replay::{Beginning, Cause, Onlooker};
use crate::terminal::print;

/// The kind of thing that is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Thing {
    Transaction,
    Coin,
}

/// A thing by the first digits of its id.
pub(crate) struct Sought {
    pub(crate) thing: Thing,
    pub(crate) digits: String,
}

impl fmt::Display for Sought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thing = match self.thing {
            Thing::Transaction => "transaction",
            Thing::Coin => "coin",
        };
        write!(f, "{thing} {}", self.digits)
    }
}

/// Most ids that are named when digits are those of several.
const NAMED_MAX: usize = 8;

/// Shows the trail of a thing at a node; whether there is one.
pub(super) fn show(holder: &Holder, sought: &Sought) -> Result<bool, String> {
    let mut finding = Finding { sought, last: Round(0), ids: BTreeSet::new() };
    let walked = holder.source.walk(Tracing::Off, &mut finding).map_err(|failure| failure.to_string())?;
    finding.add_ledger(walked.replay.core().ledger());
    let ids: Vec<[u8; 32]> = finding.ids.into_iter().collect();
    let [id] = ids[..] else {
        if ids.is_empty() {
            return Ok(false);
        }
        let named: Vec<String> = ids.iter().take(NAMED_MAX).map(|id| hex::encode(id)).collect();
        return Err(format!("{} ids begin with {}: {}", ids.len(), sought.digits, named.join(", ")));
    };
    print(format!("{}: {}", holder.name, Sought { thing: sought.thing, digits: hex::encode(&id) }));
    let mut following = Following { thing: sought.thing, id, last: Round(0), standing: String::new() };
    let walked = holder.source.walk(Tracing::Off, &mut following).map_err(|failure| failure.to_string())?;
    let ledger = walked.replay.core().ledger();
    let standing = standing(ledger, sought.thing, &id);
    let standing = if standing.is_empty() { "nothing is known of it any more" } else { &standing };
    print(format!("  at the end, height {}: {standing}", ledger.height()));
    Ok(true)
}

/// Hands over the transactions of the blocks after `last`, each with its height and place, and moves `last`.
fn transactions(
    replay: &Replay,
    last: &mut Round,
    mut take: impl FnMut(Round, String, &TransactionView<'_>),
) {
    let core = replay.core();
    let height = core.ledger().height();
    for round in (last.0 + 1..=height.0).map(Round) {
        let cuts = core.decided_cut(Round(round.0 - 1)).zip(core.decided_cut(round));
        let entries = cuts.and_then(|(previous, cut)| replay.block(&previous, &cut));
        for entry in entries.into_iter().flatten() {
            let Ok(view) = core.ledger().rules().validate(entry.payload()) else { continue };
            for transaction in view.transactions() {
                take(round, format!("lane {} entry {}", entry.owner, entry.seq), &transaction);
            }
        }
    }
    *last = height;
}

/// The first replay.
struct Finding<'a> {
    sought: &'a Sought,
    last: Round,
    ids: BTreeSet<[u8; 32]>,
}

impl Finding<'_> {
    fn add(&mut self, thing: Thing, id: &[u8; 32]) {
        if thing == self.sought.thing && hex::encode(id).starts_with(&self.sought.digits) {
            self.ids.insert(*id);
        }
    }

    fn add_transaction(&mut self, transaction: &TransactionView<'_>) {
        let id = transaction.id();
        self.add(Thing::Transaction, &id.0);
        if self.sought.thing == Thing::Coin {
            for input in transaction.inputs() {
                self.add(Thing::Coin, &input.coin.0);
                self.add(Thing::Coin, &refund_coin(&id, &input.coin).0);
            }
            let outputs = transaction.outputs().len() as u8;
            (0..outputs).for_each(|output| self.add(Thing::Coin, &output_coin(&id, output).0));
        }
    }

    /// What came out of other shards, and what nobody touched.
    fn add_ledger(&mut self, ledger: &Ledger) {
        for section in Section::ALL {
            for item in ledger.items_in(section) {
                match item {
                    Item::Coin(coin, ..) | Item::Spent(coin, _) => self.add(Thing::Coin, &coin.0),
                    Item::Settled(id, ..)
                    | Item::Open(id, _)
                    | Item::Pooled { id, .. }
                    | Item::End(id, _) => {
                        self.add(Thing::Transaction, &id.0);
                    }
                    Item::Early(_) | Item::Exchanged(_) | Item::Reached(..) | Item::Awaited(..) => {}
                }
            }
        }
    }
}

impl Onlooker for Finding<'_> {
    fn begins(&mut self, _: &Beginning, replay: &mut Replay) -> Result<(), Cause> {
        replay.keep_blocks();
        self.last = replay.core().ledger().height();
        self.add_ledger(replay.core().ledger());
        Ok(())
    }

    fn step(&mut self, replay: &Replay, _: Time, effects: &[Effect]) -> ControlFlow<()> {
        if effects.iter().any(|effect| matches!(effect, Effect::Executed(_))) {
            let mut last = self.last;
            transactions(replay, &mut last, |_, _, transaction| self.add_transaction(transaction));
            self.last = last;
        }
        ControlFlow::Continue(())
    }
}

/// The second replay.
struct Following {
    thing: Thing,
    id: [u8; 32],
    last: Round,
    standing: String,
}

impl Onlooker for Following {
    fn begins(&mut self, _: &Beginning, replay: &mut Replay) -> Result<(), Cause> {
        replay.keep_blocks();
        let ledger = replay.core().ledger();
        self.last = ledger.height();
        self.standing = standing(ledger, self.thing, &self.id);
        if !self.standing.is_empty() {
            print(format!("  at height {}: {}", self.last, self.standing));
        }
        Ok(())
    }

    fn step(&mut self, replay: &Replay, _: Time, effects: &[Effect]) -> ControlFlow<()> {
        if !effects.iter().any(|effect| matches!(effect, Effect::Executed(_))) {
            return ControlFlow::Continue(());
        }
        let core = replay.core();
        let (thing, id, mut last) = (self.thing, self.id, self.last);
        transactions(replay, &mut last, |height, place, transaction| {
            if let Some(words) = mention(thing, &id, transaction) {
                let fate = fate(core, height, transaction);
                print(format!("  block {height}, {place}: {words}; {fate}"));
            }
        });
        self.last = last;
        let standing = standing(core.ledger(), thing, &id);
        if standing != self.standing {
            let words = if standing.is_empty() { "forgotten" } else { &standing };
            print(format!("  after block {last}: {words}"));
            self.standing = standing;
        }
        ControlFlow::Continue(())
    }
}

/// How a transaction of a block is about the thing, if it is.
fn mention(thing: Thing, id: &[u8; 32], transaction: &TransactionView<'_>) -> Option<String> {
    let own = transaction.id();
    match thing {
        Thing::Transaction => (own.0 == *id).then(|| {
            let inputs = transaction.inputs().len();
            let value: u128 = transaction.outputs().map(|output| u128::from(output.amount)).sum();
            let outputs = transaction.outputs().len();
            let shard = transaction.output_shard();
            format!("ordered: {inputs} inputs, {outputs} outputs in shard {shard}, worth {value}")
        }),
        Thing::Coin => {
            let coin = CoinId(*id);
            let outputs = transaction.outputs().len() as u8;
            if transaction.inputs().any(|input| input.coin == coin) {
                Some(format!("input of transaction {own}"))
            } else if (0..outputs).any(|output| output_coin(&own, output) == coin) {
                Some(format!("output of transaction {own}"))
            } else {
                None
            }
        }
    }
}

/// All that a ledger has on the thing, in words; nothing if it has nothing.
fn standing(ledger: &Ledger, thing: Thing, id: &[u8; 32]) -> String {
    match thing {
        Thing::Coin => {
            let coin = CoinId(*id);
            let spent = || ledger.spender(&coin).map(|by| format!("spent by transaction {by}"));
            let unspent = ledger.unspent(&coin).map(|amount| format!("unspent, worth {amount}"));
            unspent.or_else(spent).unwrap_or_default()
        }
        Thing::Transaction => {
            let id = TxId(*id);
            let mut words = Vec::new();
            match ledger.known(&id) {
                Standing::Settled(settled, round) => words.push(format!("{settled} in round {round}")),
                Standing::Spent => words.push("spent here, and its record is open".into()),
                Standing::Open | Standing::Never(_) => {}
            }
            if let Some(entry) = ledger.pool_entry(&id) {
                let missing: Vec<String> = entry.missing().map(|shard| shard.to_string()).collect();
                words.push(format!("in the pool, waiting for shards {}", missing.join(", ")));
            }
            words.join("; ")
        }
    }
}
