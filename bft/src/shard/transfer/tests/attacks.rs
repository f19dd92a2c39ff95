//! Attacks of Byzantine members of either shard.

use std::sync::Arc;

use wire::bytes::Bytes;
use wire::ids::{Digest, NodeId, PartNumber, Round, ShardId, TxId};

use super::bench::{Bench, SOURCE, TARGET, part};
use crate::block::Header;
use crate::crypto::suite::Statement;
use crate::fault::{Fault, FaultKind};
use crate::part::{Group, Part, PartDigests, PartRef};
use crate::prng::Prng;
use crate::shard::message::{PartMessage, Transfer, TransferProof};
use crate::shard::transfer::TransferSend;
use crate::sim::adversary::shapes::{self, Pieces};
use crate::transaction::tx_id;

/// Delivers a transfer to a member; returns whether that member signs a part.
fn signs(bench: &mut Bench, from: NodeId, to: NodeId, transfer: Transfer) -> bool {
    bench.net.sent.clear();
    bench.net.hand(from, to, &TransferSend::Transfer(transfer));
    bench.net.sent.iter().any(|(_, _, send)| matches!(send, TransferSend::Message(PartMessage::Vote { .. })))
}

/// A bench whose source has three blocks with parts for two shards, and the honest transfer of part 2, which stands in
/// block 2 and is proved by block 3.
fn staged() -> (Bench, Transfer) {
    let mut bench = Bench::new(4, 3);
    bench.block(SOURCE, &[(TARGET, b"one")]);
    let parts = bench.block(SOURCE, &[(TARGET, b"two"), (ShardId(2), b"elsewhere"), (ShardId(2), b"more")]);
    bench.block(SOURCE, &[(TARGET, b"three")]);
    let headers = [bench.header(SOURCE, 2), bench.header(SOURCE, 3)];
    let transfer = bench.transfer(&headers, &parts, 0);
    (bench, transfer)
}

/// Changes that make an honest transfer false; its unchanged fields would prove it.
type Lie = fn(&Bench, &mut Transfer);

const LIES: [(&str, Lie); 17] = [
    ("an altered item", |_, transfer| {
        let mut bytes = transfer.part.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        transfer.part = Bytes::from(bytes);
    }),
    ("another number", |_, transfer| {
        let mut bytes = transfer.part.to_vec();
        bytes[4] = 5;
        transfer.part = Bytes::from(bytes);
    }),
    ("another height", |_, transfer| {
        let mut bytes = transfer.part.to_vec();
        bytes[12] = 3;
        transfer.part = Bytes::from(bytes);
    }),
    ("a byte too many", |_, transfer| {
        transfer.part = Bytes::from([&transfer.part[..], &[0]].concat());
    }),
    ("a part of another block, with its position in that block", |_, transfer| {
        let other = part(SOURCE, TARGET, Round(3), PartNumber(3), b"three");
        transfer.part = other.bytes;
    }),
    ("no branch", |_, transfer| transfer.proof.branch.clear()),
    ("a wrong sibling", |_, transfer| transfer.proof.branch[0] = Digest([9; 32])),
    ("another position", |_, transfer| transfer.proof.position = 1),
    ("a position that does not exist", |_, transfer| transfer.proof.position = 3),
    ("no header", |_, transfer| transfer.proof.headers.clear()),
    ("the certificate of the block before the last", |bench, transfer| {
        transfer.proof.certificate = bench.certificate(SOURCE, &transfer.proof.headers[0]);
    }),
    ("the certificate of another shard", |bench, transfer| {
        transfer.proof.certificate = bench.certificate(TARGET, &transfer.proof.headers[1]);
    }),
    ("a short certificate", |_, transfer| {
        transfer.proof.certificate.0.pop();
    }),
    ("a signer twice", |_, transfer| transfer.proof.certificate.0[1] = transfer.proof.certificate.0[0]),
    ("a header left out", |bench, transfer| {
        let mut later = bench.header(SOURCE, 3);
        later.height = Round(4);
        transfer.proof.headers[1] = later;
        transfer.proof.certificate = bench.certificate(SOURCE, &later);
    }),
    ("a header that names another", |bench, transfer| {
        transfer.proof.headers[1].previous = Digest([9; 32]);
        transfer.proof.certificate = bench.certificate(SOURCE, &transfer.proof.headers[1]);
    }),
    ("an invented block", |bench, transfer| {
        let invented = part(SOURCE, TARGET, Round(3), PartNumber(2), b"invented");
        let outgoing = PartDigests::of([&invented]).root();
        let header = Header { outgoing, ..bench.header(SOURCE, 3) };
        let honest = bench.certificate(SOURCE, &bench.header(SOURCE, 3));
        let (position, count, branch) = (0, 1, Vec::new());
        let proof = TransferProof { headers: vec![header], certificate: honest, position, count, branch };
        *transfer = Transfer { proof, part: invented.bytes };
    }),
];

#[test]
fn a_false_transfer_is_refused_and_bars_its_sender() {
    let (mut bench, honest) = staged();
    let (liar, victim, other) =
        (bench.net.node(SOURCE, 3), bench.net.node(TARGET, 0), bench.net.node(SOURCE, 0));
    for (what, lie) in LIES {
        let (mut bench, honest) = staged();
        let mut transfer = honest.clone();
        lie(&bench, &mut transfer);
        assert_ne!(transfer, honest, "{what}");
        assert!(!signs(&mut bench, liar, victim, transfer), "{what}");
        let fault = Fault { peer: liar, kind: FaultKind::BadTransfer };
        assert_eq!(bench.net.faults, [(victim, fault)], "{what}");
        assert!(!signs(&mut bench, liar, victim, honest.clone()), "{what}: its word counts no more");
        assert!(signs(&mut bench, other, victim, honest), "{what}: others' does");
        assert_eq!(bench.net.faults.len(), 1, "{what}");
    }
    assert!(signs(&mut bench, liar, victim, honest), "so it was the lies that were refused");
    assert_eq!(bench.net.faults, []);
}

#[test]
fn a_transfer_at_the_wrong_place_is_refused() {
    let (mut bench, honest) = staged();
    let victim = bench.net.node(TARGET, 0);
    let elsewhere = {
        let (mut bench, _) = staged();
        let parts = bench.block(SOURCE, &[(ShardId(2), b"not yours")]);
        bench.transfer(&[bench.header(SOURCE, 4)], &parts, 0)
    };
    let headed = |at: usize, value: u8| {
        let mut bytes = honest.part.to_vec();
        bytes[at] = value;
        Transfer { part: Bytes::from(bytes), ..honest.clone() }
    };
    let cut_off = Transfer { part: honest.part.slice(0..27), ..honest.clone() };
    for (what, from, transfer, kind) in [
        ("for another shard", bench.net.node(SOURCE, 0), elsewhere, FaultKind::BadTransfer),
        ("of our own shard", bench.net.node(TARGET, 1), headed(0, 1), FaultKind::BadTransfer),
        ("of no shard", bench.net.node(SOURCE, 0), headed(0, 3), FaultKind::BadTransfer),
        ("from a shard between", bench.net.node(ShardId(2), 0), honest.clone(), FaultKind::BadTransfer),
        ("from no node", NodeId(99), honest.clone(), FaultKind::BadTransfer),
        ("too short for its header", bench.net.node(SOURCE, 0), cut_off, FaultKind::Malformed),
    ] {
        assert!(!signs(&mut bench, from, victim, transfer), "{what}");
        assert_eq!(bench.net.faults.pop(), Some((victim, Fault { peer: from, kind })), "{what}");
    }
    let from = bench.net.node(SOURCE, 0);
    assert!(signs(&mut bench, from, victim, honest));
}

/// A source with a single block of `parts` parts, each with this many finished, cancelled and spent items, and the
/// honest transfer of the first part.
fn staged_shape((finished, cancelled, spent): (u8, u8, u8), parts: u16) -> (Bench, Transfer) {
    let mut bench = Bench::new(4, 1 + parts);
    let group = |destination: ShardId| {
        let mut group = Group::new(SOURCE, destination, Round(1), PartNumber(1));
        (0..finished).for_each(|item| group.finished(TxId([item; 32])));
        (0..cancelled).for_each(|item| group.cancelled(TxId([0x80 | item; 32])));
        (0..spent).for_each(|item| {
            group.spent(tx_id(&[item; 9]), &[item; 9]);
        });
        group.finish().remove(0)
    };
    let parts: Vec<Part> = (1..=parts).map(|shard| group(ShardId(shard))).collect();
    let outgoing = PartDigests::of(&parts).root();
    let header = Header { height: Round(1), outgoing, ..Header::default() };
    let parts = bench.execute(SOURCE, header, parts.into_iter().map(Arc::new).collect());
    let transfer = bench.transfer(&[header], &parts, 0);
    (bench, transfer)
}

/// Every other shape of an honest transfer, each with the proof that comes closest.
fn shapes_of(honest: &Transfer) -> Vec<(String, Transfer)> {
    let part = Part::parse(honest.part.clone()).unwrap();
    let pieces = Pieces::of(&part);
    let mut shapes: Vec<(String, Transfer)> = Vec::new();
    for level in 0..=shapes::levels(&part) {
        for index in 0.. {
            let Some(cut) = shapes::subtree(honest, level, index) else { break };
            shapes.push((format!("subtree {level}:{index}"), cut));
        }
    }
    shapes.extend(shapes::emptied(honest).map(|cut| ("emptied".into(), cut)));
    let mut prng = Prng::new(7);
    for end in 0..pieces.len() {
        let other = |pieces: Pieces| Transfer { part: pieces.bytes(), ..honest.clone() };
        shapes.push((format!("the first {end}"), other(pieces.keep(0..end))));
        shapes.push((format!("all after {end}"), other(pieces.keep(end + 1..pieces.len()))));
        shapes.push(("another order".into(), other(pieces.clone().shuffle(&mut prng))));
        shapes.push(("another section".into(), other(pieces.clone().move_one(&mut prng))));
    }
    let longer = Transfer { part: pieces.lengthen().bytes(), ..honest.clone() };
    shapes.push(("the last one twice".into(), longer));
    for (at, what) in [(20, "finished"), (24, "cancelled")] {
        for change in [1, u8::MAX] {
            let mut bytes = honest.part.to_vec();
            bytes[at] = bytes[at].wrapping_add(change);
            shapes.push((format!("count of {what}"), Transfer { part: bytes.into(), ..honest.clone() }));
        }
    }
    for (position, count) in (0..5).flat_map(|position| (0..6).map(move |count| (position, count))) {
        let mut counted = honest.clone();
        (counted.proof.position, counted.proof.count) = (position, count);
        shapes.push((format!("position {position} of {count}"), counted));
    }
    shapes.retain(|(_, shape)| shape != honest);
    shapes
}

/// The shapes of a part that a member signs.
fn shapes_signed(items: (u8, u8, u8), parts: u16) -> Vec<String> {
    let (mut bench, honest) = staged_shape(items, parts);
    let (liar, victim) = (bench.net.node(SOURCE, 3), bench.net.node(TARGET, 0));
    let mut signed = Vec::new();
    for (what, shape) in shapes_of(&honest) {
        let mut bench = staged_shape(items, parts).0;
        if signs(&mut bench, liar, victim, shape) {
            signed.push(what);
        } else {
            let fault = Fault { peer: liar, kind: FaultKind::BadTransfer };
            assert_eq!(bench.net.faults, [(victim, fault)], "{what}");
        }
    }
    assert!(signs(&mut bench, liar, victim, honest), "{items:?}");
    signed
}

#[test]
fn parts_of_other_shapes_are_refused() {
    for items in [(0, 0, 1), (1, 0, 0), (0, 0, 2), (0, 0, 3), (1, 1, 1), (2, 1, 1), (0, 0, 4), (2, 2, 5)] {
        for parts in [1, 2, 3] {
            assert_eq!(shapes_signed(items, parts), Vec::<String>::new(), "{items:?}, one of {parts}");
        }
    }
}

/// A chain longer than proofs may be is neither sent nor taken.
#[test]
fn the_chain_of_headers_is_bounded() {
    let mut bench = Bench::new(4, 2);
    let parts = bench.block(SOURCE, &[(TARGET, b"x")]);
    bench.idle_blocks(SOURCE, TransferProof::HEADERS_MAX as u64);
    let last = TransferProof::HEADERS_MAX as u64 + 1;
    let headers: Vec<Header> = (1..=last).map(|height| bench.header(SOURCE, height)).collect();
    let (from, to) = (bench.net.node(SOURCE, 0), bench.net.node(TARGET, 0));
    let too_long = bench.transfer(&headers, &parts, 0);
    let longest = bench.transfer(&headers[..headers.len() - 1], &parts, 0);
    assert!(!signs(&mut bench, from, to, too_long));
    bench.certify(SOURCE, last);
    assert!(bench.net.sent.is_empty());
    let from = bench.net.node(SOURCE, 1);
    assert!(signs(&mut bench, from, to, longest));
}

#[test]
fn parts_may_be_skipped_repeated_and_out_of_order() {
    let mut bench = Bench::new(4, 2);
    let (from, to) = (bench.net.node(SOURCE, 0), bench.net.node(TARGET, 0));
    let blocks: Vec<_> = (0..66).map(|_| bench.block(SOURCE, &[(TARGET, b"x")])).collect();
    let transfer = |bench: &Bench, number: u64| {
        bench.transfer(&[bench.header(SOURCE, number)], &blocks[number as usize - 1], 0)
    };
    for (number, is_signed) in [(3, true), (1, true), (3, false), (64, true), (65, false), (66, false)] {
        let transfer = transfer(&bench, number);
        assert_eq!(signs(&mut bench, from, to, transfer), is_signed, "part {number}");
    }
    bench.import_at(to, SOURCE, 1);
    for (number, is_signed) in [(1, false), (65, true), (66, false), (2, true)] {
        let transfer = transfer(&bench, number);
        assert_eq!(signs(&mut bench, from, to, transfer), is_signed, "part {number} after the first");
    }
    assert_eq!(bench.net.faults, [], "nothing of this is a crime");
    let acked = |(_, _, send): &(_, _, TransferSend)| *send == message(PartMessage::Ack(PartNumber(1)));
    let transfer = transfer(&bench, 1);
    bench.net.pass_ms(1_000);
    assert!(
        !signs(&mut bench, from, to, transfer) && bench.net.sent.iter().any(acked),
        "who repeats it is told"
    );
}

fn message(message: PartMessage) -> TransferSend {
    TransferSend::Message(message)
}

fn vote(bench: &Bench, author: NodeId, part: PartRef) -> TransferSend {
    let signature = bench.net.suites[usize::from(author.0)].sign(&Statement::Part(part));
    message(PartMessage::Vote { part, signature })
}

/// f liars neither cause requests for parts that do not exist nor make a part eligible.
#[test]
fn signs_for_unsent_parts_make_none_eligible() {
    let mut bench = Bench::new(4, 2);
    let (liar, victim) = (bench.net.node(TARGET, 3), bench.net.node(TARGET, 0));
    let fake = |number: u64, byte: u8| PartRef {
        source: SOURCE,
        number: PartNumber(number),
        digest: Digest([byte; 32]),
    };
    for number in 1..=3 {
        let vote = vote(&bench, liar, fake(number, 1));
        bench.net.hand(liar, victim, &vote);
        bench.net.hand(liar, victim, &vote);
    }
    bench.net.pass_ms(60_000);
    assert!(bench.net.sent.is_empty() && bench.net.faults.is_empty());
    assert!(bench.net.at(victim).eligible(bench.net.now).is_empty());
    let (outsider, insider) = (bench.net.node(SOURCE, 0), bench.net.node(TARGET, 1));
    let own = PartRef { source: TARGET, ..fake(1, 1) };
    let nowhere = PartRef { source: ShardId(2), ..fake(1, 1) };
    for (from, send, kind) in [
        (liar, vote(&bench, liar, fake(1, 2)), FaultKind::Equivocation),
        (outsider, vote(&bench, outsider, fake(1, 1)), FaultKind::NotAMember),
        (liar, vote(&bench, liar, own), FaultKind::OutOfRange),
        (liar, vote(&bench, liar, nowhere), FaultKind::OutOfRange),
        (NodeId(99), message(PartMessage::Want(fake(1, 1))), FaultKind::NotAMember),
        (liar, message(PartMessage::Want(own)), FaultKind::OutOfRange),
        (outsider, message(PartMessage::Want(fake(1, 1))), FaultKind::OutOfRange),
        (insider, message(PartMessage::Ack(PartNumber(1))), FaultKind::NotAMember),
        (outsider, message(PartMessage::Ack(PartNumber(u64::MAX))), FaultKind::OutOfRange),
    ] {
        bench.net.hand(from, victim, &send);
        assert_eq!(bench.net.faults.pop(), Some((victim, Fault { peer: from, kind })), "{send:?}");
    }
    assert!(bench.net.sent.is_empty());
}

/// A signature that does not verify counts for nothing, and its author is known.
#[test]
fn a_bad_signature_does_not_make_a_part_eligible() {
    let mut bench = Bench::new(4, 2);
    let part = bench.block(SOURCE, &[(TARGET, b"x")])[0].reference();
    let (victim, liar) = (bench.net.node(TARGET, 0), bench.net.node(TARGET, 3));
    bench.net.only(move |from, to, _| from.0 < 4 || (to == victim && from.0 == 5));
    bench.certify(SOURCE, 1);
    bench.net.deliver();
    let of_another = vote(&bench, bench.net.node(TARGET, 2), part);
    bench.net.hand(liar, victim, &of_another);
    assert_eq!(bench.net.faults, [(victim, Fault { peer: liar, kind: FaultKind::BadSignature })]);
    assert!(bench.net.at(victim).eligible(bench.net.now).is_empty());
    let honest = vote(&bench, bench.net.node(TARGET, 2), part);
    let member = bench.net.node(TARGET, 2);
    bench.net.hand(member, victim, &honest);
    bench.net.now = bench.net.now + crate::time::Span::from_ms(60_000);
    assert_eq!(bench.net.at(victim).eligible(bench.net.now).len(), 1);
}

/// Acknowledgements of f liars end nothing.
#[test]
fn f_acknowledgements_do_not_count() {
    let mut bench = Bench::new(4, 2);
    bench.block(SOURCE, &[(TARGET, b"x")]);
    let (sender, liar) = (bench.net.node(SOURCE, 0), bench.net.node(TARGET, 3));
    for number in [1, 1, 1_000_000, u64::MAX - 1] {
        bench.net.hand(liar, sender, &message(PartMessage::Ack(PartNumber(number))));
        assert_eq!(bench.net.at(sender).parts_open(), 1);
    }
    let honest = bench.net.node(TARGET, 1);
    bench.net.hand(honest, sender, &message(PartMessage::Ack(PartNumber(1))));
    assert_eq!(bench.net.at(sender).parts_open(), 0, "f+1 are, as far as all of them go");
    bench.block(SOURCE, &[(TARGET, b"y")]);
    assert_eq!(bench.net.at(sender).parts_open(), 1);
    // A member that executes more slowly than the destination need not send parts that are executed there.
    bench.net.hand(honest, sender, &message(PartMessage::Ack(PartNumber(9))));
    bench.block(SOURCE, &[(TARGET, b"z")]);
    assert_eq!((bench.net.at(sender).parts_open(), bench.net.at(sender).next_wakeup()), (0, None));
}

/// Two parts with one number, both proved, as only a source with more than f Byzantine members can make them; how many
/// different ones a member signs.
fn digests_signed_of_a_forked_source() -> usize {
    let mut bench = Bench::new(4, 2);
    let (from, to) = (bench.net.node(SOURCE, 0), bench.net.node(TARGET, 0));
    let forked = [&b"one"[..], b"other"].map(|item| bench.next_block(SOURCE, &[(TARGET, item)]));
    let transfers = forked.each_ref().map(|(header, parts)| bench.transfer(&[*header], parts, 0));
    bench.net.hand(from, to, &TransferSend::Transfer(transfers[0].clone()));
    // The shard, so it seems, has decided to execute the other one.
    let wanted = forked[1].1[0].reference();
    bench.net.step(to, |it, now| it.want(now, &[wanted]));
    bench.net.hand(from, to, &TransferSend::Transfer(transfers[1].clone()));
    assert!(bench.net.at(to).body(&wanted).is_some(), "what is decided is executed");
    let mut signed: Vec<Digest> = bench
        .net
        .sent
        .iter()
        .filter_map(|(_, _, send)| match send {
            TransferSend::Message(PartMessage::Vote { part, .. }) => Some(part.digest),
            _ => None,
        })
        .collect();
    signed.sort_unstable();
    signed.dedup();
    signed.len()
}

#[test]
fn a_number_is_signed_once() {
    assert_eq!(digests_signed_of_a_forked_source(), 1);
}

/// Without its rules a member signs lies, or two parts with one number.
#[cfg(feature = "mutants")]
#[test]
fn without_any_single_rule_of_transfers_an_attack_succeeds() {
    use crate::mutant::{Mutant, set};

    set(Some(Mutant::SignOncePerPart));
    let signed = digests_signed_of_a_forked_source();
    set(None);
    assert_eq!(signed, 2);
    set(Some(Mutant::PartDigestBindsCounts));
    let shapes =
        [((0, 0, 1), 1), ((0, 0, 3), 2), ((1, 1, 1), 1)].map(|(items, parts)| shapes_signed(items, parts));
    set(None);
    assert_eq!(
        shapes,
        [
            vec!["subtree 0:0", "emptied"],
            vec!["subtree 0:0", "subtree 1:0", "emptied"],
            // The header's leaf counts finished and cancelled transactions.
            vec![],
        ]
    );
    let believed = |rule: Mutant| -> Vec<&str> {
        set(Some(rule));
        let is_believed = |lie: Lie| {
            let (mut bench, mut transfer) = staged();
            lie(&bench, &mut transfer);
            let (liar, victim) = (bench.net.node(SOURCE, 3), bench.net.node(TARGET, 0));
            signs(&mut bench, liar, victim, transfer)
        };
        let believed = LIES.iter().filter(|(_, lie)| is_believed(*lie)).map(|(what, _)| *what).collect();
        set(None);
        believed
    };
    assert_eq!(
        believed(Mutant::TransferNeedsCertificate),
        [
            "the certificate of the block before the last",
            "the certificate of another shard",
            "a short certificate",
            "a signer twice",
            "an invented block",
        ]
    );
    assert_eq!(believed(Mutant::TransferHeaderChain), ["a header left out", "a header that names another"]);
    assert_eq!(
        believed(Mutant::TransferBranch),
        [
            "an altered item",
            "another number",
            "no branch",
            "a wrong sibling",
            "another position",
            "a position that does not exist",
        ]
    );
}
