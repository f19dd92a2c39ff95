//! `tools submit`: one transaction by hand, with its coins looked up, and its receipt.
//!
//! [`transfer`] chooses the coins and writes the transaction, [`mod@exchange`] talks to the nodes, [`handed`] has what
//! their replies mean.

mod exchange;
mod handed;
mod transfer;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bft::transaction::{self, Owner};
use ed25519_dalek::SigningKey;
use wire::client::Fate;
use wire::committee::Committee;
use wire::hex;
use wire::ids::{NodeId, ShardId};
use wire::limits::{EXPIRY_ROUNDS_AHEAD_MAX, TRANSACTION_BYTES_MAX};
use wire::rand;
use wire::text::ParseError;

use self::exchange::{Exchanged, NotSubmitted, Wanted, exchange};
use self::transfer::Transfer;
use crate::flags::{Command, Opt, Range, UsageError, Values};
use crate::ids;
use crate::terminal::print;
use crate::testbed;

pub(crate) const AT: Opt = Opt::without_default(
    "at",
    "NODE",
    "The node to hand it to, a member of the output shard; as a rule the first of them that answers.",
);

pub(crate) const COMMAND: Command = Command {
    name: "submit",
    summary: "hands in one transaction and waits for its receipt",
    about: "Looks up unspent coins, writes a transaction that spends them, hands it to a node of its output shard, and \
            prints its id, its fate and how long that took. With input shards other than the output shard it is a \
            transaction between shards. Without options it finds the testbed that ./run_local.sh runs in the same \
            directory, and moves a coin within shard 0.\n\n\
            The coins are those of --key, as a rule those that every testbed begins with: anybody may spend them. A load \
            leaves the last 64 of each shard to this command, if there are 10000 at least, so that both can run at once.\n\n\
            A node that is silent for a second is not waited for: another member is asked for the transaction, and handed it \
            if it does not know it.",
    operands: &[],
    options: &[
        testbed::DATA_DIR,
        testbed::HOSTS,
        testbed::KEYS,
        Opt::with(
            "from",
            "SHARDS",
            "0",
            "The shards whose coins are spent, one of each at least: 0, or 0+2.",
        ),
        Opt::without_default(
            "to",
            "SHARD",
            "The output shard, where coins are created; as a rule the first of --from.",
        ),
        Opt::without_default(
            "amount",
            "A",
            "What the recipient gets; the rest of the coins goes back to their owner. As a rule one coin of each shard, whole.",
        ),
        Opt::without_default("recipient", "KEY", "The new owner, 64 hex digits; as a rule the old one."),
        Opt::without_default(
            "key",
            "FILE",
            "The ed25519 secret of the coins' owner, 64 hex digits in a file; as a rule that of the coins of the beginning.",
        ),
        Opt::with("payload", "B", "16", "Random bytes that it carries.")
            .within(Range::whole(0, TRANSACTION_BYTES_MAX)),
        AT,
        Opt::with(
            "expiry-rounds",
            "R",
            "1000",
            "Rounds of each input shard after which it expires if it is not ordered.",
        )
        .within(Range::whole(1, EXPIRY_ROUNDS_AHEAD_MAX - 1_000)),
        Opt::with("timeout", "S", "30", "Seconds to wait for its receipt, including the look-up of coins.")
            .within(Range::PositiveSeconds),
    ],
    sections: &[
        (
            "EXIT STATUS",
            "0  it finished\n\
             1  it was rejected or refused, has expired, or no receipt came in time\n\
             2  usage, or hosts.txt or committee.txt cannot be read\n\
             4  no node answered, or there is no such coin",
        ),
        (
            "EXAMPLES",
            "tools submit  A coin within shard 0, and how long that takes.\n\
             tools submit --from 0+1 --to 2 --amount 1500  Coins of two shards become coins of a third.\n\
             tools submit --hosts hosts.txt --keys keys --at 3  By way of node 3.",
        ),
    ],
};

pub(crate) fn run_command(values: &Values) -> Result<u8, UsageError> {
    let (hosts, committee) = testbed::load(values)?;
    let request = request(values, &committee)?;
    let began = Instant::now();
    Ok(match exchange(&committee, &hosts, &request) {
        Ok(exchanged) => {
            print(text(&exchanged, &request, began.elapsed()).trim_end());
            u8::from(!matches!(exchanged.fate, Some(Fate::Finished(_))))
        }
        Err(error) => {
            eprintln!("tools submit: {error}");
            match error {
                NotSubmitted::NotReached(_) | NotSubmitted::Shortage(_) | NotSubmitted::System(_) => 4,
                NotSubmitted::Invalid(_) => 2,
            }
        }
    })
}

/// What a command line asks for.
fn request(values: &Values, committee: &Committee) -> Result<Wanted, UsageError> {
    let shards = committee.shards();
    let expected = format!("shards of 0 to {}, such as 0 or 0+{}", shards - 1, shards - 1);
    let from = values.value("from", &expected, |text| shards_of(text, shards))?;
    let expected = format!("a shard, 0 to {}", shards - 1);
    let one = |text: &str| text.parse().ok().filter(|shard| *shard < shards).map(ShardId);
    let to = values.optional("to", &expected, one)?.unwrap_or(from[0]);
    let amount = values.optional("amount", "a whole number from 1 on", |text| {
        text.parse::<u64>().ok().filter(|amount| *amount > 0)
    })?;
    let key = match values.text("key") {
        Some(path) => secret(Path::new(path))?,
        None => SigningKey::from_bytes(&transaction::genesis_secret(&committee.testbed())),
    };
    let recipient = values.optional("recipient", "64 hex digits", hex::decode_32)?.map(Owner);
    let at = values.optional(AT.name, &at_expected(committee, to), |text| at(text, committee, to))?;
    let payload = values.whole("payload")? as usize;
    let transfer = Transfer {
        recipient: recipient.unwrap_or(Owner(key.verifying_key().to_bytes())),
        key,
        from,
        to,
        amount,
        payload: std::iter::repeat_with(rand::bytes32).flatten().take(payload).collect(),
    };
    let expiry_rounds = values.whole("expiry-rounds")?;
    let until = Instant::now() + values.seconds("timeout")?;
    Ok(Wanted { transfer, has_own_key: values.is_given("key"), at, expiry_rounds, until })
}

/// Shards of a list, ascending and each once.
fn shards_of(text: &str, shards: u16) -> Option<Vec<ShardId>> {
    let mut all: Vec<u16> = ids::parse(text)?.into_iter().map(|id| id.0).collect();
    all.sort_unstable();
    all.dedup();
    all.iter().all(|shard| *shard < shards).then(|| all.into_iter().map(ShardId).collect())
}

fn at_expected(committee: &Committee, to: ShardId) -> String {
    let members: Vec<NodeId> = committee.members(to).collect();
    format!("a node of the output shard {to}, which are {}", ids::nodes(&members))
}

fn at(text: &str, committee: &Committee, to: ShardId) -> Option<NodeId> {
    let node = NodeId(text.parse().ok()?);
    (committee.contains(node) && committee.shard_of(node) == to).then_some(node)
}

fn secret(path: &Path) -> Result<SigningKey, ParseError> {
    const EXPECTED: &str = "a file of 64 hex digits, an ed25519 secret";
    let wrong = |found: String| ParseError::of("--key", &found, EXPECTED);
    let text = fs::read_to_string(path).map_err(|error| wrong(format!("{} ({error})", path.display())))?;
    // What a file holds that should hold a secret is not printed.
    let secret = hex::decode_32(text.trim()).ok_or_else(|| wrong(path.display().to_string()))?;
    Ok(SigningKey::from_bytes(&secret))
}

/// The result as people read it.
fn text(exchanged: &Exchanged, request: &Wanted, took: Duration) -> String {
    let Exchanged { written, inputs, contact, handed_on, receipt_after, fate } = exchanged;
    let id = hex::encode(&written.id.0);
    let coin = |(shard, coin, amount): (ShardId, &[u8], u64)| {
        format!("{} worth {amount}, shard {shard}", hex::encode(coin))
    };
    let mut lines = vec![format!("tx       {id}, {} bytes", written.bytes.len())];
    lines.extend(
        inputs.iter().map(|input| format!("spends   {}", coin((input.shard, &input.coin.0, input.amount)))),
    );
    lines.push(match handed_on {
        0 => format!("contact  node {contact}"),
        _ => format!("contact  node {contact}, after {handed_on} silent"),
    });
    let to = request.transfer.to;
    match (fate, receipt_after) {
        (Some(Fate::Finished(height)), Some(after)) => {
            lines.push(format!(
                "fate     finished in round {height} of shard {to}, {:.1} ms after it was handed in",
                ms(*after)
            ));
            lines.extend(
                written
                    .creates
                    .iter()
                    .map(|(id, output)| format!("creates  {}", coin((to, &id.0, output.amount)))),
            );
        }
        (Some(fate), Some(after)) => {
            lines.push(format!("fate     {fate}, {:.1} ms after it was handed in", ms(*after)))
        }
        _ => lines.push(format!(
            "fate     no receipt within {:.1} s; it may still come: tools query {id}",
            took.as_secs_f64()
        )),
    }
    lines.join("\n")
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
