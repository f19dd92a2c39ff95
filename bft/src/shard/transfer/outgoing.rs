//! The source's side: parts of our blocks on their way to other shards.
//!
//! A part can be proved once a block at its height or above is certified; the headers between and the first such
//! certificate make the proof. Member k sends to member k of the destination, and each further time to the next one,
//! until f+1 members have acknowledged that they executed the part: then an honest one has, and by agreement all will,
//! with bodies from each other. Whatever f members on either side do, some honest pair meets.
//!
//! Bound: parts that a destination has not acknowledged, with the headers since the oldest of them. These are as many
//! as our ledger has sent; their number grows without end only if more than f members of a destination are gone, and
//! then so does that of our ledger's open records.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::dest::Dest;
use wire::ids::{Index, NodeId, PartNumber, Round, ShardId};
use wire::limits::{PART_BYTES_MAX, PARTS_AHEAD_BYTES_MAX, PARTS_AHEAD_MAX};

use super::{TransferEffects, TransferSend};
use crate::block::Header;
use crate::bucket::Bucket;
use crate::crypto::cert::Certificate;
use crate::image::image;
use crate::member::Member;
use crate::part::{Part, PartDigests, PartRef};
use crate::resend::{Resend, resend_pace};
use crate::shard::message::{Transfer, TransferProof};
use crate::time::Time;

/// Bytes sent again to one shard in one turn, oldest parts first: parts are executed in order, so the rest can wait.
/// Destinations take turns at the [`resend_pace`], so however many shards there are, at most its burst and this go out
/// at once.
const RESEND_BYTES_MAX: u64 = 2 * PART_BYTES_MAX;

/// All parts on their way to other shards.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    member: Member,
    chain: Chain,
    lines: BTreeMap<ShardId, Line>,
    pace: Bucket,
    /// The destination of the last turn; the next turn goes to the next one that waits.
    turn: ShardId,
}

image! {
    Outgoing:
    given member = |given| given.member.clone();
    parts;
    plain chain, lines, pace, turn;
}

/// Own headers since the oldest unacknowledged part, and the certificates over them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Chain {
    headers: BTreeMap<Round, Header>,
    /// For each run of blocks with parts, the first certificate that covers it.
    certificates: BTreeMap<Round, Certificate>,
    /// The digests of all parts of a block, for blocks that have any.
    digests: BTreeMap<Round, PartDigests>,
}

/// Parts on their way to one shard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Line {
    /// Unacknowledged parts, each with its position among the parts of its block.
    parts: BTreeMap<PartNumber, (Arc<Part>, u32)>,
    /// All parts up to this one were sent at least once, if they could be proved.
    sent: PartNumber,
    /// The highest number that each member of the destination claims to have executed. At most N.
    acks: BTreeMap<Index, PartNumber>,
    /// The highest number that f+1 of them claim.
    acknowledged: PartNumber,
    /// The offset of the present partner from the first one.
    shift: u64,
    resend: Resend,
    repeat: Repeat,
}

/// Whether parts under way must be sent again as soon as the pace allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
enum Repeat {
    #[default]
    Needless,
    Waits,
}

impl Outgoing {
    pub(super) fn new(member: Member) -> Outgoing {
        let others = (0..member.committee.shards()).map(ShardId).filter(|shard| *shard != member.shard);
        let lines = others.map(|shard| (shard, Line::default())).collect();
        Outgoing { member, chain: Chain::default(), lines, pace: resend_pace(), turn: ShardId(0) }
    }

    /// A block of ours was executed, with these parts in the order of its outgoing root.
    pub(super) fn executed(&mut self, header: &Header, parts: Vec<Arc<Part>>) {
        let digests = PartDigests::of(parts.iter().map(|part| &**part));
        assert_eq!(digests.root(), header.outgoing, "a header's root is over the parts of its block");
        for (position, part) in (0..).zip(parts) {
            let line =
                self.lines.get_mut(&part.destination).expect("parts go to other shards of the committee");
            // A destination that is ahead of us may have the part from other members already.
            if part.number > line.acknowledged {
                line.parts.insert(part.number, (part, position));
            }
        }
        if self.open() == 0 {
            return;
        }
        self.chain.headers.insert(header.height, *header);
        if digests.count() > 0 {
            self.chain.digests.insert(header.height, digests);
        }
    }

    /// We have jumped over blocks, up to which our ledger has sent these parts: those under way are left to others.
    pub(super) fn jump(&mut self, sent: impl Fn(ShardId) -> PartNumber) {
        self.chain = Chain::default();
        for (shard, line) in &mut self.lines {
            line.parts.clear();
            line.sent = sent(*shard);
            line.resend.stop();
            line.repeat = Repeat::Needless;
        }
    }

    /// A block of ours is certified: sends the parts that can now be proved.
    pub(super) fn certified(
        &mut self,
        now: Time,
        height: Round,
        certificate: &Certificate,
        effects: &mut TransferEffects,
    ) {
        if self.chain.certify(height, certificate) {
            for (shard, line) in &mut self.lines {
                line.launch(now, &self.member, *shard, &self.chain, effects);
            }
        }
    }

    /// A member of another shard has executed all parts up to this one.
    pub(super) fn acknowledged(
        &mut self,
        now: Time,
        from: NodeId,
        number: PartNumber,
        effects: &mut TransferEffects,
    ) {
        let committee = &self.member.committee;
        let (shard, author) = (committee.shard_of(from), committee.index_of(from));
        let line = self.lines.get_mut(&shard).expect("the caller has checked that it is another shard");
        if line.acknowledge(author, number, committee.one_honest()) {
            let oldest = self.lines.values().filter_map(Line::oldest).min();
            self.chain.prune(oldest);
            let line = self.lines.get_mut(&shard).expect("it was found above");
            line.resend.stop();
            if line.under_way().next().is_some() {
                line.resend.progressed(now);
            } else {
                // No part is under way that may have been lost.
                line.repeat = Repeat::Needless;
            }
            line.launch(now, &self.member, shard, &self.chain, effects);
        }
    }

    /// The answer to a member of another shard that requests a part, if the part is still unacknowledged.
    pub(super) fn serve(&self, from: NodeId, part: &PartRef) -> Option<Transfer> {
        let line = self.lines.get(&self.member.committee.shard_of(from))?;
        let (kept, position) = line.parts.get(&part.number)?;
        if kept.digest == part.digest { self.chain.transfer(kept, *position) } else { None }
    }

    /// Sends due parts again, to the next partner.
    pub(super) fn tick(&mut self, now: Time, effects: &mut TransferEffects) {
        for line in self.lines.values_mut() {
            if line.resend.is_due(now) {
                line.shift += 1;
                line.repeat = Repeat::Waits;
            }
        }
        self.send_again(now, effects);
    }

    /// Sends the parts under way again to `peer`, or to all present partners if none is named.
    pub(super) fn repeat(&mut self, now: Time, peer: Option<NodeId>, effects: &mut TransferEffects) {
        for (shard, line) in &mut self.lines {
            let concerned = peer.is_none_or(|peer| line.partner(&self.member, *shard) == peer);
            if concerned && line.under_way().next().is_some() {
                line.repeat = Repeat::Waits;
            }
        }
        self.send_again(now, effects);
    }

    /// Sends again to destinations that wait, in turn, as far as the pace allows.
    fn send_again(&mut self, now: Time, effects: &mut TransferEffects) {
        while self.pace.is_open(now)
            && let Some(shard) = self.next_repeat()
        {
            self.turn = shard;
            let line = self.lines.get_mut(&shard).expect("only destinations in the table wait");
            line.repeat = Repeat::Needless;
            self.pace.spend(now, line.send_again(&self.member, shard, &self.chain, effects));
        }
    }

    /// The next waiting destination, after that of the last turn.
    fn next_repeat(&self) -> Option<ShardId> {
        let waits = |(_, line): &(&ShardId, &Line)| line.waits();
        let after = self.lines.range((Bound::Excluded(self.turn), Bound::Unbounded)).find(waits);
        after.or_else(|| self.lines.iter().find(waits)).map(|(shard, _)| *shard)
    }

    pub(super) fn next_wakeup(&self) -> Option<Time> {
        let paced = self.lines.values().any(Line::waits).then(|| self.pace.opens_at());
        self.lines.values().filter_map(|line| line.resend.due()).chain(paced).min()
    }

    /// Parts that are not acknowledged.
    pub(super) fn open(&self) -> usize {
        self.lines.values().map(|line| line.parts.len()).sum()
    }

    /// Headers, certificates and blocks that are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize, usize) {
        (self.chain.headers.len(), self.chain.certificates.len(), self.chain.digests.len())
    }
}

impl Chain {
    /// Keeps the certificate if it is the first for some block with parts; returns whether it is.
    fn certify(&mut self, height: Round, certificate: &Certificate) -> bool {
        let last = self.certificates.last_key_value().map_or(Round(0), |(last, _)| *last);
        if height <= last || !self.headers.contains_key(&height) {
            return false;
        }
        let is_first = self.digests.range((Bound::Excluded(last), Bound::Included(height))).next().is_some();
        if is_first {
            self.certificates.insert(height, certificate.clone());
        }
        is_first
    }

    /// A part with its proof; `None` as long as there is none. If the proof would be longer than permitted, the part is
    /// left to members of our shard that have seen certificates closer to it.
    fn transfer(&self, part: &Arc<Part>, position: u32) -> Option<Transfer> {
        let (certified, certificate) = self.certificates.range(part.height..).next()?;
        let headers = self.headers.range(part.height..=*certified).map(|(_, header)| *header);
        let headers: Vec<Header> = headers.take(TransferProof::HEADERS_MAX + 1).collect();
        if headers.len() > TransferProof::HEADERS_MAX {
            return None;
        }
        let digests = self.digests.get(&part.height)?;
        let proof = TransferProof {
            headers,
            certificate: certificate.clone(),
            position,
            count: digests.count(),
            branch: digests.branch(position),
        };
        Some(Transfer { proof, part: part.bytes.clone() })
    }

    /// Whether a part at this height can be proved, by us or by other members of our shard.
    fn is_certified(&self, height: Round) -> bool {
        self.certificates.last_key_value().is_some_and(|(last, _)| height <= *last)
    }

    /// Drops everything before the oldest block with an unacknowledged part, or everything if no part is
    /// unacknowledged.
    fn prune(&mut self, oldest: Option<Round>) {
        match oldest {
            None => *self = Chain::default(),
            Some(oldest) => {
                drop_below(&mut self.headers, oldest);
                drop_below(&mut self.certificates, oldest);
                drop_below(&mut self.digests, oldest);
            }
        }
    }
}

impl Line {
    /// Sends for the first time the parts that can be proved and fit the window.
    fn launch(
        &mut self,
        now: Time,
        member: &Member,
        shard: ShardId,
        chain: &Chain,
        effects: &mut TransferEffects,
    ) {
        let partner = self.partner(member, shard);
        let mut bytes = 0;
        for (number, (part, position)) in &self.parts {
            bytes += part.bytes.len() as u64;
            let is_first = *number == self.acknowledged.next();
            let has_room =
                number.0 - self.acknowledged.0 <= PARTS_AHEAD_MAX && bytes <= PARTS_AHEAD_BYTES_MAX;
            if !(is_first || has_room) || !chain.is_certified(part.height) {
                return;
            }
            if *number > self.sent {
                self.sent = *number;
                self.resend.arm(now);
                let transfer = chain.transfer(part, *position).map(TransferSend::Transfer);
                effects.sends.extend(transfer.map(|transfer| (Dest::Node(partner), transfer)));
            }
        }
    }

    /// Whether it waits for its turn to be sent again.
    fn waits(&self) -> bool {
        self.repeat == Repeat::Waits
    }

    /// Sends the oldest parts under way again to the present partner; returns their bytes.
    fn send_again(
        &self,
        member: &Member,
        shard: ShardId,
        chain: &Chain,
        effects: &mut TransferEffects,
    ) -> u64 {
        let partner = self.partner(member, shard);
        let mut bytes = 0;
        for (part, position) in self.under_way() {
            let Some(transfer) = chain.transfer(part, *position) else { continue };
            let with_it = bytes + part.bytes.len() as u64;
            if with_it > RESEND_BYTES_MAX {
                break;
            }
            bytes = with_it;
            effects.push_send(Dest::Node(partner), TransferSend::Transfer(transfer));
        }
        bytes
    }

    /// Records an acknowledgement; returns whether f+1 members now claim more than before.
    fn acknowledge(&mut self, author: Index, number: PartNumber, one_honest: usize) -> bool {
        let ack = self.acks.entry(author).or_default();
        *ack = number.max(*ack);
        let mut numbers: Vec<PartNumber> = self.acks.values().copied().collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        let Some(known) = numbers.get(one_honest - 1).copied() else { return false };
        if known <= self.acknowledged {
            return false;
        }
        self.acknowledged = known;
        self.sent = self.sent.max(known);
        drop_below(&mut self.parts, known.next());
        true
    }

    /// Parts that were sent and are not acknowledged.
    fn under_way(&self) -> impl Iterator<Item = &(Arc<Part>, u32)> {
        self.parts.range(..=self.sent).map(|(_, part)| part)
    }

    fn oldest(&self) -> Option<Round> {
        self.parts.first_key_value().map(|(_, (part, _))| part.height)
    }

    /// The member of the destination that we send to at present.
    fn partner(&self, member: &Member, shard: ShardId) -> NodeId {
        let n = member.committee.n() as u64;
        let index = (u64::from(member.index.0) + self.shift) % n;
        member.committee.node_at(shard, Index(u16::try_from(index).expect("the index is below N")))
    }
}

/// Drops all entries below a key, at the cost of those alone (`BTreeMap::split_off` counts those that stay).
fn drop_below<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K) {
    while table.first_key_value().is_some_and(|(first, _)| *first < key) {
        table.pop_first();
    }
}
