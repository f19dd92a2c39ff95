//! The life of a member for people: typed events for the log, produced only if they are asked for.
//!
//! The core logs nothing. With [`CoreConfig::tracing`](crate::core::CoreConfig) it puts these among its effects and the
//! driver logs them, a line each. An event that all members of a shard see alike is the same event at all of them: the
//! logs of many nodes then hold one event that many report. So an event names its shard, and holds nothing that only
//! one member knows unless it is about that member.
//!
//! # Encoding
//!
//! One line, written by `Display` and read by [`TraceEvent::parse`]; both come from the one declaration of each step.
//!
//! ```text
//! tx.spent tx=1f2e3d4c5b6a7988 shard=2 round=1 entry=9:4 part=2>0:1
//! part.made part=2>0:1 shard=2 round=1 spent=1 finished=0 cancelled=0
//! round.decided shard=1 round=12 view=0 entries=4:15-17,5:2
//! lane.certified entry=9:4
//! message.sent to=own-shard said=round 12: ECHO of view 0
//! ```
//!
//! The first word is what the event is about and the step. Each field is `key=value` in the order of its declaration,
//! and no value but the last of a message holds a space. Ids are written as [`wire::name`] does, without the kind. An
//! absent value is `-`; the items of a list are joined by commas.
//!
//! Bound: what one step produces is in proportion to the messages and the block that it deals with.

mod words;

use std::fmt::{self, Formatter};

use wire::client::Fate;
use wire::dest::Dest;
use wire::ids::{ClientId, Digest, NodeId, PartNumber, Round, ShardId, View};
use wire::name::{Name, TxHead};

use self::words::{Field, Line};
use crate::ledger::{Cause, Outcome};

/// How much is traced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tracing {
    /// Nothing.
    Off,
    /// Rounds, own lane entries, parts, and all of what happens to cross-shard transactions and to those that fail.
    Steps,
    /// Also every message, every echo and certificate of an entry, and the steps of transactions within a shard.
    All,
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TraceEvent {
    /// Something happens to a transaction.
    Tx {
        /// The transaction.
        tx: TxHead,
        /// The step.
        step: TxStep,
    },
    /// Something happens to a group part.
    Part {
        /// Always [`Name::Part`].
        part: Name,
        /// The step.
        step: PartStep,
    },
    /// Something happens in a round of the own shard.
    Round {
        /// The own shard.
        shard: ShardId,
        /// The round.
        round: Round,
        /// The step.
        step: RoundStep,
    },
    /// Something happens to a lane entry.
    Lane {
        /// Always [`Name::Lane`] with one entry.
        entry: Name,
        /// The step.
        step: LaneStep,
    },
    /// A message comes in or goes out.
    Message(MessageStep),
}

/// Where a block did something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The shard.
    pub shard: ShardId,
    /// The round.
    pub round: Round,
}

/// How many transactions of each kind a part holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holds {
    /// Those that have spent.
    pub spent: usize,
    /// Those that finished.
    pub finished: usize,
    /// Those that were cancelled.
    pub cancelled: usize,
}

/// Declares steps with their words and fields, and their encoding with them.
macro_rules! steps {
    (
        $(#[$meta:meta])*
        pub enum $enum:ident {
            $($(#[$doc:meta])* $step:ident = $word:literal $({ $($(#[$field_doc:meta])* $field:ident: $type:ty),+ $(,)? })?),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum $enum {
            $($(#[$doc])* $step $({ $($(#[$field_doc])* $field: $type),+ })?),+
        }

        impl $enum {
            fn word(&self) -> &'static str {
                match self {
                    $($enum::$step $({ $($field: _),+ })? => $word),+
                }
            }

            fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
                match self {
                    $($enum::$step $({ $($field),+ })? => {
                        $($($field.write(stringify!($field), f)?;)+)?
                        Ok(())
                    }),+
                }
            }

            fn read(word: &str, line: &mut Line<'_>) -> Option<$enum> {
                match word {
                    $($word => Some($enum::$step $({ $($field: Field::read(stringify!($field), line)?),+ })?),)+
                    _ => None,
                }
            }

            /// The words of all steps, so that a test can tell that it has seen each.
            #[cfg(test)]
            const WORDS: &[&str] = &[$($word),+];
        }
    };
}

steps! {
    /// Steps of a transaction.
    pub enum TxStep {
        /// Its contact has taken it.
        Admitted = "admitted" {
            /// From whom.
            client: ClientId,
        },
        /// Members of an input shard are requested to order it.
        Forwarded = "forwarded" {
            /// Those members.
            to: Dest,
        },
        /// A member of its output shard requests us to order it.
        Requested = "requested" {
            /// That member.
            by: NodeId,
            /// The member that is to propose it first.
            home: NodeId,
        },
        /// It goes into an own lane entry.
        Proposed = "proposed" {
            /// The entry.
            entry: Name,
        },
        /// An input shard has spent its inputs.
        Spent = "spent" {
            /// The block.
            place: Place,
            /// The entry it stood in.
            entry: Name,
            /// The part that carries it to its output shard; `None` if that is this one, whose pool it ticks at once.
            part: Option<Name>,
        },
        /// A block has settled it, or passed it over, in this shard.
        Settled = "settled" {
            /// The block.
            place: Place,
            /// The entry it stood in.
            entry: Name,
            /// Its outcome.
            end: Outcome,
        },
        /// A part of another shard ticks it in the pool of its output shard.
        Ticked = "ticked" {
            /// The block.
            place: Place,
            /// The part.
            part: Name,
        },
        /// It has an entry in the pool.
        Pooled = "pooled" {
            /// The block.
            place: Place,
        },
        /// All its input shards have spent: its outputs exist.
        Finished = "finished" {
            /// The block.
            place: Place,
            /// The parts that carry this to the input shards.
            parts: Vec<Name>,
        },
        /// BACK: a member lists it to be cancelled.
        CancelListed = "cancel-listed" {
            /// The entry that does.
            entry: Name,
        },
        /// Its entry in the pool is dropped.
        Cancelled = "cancelled" {
            /// The block.
            place: Place,
            /// The parts that carry this to the input shards that have spent.
            parts: Vec<Name>,
        },
        /// An input shard gives its inputs back.
        Refunded = "refunded" {
            /// The block.
            place: Place,
            /// The part that carried the cancel; `None` if the output shard is this one.
            part: Option<Name>,
        },
        /// An input shard closes its record since it finished.
        Closed = "closed" {
            /// The block.
            place: Place,
            /// The part that carried the end; `None` if the output shard is this one.
            part: Option<Name>,
        },
        /// CL_M.
        RejectVoted = "reject-voted" {
            /// The shard that can never execute it.
            shard: ShardId,
            /// Why.
            cause: Cause,
        },
        /// CL.
        RejectSent = "reject-sent" {
            /// The shard that can never execute it.
            shard: ShardId,
            /// To whom it goes.
            to: Dest,
            /// Why.
            cause: Cause,
        },
        /// It is believed never to execute.
        Believed = "believed" {
            /// In which shard that is believed.
            shard: ShardId,
            /// Why.
            cause: Cause,
        },
        /// A client gets its receipt.
        Answered = "answered" {
            /// The client.
            client: ClientId,
            /// The fate that the receipt names.
            fate: Fate,
        },
    }
}

steps! {
    /// Steps of a group part.
    pub enum PartStep {
        /// A block has it for another shard.
        Made = "made" {
            /// The block.
            place: Place,
            /// Its content.
            holds: Holds,
        },
        /// LD: it goes to a member of its destination, or to one of our shard that lacks it.
        Sent = "sent" {
            /// To whom.
            to: NodeId,
        },
        /// LD has come in.
        Received = "received" {
            /// From whom.
            from: NodeId,
        },
        /// SIGN.
        Signed = "signed",
        /// N−f SIGNs are here: it may be imported.
        Eligible = "eligible" {
            /// Its destination.
            shard: ShardId,
        },
        /// An own lane entry imports it.
        Listed = "listed" {
            /// The entry.
            entry: Name,
        },
        /// A block executes it.
        Imported = "imported" {
            /// The block.
            place: Place,
            /// Its content.
            holds: Holds,
        },
    }
}

steps! {
    /// Steps of a round.
    pub enum RoundStep {
        /// We have given our input.
        Begun = "begun",
        /// We go on to another view.
        Entered = "entered" {
            /// That view.
            view: View,
        },
        /// It is decided.
        Decided = "decided" {
            /// The deciding view.
            view: View,
            /// The entries of its block.
            entries: Vec<Name>,
        },
        /// Its block is executed.
        Executed = "executed" {
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
        Certified = "certified",
    }
}

steps! {
    /// Steps of a lane entry.
    pub enum LaneStep {
        /// An own entry goes out.
        Proposed = "proposed" {
            /// Transactions in it.
            transactions: usize,
            /// Parts that it imports.
            imports: usize,
            /// Transactions that it lists to be cancelled.
            cancels: usize,
            /// Bytes of its payload.
            payload_bytes: usize,
        },
        /// We have found an entry of a peer valid, and return our signature.
        Echoed = "echoed",
        /// Its certificate is known here.
        Certified = "certified",
    }
}

steps! {
    /// Messages.
    pub enum MessageStep {
        /// A message of a peer comes in.
        Received = "received" {
            /// The peer.
            from: NodeId,
            /// Its content.
            said: Said,
        },
        /// A message goes out.
        Sent = "sent" {
            /// To whom.
            to: Dest,
            /// Its content.
            said: Said,
        },
    }
}

/// The content of a message as [`said`](crate::message::said) words it: the rest of the line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said(pub String);

/// The name of a part.
pub fn part_name(source: ShardId, destination: ShardId, number: PartNumber) -> Name {
    Name::Part { source, destination, number }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            TraceEvent::Tx { tx, step } => {
                write!(f, "tx.{}", step.word())?;
                tx.write("tx", f)?;
                step.write(f)
            }
            TraceEvent::Part { part, step } => {
                write!(f, "part.{}", step.word())?;
                part.write("part", f)?;
                step.write(f)
            }
            TraceEvent::Round { shard, round, step } => {
                write!(f, "round.{}", step.word())?;
                shard.write("shard", f)?;
                round.write("round", f)?;
                step.write(f)
            }
            TraceEvent::Lane { entry, step } => {
                write!(f, "lane.{}", step.word())?;
                entry.write("entry", f)?;
                step.write(f)
            }
            TraceEvent::Message(step) => {
                write!(f, "message.{}", step.word())?;
                step.write(f)
            }
        }
    }
}

impl TraceEvent {
    /// The event that a line is; `None` if it is none.
    pub fn parse(line: &str) -> Option<TraceEvent> {
        let mut line = Line(line);
        let (about, word) = line.word()?.split_once('.')?;
        let event = match about {
            "tx" => {
                TraceEvent::Tx { tx: Field::read("tx", &mut line)?, step: TxStep::read(word, &mut line)? }
            }
            "part" => TraceEvent::Part {
                part: Field::read("part", &mut line)?,
                step: PartStep::read(word, &mut line)?,
            },
            "round" => TraceEvent::Round {
                shard: Field::read("shard", &mut line)?,
                round: Field::read("round", &mut line)?,
                step: RoundStep::read(word, &mut line)?,
            },
            "lane" => TraceEvent::Lane {
                entry: Field::read("entry", &mut line)?,
                step: LaneStep::read(word, &mut line)?,
            },
            "message" => TraceEvent::Message(MessageStep::read(word, &mut line)?),
            _ => return None,
        };
        line.0.is_empty().then_some(event)
    }
}

#[cfg(test)]
mod tests;
