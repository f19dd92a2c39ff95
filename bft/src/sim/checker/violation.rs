//! The violations that a run may show.

use std::fmt;

use wire::client::Fate;
use wire::ids::{ClientId, CoinId, Digest, NodeId, Round, ShardId, TxId, View};

use crate::crypto::suite::Statement;
use crate::cut::Cut;
use crate::fault::Fault;
use crate::id_index::Steps;
use crate::part::PartRef;
use crate::sim::checker::Subject;
use crate::time::Time;

/// A broken promise of the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "fields are named for what they hold")]
pub enum Violation {
    /// Two honest members executed different blocks at one height.
    Fork { height: Round, first: (NodeId, Digest), second: (NodeId, Digest) },
    /// A member skipped or repeated a height.
    HeightOutOfOrder { node: NodeId, after: Round, executed: Round },
    /// A member took over a state at a height that no honest member has executed.
    FalseState { node: NodeId, height: Round },
    /// Two members have executed the same blocks, and one writes another checkpoint than the other.
    Rows { node: NodeId, height: Round },
    /// A decided cut changes a lane without advancing it.
    CutMovedBack { height: Round, previous: Cut, cut: Cut },
    /// A block's effect differs from that of the model.
    Effect { node: NodeId, height: Round, expected: String, found: String },
    /// A block holds entries that break static validity.
    InvalidEntry { height: Round, count: u64 },
    /// A ledger holds more or less than at genesis, or other coins than the model.
    Value { node: NodeId, height: Round, expected: u128, found: u128 },
    /// A coin is unspent in a ledger and not in the model, or the other way round.
    Coin { node: NodeId, height: Round, coin: CoinId },
    /// A ledger holds more or less under open records, or has other records or pool entries, than the model.
    Between { node: NodeId, height: Round, expected: String, found: String },
    /// A block orders a part that its source never sent.
    ForgedImport { shard: ShardId, height: Round, part: PartRef },
    /// A coin is spent, a transaction finished or refunded that must not be, or value is not conserved.
    Broken { shard: ShardId, what: String },
    /// At rest two shards do not agree on the items that one sent to the other.
    Exchange { from: ShardId, to: ShardId, what: String },
    /// A cross-shard transaction is still open at the bound after the network was healed.
    NotAtRest { what: String, waiting: String },
    /// A client received a false fate.
    FalseReceipt { node: NodeId, id: TxId, reported: Fate, truth: Option<Fate> },
    /// A reply that no client can read, or to a client without a request.
    StrayReply { node: NodeId, client: ClientId },
    /// An honest member blamed another for a fault that proves misbehaviour.
    Blamed { by: NodeId, fault: Fault },
    /// An honest member sent two different contents on one subject.
    Equivocation { node: NodeId, subject: Subject },
    /// An honest member's key signed two statements on one subject.
    Contradiction { node: NodeId, first: Statement, second: Statement },
    /// An honest member answered an SPB of a view after its PRE-VOTE in it.
    AnsweredAfterPreVote { node: NodeId, round: Round, view: View },
    /// An honest member released its coin share without N−f FINISHes or f+1 shares.
    EarlyCoin { node: NodeId, round: Round, view: View },
    /// An honest member sent bytes that decode as nothing.
    Unreadable { node: NodeId },
    /// An honest member sent bytes with a digest that is not theirs.
    FalseDigest { node: NodeId },
    /// A member sets its wake-up to a time that has passed, again and again.
    Spinning { node: NodeId },
    /// A member left work undone after an event, without a wake-up for it.
    NotIdle { node: NodeId, did: String, wakeup: Option<Time>, then: Option<Time> },
    /// After an event a member's next wake-up does not lie ahead.
    Overdue { node: NodeId, due: Time },
    /// A search in a table of ids is longer than chance explains.
    LongSearch { node: NodeId, steps: Steps },
    /// One event made an honest member send more requests for certificates than it may.
    Questions { node: NodeId, frames: usize },
    /// One event cost an honest member more steps than its changes explain.
    Work { node: NodeId, steps: u64 },
    /// An honest member sent a peer the same bytes too often within a second.
    Repeats { node: NodeId, to: NodeId, times: u32 },
    /// A requested body took longer than silent signers can delay it.
    SlowBody { node: NodeId, took_ms: u64 },
    /// Liars made a member verify more signatures in vain than they should be able to.
    InVain { node: NodeId, signatures: u64, allowed: u64 },
    /// More frames than any run of honest members should take.
    Storm { frames: u64 },
    /// Nothing was decided within the bound after the network was healed.
    NoDecision { within_ms: u64, waiting: String },
    /// Transactions that a live honest member had taken have no fate within the bound.
    NoFate { open: Vec<(NodeId, TxId)>, waiting: String },
    /// A transaction that must finish did not.
    NotFinished { node: NodeId, id: TxId, reported: Fate },
    /// Live honest members stand at different heights when all is quiet.
    LeftBehind { heights: Vec<(NodeId, Round)> },
    /// A member refused to start, though nothing of what its disk must keep had changed.
    Refused { node: NodeId, error: String },
    /// A core that was given the same events did something else.
    Replay { node: NodeId, error: String },
    /// A message or timer is left although no transaction is open.
    NotQuiet { waiting: String },
    /// The adversary holds a proof that must not exist, such as two certificates for one seq.
    Proof { what: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
