//! Admission: what a client hands in is refused at once, with its reason, or pending from now on.

use std::ops::Range;

use wire::bytes::Bytes;
use wire::client::{Fate, Refusal, Rejection};
use wire::ids::{ClientId, Index, TxId};

use crate::id_index::GROUP;
use crate::ledger::{Cause, Ledger, Settled, Standing};
use crate::pending::crowd::Left;
use crate::pending::list::{Line, Payer, Phase};
use crate::pending::{Output, Pending, PendingStep};
use crate::proposal::payload_bytes;
use crate::shard::home::{Claim, Since};
use crate::time::Time;
use crate::trace::Tracing;
use crate::transaction::{self, Part, TransactionView, tx_id};

/// A transaction of a submission that has passed what bytes alone decide.
struct Candidate<'a> {
    id: TxId,
    view: TransactionView<'a>,
    item: &'a Range<usize>,
}

/// A transaction is pending from now on.
struct Admitted {
    /// How it concerns this shard.
    part: Part,
    /// The member that is to propose it, if that is another one.
    left_to: Option<Index>,
}

impl Pending {
    /// Takes in the transactions that stand in `items` of a submission's `body`: refuses, lists, and asks other shards.
    /// The admission of transactions within the shard is a step of its output only if `tracing` is for all.
    pub fn submit(
        &mut self,
        now: Time,
        client: ClientId,
        body: &Bytes,
        items: &[Range<usize>],
        ledger: &Ledger,
        tracing: Tracing,
    ) -> Output {
        let mut output = Output::default();
        let mut crossing = Vec::new();
        let mut left = Left::new();
        let mut group: Vec<Candidate<'_>> = Vec::with_capacity(GROUP);
        for items in items.chunks(GROUP) {
            group.clear();
            for item in items {
                let id = tx_id(&body[item.clone()]);
                match statically_fit(&body[item.clone()], ledger) {
                    Ok(view) => group.push(Candidate { id, view, item }),
                    Err(reason) => output.receipt(client, id, Fate::Refused(reason)),
                }
            }
            self.list.warm(group.iter().map(|candidate| &candidate.id));
            ledger.warm(group.iter().map(|candidate| (&candidate.id, &candidate.view)));
            for Candidate { id, view, item } in &group {
                let bytes = || body.slice((*item).clone());
                match self.admit(now, client, id, view, &bytes, ledger) {
                    Ok(Admitted { part, left_to }) => {
                        if let Some(home) = left_to {
                            left.entry(home).or_default().push(bytes());
                        }
                        if part != Part::Intra {
                            crossing.push(*id);
                        }
                        if part != Part::Intra || tracing == Tracing::All {
                            output.steps.push(PendingStep::Admitted(*id, part));
                        }
                    }
                    Err(fate) => {
                        if matches!(fate, Fate::Refused(Refusal::Full | Refusal::ClientShare)) {
                            output.try_again = Some((client, self.accounts.try_again_after()));
                        }
                        output.receipt(client, *id, fate);
                    }
                }
            }
        }
        self.ask_homes(left, &mut output);
        self.ask_first(&crossing, ledger, &mut output);
        output
    }

    /// Admission of a transaction that is statically fit, cheapest checks first.
    fn admit(
        &mut self,
        now: Time,
        client: ClientId,
        id: &TxId,
        view: &TransactionView<'_>,
        bytes: &impl Fn() -> Bytes,
        ledger: &Ledger,
    ) -> Result<Admitted, Fate> {
        let known = self.list.find(id);
        let payer = known.map(|place| self.list.get(place).payer);
        if matches!(payer, Some(Payer::Client(_))) {
            return Err(Fate::Refused(Refusal::Duplicate));
        }
        let length = view.bytes().len() as u64;
        if let Some(reason) = self.accounts.no_room(client, length) {
            return Err(Fate::Refused(reason));
        }
        let part = view.part_of(ledger.shard());
        let is_pooled = part != Part::Intra && ledger.pool_entry(id).is_some();
        // A pooled transaction that is believed rejected will be cancelled, and that block reports it. One that has
        // finished and is forgotten everywhere has expired elsewhere: it is refused below, not said to have expired.
        if part != Part::Intra
            && !is_pooled
            && let Some(cause) = self.opinions.believed(id)
            && !(cause == Cause::Expired && ledger.may_have_forgotten(view))
        {
            return Err(cause.fate());
        }
        let expiry = match ledger.standing(id, view) {
            // Its inputs here are spent and the pool waits for others: who hands it in again gets its receipt.
            Standing::Spent if is_pooled => None,
            standing => {
                admissible(standing)?;
                view.expiry_in(ledger.shard())
            }
        };
        let place = known.unwrap_or_else(|| self.list.add(*id));
        self.take_over(place);
        let record = self.list.get_mut(place);
        record.payer = Payer::Client(client);
        // A cross-shard one may stay for long, and must not keep a whole submission in memory.
        let copied = || Bytes::from(view.bytes().to_vec());
        record.bytes = Some(if part == Part::Intra { bytes() } else { copied() });
        self.accounts.add(Payer::Client(client), length);
        if part != Part::Intra {
            self.asking.start(now, &mut self.list, place);
        }
        match (self.list.get(place).phase, expiry) {
            (Phase::Proposed, _) | (_, None) => {}
            // Its home has it from a client, too, and proposes it. If that is a lie, the transaction waits no longer than
            // an order that is left to its home.
            (Phase::Backup { claim: Claim::Copied, home, since, .. }, Some(expiry)) => {
                self.list.back_up(place, home, Claim::Ordered, expiry, since);
            }
            // A peer may have asked for it before; now its home is here.
            (Phase::Unlisted | Phase::Waiting { .. } | Phase::Backup { .. }, Some(expiry)) => {
                if let Some(home) = self.home_in_crowd(now, id) {
                    let since = Since { time: now, round: ledger.height() };
                    self.list.back_up(place, home, Claim::Ordered, expiry, since);
                    return Ok(Admitted { part, left_to: Some(home) });
                }
                self.list.wait(place, Line::Own, expiry, ledger.height());
                if self.sharing.is_on() {
                    self.list.share(now, place);
                }
            }
        }
        Ok(Admitted { part, left_to: None })
    }
}

/// The view of a transaction that clients may hand in here and one proposal can hold: it is this shard's alone, or has
/// its output here.
fn statically_fit<'a>(bytes: &'a [u8], ledger: &Ledger) -> Result<TransactionView<'a>, Refusal> {
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
    if view.output_shard() == ledger.shard() { Ok(view) } else { Err(Refusal::WrongShard) }
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
