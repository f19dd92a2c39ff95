//! What a person follows of a member's life: events for the log, told only if they are asked for.
//!
//! The core logs nothing. With [`CoreConfig::tracing`](crate::core::CoreConfig) it says these among its effects and
//! the driver writes them down; the sentences stand here, so that what a story consists of stands in one place. An
//! event that all members of a shard see alike is the same sentence at all of them: who reads the logs of many nodes
//! then sees one event that many report. So a sentence names its shard and says nothing that only one member knows,
//! unless it is about that member.
//!
//! Bound: what one step tells is in proportion to the messages and the block that it deals with.

use std::fmt;

use wire::client::Fate;
use wire::dest::Dest;
use wire::ids::{ClientId, Digest, NodeId, PartNumber, Round, ShardId, TxId, View};
use wire::name::Name;

use crate::ledger::{Cause, Outcome, Settled};

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tracing {
    /// Nothing.
    Off,
    /// Rounds, lane entries, parts, and all of what happens to cross-shard transactions and to those that fail.
    Steps,
    /// Also every message, and the end of every transaction within a shard.
    All,
}

/// A sentence of the story. What it says of a transaction names it; `shard` is the shard of who says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TraceEvent {
    /// About a transaction.
    Tx {
        /// The transaction.
        id: TxId,
        /// What happens to it.
        step: TxStep,
    },
    /// About a group part.
    Part {
        /// The part: always [`Name::Part`].
        part: Name,
        /// What happens to it.
        step: PartStep,
    },
    /// About a round of the own shard.
    Round {
        /// The shard.
        shard: ShardId,
        /// The round.
        round: Round,
        /// What happens in it.
        step: RoundStep,
    },
    /// A message of a peer comes in.
    Heard {
        /// Whose.
        from: NodeId,
        /// What it says, as [`said`](crate::message::said) tells.
        said: String,
    },
    /// A message goes out.
    Sent {
        /// To whom.
        to: Dest,
        /// What it says.
        said: String,
    },
    /// An own lane entry goes out.
    Proposed {
        /// The entry.
        entry: Name,
        /// Transactions in it.
        transactions: usize,
        /// Parts that it imports.
        imports: usize,
        /// Transactions that it lists to be cancelled.
        cancels: usize,
        /// Bytes of its payload.
        payload_bytes: usize,
    },
}

/// Where a block did something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The shard.
    pub shard: ShardId,
    /// The round.
    pub round: Round,
}

/// What happens to a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TxStep {
    /// Its contact has taken it.
    Admitted {
        /// From whom.
        client: ClientId,
    },
    /// Members of an input shard are asked to order it.
    Forwarded {
        /// Who is asked.
        to: Dest,
    },
    /// A member of its output shard asks us to order it.
    Asked {
        /// Who asks.
        by: NodeId,
        /// The member that is to propose it first.
        home: NodeId,
    },
    /// It stands in an own lane entry.
    Proposed {
        /// The entry.
        entry: Name,
    },
    /// An input shard has spent its inputs.
    Spent {
        /// The block.
        place: Place,
        /// The entry it stood in.
        entry: Name,
        /// The part that tells its output shard; `None` if that is this one, whose pool it ticks at once.
        part: Option<Name>,
    },
    /// A block has settled it, or passed it over, in this shard.
    Settled {
        /// The block.
        place: Place,
        /// The entry it stood in.
        entry: Name,
        /// What became of it.
        end: Outcome,
    },
    /// A part of another shard ticks it in the pool of its output shard.
    Ticked {
        /// The block.
        place: Place,
        /// The part.
        part: Name,
    },
    /// It has an entry in the pool.
    Pooled {
        /// The block.
        place: Place,
    },
    /// All its input shards have spent: its outputs exist.
    Finished {
        /// The block.
        place: Place,
        /// The parts that tell the input shards.
        parts: Vec<Name>,
    },
    /// BACK: a member lists it to be cancelled.
    CancelListed {
        /// The entry that does.
        entry: Name,
    },
    /// Its entry in the pool is dropped.
    Cancelled {
        /// The block.
        place: Place,
        /// The parts that tell the input shards that have spent.
        parts: Vec<Name>,
    },
    /// An input shard gives its inputs back.
    Refunded {
        /// The block.
        place: Place,
        /// The part that said so; `None` if the output shard is this one.
        part: Option<Name>,
    },
    /// An input shard closes its record since it finished.
    Closed {
        /// The block.
        place: Place,
        /// The part that said so; `None` if the output shard is this one.
        part: Option<Name>,
    },
    /// CL_M.
    RejectVoted {
        /// The shard that can never execute it.
        shard: ShardId,
        /// Why.
        cause: Cause,
    },
    /// CL.
    RejectSent {
        /// The shard that can never execute it.
        shard: ShardId,
        /// To whom it goes.
        to: Dest,
        /// Why.
        cause: Cause,
    },
    /// It is believed never to execute.
    Believed {
        /// In which shard that is believed.
        shard: ShardId,
        /// Why.
        cause: Cause,
    },
    /// A client is told of its end.
    Told {
        /// The client.
        client: ClientId,
        /// The end.
        fate: Fate,
    },
}

/// What happens to a group part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartStep {
    /// A block has it for another shard.
    Made {
        /// The block.
        place: Place,
        /// What it holds.
        holds: Holds,
    },
    /// LD: it goes to a member of its destination, or to one of our shard that lacks it.
    Sent {
        /// To whom.
        to: NodeId,
    },
    /// LD has come in.
    Received {
        /// From whom.
        from: NodeId,
    },
    /// SIGN.
    Signed,
    /// N−f SIGNs are here: it may be imported.
    Eligible {
        /// Its destination.
        shard: ShardId,
    },
    /// An own lane entry imports it.
    Listed {
        /// The entry.
        entry: Name,
    },
    /// A block executes it.
    Imported {
        /// The block.
        place: Place,
        /// What it holds.
        holds: Holds,
    },
}

/// How many transactions of each kind a part tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holds {
    /// Those that have spent.
    pub spent: usize,
    /// Those that finished.
    pub finished: usize,
    /// Those that were cancelled.
    pub cancelled: usize,
}

/// What happens in a round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoundStep {
    /// We have given our input.
    Begun,
    /// We go on to another view.
    Entered {
        /// The view.
        view: View,
    },
    /// It is decided.
    Decided {
        /// The deciding view.
        view: View,
        /// The entries of its block.
        entries: Vec<Name>,
    },
    /// Its block is executed.
    Executed {
        /// Digest of the header.
        header: Digest,
        /// Transactions that reached their end in it, within the shard or across.
        finished: u64,
        /// Transactions that it rejected for good, or that had expired.
        rejected: u64,
        /// Cross-shard transactions that spent in it.
        spent: u64,
        /// Cross-shard transactions that it cancelled.
        cancelled: u64,
        /// Cross-shard transactions whose inputs it gave back.
        refunded: u64,
    },
    /// N−f VOTEs for its block, or for a later one, are here.
    Certified,
}

/// The name of a part.
pub fn part_name(source: ShardId, destination: ShardId, number: PartNumber) -> Name {
    Name::Part { source, destination, number }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceEvent::Tx { id, step } => tx(Name::tx(id), step, f),
            TraceEvent::Part { part, step } => part_step(*part, step, f),
            TraceEvent::Round { shard, round, step } => {
                write!(f, "{} of {} ", Name::Round(*round), Name::Shard(*shard))?;
                round_step(step, f)
            }
            TraceEvent::Heard { from, said } => write!(f, "{} says: {said}", Name::Node(*from)),
            TraceEvent::Sent { to, said } => write!(f, "{} is sent: {said}", Whom(to)),
            TraceEvent::Proposed { entry, transactions, imports, cancels, payload_bytes } => write!(
                f,
                "{entry} is proposed with {transactions} transactions, {imports} imports and {cancels} cancels in \
                 {payload_bytes} bytes"
            ),
        }
    }
}

fn tx(tx: Name, step: &TxStep, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        TxStep::Admitted { client } => write!(f, "{tx} is admitted here, for {}", Name::Client(*client)),
        TxStep::Forwarded { to } => write!(f, "{tx} goes to {} to be ordered", Whom(to)),
        TxStep::Asked { by, home } => {
            write!(f, "{tx} is to be ordered for {}; its home is {}", Name::Node(*by), Name::Node(*home))
        }
        TxStep::Proposed { entry } => write!(f, "{tx} goes into {entry}"),
        TxStep::Spent { place, entry, part: Some(part) } => {
            write!(f, "{tx} has spent {place} by {entry}; its record is open and {part} tells of it")
        }
        TxStep::Spent { place, entry, part: None } => {
            write!(f, "{tx} has spent {place} by {entry}; its record is open and the pool here is ticked")
        }
        TxStep::Settled { place, entry, end } => match end {
            Outcome::Settled(Settled::Finished) => write!(f, "{tx} has finished {place} by {entry}"),
            Outcome::Settled(Settled::Spent) => write!(f, "{tx} has spent {place} by {entry}"),
            Outcome::Settled(Settled::Never(cause)) => {
                write!(f, "{tx} is rejected {place} by {entry}: {cause}")
            }
            Outcome::ExpiryTooFar => {
                write!(f, "{tx} is passed over {place} in {entry}: {}", Cause::ExpiryTooFar)
            }
            Outcome::Duplicate => write!(f, "{tx} is passed over {place} in {entry}: it is known"),
            Outcome::NotHere => write!(f, "{tx} is passed over {place} in {entry}: it has no input here"),
        },
        TxStep::Ticked { place, part } => write!(f, "{tx} is ticked {place} by {part}"),
        TxStep::Pooled { place } => write!(f, "{tx} waits in the pool {place}"),
        TxStep::Finished { place, parts } => {
            write!(f, "{tx} has finished {place}: its outputs exist{}", Told(parts))
        }
        TxStep::CancelListed { entry } => write!(f, "{tx} is listed to be cancelled by {entry} (BACK)"),
        TxStep::Cancelled { place, parts } => write!(f, "{tx} is cancelled {place}{}", Told(parts)),
        TxStep::Refunded { place, part } => {
            write!(f, "{tx} is refunded {place}{}; its record is closed", Because(part.as_ref()))
        }
        TxStep::Closed { place, part } => {
            write!(f, "{tx} has its record closed {place}{}, since it finished", Because(part.as_ref()))
        }
        TxStep::RejectVoted { shard, cause } => {
            write!(f, "{tx} can never execute in {}: {cause} (CL_M)", Name::Shard(*shard))
        }
        TxStep::RejectSent { shard, to, cause } => {
            let (shard, to) = (Name::Shard(*shard), Whom(to));
            write!(f, "{tx} can never execute in {shard}, which {to} is told: {cause} (CL)")
        }
        TxStep::Believed { shard, cause } => {
            write!(f, "{tx} is believed in {} never to execute: {cause}", Name::Shard(*shard))
        }
        TxStep::Told { client, fate } => write!(f, "{tx} is {fate}, which {} is told", Name::Client(*client)),
    }
}

fn part_step(part: Name, step: &PartStep, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        PartStep::Made { place, holds } => write!(f, "{part} is made {place}: {holds}"),
        PartStep::Sent { to } => write!(f, "{part} goes to {} (LD)", Name::Node(*to)),
        PartStep::Received { from } => write!(f, "{part} has come from {} (LD)", Name::Node(*from)),
        PartStep::Signed => write!(f, "{part} is signed here (SIGN)"),
        PartStep::Eligible { shard } => write!(f, "{part} is eligible in {}", Name::Shard(*shard)),
        PartStep::Listed { entry } => write!(f, "{part} is imported by {entry}"),
        PartStep::Imported { place, holds } => write!(f, "{part} is executed {place}: {holds}"),
    }
}

fn round_step(step: &RoundStep, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match step {
        RoundStep::Begun => f.write_str("has our input"),
        RoundStep::Entered { view } => write!(f, "goes on to {}", Name::View(*view)),
        RoundStep::Decided { view, entries } => {
            write!(f, "is decided in {}: ", Name::View(*view))?;
            for (at, entry) in entries.iter().enumerate() {
                write!(f, "{}{entry}", if at == 0 { "" } else { ", " })?;
            }
            Ok(())
        }
        RoundStep::Executed { header, finished, rejected, spent, cancelled, refunded } => write!(
            f,
            "is executed: {finished} finished, {rejected} rejected, {spent} spent, {cancelled} cancelled, {refunded} \
             refunded; header {header}"
        ),
        RoundStep::Certified => f.write_str("is certified by N−f VOTEs"),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {} in {}", Name::Shard(self.shard), Name::Round(self.round))
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holds { spent, finished, cancelled } = self;
        write!(f, "{spent} spent, {finished} finished, {cancelled} cancelled")
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Rejected(reason) => reason.fmt(f),
            Cause::Expired => f.write_str("it has expired"),
            Cause::ExpiryTooFar => f.write_str("its expiry is too far ahead"),
        }
    }
}

/// To whom something goes.
struct Whom<'a>(&'a Dest);

impl fmt::Display for Whom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Dest::Node(node) => Name::Node(*node).fmt(f),
            Dest::Shard(shard) => Name::Shard(*shard).fmt(f),
            Dest::ShardOthers => f.write_str("the own shard"),
            Dest::Set(nodes) => {
                for (at, node) in nodes.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { ", " }, Name::Node(*node))?;
                }
                Ok(())
            }
        }
    }
}

/// Which parts tell other shards of it, if any have to be told.
struct Told<'a>(&'a [Name]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            write!(f, "{} {part}", if at == 0 { ";" } else { "," })?;
        }
        match self.0.len() {
            0 => Ok(()),
            1 => f.write_str(" tells of it"),
            _ => f.write_str(" tell of it"),
        }
    }
}

/// Which part said so.
struct Because<'a>(Option<&'a Name>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |part| write!(f, " by {part}"))
    }
}
