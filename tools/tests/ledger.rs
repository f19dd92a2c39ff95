//! `tools ledger` and the comparison of whole ledgers, on real runs.

mod place;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bft::transaction::genesis_coin;
use sha2::{Digest as _, Sha256};
use wire::committee::Committee;
use wire::hex;
use wire::ids::ShardId;

use place::{Place, text};

/// Runs the command and checks its exit code.
fn ledger(place: &Place, arguments: &str, code: i32) -> String {
    let output = place.command("ledger", arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments}: {}", text(&output));
    text(&output)
}

/// A column of `transactions.csv`: of the first finished transaction of a kind.
fn finished(place: &Place, kind: &str, column: usize) -> String {
    let transactions = place.read("log/transactions.csv");
    let line = transactions.lines().find(|line| line.contains(kind) && line.contains(",finished,"));
    line.unwrap_or_else(|| panic!("none of {kind}")).split(',').nth(column).unwrap().into()
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, there) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy_all(&path, &there);
        } else {
            fs::copy(&path, &there).unwrap();
        }
    }
}

#[test]
fn ledgers_are_made_again_verified_and_shown() {
    let place = Place::new();
    let run = "--nodes 4 --shards 2 --cross 0.3 --invalid 0.1 --rate 200 --duration 3 --transactions \
               --faults crash:3@2";
    let output = place.local(run);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));

    // All eight: the heights that they wrote down, blocks certified, one ledger where two stood at one height.
    let shown = ledger(&place, "", 0);
    assert!(shown.contains("all well"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    for node in 0..8 {
        let row = shown.lines().find(|line| line.starts_with(&format!("  node {node}  "))).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        let (height, certified): (u64, u64) = (cells[2].parse().unwrap(), cells[3].parse().unwrap());
        assert!(node == 3 || height == place.last_height(node), "{row}");
        assert!(certified > 0 && certified <= height && certified + 10 > height, "{row}");
    }
    for same in ["node 3: the same ledger as node 0", "node 5, node 6, node 7: the same ledger as node 4"] {
        assert!(shown.replace("\n  ", " ").contains(same), "{same}: {shown}");
    }
    assert!(!shown.contains("not compared"), "{shown}");

    // A block, as the node wrote it down.
    let rounds = place.read("log/rounds-5.csv");
    let line = rounds.lines().skip(1).find(|line| line.split(',').nth(4) != Some("0")).unwrap();
    let cells: Vec<&str> = line.split(',').collect();
    let block = ledger(&place, &format!("data --height {} --nodes 5", cells[2]), 0);
    for words in
        [cells[3], &format!("counts    {} finished", cells[4]), "by the VOTEs of members", "  finished\n"]
    {
        assert!(block.contains(words), "{words}: {block}");
    }
    assert!(ledger(&place, "data --height 999999 --nodes 5", 1).contains("its journal ends at height"));
    let blocks = ledger(&place, "data --list blocks --nodes 5", 0);
    assert!(blocks.lines().count() as u64 >= 2 + place.last_height(5), "{blocks}");

    // A transaction within a shard, one between shards, and a coin.
    let [tx, height] = [0, 10].map(|column| finished(&place, ",intra,", column));
    let trail = ledger(&place, &format!("data --tx {}", &tx[..10]), 0);
    assert!(trail.contains(&tx) && trail.contains(&format!("block {height}, lane ")), "{trail}");
    assert!(trail.contains(&format!("finished in round {height}")), "{trail}");
    let [tx, height, shard] = [0, 10, 8].map(|column| finished(&place, ",cross,", column));
    let nodes = [0, 4][shard.parse::<usize>().unwrap()];
    let trail = ledger(&place, &format!("data --nodes {nodes} --tx {tx}"), 0);
    assert!(trail.contains(&format!("finished in round {height}")), "{trail}");
    let spent = ledger(&place, "data --list spent --nodes 0", 0);
    let coin = spent.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap().trim_end_matches(',');
    let trail = ledger(&place, &format!("data --nodes 0 --coin {coin}"), 0);
    assert!(trail.contains("input of transaction ") && trail.contains(": spent by transaction "), "{trail}");
    let nothing = ledger(&place, "data --tx 0123456789abcdef", 1);
    assert!(
        nothing.contains("nothing that these nodes executed or hold is transaction 0123456789abcdef"),
        "{nothing}"
    );
    for list in ["coins", "settled", "open", "pool", "early", "exchanges", "ends"] {
        let items = ledger(&place, &format!("data --list {list} --height 5 --nodes 0"), 0);
        assert!(items.starts_with("node 0, height 5: "), "{items}");
    }

    // The verdict on files and journals together.
    let output = place.command("verify", "--journals").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("node 3: the same ledger as node 0"), "{}", text(&output));
    let ledgers = place.read("log/ledgers.csv");
    let other = |line: &str| {
        let sections = line.splitn(4, ',').nth(3).unwrap();
        line.replace(sections, &sections.replace('a', "b"))
    };
    let all_other: Vec<String> = ledgers
        .lines()
        .map(|line| if line.starts_with("node") { line.into() } else { other(line) })
        .collect();
    fs::write(place.0.join("log/ledgers.csv"), all_other.join("\n") + "\n").unwrap();
    assert_eq!(place.command("verify", "").output().unwrap().status.code(), Some(0), "all say the same");
    let output = place.command("verify", "--journals").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("than its journal leads to"), "{}", text(&output));
    fs::write(place.0.join("log/ledgers.csv"), ledgers).unwrap();

    several_directories_and_bad_ones(&place);
}

fn several_directories_and_bad_ones(place: &Place) {
    copy_all(&place.0.join("data"), &place.0.join("copy"));
    let shown = ledger(place, "data,copy --nodes 0-2", 0);
    assert!(shown.contains("node 0 in copy") && shown.contains("all well"), "{shown}");
    for (arguments, words) in [
        ("data,data", "expected each directory once"),
        ("none", "none: found 'no directory', expected the data directory of a run"),
        ("log", "log: found 'no keys/committee.txt'"),
        ("data --nodes 8", "expected node ids from 0 to 7, each once"),
        ("data --tx 0123456", "expected 8 to 64 hexadecimal digits"),
        ("data --list all", "expected blocks, coins, spent"),
        ("data --tx 01234567 --height 5", "found 'several of them', expected one of"),
    ] {
        let shown = ledger(place, arguments, 2);
        assert!(shown.contains(words), "{arguments}: {shown}");
    }
    place.command("keygen", "--nodes 4 --out other/keys").output().unwrap();
    assert!(ledger(place, "data,other", 2).contains("other: found 'testbed "));
    assert!(ledger(place, "other", 2).contains("other: found 'no journal'"));
    // A node that runs has the lock.
    let lock = File::open(place.0.join("copy/journal-1/lock")).unwrap();
    lock.lock().unwrap();
    let shown = ledger(place, "copy", 2);
    assert!(shown.contains("copy/journal-1/lock: found 'a lock of node 1, which runs'"), "{shown}");
    drop(lock);
    // Damage is named, and the others are compared all the same.
    let path = place.0.join("copy/journal-1/journal-00000001");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let shown = ledger(place, "copy --nodes 0-2", 1).replace("\n  ", " ");
    assert!(shown.contains("node 1: copy/journal-1/journal-00000001, byte "), "{shown}");
    assert!(shown.contains("node 2: the same ledger as node 0"), "{shown}");
}

/// Changes the amount of a coin that nobody spends in the snapshot of a node, with a sum that fits, and removes the
/// journal before it. Returns the coin.
fn forge(data: &Path, node: u16) -> String {
    let committee = fs::read_to_string(data.join("keys/committee.txt")).unwrap();
    let committee = Committee::parse("committee.txt", &committee).unwrap();
    // The load begins with the first and the last ones.
    let coin = genesis_coin(&committee.testbed(), ShardId(0), committee.protocol().genesis_coins / 2);
    let journal = data.join(format!("journal-{node}"));
    let names = |prefix: &str| -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> =
            fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix));
        names.sort();
        names
    };
    let snapshot = names("snapshot-").into_iter().next_back().expect("a snapshot");
    let number = snapshot.to_string_lossy().rsplit('-').next().unwrap().to_string();
    for older in names("journal-").into_iter().filter(|path| !path.to_string_lossy().ends_with(&number)) {
        if older < journal.join(format!("journal-{number}")) {
            fs::remove_file(older).unwrap();
        }
    }
    let mut bytes = fs::read(&snapshot).unwrap();
    let at = bytes.windows(32).position(|window| window == coin.0).expect("the coin is in it");
    let amount = committee.protocol().genesis_amount;
    let unspent = [&[0; 4][..], &amount.to_le_bytes()].concat();
    assert_eq!(bytes[at + 32..at + 44], unspent, "it stands behind the id");
    bytes[at + 36..at + 44].copy_from_slice(&(amount + 1).to_le_bytes());
    let (magic, sum) = (8, bytes.len() - 32);
    let digest = Sha256::digest(&bytes[magic..sum]);
    bytes[sum..].copy_from_slice(&digest);
    fs::write(&snapshot, bytes).unwrap();
    hex::encode(&coin.0[..8])
}

#[test]
fn a_ledger_that_differs_in_one_coin_is_named_offline_and_by_the_verdict_of_a_run() {
    let place = Place::new();
    let limits = "--limits segment-bytes=65536,snapshot-after-bytes=65536";
    let run = format!("--nodes 4 --rate 100 --duration 2 {limits}");
    let output = place.local(&run);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(ledger(&place, "", 0).contains("all well"));
    let coin = forge(&place.0.join("data"), 2);

    let shown = ledger(&place, "", 1).replace("\n  ", " ");
    let first =
        format!("first: node 0 has coin {coin} of 1000, unspent; node 2 has coin {coin} of 1001, unspent");
    for words in [
        "node 2 have different ledgers at height ",
        "is the first at which they do: unspent coins (",
        first.as_str(),
        "node 2: value is not conserved after block ",
        "node 3: the same ledger as node 0",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    // A run that goes on with it ends with the same blocks, and a verdict.
    let output = place.local("--resume --rate 100 --duration 1");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let output = place.command("verify", "").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let shown = text(&output);
    // No cell of a CSV file has a comma.
    let first = first.replace(", ", "; ");
    for words in [
        "agreement        false",
        "the ledger of node 2 is not that of nodes 0-1+3: it differs in unspent coins; ",
        first.as_str(),
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}
