//! A Byzantine member with a lawful key: messages far ahead, floods of early ones, and bytes that make no sense.

use bft::block::{BlockMessage, BlockVote};
use bft::crypto::cert::Certificate;
use bft::crypto::suite::CoinShare;
use bft::cut::{Cut, Tip};
use bft::fault::FaultKind;
use bft::justification::Justification;
use bft::lane::entry::{self, Entry};
use bft::message::{Incoming, Message};
use bft::mvba::{Ballot, Halt, MvbaMessage, PreVote, Vote};
use bft::prng::Prng;
use bft::round::{Answer, CatchUpMessage, RoundMessage};
use bft::spb::SpbMessage;
use wire::bytes::Bytes;
use wire::committee::Committee;
use wire::ids::{Digest, Index, Round, Seq, Signature, View};
use wire::keys::NodeKeys;
use wire::limits::ROUNDS_AHEAD_MAX;
use wire::session::Identity;

use super::damage::Damage;
use super::line::{Breach, FAR_ROUNDS, Line};
use super::scene::{CAME_EARLY, Scene, Tally, Victim, rest};

/// Messages that go out before their arrival is waited for.
const BATCH: u64 = 128;
/// Messages of one session.
const SESSION: u64 = 4_096;
/// Views of early messages: some more than are kept.
const VIEWS: u64 = 10;

/// Sends `damaged` messages that make no sense, and half as many of each of the other sorts, as `member` to one node.
pub(super) fn send(scene: &Scene, member: &NodeKeys, victim: Victim, damaged: u64, seed: u64) -> Tally {
    let mut tally = Tally::default();
    let forger = Forger {
        committee: &scene.committee,
        me: scene.committee.index_of(member.id),
        victim: scene.committee.index_of(victim.node),
    };
    let identity = Identity::peer(member.id, member.signing.clone());
    let mut prng = Prng::new(seed);
    let (mut done, mut turn, all) = (0, 0, 2 * damaged);
    while done < all && !scene.is_over() {
        scene.keep_pace(done, all);
        let Some(mut line) = Line::open(scene, victim, &identity, Round(FAR_ROUNDS)) else {
            rest();
            continue;
        };
        tally.sent("sessions of a member", 1);
        let end = (done + SESSION).min(all);
        let mut arrives = true;
        while arrives && done < end {
            scene.keep_pace(done, all);
            let mut batch = Tally::default();
            for _ in 0..BATCH.min(end - done) {
                line.push(&forger.body(line.decided(), &mut prng, &mut batch));
                done += 1;
            }
            arrives = line.deliver(scene);
            if !arrives {
                // The fate of these is unknown.
                batch.owed.clear();
            }
            tally.merge(batch);
        }
        if arrives {
            line.breach(Breach::of_turn(turn), &mut prng, &mut tally, scene);
            turn += 1;
        }
    }
    tally
}

/// Makes messages of one member for another.
struct Forger<'a> {
    committee: &'a Committee,
    me: Index,
    victim: Index,
}

impl Forger<'_> {
    /// A message of any sort, the node having decided `decided`; notes in the tally what it is owed for.
    fn body(&self, decided: Round, prng: &mut Prng, tally: &mut Tally) -> Vec<u8> {
        let far = Round(decided.0 + FAR_ROUNDS + prng.below(FAR_ROUNDS));
        let near = Round(decided.0 + prng.within(2..ROUNDS_AHEAD_MAX + 1));
        match prng.below(4) {
            0 => {
                tally.sent("messages 10^6 rounds ahead", 1);
                self.ahead(far, prng, tally)
            }
            1 => {
                tally.sent("early messages", 1);
                self.message(near, prng)
            }
            _ => {
                let damage = Damage::draw(prng);
                let body = damage.apply(self.message(near, prng), prng);
                tally.sent(damage.name(), 1);
                if Incoming::decode(&Bytes::from(body.clone())).is_none() {
                    tally.owe(FaultKind::Malformed.name(), 1);
                }
                body
            }
        }
    }

    /// A well-formed message that is far beyond what anybody keeps.
    fn ahead(&self, round: Round, prng: &mut Prng, tally: &mut Tally) -> Vec<u8> {
        let kind = prng.below(8);
        // HALTs of a member that has sent false ones are not looked at any more.
        if kind != 2 {
            tally.owe(CAME_EARLY, 1);
        }
        match kind {
            0 => self.entry(round, prng),
            1 => Message::Block(BlockMessage::Vote(BlockVote {
                height: round,
                header: digest(prng),
                signature: signature(prng),
            }))
            .encode()
            .to_vec(),
            2 => Message::Round(RoundMessage::Halt(Box::new(self.halt(round, prng)))).encode().to_vec(),
            _ => self.agreement(round, prng),
        }
    }

    /// A well-formed message of any sort.
    fn message(&self, round: Round, prng: &mut Prng) -> Vec<u8> {
        match prng.below(8) {
            0 => Message::Round(RoundMessage::CatchUp(CatchUpMessage::Ask { from: round })).encode().to_vec(),
            1 => Message::Round(RoundMessage::CatchUp(CatchUpMessage::Halts(self.answer(round, prng))))
                .encode()
                .to_vec(),
            2 => Message::Block(BlockMessage::Certified {
                height: round,
                header: digest(prng),
                certificate: self.certificate(prng),
            })
            .encode()
            .to_vec(),
            3 => Message::Round(RoundMessage::Halt(Box::new(self.halt(round, prng)))).encode().to_vec(),
            _ => self.agreement(round, prng),
        }
    }

    /// An answer to a request for rounds that nobody made.
    fn answer(&self, round: Round, prng: &mut Prng) -> Answer {
        Answer { from: round, halts: vec![self.halt(round, prng)], served_from: Round(1) }
    }

    /// A message of sMVBA that this member may send that one.
    fn agreement(&self, round: Round, prng: &mut Prng) -> Vec<u8> {
        let view = View(prng.below(VIEWS) as u32);
        let spb = |leader, message| MvbaMessage::Spb { view, leader, message };
        let ballot = |ballot| MvbaMessage::Ballot { view, ballot };
        let (cut, certificate) = (self.cut(prng), self.certificate(prng));
        let message = match prng.below(10) {
            0 => spb(self.me, SpbMessage::Send { cut, justification: Justification::default() }),
            1 => spb(
                self.me,
                SpbMessage::Send { cut, justification: Justification::locked(View(0), certificate) },
            ),
            2 => spb(self.victim, SpbMessage::Echo(signature(prng))),
            3 => spb(self.me, SpbMessage::Lock { cut, certificate }),
            4 => spb(self.victim, SpbMessage::Ready(signature(prng))),
            5 => spb(self.me, SpbMessage::Finish { cut, certificate }),
            6 => MvbaMessage::CoinShare { view, share: share(prng) },
            7 => ballot(Ballot::PreVote(PreVote::Yes { cut, certificate })),
            8 => ballot(Ballot::PreVote(PreVote::No { signature: signature(prng) })),
            _ => ballot(Ballot::Vote(Vote::No { refusals: certificate, signature: signature(prng) })),
        };
        Message::Round(RoundMessage::Mvba { round, message }).encode().to_vec()
    }

    fn halt(&self, round: Round, prng: &mut Prng) -> Halt {
        let shares = self.committee.indices().take(self.committee.quorum());
        Halt {
            round,
            view: View(0),
            cut: self.cut(prng),
            certificate: self.certificate(prng),
            shares: shares.map(|index| (index, share(prng))).collect(),
        }
    }

    /// An entry of the member's own lane, as many places ahead.
    fn entry(&self, round: Round, prng: &mut Prng) -> Vec<u8> {
        let mut buffer = entry::buffer(100);
        buffer.extend(prng.bytes::<100>());
        let parent = Tip { seq: Seq(round.0), digest: digest(prng) };
        Entry::seal(self.me, parent, buffer).body.to_vec()
    }

    fn cut(&self, prng: &mut Prng) -> Cut {
        let tip = |_| Tip { seq: Seq(prng.below(1 << 20)), digest: digest(prng) };
        Cut(self.committee.indices().map(tip).collect())
    }

    fn certificate(&self, prng: &mut Prng) -> Certificate {
        let signers = self.committee.indices().take(self.committee.quorum());
        Certificate(signers.map(|signer| (signer, signature(prng))).collect())
    }
}

fn digest(prng: &mut Prng) -> Digest {
    Digest(prng.bytes())
}

fn signature(prng: &mut Prng) -> Signature {
    Signature::from_bytes(prng.bytes())
}

fn share(prng: &mut Prng) -> CoinShare {
    CoinShare { value: prng.bytes(), challenge: prng.bytes(), response: prng.bytes() }
}
