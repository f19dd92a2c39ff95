//! The lanes of one shard over a [`Script`]; members by their index.

use std::sync::Arc;

use wire::bytes::Bytes;
use wire::codec;
use wire::ids::{Digest, Index, NodeId, Round, Seq, Signature};

use crate::crypto::cert::{Certificate, CertificateCache};
use crate::crypto::suite::Statement;
use crate::cut::{Cut, Tip};
use crate::fault::FaultKind;
use crate::lane::entry::{self, Entry};
use crate::lane::{Bodies, LaneEffects, LaneMessage, LaneOutput, LaneSend, LaneSettings, Lanes};
use crate::sim::script::{Party, Script};
use crate::time::Time;

/// A payload that starts with this byte is invalid.
pub(super) const INVALID: u8 = 0xFF;

impl Party for Lanes {
    type Message = LaneSend;
    type Output = LaneOutput;

    fn receive(&mut self, now: Time, from: NodeId, send: &LaneSend) -> LaneEffects {
        match send {
            LaneSend::Entry { body, .. } => {
                let body = Bytes::from(body.to_vec());
                self.handle_entry(now, from, digest_of(&body), body)
            }
            LaneSend::Kept { .. } => panic!("these members have no journal"),
            LaneSend::Message(message) => {
                let message = codec::decode(&codec::encode(message)).expect("what is encoded decodes");
                self.handle(now, from, message)
            }
        }
    }

    fn tick(&mut self, now: Time) -> LaneEffects {
        self.tick(now)
    }

    fn next_wakeup(&self) -> Option<Time> {
        self.next_wakeup()
    }
}

pub(super) type Net = Script<Lanes>;

impl Net {
    pub(super) fn of(n: u16) -> Net {
        Net::with(n, LaneSettings::default())
    }

    pub(super) fn with(n: u16, settings: LaneSettings) -> Net {
        Script::new(n, 1, |member| {
            let validity =
                Arc::new(|payload: &[u8], _: &mut CertificateCache| payload.first() != Some(&INVALID));
            Lanes::new(member, settings, validity)
        })
    }

    /// From now on only these messages arrive.
    pub(super) fn filter(&mut self, passes: impl Fn(usize, usize, &LaneSend) -> bool + 'static) {
        self.only(move |from, to, send| passes(usize::from(from.0), usize::from(to.0), send));
    }

    /// A member does a step.
    pub(super) fn act(&mut self, at: usize, step: impl FnOnce(&mut Lanes, Time) -> LaneEffects) {
        self.step(NodeId(at as u16), step);
    }

    /// A member has done a step.
    pub(super) fn did(&mut self, at: usize, effects: LaneEffects) {
        self.absorb(NodeId(at as u16), effects);
    }

    /// The cut that a member would propose now.
    pub(super) fn cut(&mut self, at: usize) -> Cut {
        self.act(at, Lanes::prove_all_claims);
        self.parties[at].cut()
    }

    /// Makes a member handle a message at once, as if `from` had sent it.
    pub(super) fn give(&mut self, from: usize, to: usize, send: &LaneSend) {
        self.hand(NodeId(from as u16), NodeId(to as u16), send);
    }

    /// Appends an entry to a member's own lane.
    pub(super) fn append(&mut self, at: usize, payload: &[u8]) {
        let mut buffer = entry::buffer(payload.len());
        buffer.extend(payload);
        self.act(at, |it, now| it.append(now, buffer));
    }

    /// The cut is decided at these members.
    pub(super) fn decide(&mut self, members: impl IntoIterator<Item = usize>, round: u64, cut: &Cut) {
        for at in members {
            self.act(at, |it, now| it.decide(now, Round(round), cut, Bodies::UnderWay));
        }
    }

    /// The cut is decided at a member that has missed the entries before it.
    pub(super) fn decide_missed(&mut self, at: usize, round: u64, cut: &Cut) {
        self.act(at, |it, now| it.decide(now, Round(round), cut, Bodies::Missed));
    }

    /// Payloads of a block at a member, with owner and seq.
    pub(super) fn block(&self, at: usize, previous: &Cut, cut: &Cut) -> Option<Vec<(u16, u64, Vec<u8>)>> {
        let block = self.parties[at].block(previous, cut, |_| None)?;
        Some(block.iter().map(|it| (it.owner.0, it.seq.0, it.payload().to_vec())).collect())
    }

    pub(super) fn genesis(&self) -> Cut {
        Cut::genesis(&self.committee)
    }

    /// The signature of a member, for certificates that Byzantine members forge.
    pub(super) fn sign(&self, at: usize, tip: Tip, owner: usize) -> Signature {
        self.suites[at].sign(&statement(owner, tip))
    }

    /// A certificate signed by these members.
    pub(super) fn certified_by(&self, signers: &[usize], owner: usize, tip: Tip) -> Certificate {
        self.certificate(signers.iter().map(|at| NodeId(*at as u16)), &statement(owner, tip))
    }

    pub(super) fn faults_of(&self, peer: usize) -> Vec<FaultKind> {
        let faults = self.faults.iter().filter(|(_, fault)| usize::from(fault.peer.0) == peer);
        faults.map(|(_, fault)| fault.kind).collect()
    }

    /// How many delivered messages satisfy the condition.
    pub(super) fn count(&self, condition: impl Fn(usize, usize, &LaneSend) -> bool) -> usize {
        let numbers = |from: NodeId, to: NodeId| (usize::from(from.0), usize::from(to.0));
        let counts = self.delivered.iter().map(|(from, to, send)| (numbers(*from, *to), send));
        counts.filter(|((from, to), send)| condition(*from, *to, send)).count()
    }
}

fn statement(owner: usize, tip: Tip) -> Statement {
    Statement::Lane { owner: Index(owner as u16), seq: tip.seq, digest: tip.digest }
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(bytes).into())
}

/// An entry that a Byzantine owner makes.
pub(super) fn forge(owner: usize, parent: Tip, payload: &[u8]) -> Entry {
    let mut buffer = entry::buffer(payload.len());
    buffer.extend(payload);
    Entry::seal(Index(owner as u16), parent, buffer)
}

pub(super) fn send(entry: &Entry) -> LaneSend {
    LaneSend::Entry { owner: entry.owner, seq: entry.seq, digest: entry.digest, body: entry.body.clone() }
}

pub(super) fn final_of(owner: usize, tip: Tip, certificate: Certificate) -> LaneSend {
    let owner = Index(owner as u16);
    LaneSend::Message(LaneMessage::Final { owner, seq: tip.seq, digest: tip.digest, certificate })
}

pub(super) fn is_entry(send: &LaneSend) -> bool {
    matches!(send, LaneSend::Entry { .. })
}

pub(super) fn is_echo(send: &LaneSend) -> bool {
    matches!(send, LaneSend::Message(LaneMessage::Echo { .. }))
}

pub(super) fn is_final(send: &LaneSend) -> bool {
    matches!(send, LaneSend::Message(LaneMessage::Final { .. }))
}

pub(super) fn is_want_entries(send: &LaneSend) -> bool {
    matches!(send, LaneSend::Message(LaneMessage::WantEntries { .. }))
}

/// The tip of a lane in a cut.
pub(super) fn seq_of(cut: &Cut, lane: usize) -> Seq {
    cut.0[lane].seq
}
