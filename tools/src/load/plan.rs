//! The plan of a load, and the options for it.

use std::time::Duration;

use wire::committee::Committee;
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, TRANSACTION_BYTES_MAX};
use wire::text::ParseError;

use super::mix::{Mix, Share};
use super::workload::transaction_bytes_min;
use crate::flags::{Opt, Range, UsageError, Values};

/// How much load is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rate {
    /// So many transactions a second over all nodes, whatever the testbed does (open loop).
    PerSecond(u64),
    /// As much as it takes (closed loop).
    Max,
}

impl Rate {
    fn of(values: &Values) -> Result<Rate, UsageError> {
        match values.required(RATE.name)? {
            MAX => Ok(Rate::Max),
            _ => values.whole(RATE.name).map(Rate::PerSecond),
        }
    }
}

/// Instead of a rate.
const MAX: &str = "max";
/// The least transaction that is not signed, bytes.
pub(crate) const TX_BYTES_MIN: u64 = 110;

/// The load to be offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) rate: Rate,
    /// How long; without it until a command ends the load.
    pub(crate) duration: Option<Duration>,
    /// For how long at the beginning no figure is about it.
    pub(crate) warmup: Duration,
    /// Length of each transaction as encoded; one that crosses shards may need more.
    pub(crate) tx_bytes: usize,
    pub(crate) mix: Mix,
    /// Rounds after which a transaction expires, if that is not to follow the pace.
    pub(crate) expiry_rounds: Option<u64>,
    /// How long a contact may be silent before what is open there is handed on; zero for any time.
    pub(crate) hand_on_after: Duration,
    pub(crate) seed: u64,
}

pub(crate) const RATE: Opt = Opt::with(
    "rate",
    "R|max",
    "10000",
    "Transactions offered a second over all nodes of all shards, whatever the testbed makes of them; max: as many \
     as it takes.",
)
.within(Range::WholeOr { min: 1, max: 10_000_000, word: MAX });
pub(crate) const DURATION: Opt =
    Opt::with("duration", "S", "10", "Seconds for which load is offered.").within(Range::PositiveSeconds);
pub(crate) const WARMUP: Opt = Opt::without_default(
    "warmup",
    "S",
    "Seconds at the start that rates, latencies and costs leave out; 0, or with --rate max a quarter of the duration and \
     at most 3. Less than the duration.",
)
.within(Range::Seconds { min_ms: 0 });
pub(crate) const TX_SIZE: Opt = Opt::with(
    "tx-size",
    "B",
    "250",
    "Bytes of a transaction as encoded; a signed one needs at least 174, one with inputs from three shards 294.",
)
.within(Range::whole(TX_BYTES_MIN, TRANSACTION_BYTES_MAX));
pub(crate) const CROSS: Opt = Opt::without_default(
    "cross",
    "P",
    "Share of transactions that take coins from one shard to another; 0.1 if there are several shards and it is not given.",
)
.within(Range::Fraction);
pub(crate) const INVALID: Opt = Opt::with(
    "invalid",
    "P",
    "0.1",
    "Share of the inputs of transactions between shards that cannot be spent: a spent coin, one that never was, or a wrong \
     amount. Such transactions must be rejected.",
)
.within(Range::Fraction);
pub(crate) const EXPIRY_ROUNDS: Opt = Opt::without_default(
    "expiry-rounds",
    "R",
    "Rounds after which a transaction expires that is not ordered, and is forgotten if it is; as a rule what takes 20 s at \
     the present pace, and at least 1000.",
)
// A node that is ahead of what clients know must not find an expiry too far.
.within(Range::whole(1, EXPIRY_ROUNDS_AHEAD_MAX - 1_000));
pub(crate) const HAND_ON: Opt = Opt::with(
    "hand-on",
    "S",
    "1",
    "Seconds that a node may be silent while transactions wait there; then they are queried at other members of its \
     shard, and handed in there if they are not known. 0: never.",
)
.within(Range::Seconds { min_ms: 0 });
pub(crate) const SEED: Opt = Opt::with(
    "seed",
    "S",
    "1",
    "Seed of everything random in the load. (Keys come from the system's randomness.)",
)
.within(Range::whole(0, u64::MAX));

impl Plan {
    /// The load of a command line, of so many shards, whose transactions are signed or not.
    pub(crate) fn of(
        values: &Values,
        shards: u16,
        signed: bool,
        duration: Option<Duration>,
    ) -> Result<Plan, UsageError> {
        let tx_bytes_min = transaction_bytes_min(signed) as u64;
        let rate = Rate::of(values)?;
        Ok(Plan {
            rate,
            duration,
            warmup: warmup(values, rate, duration)?,
            tx_bytes: values.number(TX_SIZE.name, tx_bytes_min, TRANSACTION_BYTES_MAX)? as usize,
            mix: mix(values, shards)?,
            expiry_rounds: values.optional_whole(EXPIRY_ROUNDS.name)?,
            hand_on_after: values.seconds(HAND_ON.name)?,
            seed: values.whole(SEED.name)?,
        })
    }

    /// The same for a testbed that runs.
    pub(crate) fn for_committee(values: &Values, committee: &Committee) -> Result<Plan, UsageError> {
        let duration = values.seconds(DURATION.name)?;
        Plan::of(values, committee.shards(), committee.protocol().signed, Some(duration))
    }
}

/// Of a closed loop, whose window is being searched meanwhile.
const WARMUP_MAX: Duration = Duration::from_secs(3);

/// The warm-up of a load of this rate and duration.
fn warmup(values: &Values, rate: Rate, duration: Option<Duration>) -> Result<Duration, UsageError> {
    let default = match (rate, duration) {
        (Rate::Max, Some(duration)) => (duration / 4).min(WARMUP_MAX),
        (Rate::Max, None) | (Rate::PerSecond(_), _) => Duration::ZERO,
    };
    let Some(warmup) = values.optional_seconds(WARMUP.name)? else {
        return Ok(default);
    };
    if let Some(duration) = duration.filter(|duration| warmup >= *duration) {
        let expected = format!("less than the {} s for which load is offered", duration.as_secs_f64());
        let given = values.text(WARMUP.name).unwrap_or_default();
        return Err(ParseError::of("--warmup", given, expected).into());
    }
    Ok(warmup)
}

/// The mix of a load on so many shards.
fn mix(values: &Values, shards: u16) -> Result<Mix, UsageError> {
    let default = if shards > 1 { Share::TENTH } else { Share::NONE };
    let cross = values.optional_fraction(CROSS.name)?.map_or(default, Share::of);
    if shards == 1 && cross > Share::NONE {
        let given = values.text(CROSS.name).unwrap_or_default();
        return Err(ParseError::of("--cross", given, "0, since there is one shard (see --shards)").into());
    }
    let invalid = values.optional_fraction(INVALID.name)?.map_or(Share::NONE, Share::of);
    Ok(Mix { cross, invalid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_the_least_transaction_sizes() {
        assert_eq!(TX_BYTES_MIN, transaction_bytes_min(false) as u64);
        assert!(TX_SIZE.help.contains(&format!("signed one needs at least {}", transaction_bytes_min(true))));
    }
}
