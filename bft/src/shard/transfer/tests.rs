//! Parts between shards, with all members honest; attacks and bounds have their own modules.

mod attacks;
mod bench;
mod bounds;
mod losses;

use wire::ids::{Index, PartNumber, ShardId};

use self::bench::{Bench, SOURCE, TARGET};
use super::{TransferOutput, TransferSend};
use crate::shard::message::PartMessage;

#[test]
fn a_part_becomes_eligible_everywhere_and_is_acknowledged() {
    for n in [1, 2, 3, 4, 7] {
        let mut bench = Bench::new(n, 2);
        let parts = bench.block(SOURCE, &[(TARGET, b"a payment")]);
        assert!(bench.net.sent.is_empty(), "nothing goes out before the block is certified");
        bench.certify(SOURCE, 1);
        bench.net.deliver();
        for member in bench.net.committee.members(TARGET) {
            let part = parts[0].reference();
            assert_eq!(bench.net.outputs[usize::from(member.0)], [TransferOutput::Eligible(part)]);
            assert_eq!(bench.net.at(member).body(&part).as_deref(), Some(&*parts[0]), "as it was sent");
            let home = Index(part.number.0 as u16 % n);
            let is_home = bench.net.committee.index_of(member) == home;
            let due = bench.net.at(member).eligible(bench.net.now);
            assert_eq!(due.len(), usize::from(is_home), "only its home proposes it");
            assert!(due.iter().all(|import| bench.is_certified(TARGET, import)));
        }
        let transfers =
            bench.net.sent.iter().filter(|(_, _, send)| matches!(send, TransferSend::Transfer(_))).count();
        assert_eq!(transfers, usize::from(n), "one copy a member");
        assert!(bench.net.committee.members(SOURCE).all(|member| bench.net.at(member).parts_open() == 1));
        bench.import(TARGET, SOURCE, 1);
        bench.net.deliver();
        assert_eq!(bench.net.faults, []);
        for member in bench.net.committee.nodes() {
            assert_eq!(bench.net.at(member).parts_open(), 0);
            assert_eq!(bench.net.at(member).next_wakeup(), None, "no work is left");
            assert!(bench.net.at(member).eligible(bench.net.now).is_empty());
        }
    }
}

/// The certificate of a later block covers the parts of all blocks before it.
#[test]
fn a_chain_of_headers_proves_an_uncertified_block() {
    let mut bench = Bench::new(4, 3);
    let first = bench.block(SOURCE, &[(TARGET, b"one"), (ShardId(2), b"to another shard")]);
    bench.block(SOURCE, &[]);
    let third = bench.block(SOURCE, &[(ShardId(2), b"two"), (TARGET, b"three"), (ShardId(2), b"four")]);
    bench.block(SOURCE, &[]);
    bench.certify(SOURCE, 4);
    bench.net.deliver();
    assert_eq!(bench.net.faults, []);
    for part in first.iter().chain(&third) {
        assert!(bench.net.committee.members(part.destination).all(|member| {
            let is_here = bench.net.at(member).body(&part.reference()).is_some();
            is_here && bench.net.at(member).next_wakeup().is_some()
        }));
    }
    assert_eq!(bench.eligible(TARGET), [1, 2]);
    assert_eq!(bench.eligible(ShardId(2)), [1, 2, 3]);
    // Acknowledged parts need no chain any more; the other one keeps its chain.
    bench.import(ShardId(2), SOURCE, 3);
    bench.import(TARGET, SOURCE, 1);
    bench.net.deliver();
    assert_eq!(
        bench.net.at(bench.net.node(SOURCE, 0)).outgoing.kept(),
        (2, 1, 1),
        "blocks 3 and 4 for one part"
    );
    bench.import(TARGET, SOURCE, 2);
    bench.net.pass_ms(1_000);
    assert_eq!(bench.net.at(bench.net.node(SOURCE, 0)).outgoing.kept(), (0, 0, 0));
}

#[test]
fn parts_flow_both_ways_with_few_acknowledgements() {
    let mut bench = Bench::new(4, 2);
    for height in 1..=40 {
        bench.block(SOURCE, &[(TARGET, b"there")]);
        bench.block(TARGET, &[(SOURCE, b"and back")]);
        bench.certify(SOURCE, height);
        bench.certify(TARGET, height);
        bench.net.deliver();
        bench.import(TARGET, SOURCE, height);
        bench.import(SOURCE, TARGET, height);
        bench.net.deliver();
        bench.net.pass_ms(1);
    }
    bench.net.pass_ms(100);
    assert_eq!(bench.net.faults, []);
    assert!(bench.net.committee.nodes().all(|member| bench.net.at(member).parts_open() == 0));
    let is_ack = |send: &TransferSend| matches!(send, TransferSend::Message(PartMessage::Ack(_)));
    let acks = bench.net.sent.iter().filter(|(_, _, send)| is_ack(send)).count();
    assert!(acks <= 8 * 4 * 4, "{acks} acknowledgements: not one a part and pair of members");
}

/// The home proposes at once. The others propose once it has had its time, and again after a while.
#[test]
fn backups_propose_a_part_that_its_home_does_not() {
    let mut bench = Bench::new(4, 2);
    let part = bench.block(SOURCE, &[(TARGET, b"x")])[0].reference();
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    let (home, backup) = (bench.net.node(TARGET, 1), bench.net.node(TARGET, 2));
    let due = |bench: &Bench, node| bench.net.at(node).eligible(bench.net.now).len();
    assert_eq!((due(&bench, home), due(&bench, backup)), (1, 0));
    let now = bench.net.now;
    bench.net.at_mut(home).proposed(now, &[part]);
    bench.idle_blocks(TARGET, 3);
    assert_eq!((due(&bench, home), due(&bench, backup)), (0, 0));
    bench.idle_blocks(TARGET, 1);
    assert_eq!(
        (due(&bench, home), due(&bench, backup)),
        (0, 1),
        "an honest home's entry would be decided by now"
    );
    bench.net.at_mut(backup).proposed(now, &[part]);
    bench.net.pass_ms(4_999);
    assert_eq!((due(&bench, home), due(&bench, backup)), (0, 0));
    bench.net.outputs[usize::from(backup.0)].clear();
    bench.net.pass_ms(1);
    assert_eq!((due(&bench, home), due(&bench, backup)), (1, 1), "again after 5 s");
    assert_eq!(bench.net.outputs[usize::from(backup.0)], [TransferOutput::Due], "the parent gets an output");
    bench.import(TARGET, SOURCE, 1);
    assert_eq!((due(&bench, home), due(&bench, backup)), (0, 0));
}

/// Without rounds the backups wait for a second.
#[test]
fn backups_of_an_idle_shard_wait_for_a_second() {
    let mut bench = Bench::new(4, 2);
    bench.block(SOURCE, &[(TARGET, b"x")]);
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    let backup = bench.net.node(TARGET, 3);
    bench.net.pass_ms(999);
    assert!(bench.net.at(backup).eligible(bench.net.now).is_empty());
    bench.net.pass_ms(1);
    assert_eq!(bench.net.at(backup).eligible(bench.net.now).len(), 1);
    assert_eq!(bench.net.at(backup).eligible(bench.net.now)[0].part.number, PartNumber(1));
}
