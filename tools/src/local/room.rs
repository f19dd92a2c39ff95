//! Room on the disk for the journals of a run, judged before its nodes start.
//!
//! A node whose disk is full ends, so a run that may fill it begins with a warning. It begins all the same: how much a
//! closed loop commits is not known before.

use wire::ids::NodeId;
use wire::limits::local::Local;
use wire::procfs::free_bytes;

use super::options::Options;
use crate::load::Rate;
use crate::run::directory_bytes;

/// What a journal takes beside transactions: votes, shares and certificates of rounds. It is some 10 kB a round at
/// N = 4, of which some 200 come in a second at most; twice that.
const ROUNDS_BYTES_PER_S: f64 = 4e6;
/// A transaction is in an entry, and at one node in its client's message as well; measured are 1.3 to 1.5 bytes a byte.
const BYTES_PER_PAYLOAD_BYTE: f64 = 2.0;
/// Files of a journal for each byte of entries that the history keeps.
const BYTES_PER_HISTORY_BYTE: u64 = 3;

/// The warning that the disk has less room than the journals may take, if that is so. Where `df` is missing or prints
/// something else, there is none.
pub(super) fn warning(options: &Options) -> Option<String> {
    options.durability?;
    let plan = &options.run;
    let data = &plan.directories.data;
    let free = free_bytes(data)?;
    let writers = || (0..plan.nodes_in_all()).map(NodeId).filter(|id| !plan.follow.contains(id));
    let more = writers().map(|id| {
        // A run that goes on has written a part of it already.
        let held = directory_bytes(&plan.directories.journal(id));
        kept_bytes_max(options).saturating_sub(held).min(written_bytes_max(options))
    });
    let more = more.fold(0u64, u64::saturating_add);
    (free < more).then(|| {
        let (free, nodes, more) = (free >> 20, writers().count(), more >> 20);
        let data = data.display();
        format!(
            "only {free} MiB free in {data}; journals of {nodes} nodes may take {more} MiB (see --durability)"
        )
    })
}

/// The most that the files of one journal come to: what is kept in any case or on purpose, and what comes until the
/// next snapshot, after which older files are removed.
fn kept_bytes_max(options: &Options) -> u64 {
    let limit = |name| options.run.settings.limits.get(name);
    let history = (options.history_mib << 20).saturating_mul(BYTES_PER_HISTORY_BYTE);
    let snapshots = limit(Local::SnapshotAfterBytes);
    let kept = limit(Local::JournalKeptBytes).max(history).max(snapshots.saturating_mul(2));
    kept.saturating_add(snapshots).saturating_add(limit(Local::SegmentBytes))
}

/// The most that this load makes one node write, if that is known.
fn written_bytes_max(options: &Options) -> u64 {
    let load = &options.run.load;
    match (load.rate, load.duration) {
        (Rate::PerSecond(rate), Some(duration)) => {
            let payload = rate as f64 * load.tx_bytes as f64;
            // A cast saturates.
            (duration.as_secs_f64() * (payload * BYTES_PER_PAYLOAD_BYTE + ROUNDS_BYTES_PER_S)) as u64
        }
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        Options::parse(&words).unwrap()
    }

    #[test]
    fn a_journal_is_bounded_by_the_largest_of_what_it_keeps() {
        let mib = |line: &str| kept_bytes_max(&options(&format!("--nodes 4 {line}"))) >> 20;
        assert_eq!(mib("--history-mib 64"), 4_096 + 256 + 64);
        assert_eq!(mib("--history-mib 2000"), 6_000 + 256 + 64);
        assert_eq!(mib("--history-mib 64 --limits journal-kept-bytes=0"), 512 + 256 + 64);
        assert_eq!(
            mib("--history-mib 64 --limits journal-kept-bytes=0,segment-bytes=1048576"),
            512 + 256 + 1
        );
    }

    #[test]
    fn what_an_open_loop_makes_a_node_write_follows_from_rate_and_length() {
        let written = |line: &str| written_bytes_max(&options(&format!("--nodes 4 {line}")));
        assert_eq!(written(""), 90_000_000, "10,000 tx/s of 250 bytes for 10 s");
        assert_eq!(written("--rate 1000 --duration 100 --tx-size 1000"), 600_000_000);
        assert_eq!(written("--rate max"), u64::MAX);
        assert_eq!(written("--rounds 9"), u64::MAX);
    }

    #[test]
    fn only_journals_need_room() {
        let huge = "--nodes 4 --data-dir . --log-dir log --history-mib 1048576 --rate max";
        let text = warning(&options(huge)).unwrap();
        assert!(text.contains("free in .; journals of 4 nodes may take 12584192 MiB"), "{text}");
        assert_eq!(warning(&options(&format!("{huge} --durability off"))), None);
        assert_eq!(warning(&options("--nodes 1 --data-dir . --log-dir log --rate 1 --duration 0.1")), None);
        assert_eq!(warning(&options("--nodes 1 --data-dir /no/such/place --rate max")), None);
    }
}
