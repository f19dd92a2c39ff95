//! The plan of a load, and the options for it.

use std::time::Duration;

use wire::committee::Committee;
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, TRANSACTION_BYTES_MAX};
use wire::text::ParseError;

use super::mix::{Mix, Share};
use super::workload::transaction_bytes_min;
use crate::flags::{Opt, UsageError, Values, parse_seconds};

/// How much load is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rate {
    /// So many transactions a second over all nodes, whatever the testbed does (open loop).
    PerSecond(u64),
    /// As much as it takes (closed loop).
    Max,
}

impl Rate {
    /// Completes "expected …" in errors.
    const EXPECTED: &str = "transactions a second from 1 to 10000000, or 'max'";

    fn parse(text: &str) -> Option<Rate> {
        match text {
            "max" => Some(Rate::Max),
            _ => text.parse().ok().filter(|rate| (1..=10_000_000).contains(rate)).map(Rate::PerSecond),
        }
    }
}

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
    pub(crate) seed: u64,
}

pub(crate) const RATE: Opt = Opt::with(
    "rate",
    "R|max",
    "10000",
    "Transactions offered a second over all nodes of all shards, whatever the testbed makes of them; max: as many \
     as it takes.",
);
pub(crate) const DURATION: Opt = Opt::with("duration", "S", "10", "Seconds for which load is offered.");
pub(crate) const WARMUP: Opt = Opt::without_default(
    "warmup",
    "S",
    "Seconds at the start that rates, latencies and costs leave out; 0, or with --rate max a quarter of the duration and \
     at most 3.",
);
pub(crate) const TX_SIZE: Opt = Opt::with(
    "tx-size",
    "B",
    "250",
    "Bytes of a transaction as encoded; one with inputs from three shards needs at least 294.",
);
pub(crate) const CROSS: Opt = Opt::without_default(
    "cross",
    "P",
    "Share of transactions that take coins from one shard to another; 0.1 if there are several shards and it is not given.",
);
pub(crate) const INVALID: Opt = Opt::with(
    "invalid",
    "P",
    "0.1",
    "Share of the inputs of transactions between shards that cannot be spent: a spent coin, one that never was, or a wrong \
     amount. Such transactions must be rejected.",
);
pub(crate) const EXPIRY_ROUNDS: Opt = Opt::without_default(
    "expiry-rounds",
    "R",
    "Rounds after which a transaction expires that is not ordered, and is forgotten if it is; as a rule what takes 20 s at \
     the present pace, and at least 1000.",
);
pub(crate) const SEED: Opt = Opt::with(
    "seed",
    "S",
    "1",
    "Seed of everything random in the load. (Keys come from the system's randomness.)",
);

impl Plan {
    /// The load of a command line, of so many shards, whose transactions are signed or not.
    pub(crate) fn of(
        values: &Values,
        shards: u16,
        signed: bool,
        duration: Option<Duration>,
    ) -> Result<Plan, UsageError> {
        let tx_bytes_min = transaction_bytes_min(signed) as u64;
        let rate = values.value(RATE.name, Rate::EXPECTED, Rate::parse)?;
        Ok(Plan {
            rate,
            duration,
            warmup: warmup(values, rate, duration)?,
            tx_bytes: values.number(TX_SIZE.name, tx_bytes_min, TRANSACTION_BYTES_MAX)? as usize,
            mix: mix(values, shards)?,
            // A node that is ahead of what clients know must not find an expiry too far.
            expiry_rounds: values.optional_number(EXPIRY_ROUNDS.name, 1, EXPIRY_ROUNDS_AHEAD_MAX - 1_000)?,
            seed: values.number(SEED.name, 0, u64::MAX)?,
        })
    }

    /// The same for a testbed that runs.
    pub(crate) fn for_committee(values: &Values, committee: &Committee) -> Result<Plan, UsageError> {
        let duration = values.positive_seconds(DURATION.name)?;
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
    let Some(warmup) = values.optional(WARMUP.name, "seconds, at most a week", parse_seconds)? else {
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
    let cross = values.optional(CROSS.name, Share::EXPECTED, Share::parse)?.unwrap_or(default);
    if shards == 1 && cross > Share::NONE {
        let given = values.text(CROSS.name).unwrap_or_default();
        return Err(ParseError::of("--cross", given, "0, since there is one shard (see --shards)").into());
    }
    Ok(Mix { cross, invalid: values.value(INVALID.name, Share::EXPECTED, Share::parse)? })
}
