//! The receipts of clients: each is true, and none is missing at the end.
//!
//! What a member has handled counts from the moment at which its effects leave, so that requests and receipts have the
//! order in which the member saw and gave them.

use wire::client::{Fate, Receipt, Refusal, Rejection, Reply};
use wire::codec;
use wire::ids::{ClientId, CoinId, NodeId, ShardId, TxId};
use wire::limits::EXPIRY_ROUNDS_AHEAD_MAX;

use crate::event::Event;
use crate::sim::checker::{Checked, Checker, Violation};
use crate::transaction::{Expiry, Input, tx_id, validate};

/// A transaction that some client submitted or queried.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    /// If its bytes are valid.
    inputs: Option<Vec<Input>>,
    output: Option<ShardId>,
    /// The last round in which it may execute, for each input shard.
    expiries: Vec<Expiry>,
    /// A member has reported that it will never finish.
    written_off: Option<(NodeId, Fate)>,
}

/// How a client comes to wait for a fate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// It submitted the transaction.
    Fate,
    /// It queried a transaction that may be open already.
    Again,
}

impl Offered {
    /// Only its id is known here.
    fn elsewhere() -> Offered {
        Offered { inputs: None, output: None, expiries: Vec::new(), written_off: None }
    }

    fn is_cross(&self) -> bool {
        self.expiries.iter().any(|expiry| Some(expiry.shard) != self.output)
    }
}

impl Checker {
    /// A client submits transactions to an honest member.
    pub(in crate::sim) fn on_submission(
        &mut self,
        node: NodeId,
        client: ClientId,
        transactions: &[impl AsRef<[u8]>],
    ) {
        for bytes in transactions {
            let id = tx_id(bytes.as_ref());
            let offered = self.offered.entry(id).or_insert_with(Offered::elsewhere);
            let valid = validate(bytes.as_ref(), &self.committee).ok();
            if let Some(view) = valid {
                offered.inputs = Some(view.inputs().collect());
                offered.output = Some(view.output_shard());
                offered.expiries = view.expiries().collect();
            }
            self.asked.entry((node, client)).or_default().push((id, Asked::Fate));
        }
    }

    /// A client queries transactions at an honest member.
    pub(in crate::sim) fn on_query(&mut self, node: NodeId, client: ClientId, ids: &[TxId]) {
        for id in ids {
            // A transaction submitted to a crashed or Byzantine member may be unknown here.
            self.offered.entry(*id).or_insert_with(Offered::elsewhere);
            self.asked.entry((node, client)).or_default().push((*id, Asked::Again));
        }
    }

    /// An honest member has handled an event, and its effects leave it now.
    pub(in crate::sim) fn on_handled(&mut self, node: NodeId, event: &Event) {
        match event {
            Event::Client { client, .. } => self.open_requests(node, *client),
            Event::ClientGone { client } => self.on_client_gone(node, *client),
            _ => {}
        }
    }

    fn open_requests(&mut self, node: NodeId, client: ClientId) {
        for (id, asked) in self.asked.remove(&(node, client)).unwrap_or_default() {
            self.open.insert((node, client, id));
            // The last client that queried an open transaction gets its receipt.
            if asked == Asked::Again
                && let Some(before) = self.askers.insert((node, id), client)
            {
                self.open.remove(&(node, before, id));
            }
        }
    }

    /// A client has left; its receipts may be under way or never be sent.
    fn on_client_gone(&mut self, node: NodeId, client: ClientId) {
        self.open.retain(|(taker, waits, _)| (*taker, *waits) != (node, client));
    }

    /// These transactions must finish.
    pub(in crate::sim) fn expect_to_finish(&mut self, transactions: &[impl AsRef<[u8]>]) {
        self.must_finish.extend(transactions.iter().map(|bytes| tx_id(bytes.as_ref())));
    }

    /// A node has crashed: its transactions have no fate there.
    pub(in crate::sim) fn on_crash(&mut self, node: NodeId) {
        self.open.retain(|(taker, _, _)| *taker != node);
        self.asked.retain(|(taker, _), _| *taker != node);
    }

    /// The transactions for whose fates clients of honest members still wait.
    pub(in crate::sim) fn open(&self) -> impl Iterator<Item = (NodeId, TxId)> + '_ {
        let asked = self.asked.iter().flat_map(|((node, _), ids)| ids.iter().map(|(id, _)| (*node, *id)));
        self.open.iter().map(|(node, _, id)| (*node, *id)).chain(asked)
    }

    /// An honest member answers a client.
    pub(in crate::sim) fn on_reply(&mut self, node: NodeId, client: ClientId, body: &[u8]) -> Checked {
        let receipts = match codec::decode::<Reply>(body) {
            Ok(Reply::Receipts(receipts)) => receipts,
            // It answers nothing by itself.
            Ok(Reply::TryAgain { .. }) => return Ok(()),
            _ => return Err(Violation::StrayReply { node, client }),
        };
        receipts.into_iter().try_for_each(|receipt| self.on_receipt(node, client, receipt))
    }

    fn on_receipt(&mut self, node: NodeId, client: ClientId, receipt: Receipt) -> Checked {
        let Receipt { id, fate } = receipt;
        if !self.open.remove(&(node, client, id)) {
            return Err(Violation::StrayReply { node, client });
        }
        if self.must_finish.contains(&id) && !matches!(fate, Fate::Finished(_)) && !self.is_robbed(&id) {
            return Err(Violation::NotFinished { node, id, reported: fate });
        }
        if !self.is_true(node, &id, fate) {
            let truth = self.model(node).fate(&id);
            return Err(Violation::FalseReceipt { node, id, reported: fate, truth });
        }
        if matches!(fate, Fate::Rejected(_) | Fate::Expired)
            && let Some(offered) = self.offered.get_mut(&id)
        {
            offered.written_off.get_or_insert((node, fate));
        }
        Ok(())
    }

    /// Whether a reported fate is true, as far as the shards that decide it have executed.
    fn is_true(&self, node: NodeId, id: &TxId, fate: Fate) -> bool {
        let model = self.model(node);
        let truth = model.fate(id);
        let is_finished = matches!(truth, Some(Fate::Finished(_)));
        // A member that has not executed the block that settled it may report in advance, for another reason, that it
        // cannot finish.
        let is_ahead = model.settled(id).is_none_or(|(_, settled)| settled > self.heights[&node]);
        match fate {
            Fate::Finished(_) => truth == Some(fate),
            Fate::Rejected(_) | Fate::Expired if self.offered[id].is_cross() => {
                !is_finished && !self.may_finish(id)
            }
            Fate::Rejected(_) | Fate::Expired if is_ahead => !is_finished,
            Fate::Rejected(_) | Fate::Expired => truth == Some(fate),
            Fate::Refused(refusal) => self.is_refusal_true(node, id, refusal),
            // Not if it is open here, or decided here and not forgotten. A member that has jumped over the blocks that
            // may have settled it has given up what was open.
            Fate::Unknown => {
                let is_open = !self.jumped.contains(&node)
                    && self.open.iter().any(|(taker, _, waits)| (*taker, *waits) == (node, *id));
                let is_decided = !is_ahead && truth.is_some();
                !is_open && (!is_decided || model.is_forgotten(id, self.heights[&node]))
            }
        }
    }

    /// Whether another transaction has spent one of its inputs. Coins need no signature, so a Byzantine member that
    /// receives an order can write another transaction on its coins.
    fn is_robbed(&self, id: &TxId) -> bool {
        self.offered[id].inputs.iter().flatten().any(|input| {
            self.world.model(input.shard).spender(&input.coin).is_some_and(|spender| spender != id)
        })
    }

    /// Whether a cross-shard transaction can still finish, after the blocks that its shards have executed.
    fn may_finish(&self, id: &TxId) -> bool {
        let offered = &self.offered[id];
        let is_hopeless = |expiry: &Expiry| {
            let inputs = offered.inputs.iter().flatten().filter(|input| input.shard == expiry.shard);
            let inputs: Vec<(CoinId, u64)> = inputs.map(|input| (input.coin, input.amount)).collect();
            self.world.model(expiry.shard).is_hopeless(id, &inputs, expiry.round)
        };
        let cancelled = Some(Fate::Rejected(Rejection::Cancelled));
        let is_cancelled =
            offered.output.is_some_and(|output| self.world.model(output).fate(id) == cancelled);
        !is_cancelled && !offered.expiries.iter().any(is_hopeless)
    }

    fn is_refusal_true(&self, node: NodeId, id: &TxId, refusal: Refusal) -> bool {
        let (offered, model, shard) = (&self.offered[id], self.model(node), self.committee.shard_of(node));
        let expiry = offered.expiries.iter().find(|expiry| expiry.shard == shard).map(|expiry| expiry.round);
        match refusal {
            Refusal::Invalid | Refusal::TooLarge => offered.inputs.is_none(),
            Refusal::Spent => offered
                .inputs
                .iter()
                .flatten()
                .any(|input| model.spender(&input.coin).is_some_and(|spender| spender != id)),
            Refusal::Expired => {
                let height = self.heights[&node];
                expiry.is_some_and(|expiry| expiry <= height)
                    || offered.is_cross() && model.is_past(&offered.expiries, height)
            }
            Refusal::ExpiryTooFar => offered.expiries.iter().any(|expiry| self.is_too_far(expiry)),
            Refusal::Duplicate => offered.inputs.is_some(),
            Refusal::WrongShard => offered.output.is_some_and(|output| output != shard),
            Refusal::Full | Refusal::ClientShare => false,
        }
    }

    /// Whether some member of a shard may find this expiry too far ahead: the one that is furthest behind.
    fn is_too_far(&self, expiry: &Expiry) -> bool {
        let members = self.committee.members(expiry.shard).filter_map(|member| self.heights.get(&member));
        let height = members.min().copied().unwrap_or_default();
        expiry.round.0 > height.next().0 + EXPIRY_ROUNDS_AHEAD_MAX
    }

    /// No transaction has finished that was reported as never finishing.
    pub(super) fn check_written_off(&self, executed_by: NodeId) -> Checked {
        let model = self.model(executed_by);
        for (id, offered) in &self.offered {
            if let (Some((node, reported)), Some(Fate::Finished(round))) =
                (offered.written_off, model.fate(id))
            {
                let truth = Some(Fate::Finished(round));
                return Err(Violation::FalseReceipt { node, id: *id, reported, truth });
            }
        }
        Ok(())
    }
}
