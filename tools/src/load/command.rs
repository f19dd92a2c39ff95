//! `tools load`: load for a testbed that runs already.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use wire::committee::Committee;
use wire::hosts::Hosts;
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, TRANSACTION_BYTES_MAX};
use wire::text::ParseError;

use super::{Mix, Offering, Plan, Rate, Share, Shared, Ticker, transaction_bytes_min};
use crate::flags::{Command, Opt, UsageError, Values};
use crate::local::parse_seconds;
use crate::signals;
use crate::summary::quantiles_text;
use crate::terminal::tell;
use crate::verify::load_committee;

/// The command.
pub(crate) const COMMAND: Command = Command {
    name: "load",
    summary: "offers load to a testbed that runs",
    about: "Connects to all nodes of hosts.txt, offers transactions, and tells every second and at the end what became \
            of them. The transactions spend the testbed's genesis coins, so only the first load of a testbed finds \
            them unspent.",
    operands: &[],
    options: &[
        Opt::with("hosts", "FILE", "hosts.txt", "Where the nodes are."),
        Opt::with("keys", "DIR", "keys", "The directory with committee.txt."),
        Opt::with(
            "rate",
            "R|max",
            "10000",
            "Transactions offered a second over all nodes; max: as many as they take.",
        ),
        Opt::with("duration", "S", "10", "Seconds for which load is offered."),
        Opt::without_default("warmup", "S", WARMUP_HELP),
        Opt::with("tx-size", "B", "250", "Bytes of a transaction as encoded."),
        Opt::without_default("cross", "P", CROSS_HELP),
        Opt::with("invalid", "P", "0.1", INVALID_HELP),
        Opt::without_default("expiry-rounds", "R", EXPIRY_HELP),
        Opt::with("seed", "S", "1", "Seed of everything random in the load."),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0    every transaction was decided or refused\n\
         1    some had no receipt, were lost or were rejected without a reason\n\
         2    usage\n\
         3    nothing was committed\n\
         4    no node could be reached\n\
         130  interrupted",
        ),
        (
            "EXAMPLES",
            "tools load --hosts hosts.txt --keys keys --rate max --duration 30  As much as the testbed takes.",
        ),
    ],
};

/// What `--cross` means.
pub(crate) const CROSS_HELP: &str = "Share of transactions that take coins from one shard to another; 0.1 if there are \
                                     several shards and it is not given.";
/// What `--invalid` means.
pub(crate) const INVALID_HELP: &str = "Share of the inputs of transactions between shards that cannot be spent: a spent \
                                       coin, one that never was, or a wrong amount. Such transactions must be rejected.";

/// What `--expiry-rounds` means.
pub(crate) const EXPIRY_HELP: &str = "Rounds after which a transaction expires that is not ordered, and is forgotten if \
                                      it is; as a rule what takes 20 s at the present pace, and at least 1000.";

/// What `--warmup` means.
pub(crate) const WARMUP_HELP: &str = "Seconds at the start that rates, latencies and costs leave out; 0, or with --rate max \
                                      a quarter of the duration and at most 3.";

/// Of a closed loop, whose window is being searched meanwhile.
const WARMUP_MAX: Duration = Duration::from_secs(3);

/// What `--warmup` says of a load of this rate and duration.
fn warmup(values: &Values, rate: Rate, duration: Option<Duration>) -> Result<Duration, UsageError> {
    let default = match (rate, duration) {
        (Rate::Max, Some(duration)) => (duration / 4).min(WARMUP_MAX),
        (Rate::Max, None) | (Rate::PerSecond(_), _) => Duration::ZERO,
    };
    let Some(warmup) = values.optional("warmup", "seconds, at most a week", parse_seconds)? else {
        return Ok(default);
    };
    if let Some(duration) = duration.filter(|duration| warmup >= *duration) {
        let expected = format!("less than the {} s for which load is offered", duration.as_secs_f64());
        let given = values.text("warmup").unwrap_or_default();
        return Err(ParseError::of("--warmup", given, expected).into());
    }
    Ok(warmup)
}

/// What `--expiry-rounds` says. A node that is ahead of what clients know must not find it too far.
pub(crate) fn expiry_rounds(values: &Values) -> Result<Option<u64>, UsageError> {
    values.optional_number("expiry-rounds", 1, EXPIRY_ROUNDS_AHEAD_MAX - 1_000)
}

/// What `--cross` and `--invalid` say of a load on so many shards.
pub(crate) fn mix(values: &Values, shards: u16) -> Result<Mix, UsageError> {
    let default = if shards > 1 { Share::TENTH } else { Share::NONE };
    let cross = values.optional("cross", Share::EXPECTED, Share::parse)?.unwrap_or(default);
    if shards == 1 && cross > Share::NONE {
        let given = values.text("cross").unwrap_or_default();
        return Err(ParseError::of("--cross", given, "0, since there is one shard (see --shards)").into());
    }
    Ok(Mix { cross, invalid: values.value("invalid", Share::EXPECTED, Share::parse)? })
}

/// How long connecting may take, and how long the last receipts.
const PATIENCE: Duration = Duration::from_secs(10);
const DRAIN: Duration = Duration::from_secs(30);

/// Runs the command and returns its exit code.
pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let (hosts, committee) =
        load_testbed(Path::new(values.required("hosts")?), Path::new(values.required("keys")?))?;
    run_on("load", values, &hosts, committee)
}

/// The load that `values` ask for, of so many shards, whose transactions are signed or not.
pub(crate) fn plan(
    values: &Values,
    shards: u16,
    signed: bool,
    duration: Option<Duration>,
) -> Result<Plan, UsageError> {
    let tx_bytes_min = transaction_bytes_min(signed) as u64;
    let rate = values.value("rate", Rate::EXPECTED, Rate::parse)?;
    Ok(Plan {
        rate,
        duration,
        warmup: warmup(values, rate, duration)?,
        tx_bytes: values.number("tx-size", tx_bytes_min, TRANSACTION_BYTES_MAX)? as usize,
        mix: mix(values, shards)?,
        expiry_rounds: expiry_rounds(values)?,
        seed: values.number("seed", 0, u64::MAX)?,
    })
}

/// The same for a testbed that runs, which says what it is.
pub(crate) fn plan_for(values: &Values, committee: &Committee) -> Result<Plan, UsageError> {
    let duration = values.value("duration", "seconds, more than 0 and at most a week", |text| {
        parse_seconds(text).filter(|duration| !duration.is_zero())
    })?;
    plan(values, committee.shards(), committee.protocol().signed, Some(duration))
}

/// Offers the load that `values` ask for to these nodes, in the name of a command; gives the exit code.
pub(crate) fn run_on(
    command: &str,
    values: &Values,
    hosts: &Hosts,
    committee: Committee,
) -> Result<u8, UsageError> {
    let plan = plan_for(values, &committee)?;
    if let Err(error) = signals::block() {
        eprintln!("tools {command}: cannot block signals: {error}");
        return Ok(4);
    }
    let shards = committee.shards();
    let offering = match Offering::connect(Arc::new(committee), hosts) {
        Ok(offering) => offering,
        Err(error) => {
            eprintln!("tools {command}: {error}");
            return Ok(4);
        }
    };
    Ok(offer(offering, plan, Ticker::new(hosts.count(), usize::from(shards))))
}

/// Where the nodes of a testbed are, and who they are: a hosts file and the committee.txt of a directory of keys.
pub(crate) fn load_testbed(hosts: &Path, keys: &Path) -> Result<(Hosts, Committee), ParseError> {
    let place = hosts.display().to_string();
    let hosts = Hosts::load(hosts)?;
    let committee = load_committee(&keys.join("committee.txt"))?;
    let nodes = committee.nodes().count();
    if hosts.count() != nodes {
        let found = format!("{} nodes", hosts.count());
        return Err(ParseError::of(&place, &found, format!("the {nodes} nodes of committee.txt")));
    }
    Ok((hosts, committee))
}

fn offer(offering: Offering, plan: Plan, mut ticker: Ticker) -> u8 {
    let began = Instant::now();
    while offering.look_at(|shared| shared.connected.is_empty()) {
        if began.elapsed() > PATIENCE || signals::is_interrupted() {
            let down = offering.look_at(|shared| shared.down.clone());
            let why = down.into_iter().map(|(node, reason)| format!("node {node}: {reason}"));
            eprintln!("tools load: no node can be reached: {}", why.collect::<Vec<_>>().join("; "));
            return 4;
        }
        thread::sleep(Duration::from_millis(20));
    }
    // The others had as much time as the first.
    thread::sleep(Duration::from_millis(200));
    offering.begin(plan, None);
    let mut interrupted = watch(&offering, &mut ticker, Duration::MAX, |shared| shared.offered_for.is_some());
    offering.end();
    interrupted |= !interrupted && watch(&offering, &mut ticker, DRAIN, |shared| shared.in_flight == 0);
    if !interrupted && offering.look_at(|shared| shared.in_flight > 0) {
        offering.ask_last_question();
        thread::sleep(Duration::from_secs(1));
    }
    let (shared, ended) = offering.stop();
    if let Err(error) = ended {
        eprintln!("tools load: {error}");
        return 1;
    }
    let tally = &shared.tally;
    tell(format!(
        "{:.0} tx/s; never sent {}, submitted {}, committed {}, rejected {}, expired {}, refused {}, in flight {}, lost {}, \
         duplicated {}; latency {}",
        tally.committed_measured as f64 / shared.measured_for.as_secs_f64().max(1e-9),
        tally.unsent,
        tally.submitted,
        tally.committed,
        tally.rejected_count(),
        tally.expired,
        tally.refused.values().sum::<u64>(),
        shared.in_flight,
        tally.lost,
        tally.duplicated,
        quantiles_text(&tally.latency(), &[("p50", 500), ("p90", 900), ("p99", 990)]),
    ));
    exit_code(&shared, interrupted)
}

fn exit_code(shared: &Shared, interrupted: bool) -> u8 {
    let tally = &shared.tally;
    if interrupted {
        130
    } else if tally.committed == 0 && tally.submitted_valid > 0 {
        3
    } else {
        let open = shared.in_flight + tally.lost;
        u8::from(open + tally.duplicated + tally.finished_invalid + tally.rejected_unexpected > 0)
    }
}

/// Tells a line a second until `patience` is over or `done`; whether a signal ended it.
fn watch(
    offering: &Offering,
    ticker: &mut Ticker,
    patience: Duration,
    done: impl Fn(&Shared) -> bool,
) -> bool {
    let began = Instant::now();
    while began.elapsed() < patience && !offering.has_ended() && !offering.look_at(&done) {
        thread::sleep(Duration::from_millis(50).min(patience.saturating_sub(began.elapsed())));
        if signals::is_interrupted() {
            return true;
        }
        let (connected, height) =
            offering.look_at(|shared| (shared.connected.len(), shared.tally.height_of_all()));
        for section in offering.take_sections() {
            ticker.line(&section, height, connected).into_iter().for_each(tell);
        }
    }
    false
}
