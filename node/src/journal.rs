//! The journal of the inbound queue: a thread that appends what the round loop is fed, and the gate that its effects
//! wait at.
//!
//! The loop hands over the records of a turn and goes on; what it has to send waits in the outlets until the records of
//! all events so far are written, and with [`Durability::Power`] on the disk. Whatever has gathered meanwhile is
//! written together (group commit), so a slow disk costs latency before it costs throughput. Batches of the inbound
//! queue keep their share of its budget until they are written: a disk that cannot keep up slows the senders down.
//!
//! # Correctness
//! An effect leaves the node only after the event that caused it was written: the gate opens by position, and nobody
//! else opens it. If a write fails it never opens again, and the node ends.

mod gathered;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use bft::event::{Effect, Event};
use bft::journal::{self, Durability, Opening, Past, SnapshotHead};
use bft::lane::entry::Entry;
use bft::time::Time;
use crossbeam_channel::{Receiver, Sender};
use wire::dest::Dest;
use wire::ids::Seq;
use wire::journal::segments;
use wire::record::Record;

use self::writer::Writer;
pub(crate) use self::writer::{BegunSegment, remedy};
use crate::history::{History, Index, Wanted};
use crate::inbound::{Inbound, InboundSender, Permit};
use crate::machine::Machine;
use crate::snapshot::{self, Job, Lengths, Snapshots};

/// Where the journal is, and how durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct JournalSettings {
    pub(crate) directory: PathBuf,
    pub(crate) durability: Durability,
}

/// Bytes written at once: a group commit is no longer than some milliseconds of a slow disk.
const WRITE_BYTES_MAX: usize = 4 << 20;
/// Events after which what came of them is written down.
const EVENTS_A_CHECK: u64 = 1_000;

/// The round loop's end.
pub(crate) struct Journal {
    batches: Sender<Batch>,
    batch: Batch,
    /// Records noted: the position.
    records: u64,
    past: Past,
    checked_events: u64,
    gate: Arc<Gate>,
    /// Of the segment that is filled now.
    opening: Opening,
    segment: u64,
    /// Bytes noted for it.
    segment_bytes: u64,
    segment_bytes_max: u64,
    /// Bytes of the segments before it and after the last snapshot.
    unsaved_bytes: u64,
    snapshots: Snapshots,
    history: History,
    /// The last own entry that was noted.
    own: Seq,
}

/// The records of a turn, and the permits of what they are about.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    permits: Vec<Permit>,
    /// All records up to its end.
    end: u64,
    /// Of the segment that begins after it.
    next: Option<Opening>,
}

impl Journal {
    /// Starts the thread, which ends the node through `inbound` if it cannot write. `past` is that of earlier starts.
    ///
    /// # Errors
    /// If the directory cannot be read, or the system has no thread left.
    pub(crate) fn start(
        begun: BegunSegment,
        past: Past,
        lengths: Lengths,
        inbound: InboundSender,
    ) -> io::Result<Journal> {
        let BegunSegment { opening, writer } = begun;
        let (directory, durability) = (writer.directory.clone(), writer.durability);
        let unsaved_bytes = snapshot::bytes_since_snapshot(&directory)?;
        let index = Arc::new(Index::default());
        let snapshots = Snapshots::start(&directory, durability, lengths, index.clone())?;
        let older = segments(&directory)?.into_iter().filter(|number| *number < writer.number).collect();
        let history = History::start(&directory, index.clone(), older, inbound.clone())?;
        let gate = Arc::new(Gate::default());
        let (sender, batches) = crossbeam_channel::unbounded();
        let (opens, segment) = (gate.clone(), writer.number);
        thread::Builder::new().name("journal".into()).spawn(move || {
            if let Err(reason) = write_all(writer, &batches, &opens, &index) {
                opens.moves_to(Progress::Failed(reason.clone()));
                // Fails only if the loop has ended already.
                let _ = inbound.send(Inbound::Failed(reason));
            }
        })?;
        Ok(Journal {
            batches: sender,
            batch: Batch::default(),
            records: 0,
            checked_events: past.done.events,
            past,
            gate,
            opening,
            segment,
            segment_bytes: 0,
            segment_bytes_max: lengths.segment_bytes,
            unsaved_bytes,
            snapshots,
            history,
            own: Seq(0),
        })
    }

    /// Notes an event before it is handled.
    pub(crate) fn note(&mut self, now: Time, event: &Event) {
        self.past.event(now, event);
        self.push(journal::record(now, event));
    }

    fn push(&mut self, record: Record) {
        self.segment_bytes += record.file_bytes() as u64;
        self.batch.records.push(record);
        self.records += 1;
    }

    /// Notes an effect. An own entry is written down, for other members to have later: no event brings it. What goes to
    /// one member alone is an answer, and was written down before.
    pub(crate) fn note_effect(&mut self, effect: &Effect) {
        self.past.effect(effect);
        if let Effect::Send { dest: Dest::ShardOthers | Dest::Set(_), digest: Some(digest), body, .. } =
            effect
            && let Some(entry) = Entry::parse(*digest, body.clone())
            && entry.seq > self.own
        {
            self.own = entry.seq;
            self.push(journal::record_of_own(*digest, body.clone()));
        }
    }

    /// Has a message sent that was written down.
    pub(crate) fn send_kept(&self, wanted: Wanted) {
        self.history.send(wanted);
    }

    /// Records noted so far.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Records written so far; 0 once none can be any more.
    pub(crate) fn written(&self) -> u64 {
        match *self.gate.progress.lock().expect(NO_PANIC) {
            Progress::UpTo(written) => written,
            Progress::Failed(_) => 0,
        }
    }

    /// Keeps the budget of a batch of input until it is written.
    pub(crate) fn keep(&mut self, permit: Permit) {
        self.batch.permits.push(permit);
    }

    /// Hands over everything noted; returns what its effects wait for.
    pub(crate) fn flush(&mut self) -> Written {
        if self.past.done.events >= self.checked_events + EVENTS_A_CHECK {
            self.check();
        }
        if self.segment_bytes >= self.segment_bytes_max {
            self.end_segment();
        }
        if !self.batch.records.is_empty() || !self.batch.permits.is_empty() {
            let batch = Batch { end: self.records, ..std::mem::take(&mut self.batch) };
            // Fails only if the thread has ended, which has ended the loop.
            let _ = self.batches.send(batch);
        }
        Written { gate: self.gate.clone(), records: self.records }
    }

    /// The next segment begins after what is noted: with a check, so that nothing in it depends on the one before.
    fn end_segment(&mut self) {
        self.check();
        self.opening = self.opening.followed_by(self.opening.start.clone(), self.past.done.events);
        self.batch.next = Some(self.opening.clone());
        self.unsaved_bytes += std::mem::take(&mut self.segment_bytes);
        self.segment += 1;
        self.snapshots.look_for_room();
    }

    /// Whether a snapshot of the machine is due: only between two segments.
    pub(crate) fn is_snapshot_due(&self, machine: &impl Machine) -> bool {
        self.segment_bytes == 0 && self.snapshots.is_due(machine.state_bytes(), self.unsaved_bytes)
    }

    /// Has a snapshot of the machine written.
    pub(crate) fn snapshot(&mut self, machine: &impl Machine) {
        let after = self.flush();
        let began = Instant::now();
        let Some(core) = machine.core() else { return };
        let head = SnapshotHead { opening: self.opening.clone(), past: self.past.clone() };
        self.snapshots.take(Job { segment: self.segment, head, core, stood: began.elapsed(), after });
        self.unsaved_bytes = 0;
    }

    fn check(&mut self) {
        self.checked_events = self.past.done.events;
        self.push(self.past.done.record());
    }

    /// Writes everything noted, and waits until that is done.
    ///
    /// # Errors
    /// If it could not be written, in words.
    pub(crate) fn end(mut self) -> Result<(), String> {
        self.check();
        self.flush().wait()
    }
}

/// The moment at which so many records are written.
#[derive(Clone)]
pub(crate) struct Written {
    gate: Arc<Gate>,
    records: u64,
}

impl Written {
    /// Waits for it.
    ///
    /// # Errors
    /// If it will never come, in words.
    pub(crate) fn wait(&self) -> Result<(), String> {
        self.gate.wait(self.records)
    }
}

/// How far the journal is written.
#[derive(Default)]
struct Gate {
    progress: Mutex<Progress>,
    moved: Condvar,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Progress {
    /// So many records are written.
    UpTo(u64),
    /// Nothing more will be; why.
    Failed(String),
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::UpTo(0)
    }
}

impl Gate {
    fn wait(&self, records: u64) -> Result<(), String> {
        let mut progress = self.progress.lock().expect(NO_PANIC);
        loop {
            match &*progress {
                Progress::UpTo(written) if *written >= records => return Ok(()),
                Progress::UpTo(_) => progress = self.moved.wait(progress).expect(NO_PANIC),
                Progress::Failed(reason) => return Err(reason.clone()),
            }
        }
    }

    fn moves_to(&self, progress: Progress) {
        *self.progress.lock().expect(NO_PANIC) = progress;
        self.moved.notify_all();
    }
}

/// Why a lock is never poisoned.
const NO_PANIC: &str = "nobody panics while holding it";

/// Writes batches, as many at once as have gathered, until nobody sends any more.
fn write_all(
    mut writer: Writer,
    batches: &Receiver<Batch>,
    gate: &Gate,
    index: &Index,
) -> Result<(), String> {
    while let Ok(first) = batches.recv() {
        let (mut permits, mut end, mut opening) = (Vec::new(), 0, None);
        let mut next = Some(first);
        while let Some(batch) = next {
            batch.records.into_iter().for_each(|record| writer.gather(record));
            permits.extend(batch.permits);
            (end, opening) = (batch.end, batch.next);
            let is_full = writer.gathered_bytes() >= WRITE_BYTES_MAX || opening.is_some();
            next = if is_full { None } else { batches.try_recv().ok() };
        }
        writer.write(index)?;
        if let Some(opening) = opening {
            writer.next_segment(&opening)?;
        }
        gate.moves_to(Progress::UpTo(end));
        drop(permits);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::Duration;

    use bft::core::CoreConfig;
    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use bft::cut::Tip;
    use bft::journal::{Entry, Start};
    use bft::lane::LaneSettings;
    use bft::pending::{MempoolLimits, Share};
    use bft::trace::Tracing;
    use wire::bytes::Bytes;
    use wire::committee::Protocol;
    use wire::envelope::Class;
    use wire::ids::{ClientId, Index, NodeId};
    use wire::journal::Reader;
    use wire::rand;
    use wire::record::Item;

    use super::*;
    use crate::inbound;
    use crate::restart::RestartError;

    /// A directory for one test; removed when dropped.
    struct Place(PathBuf);

    impl Place {
        fn new() -> Place {
            let name = format!("node-journal-{}-{:x}", std::process::id(), rand::u64());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Place(path)
        }

        fn begin(&self) -> BegunSegment {
            BegunSegment::begin(&self.0, opening()).unwrap()
        }

        /// For each segment the events before it, as its opening says, and those in it; and the checks in all.
        fn read(&self) -> (Vec<(u64, u64)>, u64) {
            let mut reader = Reader::open(&self.0).unwrap();
            let (mut segments, mut checks) = (Vec::new(), 0);
            while let Some(item) = reader.next_item().unwrap() {
                match item {
                    Item::Opening(record) => {
                        segments.push((Opening::parse(&record).unwrap().events_before, 0));
                    }
                    Item::Record(record) => match journal::parse(record).unwrap() {
                        Entry::Event(..) => segments.last_mut().unwrap().1 += 1,
                        Entry::Check(_) => checks += 1,
                        Entry::Own => {}
                    },
                }
            }
            assert_eq!(reader.torn_bytes(), 0);
            (segments, checks)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            // Nothing depends on it; a left directory is only untidy.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn opening() -> Opening {
        let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(7));
        let mempool = MempoolLimits {
            transactions_max: 1,
            bytes_max: 1,
            client_percent_max: 1,
            peers_percent_max: 1,
            share: Share::None,
        };
        let (lanes, tracing) = (LaneSettings::default(), Tracing::Off);
        let (committee, node) = (Arc::new(committee), NodeId(0));
        let config = CoreConfig { committee, node, lanes, mempool, batch: 1, hash_seed: 1, tracing };
        let durability = Durability::Power;
        let start = Start { number: 1, boot: "test".into(), durability, unix_ms: 1, now: Time(0) };
        Opening::of("test".into(), &config, start)
    }

    #[test]
    fn the_gate_opens_when_an_event_is_written() {
        let place = Place::new();
        let (sender, _receiver) = inbound::queue();
        let mut journal = Journal::start(place.begin(), Past::default(), Lengths::UNLIMITED, sender).unwrap();
        let request = Event::Client { client: ClientId(3), body: Bytes::from(vec![7; 100]) };
        journal.note(Time(5), &request);
        journal.note(Time(6), &Event::Tick);
        let written = Written { gate: journal.gate.clone(), records: 2 };
        let waiting = thread::spawn(move || written.wait());
        thread::sleep(Duration::from_millis(50));
        assert!(!waiting.is_finished(), "nothing is written yet");
        journal.flush();
        waiting.join().unwrap().unwrap();
        journal.end().unwrap();
        assert_eq!(place.read(), (vec![(0, 2)], 1));
    }

    #[test]
    fn long_bodies_are_written_in_their_places() {
        let place = Place::new();
        let (sender, _receiver) = inbound::queue();
        let mut journal = Journal::start(place.begin(), Past::default(), Lengths::UNLIMITED, sender).unwrap();
        // More than one call takes, and two of one kind in a row.
        let count = 3 * gathered::SLICES_MAX as u64;
        for number in 0..count {
            let length = if number % 3 == 0 { 100 } else { gathered::BODY_BYTES_MIN };
            let body = Bytes::from(vec![number as u8; length]);
            journal.note(Time(number), &Event::Client { client: ClientId(3), body });
        }
        journal.end().unwrap();
        assert_eq!(place.read(), (vec![(0, count)], 1), "each record fits its checksum");
    }

    #[test]
    fn entries_of_peers_and_own_ones_are_sent_from_the_journal() {
        let place = Place::new();
        let (sender, receiver) = inbound::queue();
        let mut journal = Journal::start(place.begin(), Past::default(), Lengths::UNLIMITED, sender).unwrap();
        let entry = |owner, filler: u8| {
            let mut buffer = bft::lane::entry::buffer(20_000);
            buffer.resize(20_000, filler);
            bft::lane::entry::Entry::seal(Index(owner), Tip::default(), buffer)
        };
        let (theirs, own) = (entry(1, 7), entry(0, 8));
        let (digest, body) = (theirs.digest, theirs.body.clone());
        journal.note(Time(1), &Event::Peer { from: NodeId(1), digest, body });
        // It goes to all, and once more to those that did not answer; an answer to one member is not news.
        for dest in [Dest::ShardOthers, Dest::Set(vec![NodeId(2)]), Dest::Node(NodeId(3))] {
            let (digest, body) = (Some(own.digest), own.body.clone());
            journal.note_effect(&Effect::Send { dest, class: Class::Keep, digest, body });
        }
        assert_eq!(journal.records(), 2);
        journal.flush().wait().unwrap();
        assert_eq!(journal.written(), 2);
        for entry in [theirs, own] {
            let digest = entry.digest;
            journal.send_kept(Wanted { to: NodeId(2), class: Class::Keep, digest });
            let Ok(Inbound::FromJournal { body, .. }) = receiver.recv() else { panic!("a message") };
            assert_eq!(body, entry.body);
        }
        journal.end().unwrap();
        assert_eq!(place.read(), (vec![(0, 1)], 1));
    }

    #[test]
    fn a_segment_that_is_long_enough_is_followed_by_the_next() {
        let place = Place::new();
        let lengths = Lengths { segment_bytes: 100, ..Lengths::UNLIMITED };
        let (sender, _receiver) = inbound::queue();
        let mut journal = Journal::start(place.begin(), Past::default(), lengths, sender).unwrap();
        for at in 1..=10 {
            journal.note(Time(at), &Event::Tick);
            journal.flush().wait().unwrap();
        }
        journal.end().unwrap();
        let (segments, checks) = place.read();
        assert!(segments.len() > 1, "{segments:?}");
        let mut events = 0;
        for (before, here) in &segments {
            assert_eq!(*before, events);
            events += here;
        }
        assert_eq!((events, checks), (10, segments.len() as u64), "each ends with a check");
    }

    #[test]
    fn a_full_disk_ends_the_node_and_nothing_leaves_it() {
        let place = Place::new();
        let mut begun = place.begin();
        begun.writer.file = File::options().write(true).open("/dev/full").unwrap();
        let (sender, receiver) = inbound::queue();
        let mut journal = Journal::start(begun, Past::default(), Lengths::UNLIMITED, sender).unwrap();
        journal.note(Time(1), &Event::Tick);
        assert!(journal.flush().wait().is_err());
        assert!(journal.end().is_err_and(|reason| reason.contains("No space left on device")));
        let Ok(Inbound::Failed(reason)) = receiver.recv() else { panic!("the node ends") };
        assert!(reason.contains("journal-00000001 at byte "), "{reason}");
        assert!(reason.contains("No space left on device"), "{reason}");
        assert!(
            reason.ends_with("; make room, and it goes on from its journal when it is started again"),
            "{reason}"
        );
        let begun =
            RestartError::Io("begin", "journal".into(), io::ErrorKind::StorageFull.into()).to_string();
        assert!(begun.contains("; make room, "), "{begun}");
        assert_eq!(remedy(&io::ErrorKind::NotFound.into()), "", "nothing is known of other errors");
    }
}
