//! Sharing: what waits here for long is copied to other members, so that it survives this one (docs/design.md §14).
//!
//! Transactions of clients that wait to be proposed stand on a timeline (`timeline`). Each member that shall hold
//! copies has a position on it. What lies after its position and has waited for 200 ms goes to it in batches; it
//! acknowledges each batch once it holds all of it. A transaction that is proposed leaves the timeline: its entry is
//! on its way to all members and sent again until N−f have echoed it, so it needs no second copy. Those that hold an
//! entry whose owner falls silent before it is certified adopt what stands in it ([`Pending::adopt`]).
//!
//! **Who holds copies** ([`Share`]): with `backup` the next f members after us that are connected, since the home and
//! f others are f+1, of which one survives f crashes; with `all` every other member. A member counts as connected from
//! its first session with us on.
//!
//! **Positions.** A run is a series of batches, each of which names the end of the one before. A receiver acknowledges
//! a batch only if it holds that, so that a lost batch leaves no gap. The first batch of a run names none: what lies
//! before it has left the timeline, or was acknowledged. A run begins when a member has a new process, which may know
//! nothing, and from the last acknowledged position when no acknowledgement comes: then a batch was lost, or the
//! receiver has no room.
//!
//! **Bounds.** Copies leave at [`SHARE_BYTES_PER_S`], oldest first, so that a shard with more load than it can carry
//! spends its time on ordering it; the clients of a contact that fails then hand on what is not copied. At most
//! [`SHARE_WINDOW_BYTES`] are unacknowledged at each member; without acknowledgements one batch goes out after 1 s, 2 s
//! and so on up to every 10 s. The timeline is as long as what clients may have pending.
//!
//! **Cost.** A look each 50 ms while something is due, in proportion to what it sends. Members at one position share
//! one encoding.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::dest::Dest;
use wire::ids::{Index, NodeId};
use wire::limits::{SHARE_BYTES_PER_S, SHARE_WINDOW_BYTES};

use crate::bucket::Bucket;
use crate::fault::FaultKind;
use crate::member::Member;
use crate::message::encode_copies;
use crate::pending::crowd::Crowd;
use crate::pending::list::List;
use crate::pending::timeline::Position;
use crate::pending::{Output, Pending};
use crate::resend::Resend;
use crate::time::{Span, Time};

/// Pause between two looks for what is due.
const TICK: Span = Span::from_ms(50);

/// The members that hold copies of what clients handed in here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Share {
    /// All others.
    All,
    /// The next f that are connected.
    #[default]
    Backup,
    /// None.
    None,
}

impl Share {
    /// All of them.
    pub const ALL: [Share; 3] = [Share::All, Share::Backup, Share::None];

    /// The name that commands use.
    pub fn name(self) -> &'static str {
        match self {
            Share::All => "all",
            Share::Backup => "backup",
            Share::None => "none",
        }
    }

    /// The one of this name.
    pub fn parse(text: &str) -> Option<Share> {
        Share::ALL.into_iter().find(|share| share.name() == text)
    }

    /// How many others hold copies.
    fn copies(self, committee: &Committee) -> usize {
        match self {
            Share::All => committee.n() - 1,
            Share::Backup => committee.f(),
            Share::None => 0,
        }
    }
}

/// Copies on their way to another member: what lies after one position of the sender's timeline, up to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copies {
    /// The receiver must hold what lies before it; the first batch of a run needs nothing.
    pub after: Option<Position>,
    /// The position of the last.
    pub through: Position,
    /// A list of transactions as in `wire::client::list`, not parsed further.
    pub list: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Presence {
    Connected,
    Gone,
}

/// How much a holder gets before it acknowledges any of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Flow {
    /// A whole window.
    Open,
    /// One batch: it did not acknowledge the last run, or is new.
    Probing,
}

/// What we know of one other member as a holder of copies.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Holder {
    presence: Presence,
    flow: Flow,
    /// It holds everything up to this.
    acked: Option<Position>,
    /// Everything up to this is sent, or has left the timeline.
    sent: Option<Position>,
    /// The end of the last batch of this run.
    run: Option<Position>,
    /// The highest end of a batch that was ever sent to it.
    sent_most: Option<Position>,
    /// Ends of the batches that it has not acknowledged, with their bytes.
    in_flight: VecDeque<(Position, u64)>,
    in_flight_bytes: u64,
    /// Armed while anything is in flight. It keeps its wait while nothing is, since the pace may be closed; only an
    /// acknowledgement or a new process ends that.
    retry: Resend,
}

impl Holder {
    fn new() -> Holder {
        Holder {
            presence: Presence::Gone,
            flow: Flow::Open,
            acked: None,
            sent: None,
            run: None,
            sent_most: None,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            retry: Resend::default(),
        }
    }

    /// A new run, from the last acknowledged position on.
    fn go_back(&mut self) {
        (self.sent, self.run) = (self.acked, None);
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }

    /// A new process of it may know nothing. Until it acknowledges something it gets one batch, so that one that comes
    /// again and again does not take the pace from others.
    fn start_over(&mut self) {
        (self.acked, self.flow) = (None, Flow::Probing);
        self.go_back();
        self.retry.stop();
    }

    fn has_room(&self) -> bool {
        match self.flow {
            Flow::Open => self.in_flight_bytes < SHARE_WINDOW_BYTES,
            Flow::Probing => self.in_flight.is_empty(),
        }
    }

    fn sent_batch(&mut self, now: Time, through: Position, bytes: u64) {
        (self.sent, self.run) = (Some(through), Some(through));
        self.sent_most = self.sent_most.max(Some(through));
        if self.in_flight.is_empty() {
            self.retry.wait_again(now);
        }
        self.in_flight.push_back((through, bytes));
        self.in_flight_bytes += bytes;
    }

    /// It acknowledges everything up to a position. Nothing changes if it has done so before.
    fn acknowledged(&mut self, now: Time, through: Position) {
        if self.acked >= Some(through) {
            return;
        }
        (self.acked, self.flow) = (Some(through), Flow::Open);
        self.sent = self.sent.max(self.acked);
        while let Some((_, bytes)) = self.in_flight.front().copied().filter(|(end, _)| *end <= through) {
            self.in_flight_bytes -= bytes;
            self.in_flight.pop_front();
        }
        if self.in_flight.is_empty() { self.retry.stop() } else { self.retry.progressed(now) }
    }
}

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sharing {
    share: Share,
    /// By index; ours is not used.
    holders: Vec<Holder>,
    /// The members that hold copies of what we have.
    chosen: Vec<Index>,
    /// By index: how many members that are connected come after this one and before us.
    ranks: Vec<u64>,
    /// By index: everything of this member's timeline up to here is held here.
    pub(super) held: Vec<Option<Position>>,
    rest_until: Time,
    pub(super) pace: Bucket,
    pub(super) crowd: Crowd,
}

impl Sharing {
    pub(super) fn new(share: Share, member: &Member) -> Sharing {
        let n = member.committee.n();
        let (holders, held) = (vec![Holder::new(); n], vec![None; n]);
        let pace = Bucket::new(SHARE_BYTES_PER_S, SHARE_WINDOW_BYTES);
        let mut sharing = Sharing {
            share,
            holders,
            chosen: Vec::new(),
            ranks: vec![0; n],
            held,
            rest_until: Time(0),
            pace,
            crowd: Crowd::default(),
        };
        sharing.choose(member);
        sharing
    }

    /// Whether anything is shared.
    pub(super) fn is_on(&self) -> bool {
        self.share != Share::None
    }

    /// How many others hold copies.
    pub(super) fn copies(&self, member: &Member) -> usize {
        self.share.copies(&member.committee)
    }

    /// Whether a session with another member is open, as far as we know.
    pub(super) fn is_connected(&self, index: Index) -> bool {
        self.holders[usize::from(index.0)].presence == Presence::Connected
    }

    /// Finds the holders of what we have, and our place among those of others, from which members are connected.
    fn choose(&mut self, member: &Member) {
        let (n, ours) = (self.holders.len(), usize::from(member.index.0));
        let after = (1..n).map(|step| Index(((ours + step) % n) as u16));
        self.chosen = after.filter(|index| self.is_connected(*index)).take(self.copies(member)).collect();
        let mut rank = 0;
        for home in (1..n).map(|step| (ours + n - step) % n) {
            self.ranks[home] = rank;
            rank += u64::from(self.is_connected(Index(home as u16)));
        }
    }

    /// Whether we are one of the holders of what `home` has, which is another member.
    pub(super) fn is_holder_of(&self, home: Index, member: &Member) -> bool {
        self.ranks[usize::from(home.0)] < self.copies(member) as u64
    }

    /// Our place among the holders of what `home` has, counted from 0, as far as we know which are connected. At most f
    /// of those before us are faulty, so it counts no further than that.
    pub(super) fn rank(&self, home: Index, member: &Member) -> u64 {
        self.ranks[usize::from(home.0)].min(member.committee.f() as u64)
    }

    /// When [`Pending::share`] has something to do.
    pub(super) fn due(&self, list: &List) -> Option<Time> {
        let of_holder = |index: &Index| {
            let holder = &self.holders[usize::from(index.0)];
            let allowed = self.rest_until.max(self.pace.opens_at());
            let next = || list.timeline().due_after(holder.sent).map(|due| due.max(allowed));
            let retry = holder.retry.due().filter(|_| !holder.in_flight.is_empty());
            [holder.has_room().then(next).flatten(), retry].into_iter().flatten().min()
        };
        self.chosen.iter().filter_map(of_holder).min()
    }

    /// Everything sent may be lost with a child of ours.
    pub(super) fn retry_now(&mut self) {
        for holder in &mut self.holders {
            holder.go_back();
            holder.retry.stop();
        }
    }

    /// The chosen holders that may get what is due, by where they stand: those in one place get one message.
    fn ready(&self, now: Time, list: &List) -> BTreeMap<(Option<Position>, Option<Position>), Vec<Index>> {
        let mut ready: BTreeMap<_, Vec<Index>> = BTreeMap::new();
        for index in &self.chosen {
            let holder = &self.holders[usize::from(index.0)];
            if holder.has_room() && list.timeline().due_after(holder.sent).is_some_and(|due| due <= now) {
                ready.entry((holder.run, holder.sent)).or_default().push(*index);
            }
        }
        ready
    }
}

impl Pending {
    /// Sends due copies to the members that shall hold them.
    pub fn share(&mut self, now: Time) -> Output {
        let mut output = Output::default();
        let mut is_due = now >= self.sharing.rest_until;
        let Sharing { holders, chosen, .. } = &mut self.sharing;
        for index in chosen {
            let holder = &mut holders[usize::from(index.0)];
            if !holder.in_flight.is_empty() && holder.retry.is_due(now) {
                holder.flow = Flow::Probing;
                holder.go_back();
                is_due = true;
            }
        }
        let mut is_sent = false;
        while is_due {
            let ready = self.sharing.ready(now, &self.list);
            is_due = !ready.is_empty() && self.sharing.pace.is_open(now);
            for ((after, sent), members) in ready.into_iter().filter(|_| is_due) {
                let (through, transactions) = self.list.batch(sent, now);
                let body = (!transactions.is_empty())
                    .then(|| encode_copies(after, through, transactions.iter().map(|bytes| &bytes[..])));
                for index in &members {
                    let holder = &mut self.sharing.holders[usize::from(index.0)];
                    match &body {
                        Some(body) => holder.sent_batch(now, through, body.len() as u64),
                        None => holder.sent = Some(through),
                    }
                }
                if let Some(body) = body {
                    is_sent = true;
                    self.sharing.pace.spend(now, body.len() as u64);
                    output.prompt.push((Dest::Set(self.nodes(&members)), body));
                }
            }
        }
        if is_sent {
            self.sharing.rest_until = now + TICK;
        }
        output
    }

    /// Another member holds copies of everything of ours up to a position.
    pub fn on_held(&mut self, now: Time, from: NodeId, through: Position) -> Output {
        let Some(Index(index)) = self.member.index_of(from) else {
            return Output::fault(from, FaultKind::NotAMember);
        };
        let holder = &mut self.sharing.holders[usize::from(index)];
        if holder.sent_most < Some(through) {
            return Output::fault(from, FaultKind::OutOfRange);
        }
        holder.acknowledged(now, through);
        Output::default()
    }

    /// A session with a member has begun: it may hold copies.
    pub fn peer_up(&mut self, peer: NodeId) {
        self.set_presence(peer, Presence::Connected);
    }

    /// The last session with a member has ended: another one holds copies in its place.
    pub fn peer_down(&mut self, peer: NodeId) {
        self.set_presence(peer, Presence::Gone);
    }

    /// A member has a new process, which may hold nothing.
    pub fn start_over(&mut self, peer: NodeId) {
        if let Some(Index(index)) = self.member.index_of(peer) {
            self.sharing.holders[usize::from(index)].start_over();
        }
    }

    fn set_presence(&mut self, peer: NodeId, presence: Presence) {
        let Some(Index(index)) = self.member.index_of(peer) else { return };
        let holder = &mut self.sharing.holders[usize::from(index)];
        if std::mem::replace(&mut holder.presence, presence) != presence {
            self.sharing.choose(&self.member);
        }
    }

    fn nodes(&self, members: &[Index]) -> Vec<NodeId> {
        members.iter().map(|index| self.member.node_at(*index)).collect()
    }
}
