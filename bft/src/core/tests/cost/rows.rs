//! The worst messages of each kind, and what a hundred of them may cost.

mod shards;

use std::num::NonZeroU64;

use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::ids::{Digest, Index, NodeId, Round, Seq, Signature, View};

use shards::{false_order, false_transfer, of_parts, of_rejects};

use super::{AUTHOR, Cost, Stance, TIMES, Victim};
use crate::block::{BlockMessage, BlockVote, Header};
use crate::checkpoint::{CheckpointMessage, Offer, Piece};
use crate::crypto::cert::Certificate;
use crate::crypto::suite::{CoinName, CoinShare, Stage, Statement, Suite};
use crate::cut::{Cut, Tip};
use crate::justification::Justification;
use crate::lane::LaneMessage;
use crate::lane::entry::{self, Entry};
use crate::message::{Message, MessageKind, encode_copies};
use crate::mvba::{Ballot, Halt, MvbaMessage, PreVote, Vote};
use crate::pending::Position;
use crate::round::{Answer, CATCH_UP_ROUNDS_MAX, CatchUpMessage, RoundMessage};
use crate::shard::message::ShardMessage;
use crate::spb::SpbMessage;
use crate::time::Span;

pub(super) fn digest(number: u64) -> Digest {
    Digest(Sha256::digest(number.to_le_bytes()).into())
}

/// A signature that does not verify.
fn junk(number: u64) -> Signature {
    Signature { r: digest(number).0, s: [0; 32] }
}

/// N−f signatures that do not verify.
fn junk_certificate(victim: &Victim, number: u64) -> Certificate {
    Certificate((0..victim.quorum as u16).map(|i| (Index(i), junk(number))).collect())
}

/// A cut of uncertified tips with a false certificate.
fn junk_value(victim: &Victim, number: u64) -> (Cut, Certificate) {
    (victim.unknown_cut(number), junk_certificate(victim, number))
}

fn mvba(message: MvbaMessage) -> Bytes {
    Message::Round(RoundMessage::Mvba { round: Round(1), message }).encode()
}

fn spb(leader: Index, message: SpbMessage) -> Bytes {
    mvba(MvbaMessage::Spb { view: View(0), leader, message })
}

fn ballot(ballot: Ballot) -> Bytes {
    mvba(MvbaMessage::Ballot { view: View(0), ballot })
}

/// Messages of one kind, by number, and the bound on their cost.
pub(super) struct Row {
    pub name: &'static str,
    pub stance: Stance,
    pub from: fn(&Victim) -> NodeId,
    /// Messages of honest members that arrive first, so that the liar's completes N−f.
    pub before: fn(&Victim) -> Vec<(NodeId, Bytes)>,
    pub message: fn(&Victim, u64) -> Bytes,
    /// Time for the receiver's timers after the messages.
    pub wait: Span,
    /// By N and q. Signatures and frames are exact, bytes at most.
    pub limit: fn(u64, u64) -> Cost,
}

const ROW: Row = Row {
    name: "",
    stance: Stance::Fresh,
    from: |_| AUTHOR,
    before: |_| Vec::new(),
    message: |_, _| Bytes::from(Vec::new()),
    wait: Span(0),
    limit: |_, _| Cost { verified: 0, frames: 0, bytes: 0 },
};

const fn verified(verified: u64) -> Cost {
    Cost { verified, frames: 0, bytes: 0 }
}

/// An answer of at most this many bytes to each message.
fn answered(bytes: u64) -> Cost {
    Cost { verified: 0, frames: TIMES, bytes: TIMES * bytes }
}

/// A SIGN, VOTE or ECHO of each honest member after the author: one short of N−f, together with `own` of the receiver.
fn almost(victim: &Victim, own: u64, message: impl Fn(u16) -> Bytes) -> Vec<(NodeId, Bytes)> {
    let count = (victim.quorum - 1 - own) as u16;
    (2..2 + count).map(|node| (NodeId(node), message(node))).collect()
}

fn checkpoint(message: CheckpointMessage) -> Bytes {
    Message::Checkpoint(message).encode()
}

fn position(number: u64) -> Position {
    Position(NonZeroU64::MIN.saturating_add(number))
}

fn stranger(victim: &Victim) -> NodeId {
    NodeId(victim.n)
}

pub(super) fn rows(kind: MessageKind) -> Vec<Row> {
    match kind {
        MessageKind::Entry => entries(),
        MessageKind::Echo | MessageKind::Final => certificates_of_lanes(kind),
        MessageKind::WantEntries | MessageKind::WantCertificates => wants(kind),
        MessageKind::Spb => of_spb(),
        MessageKind::CoinShare => vec![Row {
            name: "coin share",
            message: |_, i| {
                let share = CoinShare { value: digest(i).0, challenge: [0; 32], response: [0; 32] };
                mvba(MvbaMessage::CoinShare { view: View(0), share })
            },
            limit: |_, _| verified(1),
            ..ROW
        }],
        MessageKind::Ballot => ballots(),
        MessageKind::Halt => {
            vec![Row {
                name: "HALT",
                message: |v, i| false_halt(v, i).1,
                limit: |_, q| verified(2 * q),
                ..ROW
            }]
        }
        MessageKind::CatchUp => catch_up(),
        MessageKind::BlockVote | MessageKind::BlockCertified => of_blocks(kind),
        MessageKind::Transfer => {
            vec![Row {
                name: "LD",
                from: stranger,
                message: false_transfer,
                limit: |_, q| verified(q),
                ..ROW
            }]
        }
        MessageKind::TransferVote | MessageKind::WantPart | MessageKind::PartAck => of_parts(kind),
        MessageKind::RejectVotes | MessageKind::Rejected | MessageKind::Spent => of_rejects(kind),
        MessageKind::Order => vec![Row {
            name: "order of what can never execute",
            from: stranger,
            message: false_order,
            wait: Span::from_ms(100),
            // Two CL_M to the shard: the first at once, the second with all that was gathered since.
            limit: |n, _| Cost { verified: 0, frames: 2 * (n - 1), bytes: TIMES * (n - 1) * 100 },
            ..ROW
        }],
        MessageKind::Copies => vec![Row {
            name: "copies of nothing",
            message: |_, i| encode_copies(None, position(i), std::iter::empty()),
            limit: |_, _| answered(17),
            ..ROW
        }],
        MessageKind::Held => vec![Row {
            name: "acknowledgement of copies that were never sent",
            message: |_, i| Message::Shard(ShardMessage::Held(position(i))).encode(),
            ..ROW
        }],
        MessageKind::AskCheckpoint => vec![Row {
            name: "request for a checkpoint",
            stance: Stance::Executed,
            message: |_, _| checkpoint(CheckpointMessage::Ask { height: Round(1) }),
            wait: Span::from_ms(100),
            // One offer.
            limit: |n, _| Cost { verified: 0, frames: 1, bytes: 161 + 40 * n + 32 },
            ..ROW
        }],
        MessageKind::Checkpoint => vec![Row {
            name: "offer of a checkpoint",
            message: |v, i| {
                let cut = v.unknown_cut(i);
                let header = Header { height: Round(i + 1), cut: cut.digest(), ..Header::default() };
                checkpoint(CheckpointMessage::Offer(Box::new(Offer { header, cut, pieces: vec![digest(i)] })))
            },
            ..ROW
        }],
        MessageKind::WantPiece => vec![Row {
            name: "request for a piece",
            stance: Stance::Executed,
            message: |_, i| checkpoint(CheckpointMessage::WantPiece { height: Round(1), number: i as u32 }),
            ..ROW
        }],
        MessageKind::Piece => vec![Row {
            name: "piece",
            message: |_, i| {
                let bytes = Bytes::from(vec![i as u8; 1_000]);
                Piece { height: Round(1), number: i as u32, bytes }.encode()
            },
            ..ROW
        }],
        MessageKind::Unknown => vec![
            Row { name: "nothing", ..ROW },
            Row { name: "no message", message: |_, i| Bytes::from(vec![i as u8 | 8; 1_000]), ..ROW },
        ],
    }
}

fn entries() -> Vec<Row> {
    vec![
        Row {
            name: "SEND of a lane, false import",
            message: |v, i| {
                let certificate = junk_certificate(v, i);
                let mut import = 1u16.to_le_bytes().to_vec();
                import.extend((i + 1).to_le_bytes());
                import.extend(digest(i).0);
                for (index, Signature { r, s }) in certificate.0 {
                    import.extend(index.0.to_le_bytes());
                    import.extend(r.iter().chain(&s));
                }
                let mut buffer = entry::buffer(0);
                buffer.extend([1, 1]);
                buffer.extend((import.len() as u32).to_le_bytes());
                buffer.extend(import);
                Entry::seal(Index(1), Tip::default(), buffer).body
            },
            limit: |_, q| verified(q),
            ..ROW
        },
        Row {
            name: "SEND of a lane, again",
            stance: Stance::Leading,
            message: |_, _| {
                let mut buffer = entry::buffer(1);
                buffer.push(0);
                Entry::seal(Index(1), Tip::default(), buffer).body
            },
            limit: |_, _| answered(121),
            ..ROW
        },
        Row {
            name: "SEND of a lane, unknown parents",
            stance: Stance::Executed,
            message: |_, i| {
                let mut buffer = entry::buffer(1);
                buffer.push(0);
                Entry::seal(Index(1), Tip { seq: Seq(2 * i + 1), digest: digest(i) }, buffer).body
            },
            wait: Span::from_ms(210),
            // Of 16 seqs whose bodies are kept every second one is filled, and each of their parents is requested.
            limit: |_, _| Cost { verified: 0, frames: 8, bytes: 8 * 60 },
            ..ROW
        },
    ]
}

fn certificates_of_lanes(kind: MessageKind) -> Vec<Row> {
    fn echo(tip: Tip, signature: Signature) -> Bytes {
        let Tip { seq, digest } = tip;
        Message::Lane(LaneMessage::Echo { owner: Index(0), seq, digest, signature }).encode()
    }
    let row = if kind == MessageKind::Echo {
        Row {
            name: "ECHO of an entry",
            stance: Stance::Collecting,
            before: |v| {
                let tip = v.own().0;
                let statement = Statement::Lane { owner: Index(0), seq: tip.seq, digest: tip.digest };
                almost(v, 1, |node| echo(tip, v.suite_of(node).sign(&statement)))
            },
            message: |v, i| echo(v.own().0, junk(i)),
            limit: |_, q| verified(2 * q),
            ..ROW
        }
    } else {
        Row {
            name: "FINAL",
            message: |v, i| {
                let (owner, seq, certificate) = (Index(i as u16 % v.n), Seq(1), junk_certificate(v, i));
                Message::Lane(LaneMessage::Final { owner, seq, digest: digest(i), certificate }).encode()
            },
            limit: |_, q| verified(q),
            ..ROW
        }
    };
    vec![row]
}

fn wants(kind: MessageKind) -> Vec<Row> {
    let row = if kind == MessageKind::WantEntries {
        Row {
            name: "request for an entry",
            stance: Stance::Leading,
            message: |v, _| {
                let Tip { seq, digest } = v.own().0;
                Message::Lane(LaneMessage::WantEntries { owner: Index(0), seq, digest, count: 1 }).encode()
            },
            limit: |_, _| answered(300),
            ..ROW
        }
    } else {
        Row {
            name: "request for a certificate",
            stance: Stance::Leading,
            message: |v, _| {
                let tips = vec![(Index(0), v.own().0)];
                Message::Lane(LaneMessage::WantCertificates { tips }).encode()
            },
            limit: |_, q| answered(59 + 66 * q),
            ..ROW
        }
    };
    vec![row]
}

fn of_spb() -> Vec<Row> {
    let lock = Row {
        name: "LOCK",
        message: |v, i| {
            let (cut, certificate) = junk_value(v, i);
            spb(Index(1), SpbMessage::Lock { cut, certificate })
        },
        limit: |_, q| verified(q),
        ..ROW
    };
    let finish = Row {
        name: "FINISH",
        message: |v, i| {
            let (cut, certificate) = junk_value(v, i);
            spb(Index(1), SpbMessage::Finish { cut, certificate })
        },
        limit: |_, q| verified(q),
        ..ROW
    };
    let echo = Row {
        name: "ECHO or READY of an SPB",
        stance: Stance::Leading,
        before: |v| {
            let digest = v.own().1.digest();
            let (round, view, leader, stage) = (Round(1), View(0), Index(0), Stage::Lock);
            let statement = Statement::Agreement { round, view, leader, stage, digest };
            almost(v, 1, |node| spb(leader, SpbMessage::Echo(v.suite_of(node).sign(&statement))))
        },
        message: |_, i| spb(Index(0), SpbMessage::Echo(junk(i))),
        limit: |_, q| verified(2 * q),
        ..ROW
    };
    let send = Row {
        name: "SEND of an SPB, false justification",
        message: |v, i| {
            let (cut, certificate) = junk_value(v, i);
            let justification = Justification::locked(View(0), certificate);
            spb(Index(1), SpbMessage::Send { cut, justification })
        },
        ..ROW
    };
    // For the first the receiver requests all certificates from its proposer at once; the others are ignored.
    let unknown = Row {
        name: "SEND of an SPB, unknown tips",
        stance: Stance::Executed,
        message: |v, i| {
            let (mut cut, justification) = (v.unknown_cut(i), Justification::default());
            cut.0.iter_mut().for_each(|tip| tip.seq = Seq(2));
            let message = SpbMessage::Send { cut, justification };
            let message = MvbaMessage::Spb { view: View(0), leader: Index(1), message };
            Message::Round(RoundMessage::Mvba { round: Round(2), message }).encode()
        },
        limit: |n, _| Cost { verified: 0, frames: 1, bytes: 17 + 42 * n },
        ..ROW
    };
    vec![send, lock, finish, echo, unknown]
}

fn ballots() -> Vec<Row> {
    let pre_vote = Row {
        name: "PRE-VOTE",
        stance: Stance::Elected,
        message: |v, i| {
            let (cut, certificate) = junk_value(v, i);
            ballot(Ballot::PreVote(PreVote::Yes { cut, certificate }))
        },
        limit: |_, q| verified(q),
        ..ROW
    };
    let vote = Row {
        name: "VOTE",
        stance: Stance::Elected,
        message: |v, i| {
            // A valid certificate for a value that the leader never proposed: only the bench can make one.
            let (cut, leader) = (v.unknown_cut(0), v.leader());
            let (round, view, stage, digest) = (Round(1), View(0), Stage::Lock, cut.digest());
            let certificate = v.certificate(&Statement::Agreement { round, view, leader, stage, digest });
            ballot(Ballot::Vote(Vote::Yes { cut, certificate, signature: junk(i) }))
        },
        limit: |_, q| verified(q + 1),
        ..ROW
    };
    vec![pre_vote, vote]
}

/// A HALT of round 1 with valid coin shares and a false certificate.
pub(super) fn false_halt(victim: &Victim, number: u64) -> (Halt, Bytes) {
    let (round, view) = (Round(1), View(0));
    let (cut, certificate) = junk_value(victim, number);
    let shares = victim.shares(CoinName { round, view });
    let halt = Halt { round, view, cut, certificate, shares };
    let body = Message::Round(RoundMessage::Halt(Box::new(halt.clone()))).encode();
    (halt, body)
}

/// A full answer of false HALTs, from the next round on.
pub(super) fn false_answer(victim: &Victim, salt: u64) -> Answer {
    let (first, _) = false_halt(victim, salt);
    let from = first.round;
    let halts =
        (from.0..).take(CATCH_UP_ROUNDS_MAX).map(|round| Halt { round: Round(round), ..first.clone() });
    Answer { from, halts: halts.collect(), served_from: Round(1) }
}

fn catch_up() -> Vec<Row> {
    let ask = Row {
        name: "`Ask`",
        stance: Stance::Done,
        message: |_, _| {
            Message::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { from: Round(1) })).encode()
        },
        limit: |n, q| Cost { verified: 0, frames: 4, bytes: 4 * (73 + 40 * n + 66 * q + 98 * q) },
        ..ROW
    };
    let halts = Row {
        name: "`Halts`, unasked",
        message: |v, i| {
            let answer = CatchUpMessage::Halts(false_answer(v, i));
            Message::Round(RoundMessage::CatchUp(answer)).encode()
        },
        ..ROW
    };
    vec![ask, halts]
}

fn of_blocks(kind: MessageKind) -> Vec<Row> {
    fn vote(header: Digest, signature: Signature) -> Bytes {
        Message::Block(BlockMessage::Vote(BlockVote { height: Round(1), header, signature })).encode()
    }
    if kind == MessageKind::BlockCertified {
        return vec![Row {
            name: "`Certified`",
            stance: Stance::Executed,
            message: |v, i| {
                let (height, header, certificate) = (Round(1), v.header(), junk_certificate(v, i));
                Message::Block(BlockMessage::Certified { height, header, certificate }).encode()
            },
            limit: |_, q| verified(q),
            ..ROW
        }];
    }
    let false_vote = Row {
        name: "VOTE on a block",
        stance: Stance::Executed,
        before: |v| {
            let (height, digest) = (Round(1), v.header());
            almost(v, 1, |node| vote(digest, v.suite_of(node).sign(&Statement::Block { height, digest })))
        },
        message: |v, i| vote(v.header(), junk(i)),
        limit: |_, q| verified(2 * q),
        ..ROW
    };
    let late_vote = Row {
        name: "VOTE on a certified block",
        stance: Stance::Done,
        message: |v, i| vote(v.header(), junk(i)),
        limit: |_, q| Cost { verified: 0, frames: 1, bytes: 57 + 66 * q },
        ..ROW
    };
    vec![false_vote, late_vote]
}
