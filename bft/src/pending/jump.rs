//! What becomes of pending transactions when we take over the state after many blocks that we have not executed.
//!
//! Each record is looked up in the new ledger, and goes the way that it would have gone with the block that settled it.
//! A transaction that the ledger may have executed and forgotten gets the receipt *unknown*: no other would be certainly
//! true. This walks over all that is pending, once, at a member that has done nothing for long.

use std::collections::BTreeSet;

use wire::client::Fate;
use wire::ids::TxId;

use crate::ledger::{Ledger, Standing};
use crate::pending::list::Phase;
use crate::pending::opinions::Draft;
use crate::pending::{Hopeless, Output, Pending};
use crate::slab::Place;
use crate::time::Time;

impl Pending {
    /// The ledger is another one, many blocks on. Of the transactions that we have proposed, only these still get
    /// their fate by a block that executes our entry.
    pub fn jump(&mut self, now: Time, proposed: &BTreeSet<TxId>, ledger: &Ledger) -> Output {
        let mut output = Output::default();
        for id in self.list.ids() {
            if let Some(place) = self.list.find(&id) {
                self.look_up(place, proposed, ledger, &mut output);
            }
        }
        // Only now: of what blocks have settled and the ledger has forgotten, others rightly say that it has expired.
        let mut draft = Draft::default();
        self.opinions.jump(now, ledger, &mut draft);
        self.heed(draft, ledger, &mut output);
        for (id, _) in ledger.dump_pool() {
            let place = self.list.find(id).unwrap_or_else(|| self.list.add(*id));
            self.asking.start(now, &mut self.list, place);
        }
        let mut hopeless = Hopeless::new();
        for place in self.list.expired(ledger.height()) {
            self.pass_over(place, ledger, &mut hopeless, &mut output);
        }
        self.report(now, hopeless, ledger, &mut output);
        output
    }

    fn look_up(&mut self, place: Place, proposed: &BTreeSet<TxId>, ledger: &Ledger, output: &mut Output) {
        let id = self.list.id(place);
        let known = ledger.known(&id);
        if let Some(fate) = known.fate() {
            return self.settle(place, fate, ledger, output);
        }
        if ledger.pool_entry(&id).is_some() {
            return;
        }
        if known != Standing::Open {
            // Its inputs here are spent, and its output shard decides.
            return self.unlist(place, ledger, output);
        }
        let record = self.list.get(place);
        let is_forgotten = match &record.bytes {
            Some(_) => ledger.may_have_forgotten(&record.view()),
            None => record.phase == Phase::Proposed && !proposed.contains(&id),
        };
        if is_forgotten {
            self.settle(place, Fate::Unknown, ledger, output);
        } else {
            self.forget_if_done(place, ledger, output);
        }
    }
}
