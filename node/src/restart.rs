//! A node's journal at its start: the lock on its directory, and the replay that a node goes on from.
//!
//! A node that finds a journal feeds it to its core and stands where it stood: its core knows every message that it has
//! signed, every echo that it gave, every transaction that it took. It carries out none of the effects again; what is
//! still open goes out afresh once the core learns that its children are new. Then it appends, in a segment of its own.
//!
//! # Security
//! Keys may sign only with all that they have signed in mind, so a node refuses to start if anything of its journal may
//! be missing: damage, a lost segment, settings or a program with which the core would have done something else, a
//! system that was started anew after `--durability process`. An unfinished last record is no loss: its effects had
//! not left. The mark of used keys names the journal that they serve, and one process at a time has its lock.
//!
//! Cost: what came after the last snapshot is done again, record by record; memory is that of the core and its
//! snapshot.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bft::core::Core;
use bft::crypto::suite::Suite;
use bft::event::Effect;
use bft::journal::{Check, Durability, Opening, Past, Replay, ReplayError, SnapshotHead, Start};
use bft::time::Time;
use bft::trace::Tracing;
use wire::committee::Committee;
use wire::journal::{JournalError, Reader, Torn, segment_path, segments};
use wire::name::Name;
use wire::record::Item;
use wire::snapshot::{self, snapshot_path, snapshots};

use crate::journal::{BegunSegment, remedy};
use crate::rounds::RoundsFile;

/// The directory of a journal, locked until this is dropped or the process ends, however it does.
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// A core that stands where an earlier start of the node ended.
pub(crate) struct Resumed {
    pub(crate) core: Core,
    /// Of its sessions none is left.
    pub(crate) past: Past,
    /// Of the segment that this start begins.
    pub(crate) opening: Opening,
}

/// Why a node does not start with a directory.
#[derive(Debug)]
pub(crate) enum RestartError {
    /// The system refuses something; what was to be done.
    Io(&'static str, PathBuf, io::Error),
    /// Another process has the directory.
    InUse(PathBuf),
    /// It cannot be read.
    Journal(JournalError),
    /// A snapshot was read and is not of this node.
    Snapshot(PathBuf, ReplayError),
    /// A record cannot be replayed: the last one before this place.
    Replay(PathBuf, u64, ReplayError),
    /// It was written with something else than this start has: what, written, given.
    Differs(PathBuf, &'static str, String, String),
    /// It was not forced to the disk, and the system has been started since.
    AnotherBoot(PathBuf),
    /// The node is to stop; the journal is as it was.
    Stopped,
}

impl Directory {
    /// Makes the directory, if it is not there, and locks it.
    ///
    /// # Errors
    /// If another process has it, or it cannot be used.
    pub(crate) fn lock(path: &Path) -> Result<Directory, RestartError> {
        let failed = |what, error| RestartError::Io(what, path.into(), error);
        fs::create_dir_all(path).map_err(|error| failed("make", error))?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock"));
        let lock = file.map_err(|error| failed("lock", error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory { path: path.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(RestartError::InUse(path.into())),
            Err(TryLockError::Error(error)) => Err(failed("lock", error)),
        }
    }

    /// Replays the journal into a core, and the blocks that `rounds` lacks into it; `None` if there is none. `given` is
    /// the opening of a journal that would begin now. Ends early once `stops` is set.
    ///
    /// # Errors
    /// If nothing could be signed after it.
    pub(crate) fn resume(
        &self,
        given: &Opening,
        committee: Arc<Committee>,
        suite: Arc<dyn Suite>,
        tracing: Tracing,
        rounds: &mut RoundsFile,
        stops: &AtomicBool,
    ) -> Result<Option<Resumed>, RestartError> {
        let began = Instant::now();
        let Some((mut replay, mut reader)) = self.begin(given, committee, suite, tracing)? else {
            return Ok(None);
        };
        let from = replay.done();
        while let Some(item) = reader.next_item().map_err(RestartError::Journal)? {
            if stops.load(Ordering::Relaxed) {
                return Err(RestartError::Stopped);
            }
            let step = replay.step(item).map_err(|error| replay_error(&reader, error))?;
            for effect in step.iter().flat_map(|(_, effects)| effects) {
                match effect {
                    Effect::Executed(report) => rounds.add_again(report, unix_ms(&replay)),
                    Effect::Jumped(report) => rounds.jump(report, unix_ms(&replay), 0),
                    _ => {}
                }
            }
        }
        let (last, start) = (&replay.opening().start, &given.start);
        if last.durability == Durability::Process && (last.boot != start.boot || start.boot.is_empty()) {
            return Err(RestartError::AnotherBoot(self.path.clone()));
        }
        self.cut_off(reader.torn())?;
        if start.durability == Durability::Power {
            self.force_to_disk().map_err(|error| RestartError::Io("sync", self.path.clone(), error))?;
        }
        rounds.ends_with(replay.core().status_at_hand().executed);
        report(&replay, from, reader.torn(), began);
        let start = Start { number: last.number + 1, now: replay.now(), ..start.clone() };
        let opening = replay.opening().followed_by(start, replay.done().events);
        let (core, past) = replay.into_core();
        Ok(Some(Resumed { core, past, opening }))
    }

    /// The core of the last snapshot that can be read, or a new one, and what comes after it; `None` if there is no
    /// journal.
    fn begin(
        &self,
        given: &Opening,
        committee: Arc<Committee>,
        suite: Arc<dyn Suite>,
        tracing: Tracing,
    ) -> Result<Option<(Replay, Reader)>, RestartError> {
        let failed = |error| RestartError::Io("read", self.path.clone(), error);
        for segment in snapshots(&self.path).map_err(failed)?.into_iter().rev() {
            match snapshot::read(&self.path, segment) {
                Ok(bytes) => {
                    let of_it = |error| RestartError::Snapshot(snapshot_path(&self.path, segment), error);
                    let (head, image) = SnapshotHead::parse(&bytes).map_err(of_it)?;
                    self.same_node(&head.opening, given)?;
                    let replay = Replay::from_snapshot(head, image, committee, given.node, suite, tracing);
                    let reader = Reader::open_at(&self.path, segment).map_err(RestartError::Journal)?;
                    return Ok(Some((replay.map_err(of_it)?, reader)));
                }
                Err(error) => log::warn!("{error}; the node begins with what is older"),
            }
        }
        let mut reader = Reader::open(&self.path).map_err(RestartError::Journal)?;
        let Some(item) = reader.next_item().map_err(RestartError::Journal)? else {
            // The process ended before its first segment was begun, so before it sent anything.
            self.cut_off(reader.torn())?;
            return Ok(None);
        };
        let (Item::Opening(record) | Item::Record(record)) = &item;
        let opening = Opening::parse(record).map_err(ReplayError::Malformed);
        let opening = opening.map_err(|error| replay_error(&reader, error))?;
        self.same_node(&opening, given)?;
        let replay = Replay::begin(opening, committee, given.node, suite, tracing);
        Ok(Some((replay.map_err(|error| replay_error(&reader, error))?, reader)))
    }

    fn same_node(&self, written: &Opening, given: &Opening) -> Result<(), RestartError> {
        match written.difference(given) {
            Some((name, written, here)) => Err(RestartError::Differs(self.path.clone(), name, written, here)),
            None => Ok(()),
        }
    }

    /// The segment that this start appends to.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, opening: Opening) -> Result<BegunSegment, RestartError> {
        let failed = |error| RestartError::Io("begin a segment in", self.path.clone(), error);
        BegunSegment::begin(&self.path, opening).map_err(failed)
    }

    /// Removes an unfinished record, and its segment with it if that has no other.
    fn cut_off(&self, torn: Option<&Torn>) -> Result<(), RestartError> {
        let Some(Torn { file, offset, bytes }) = torn else { return Ok(()) };
        let cut = || {
            if *offset <= wire::journal::MAGIC.len() as u64 {
                return fs::remove_file(file);
            }
            let segment = OpenOptions::new().write(true).open(file)?;
            segment.set_len(*offset)?;
            segment.sync_all()
        };
        cut().map_err(|error| RestartError::Io("cut off the end of", file.clone(), error))?;
        log::info!("cut {bytes} bytes of an unfinished record off {}, after byte {offset}", file.display());
        Ok(())
    }

    /// An earlier start may have left it to the system.
    fn force_to_disk(&self) -> io::Result<()> {
        let segments = segments(&self.path)?.into_iter().map(|number| segment_path(&self.path, number));
        let snapshots = snapshots(&self.path)?.into_iter().map(|number| snapshot_path(&self.path, number));
        for path in segments.chain(snapshots) {
            File::open(path)?.sync_all()?;
        }
        File::open(&self.path)?.sync_all()
    }
}

/// A start of the node now, as if it were the first one.
pub(crate) fn first_start(durability: Durability) -> Start {
    // Without a name no two boots count as the same.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    Start { number: 1, boot: boot.trim_end().into(), durability, unix_ms, now: Time::default() }
}

fn replay_error(reader: &Reader, error: ReplayError) -> RestartError {
    let (file, offset) = reader.position();
    RestartError::Replay(file.into(), offset, error)
}

/// The Unix time of the last event, by the clock of the start that handled it.
fn unix_ms(replay: &Replay) -> u128 {
    let start = &replay.opening().start;
    u128::from(start.unix_ms + replay.now().since(start.now).0 / 1_000)
}

fn report(replay: &Replay, from: Check, torn: Option<&Torn>, began: Instant) {
    let (node, start) = (Name::Node(replay.opening().node), replay.opening().start.number + 1);
    let (events, round) = (replay.done().events - from.events, replay.core().status_at_hand().executed);
    let after = if from.events > 0 { " after its last snapshot" } else { "" };
    let lost =
        if torn.is_some() { "; the last one was not finished, and nothing had come of it" } else { "" };
    log::info!(
        "{node} goes on from its journal, start {start}: {events} events{after}, up to round {round}, done again in {:.1} s{lost}",
        began.elapsed().as_secs_f64()
    );
}

impl fmt::Display for RestartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WHAT_TO_DO: &str = "the node does not start, since it could contradict what it has signed; restore the \
                                  damaged file itself, begin a new testbed with keys of 'tools keygen', or have the \
                                  node only follow, with --follow and without --journal";
        match self {
            RestartError::Io(what, path, error) => {
                let (path, remedy) = (path.display(), remedy(error));
                write!(f, "the journal cannot be used: cannot {what} {path}: {error}{remedy}")
            }
            RestartError::InUse(path) => write!(
                f,
                "{} is the journal of another process that runs: a node has a directory of its own with --journal",
                path.display()
            ),
            RestartError::Journal(error) => write!(f, "{error}: {WHAT_TO_DO}"),
            RestartError::Snapshot(file, error) => write!(f, "{}: {error}: {WHAT_TO_DO}", file.display()),
            RestartError::Replay(file, offset, error) => {
                write!(f, "{}, before byte {offset}: {error}: {WHAT_TO_DO}", file.display())
            }
            RestartError::Differs(path, name, written, given) => write!(
                f,
                "{} was written with {name} {written}, and this start has {given}: {}",
                path.display(),
                match *name {
                    "testbed" | "node" => "name the journal of this node with --journal",
                    "version" => "go on with the program that wrote it, or deal new keys with 'tools keygen'",
                    _ => "start the node as it was started before",
                }
            ),
            RestartError::AnotherBoot(path) => write!(
                f,
                "{} was written with --durability process before the system was started anew, so its last records may be \
                 lost, and with them what the node has signed; --durability power would have kept them",
                path.display()
            ),
            RestartError::Stopped => f.write_str("ended on request while the journal was done again"),
        }
    }
}

impl std::error::Error for RestartError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bft::core::CoreConfig;
    use bft::crypto::deal::{deal_committee, seeded_entropy};
    use bft::crypto::real::RealSuite;
    use bft::event::Event;
    use bft::lane::LaneSettings;
    use bft::pending::MempoolLimits;
    use wire::bytes::Bytes;
    use wire::committee::Protocol;
    use wire::ids::{ClientId, NodeId, Round, ShardId};
    use wire::rand;

    use super::*;
    use crate::inbound;
    use crate::journal::Journal;
    use crate::snapshot::Lengths;

    const NODE: NodeId = NodeId(0);

    /// A directory for one test, and what its node is built from.
    struct Place {
        path: PathBuf,
        config: CoreConfig,
        suite: Arc<dyn Suite>,
        boot: &'static str,
        durability: Durability,
        lengths: Lengths,
        stops: AtomicBool,
    }

    impl Place {
        fn new(durability: Durability) -> Place {
            let name = format!("node-restart-{}-{:x}", std::process::id(), rand::u64());
            let (committee, keys) = deal_committee(4, 1, Protocol::default(), seeded_entropy(7));
            let suite = RealSuite::new(&committee, NODE, &keys[0].signing, keys[0].coin_secret).unwrap();
            let config = CoreConfig {
                committee: Arc::new(committee),
                node: NODE,
                lanes: LaneSettings::default(),
                mempool: MempoolLimits::default(),
                batch: 10,
                hash_seed: rand::u64(),
                tracing: Tracing::Off,
            };
            let path = std::env::temp_dir().join(name);
            Place {
                path,
                config,
                suite: Arc::new(suite),
                boot: "first boot",
                durability,
                lengths: Lengths::UNLIMITED,
                stops: AtomicBool::new(false),
            }
        }

        fn opening(&self) -> Opening {
            let start = Start { boot: self.boot.into(), ..first_start(self.durability) };
            Opening::of("test".into(), &self.config, start)
        }

        fn resume(&self) -> Result<Option<Resumed>, RestartError> {
            let directory = Directory::lock(&self.path)?;
            let mut rounds = RoundsFile::open(&self.path.join("rounds.csv"), NODE, ShardId(0)).unwrap();
            let committee = self.config.committee.clone();
            let suite = self.suite.clone();
            directory.resume(&self.opening(), committee, suite, Tracing::Off, &mut rounds, &self.stops)
        }

        /// A start that handles so many more events, the first of them a client's; its end is a crash.
        fn start(&self, begins: Opening, mut core: Core, past: Past, events: u64) {
            let directory = Directory::lock(&self.path).unwrap();
            let (sender, _receiver) = inbound::queue();
            let from = past.now;
            let begun = directory.write(begins).unwrap();
            let mut journal = Journal::start(begun, past, self.lengths, sender).unwrap();
            for event in 1..=events {
                let (now, body) = (Time(from.0 + 1_000 * event), Bytes::from(vec![1, 2]));
                let event =
                    if event == 1 { Event::Client { client: ClientId(event), body } } else { Event::Tick };
                journal.note(now, &event);
                core.handle(now, event).iter().for_each(|effect| journal.note_effect(effect));
                journal.flush().wait().unwrap();
                if journal.is_snapshot_due(&core) {
                    journal.snapshot(&core);
                }
            }
            journal.end().unwrap();
        }

        fn first(&self, events: u64) {
            let core = Core::new(self.config.clone(), self.suite.clone());
            self.start(self.opening(), core, Past::default(), events);
        }

        fn error(&self) -> String {
            match self.resume() {
                Ok(_) => panic!("it is refused"),
                Err(error) => error.to_string(),
            }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            // Nothing depends on it; a left directory is only untidy.
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    #[test]
    fn a_request_to_stop_ends_a_replay_and_leaves_the_journal() {
        let place = Place::new(Durability::Process);
        place.first(3);
        let before = fs::read(segment_path(&place.path, 1)).unwrap();
        place.stops.store(true, Ordering::Relaxed);
        assert!(matches!(place.resume(), Err(RestartError::Stopped)));
        assert_eq!(segments(&place.path).unwrap(), [1]);
        assert_eq!(fs::read(segment_path(&place.path, 1)).unwrap(), before);
        place.stops.store(false, Ordering::Relaxed);
        assert_eq!(place.resume().unwrap().map(|resumed| resumed.past.done.events), Some(3));
    }

    #[test]
    fn starts_follow_each_other() {
        let place = Place::new(Durability::Process);
        assert!(place.resume().unwrap().is_none(), "there is no journal yet");
        place.first(3);
        for (number, events, now) in [(2, 3, 3_000), (3, 8, 8_000), (4, 13, 13_000)] {
            let resumed = place.resume().unwrap().unwrap();
            let Resumed { core, past, opening } = resumed;
            assert_eq!((past.done.events, past.now, opening.start.now), (events, Time(now), Time(now)));
            assert_eq!((opening.start.number, opening.events_before), (number, events));
            assert_eq!(past.sessions.clients.len(), 1);
            assert_eq!(core.status().executed, Round(0));
            place.start(opening, core, past, 5);
        }
        assert_eq!(segments(&place.path).unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_start_takes_the_last_snapshot_that_is_whole() {
        let mut place = Place::new(Durability::Process);
        place.lengths = Lengths { segment_bytes: 200, snapshot_after_bytes: 2_000, kept_bytes: 0 };
        // A snapshot is written beside the loop; these lengths make one due in each start.
        let wait_for = |count| {
            let deadline = Instant::now() + Duration::from_secs(20);
            while snapshots(&place.path).unwrap().len() < count {
                assert!(Instant::now() < deadline, "a snapshot is written");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        place.first(60);
        wait_for(1);
        let Resumed { core, past, opening } = place.resume().unwrap().unwrap();
        place.start(opening, core, past, 60);
        wait_for(2);
        let kept = snapshots(&place.path).unwrap();
        let image = || {
            let resumed = place.resume().unwrap().unwrap();
            assert_eq!((resumed.past.done.events, resumed.past.now), (120, Time(120_000)));
            let mut image = Vec::new();
            resumed.core.write_image(&mut image).unwrap();
            image
        };
        let first = image();
        let damage = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        damage(&snapshot_path(&place.path, kept[1]));
        assert!(image() == first, "the older snapshot and what follows it give the same state");
        damage(&snapshot_path(&place.path, kept[0]));
        assert!(place.error().contains("this segment is missing"), "{}", place.error());
    }

    #[test]
    fn only_an_unfinished_end_is_cut_off() {
        let place = Place::new(Durability::Process);
        place.first(20);
        let path = segment_path(&place.path, 1);
        let whole = fs::read(&path).unwrap();
        // A check stands at the end, so its loss loses no event.
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let resumed = place.resume().unwrap().unwrap();
        assert_eq!(resumed.past.done.events, 20);
        let length = fs::metadata(&path).unwrap().len() as usize;
        assert!(length < whole.len() - 3 && whole[..length] == fs::read(&path).unwrap());
        // A process that ended while it began a segment has written nothing else there.
        let second = segment_path(&place.path, 2);
        for bytes in [0, 5, 20] {
            fs::write(&second, &whole[..bytes]).unwrap();
            assert_eq!(place.resume().unwrap().unwrap().past.done.events, 20);
            assert!(!second.exists());
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 4;
        fs::write(&path, damaged).unwrap();
        let error = place.error();
        assert!(
            error.contains("journal-00000001, byte ") && error.contains("restore the damaged file"),
            "{error}"
        );
        // Nothing but the beginning of a first segment: the node has done nothing.
        fs::write(&path, &whole[..20]).unwrap();
        assert!(place.resume().unwrap().is_none());
        assert!(!path.exists());
    }

    #[test]
    fn another_boot_needs_a_journal_on_the_disk() {
        for (durability, is_refused) in [(Durability::Process, true), (Durability::Power, false)] {
            let mut place = Place::new(durability);
            place.first(3);
            place.boot = "second boot";
            // What this start is given counts for the next one.
            place.durability = Durability::Process;
            match place.resume() {
                Ok(resumed) => assert!(!is_refused && resumed.is_some()),
                Err(error) => {
                    assert!(is_refused);
                    assert!(error.to_string().contains("before the system was started anew"), "{error}");
                }
            }
        }
        let mut place = Place::new(Durability::Process);
        place.boot = "";
        place.first(3);
        assert!(place.resume().is_err(), "boots without a name may be two");
    }

    #[test]
    fn a_journal_serves_one_process_with_the_same_settings() {
        let mut place = Place::new(Durability::Process);
        place.first(3);
        let lock = Directory::lock(&place.path).unwrap();
        assert!(place.error().contains("is the journal of another process that runs"));
        drop(lock);
        place.config.batch = 11;
        let error = place.error();
        assert!(
            error.contains("was written with batch 10, and this start has 11: start the node as"),
            "{error}"
        );
        place.config.batch = 10;
        let (committee, _) = deal_committee(4, 1, Protocol::default(), seeded_entropy(8));
        place.config.committee = Arc::new(committee);
        assert!(place.error().contains("was written with testbed "));
    }
}
