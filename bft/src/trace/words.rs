//! How the values of events are written into a line and read from it.

use std::fmt::{self, Debug, Formatter};

use serde::de::DeserializeOwned;
use wire::client::Fate;
use wire::dest::Dest;
use wire::ids::{ClientId, Digest, NodeId, Round, ShardId, View};
use wire::name::{Name, TxHead};
use wire::{codec, hex};

use super::{Holds, Place, Said};
use crate::ledger::{Cause, Outcome, Settled};

/// The rest of a line.
pub(super) struct Line<'a>(pub(super) &'a str);

impl<'a> Line<'a> {
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn value(&mut self, key: &str) -> Option<&'a str> {
        self.word()?.strip_prefix(key)?.strip_prefix('=')
    }
}

/// A field of a step.
pub(super) trait Field: Sized {
    /// Writes a space and `key=value`.
    fn write(&self, key: &str, f: &mut Formatter<'_>) -> fmt::Result;
    /// Reads what [`Field::write`] wrote.
    fn read(key: &str, line: &mut Line<'_>) -> Option<Self>;
}

/// A value that is one word without a comma.
pub(super) trait Word: Sized {
    fn encode(&self) -> String;
    fn decode(word: &str) -> Option<Self>;
}

impl<T: Word> Field for T {
    fn write(&self, key: &str, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " {key}={}", self.encode())
    }

    fn read(key: &str, line: &mut Line<'_>) -> Option<T> {
        T::decode(line.value(key)?)
    }
}

impl<T: Word> Field for Option<T> {
    fn write(&self, key: &str, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " {key}={}", self.as_ref().map_or("-".into(), T::encode))
    }

    fn read(key: &str, line: &mut Line<'_>) -> Option<Option<T>> {
        match line.value(key)? {
            "-" => Some(None),
            word => T::decode(word).map(Some),
        }
    }
}

impl<T: Word> Field for Vec<T> {
    fn write(&self, key: &str, f: &mut Formatter<'_>) -> fmt::Result {
        let items: Vec<String> = self.iter().map(T::encode).collect();
        write!(f, " {key}={}", if items.is_empty() { "-".into() } else { items.join(",") })
    }

    fn read(key: &str, line: &mut Line<'_>) -> Option<Vec<T>> {
        match line.value(key)? {
            "-" => Some(Vec::new()),
            words => words.split(',').map(T::decode).collect(),
        }
    }
}

impl Field for Place {
    fn write(&self, _: &str, f: &mut Formatter<'_>) -> fmt::Result {
        self.shard.write("shard", f)?;
        self.round.write("round", f)
    }

    fn read(_: &str, line: &mut Line<'_>) -> Option<Place> {
        Some(Place { shard: Field::read("shard", line)?, round: Field::read("round", line)? })
    }
}

impl Field for Holds {
    fn write(&self, _: &str, f: &mut Formatter<'_>) -> fmt::Result {
        self.spent.write("spent", f)?;
        self.finished.write("finished", f)?;
        self.cancelled.write("cancelled", f)
    }

    fn read(_: &str, line: &mut Line<'_>) -> Option<Holds> {
        let mut field = |key| Field::read(key, line);
        Some(Holds { spent: field("spent")?, finished: field("finished")?, cancelled: field("cancelled")? })
    }
}

impl Field for Said {
    fn write(&self, key: &str, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " {key}={}", self.0)
    }

    fn read(key: &str, line: &mut Line<'_>) -> Option<Said> {
        let rest = std::mem::take(&mut line.0);
        rest.strip_prefix(key)?.strip_prefix('=').map(|said| Said(said.into()))
    }
}

macro_rules! numbers {
    ($($type:ty = $value:ident -> $number:expr, $new:expr;)+) => {
        $(impl Word for $type {
            fn encode(&self) -> String {
                let $value = self;
                $number.to_string()
            }

            fn decode(word: &str) -> Option<$type> {
                // There is one way to write a number, which has no sign.
                word.starts_with(|c: char| c.is_ascii_digit()).then(|| word.parse().ok()).flatten().map($new)
            }
        })+
    };
}

numbers! {
    u64 = value -> value, |number| number;
    usize = value -> value, |number| number;
    NodeId = id -> id.0, NodeId;
    ShardId = id -> id.0, ShardId;
    ClientId = id -> id.0, ClientId;
    Round = round -> round.0, Round;
    View = view -> view.0, View;
}

impl Word for Digest {
    fn encode(&self) -> String {
        hex::encode(&self.0)
    }

    fn decode(word: &str) -> Option<Digest> {
        hex::decode_32(word).map(Digest)
    }
}

impl Word for TxHead {
    fn encode(&self) -> String {
        self.to_string()
    }

    fn decode(word: &str) -> Option<TxHead> {
        match Name::parse("tx", word) {
            Some(Name::Tx(head)) => Some(head),
            _ => None,
        }
    }
}

/// Lane entries and parts, which their signs tell apart.
impl Word for Name {
    fn encode(&self) -> String {
        let name = self.to_string();
        name.split_once(' ').map_or_else(String::new, |(_, value)| value.into())
    }

    fn decode(word: &str) -> Option<Name> {
        Name::parse(if word.contains('>') { "part" } else { "lane" }, word)
    }
}

impl Word for Dest {
    fn encode(&self) -> String {
        match self {
            Dest::Node(node) => format!("node:{node}"),
            Dest::Shard(shard) => format!("shard:{shard}"),
            Dest::ShardOthers => "own-shard".into(),
            Dest::Set(nodes) => {
                let ids: Vec<String> = nodes.iter().map(NodeId::encode).collect();
                format!("nodes:{}", ids.join("+"))
            }
        }
    }

    fn decode(word: &str) -> Option<Dest> {
        Some(match word.split_once(':') {
            Some(("node", id)) => Dest::Node(Word::decode(id)?),
            Some(("shard", id)) => Dest::Shard(Word::decode(id)?),
            Some(("nodes", "")) => Dest::Set(Vec::new()),
            Some(("nodes", ids)) => Dest::Set(ids.split('+').map(Word::decode).collect::<Option<_>>()?),
            None if word == "own-shard" => Dest::ShardOthers,
            _ => return None,
        })
    }
}

impl Word for Cause {
    fn encode(&self) -> String {
        match self {
            Cause::Rejected(reason) => format!("rejected:{reason:?}"),
            Cause::Expired => "expired".into(),
            Cause::ExpiryTooFar => "expiry-too-far".into(),
        }
    }

    fn decode(word: &str) -> Option<Cause> {
        match word.split_once(':') {
            Some(("rejected", reason)) => unit_variant(reason).map(Cause::Rejected),
            None if word == "expired" => Some(Cause::Expired),
            None if word == "expiry-too-far" => Some(Cause::ExpiryTooFar),
            _ => None,
        }
    }
}

impl Word for Outcome {
    fn encode(&self) -> String {
        match self {
            Outcome::Settled(Settled::Finished) => "finished".into(),
            Outcome::Settled(Settled::Spent) => "spent".into(),
            Outcome::Settled(Settled::Never(cause)) => format!("never:{}", cause.encode()),
            Outcome::Duplicate => "duplicate".into(),
            Outcome::NotHere => "not-here".into(),
            Outcome::ExpiryTooFar => "expiry-too-far".into(),
        }
    }

    fn decode(word: &str) -> Option<Outcome> {
        Some(match word {
            "finished" => Outcome::Settled(Settled::Finished),
            "spent" => Outcome::Settled(Settled::Spent),
            "duplicate" => Outcome::Duplicate,
            "not-here" => Outcome::NotHere,
            "expiry-too-far" => Outcome::ExpiryTooFar,
            _ => Outcome::Settled(Settled::Never(Cause::decode(word.strip_prefix("never:")?)?)),
        })
    }
}

impl Word for Fate {
    fn encode(&self) -> String {
        match self {
            Fate::Finished(round) => format!("finished:{round}"),
            Fate::Rejected(reason) => format!("rejected:{reason:?}"),
            Fate::Expired => "expired".into(),
            Fate::Refused(reason) => format!("refused:{reason:?}"),
            Fate::Unknown => "unknown".into(),
        }
    }

    fn decode(word: &str) -> Option<Fate> {
        match word.split_once(':') {
            Some(("finished", round)) => Word::decode(round).map(Fate::Finished),
            Some(("rejected", reason)) => unit_variant(reason).map(Fate::Rejected),
            Some(("refused", reason)) => unit_variant(reason).map(Fate::Refused),
            None if word == "expired" => Some(Fate::Expired),
            None if word == "unknown" => Some(Fate::Unknown),
            _ => None,
        }
    }
}

/// The variant of an enum without fields that `Debug` writes so. All variants are those that its codec knows, so no
/// list of them can be out of date.
fn unit_variant<T: DeserializeOwned + Debug>(name: &str) -> Option<T> {
    let mut all = (0u32..).map_while(|index| codec::decode::<T>(&index.to_le_bytes()).ok());
    all.find(|variant| format!("{variant:?}") == name)
}
