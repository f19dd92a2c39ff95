//! The own lane: entries from appending to decision, their votes and their re-sending.
//!
//! An entry is open until a decided cut covers it. While its echoes are collected, it is sent again to members that
//! have not echoed it; once it is certified, only its FINAL is sent again, and members that lack the body fetch it.
//! Entries and FINALs are sent again after a time without progress that allows for the transfer of all open entries, so
//! that a slow link is not filled with copies, or when a peer or one of our own children has a new process, since
//! messages may then be lost.
//!
//! Entries to be sent again wait for the [`resend_pace`], lowest first; each goes out in one message to all members
//! that lack it (`Dest::Set`). So new processes of peers, or a restart of a child, cost at most 16 MiB at once and 16
//! MiB a second after that, whatever their number, N and the window are. Entries that become certified or decided
//! meanwhile are not sent.
//!
//! # Security
//! A member that sent a bad signature is Byzantine. Its further echoes are ignored, so it costs one failed batch in
//! total.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use wire::ids::{Digest, Index, Seq, Signature};

use super::entry::{Entry, HEADER_BYTES};
use crate::bucket::Bucket;
use crate::crypto::cert::Certificate;
use crate::crypto::collect::Collector;
use crate::crypto::suite::Statement;
use crate::cut::Tip;
use crate::fault::FaultKind;
use crate::member::Member;
use crate::resend::resend_pace;
use crate::retries::Retries;
use crate::time::{Span, Time};

/// How long an entry may make no progress before it is sent again; doubles to [`RESEND_MAX`].
const RESEND_MIN: Span = Span::from_ms(1_000);
const RESEND_MAX: Span = Span::from_ms(10_000);
/// Added for each open MiB: a link of 4 MiB/s, the slowest emulated one (50 Mbit/s) with a margin.
const PER_MIB: Span = Span::from_ms(250);

/// The message to send again for an open entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Again {
    /// The entry itself, to these members, which have not echoed it.
    Entry(BTreeSet<Index>),
    /// Its certificate.
    Final,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Phase {
    /// Echoes are collected.
    Collecting(Collector),
    /// The certificate is known; the lane has it.
    Certified,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    digest: Digest,
    bytes: u64,
    phase: Phase,
    /// Members that echoed, verified or not: they hold the body, or falsely claim it at their own risk.
    echoed: BTreeSet<Index>,
    /// Members that may have lost the body, which is sent to them again when the pace allows.
    lost: BTreeSet<Index>,
}

/// The result of an echo.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Echoed {
    pub(super) certificate: Option<Certificate>,
    pub(super) faults: Vec<(Index, FaultKind)>,
}

/// The own lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Own {
    pipeline: u64,
    open_bytes_max: u64,
    last: Tip,
    last_append: Option<Time>,
    open: BTreeMap<Seq, Open>,
    open_bytes: u64,
    /// When to send open entries again.
    dues: Retries<Seq>,
    /// Open entries that some member may have lost and that are not certified.
    lost: BTreeSet<Seq>,
    barred: BTreeSet<Index>,
    pace: Bucket,
    /// The last entry that was sent again, while more wait. The next one above it follows, so that a peer that keeps
    /// losing the lowest entry does not delay the others.
    turn: Seq,
}

impl Own {
    pub(super) fn new(pipeline: u64, open_bytes_max: u64) -> Own {
        Own {
            pipeline,
            open_bytes_max,
            last: Tip::default(),
            last_append: None,
            open: BTreeMap::new(),
            open_bytes: 0,
            dues: Retries::new(RESEND_MAX),
            lost: BTreeSet::new(),
            barred: BTreeSet::new(),
            pace: resend_pace(),
            turn: Seq(0),
        }
    }

    /// The entry that the next one follows.
    pub(super) fn last(&self) -> Tip {
        self.last
    }

    pub(super) fn last_append(&self) -> Option<Time> {
        self.last_append
    }

    /// Entries beyond the decided cut.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Entries that may be appended before the next cut is decided.
    pub(super) fn places_left(&self) -> usize {
        (self.pipeline as usize).saturating_sub(self.open.len())
    }

    /// Payload bytes that the next entry may have; `None` while the window is full.
    pub(super) fn room(&self) -> Option<u64> {
        let header = HEADER_BYTES as u64;
        let free = self.open_bytes_max.checked_sub(self.open_bytes + header)?;
        (free > 0 && (self.open.len() as u64) < self.pipeline).then_some(free)
    }

    /// Opens an entry, with our own echo.
    pub(super) fn append(
        &mut self,
        now: Time,
        member: &Member,
        entry: &Entry,
        signature: Signature,
    ) -> Echoed {
        let statement = Statement::Lane { owner: entry.owner, seq: entry.seq, digest: entry.digest };
        let open = Open {
            digest: entry.digest,
            bytes: entry.body.len() as u64,
            phase: Phase::Collecting(Collector::new(&member.committee, statement)),
            echoed: BTreeSet::new(),
            lost: BTreeSet::new(),
        };
        self.last = entry.tip();
        self.last_append = Some(now);
        self.open_bytes += open.bytes;
        self.open.insert(entry.seq, open);
        self.echo(now, member, member.index, entry.tip(), signature)
    }

    /// Handles an echo of an own entry.
    pub(super) fn echo(
        &mut self,
        now: Time,
        member: &Member,
        from: Index,
        tip: Tip,
        signature: Signature,
    ) -> Echoed {
        let wait = self.first_wait();
        if tip.seq > self.last.seq || self.open.get(&tip.seq).is_some_and(|open| open.digest != tip.digest) {
            return Echoed { certificate: None, faults: vec![(from, FaultKind::OutOfRange)] };
        }
        let Some(open) = self.open.get_mut(&tip.seq).filter(|_| !self.barred.contains(&from)) else {
            return Echoed::default();
        };
        open.lost.remove(&from);
        if open.lost.is_empty() {
            self.lost.remove(&tip.seq);
        }
        let is_first = open.echoed.insert(from);
        let Phase::Collecting(collector) = &mut open.phase else { return Echoed::default() };
        if is_first {
            self.dues.start(tip.seq, now + wait, wait);
        }
        let collected = collector.add(&member.committee, &*member.suite, from, signature);
        if collected.certificate.is_some() {
            open.phase = Phase::Certified;
            self.lost.remove(&tip.seq);
        }
        self.barred.extend(&collected.bad);
        let faults = collected.bad.into_iter().map(|author| (author, FaultKind::BadSignature)).collect();
        Echoed { certificate: collected.certificate, faults }
    }

    /// The certificate of an own entry arrived from another member.
    pub(super) fn certified(&mut self, tip: Tip) {
        if let Some(open) = self.open.get_mut(&tip.seq).filter(|open| open.digest == tip.digest) {
            open.phase = Phase::Certified;
            self.lost.remove(&tip.seq);
        }
    }

    /// A decided cut has reached `tip`.
    pub(super) fn decide(&mut self, tip: Tip) {
        let is_other = self.open.get(&tip.seq).is_some_and(|open| open.digest != tip.digest);
        if is_other || tip.seq > self.last.seq {
            // Our lane has taken a branch that this process does not know: another process signs with our key, or did
            // before us.
            self.close_to(self.last.seq);
            self.last = tip;
        }
        self.close_to(tip.seq);
    }

    fn close_to(&mut self, seq: Seq) {
        while let Some(entry) = self.open.first_entry().filter(|entry| *entry.key() <= seq) {
            let (seq, open) = entry.remove_entry();
            self.open_bytes -= open.bytes;
            self.dues.stop(&seq);
            self.lost.remove(&seq);
        }
    }

    /// The messages to send again now: due certificates, and entries as far as the pace allows.
    pub(super) fn again(&mut self, now: Time, member: &Member) -> Vec<(Seq, Again)> {
        let mut again = Vec::new();
        while let Some(seq) = self.dues.next(now) {
            let open = self.open.get_mut(&seq).expect("only open entries are due");
            match open.phase {
                Phase::Certified => again.push((seq, Again::Final)),
                Phase::Collecting(_) => {
                    open.lost_by_all(member);
                    if !open.lost.is_empty() {
                        self.lost.insert(seq);
                    }
                }
            }
        }
        while let Some(seq) = self.next_lost() {
            if !self.pace.is_open(now) {
                return again;
            }
            let open = self.open.get_mut(&seq).expect("only open entries can be lost");
            self.pace.spend(now, open.bytes);
            self.turn = seq;
            self.lost.remove(&seq);
            again.push((seq, Again::Entry(std::mem::take(&mut open.lost))));
        }
        self.turn = Seq(0);
        again
    }

    fn next_lost(&self) -> Option<Seq> {
        let above = self.lost.range((Bound::Excluded(self.turn), Bound::Unbounded)).next();
        above.or_else(|| self.lost.first()).copied()
    }

    /// A member may have lost everything open: entries that it has not echoed wait for [`Own::again`]. Returns the
    /// certified entries, whose certificates must be sent to it; it fetches their bodies. Each open entry concerns it.
    pub(super) fn lost_by(&mut self, peer: Index) -> Vec<Seq> {
        let mut certified = Vec::new();
        for (seq, open) in &mut self.open {
            match open.phase {
                Phase::Certified => certified.push(*seq),
                Phase::Collecting(_) if open.echoed.contains(&peer) => {}
                Phase::Collecting(_) => {
                    open.lost.insert(peer);
                    self.lost.insert(*seq);
                }
            }
        }
        certified
    }

    /// All members may have lost everything open: it is due at once.
    pub(super) fn retry_now(&mut self, now: Time) {
        self.dues.retry_now(now);
    }

    pub(super) fn next_due(&self) -> Option<Time> {
        let paced = (!self.lost.is_empty()).then(|| self.pace.opens_at());
        [self.dues.due(), paced].into_iter().flatten().min()
    }

    fn first_wait(&self) -> Span {
        Span(RESEND_MIN.0 + ((self.open_bytes * PER_MIB.0) >> 20))
    }
}

impl Open {
    fn lost_by_all(&mut self, member: &Member) {
        let is_missing = |index: &Index| *index != member.index && !self.echoed.contains(index);
        self.lost = member.committee.indices().filter(is_missing).collect();
    }
}
