//! Snapshots: a thread that writes the state of the core, so that a start need not do again all that led to it, and
//! removes what neither a start nor a replay needs any more.
//!
//! The loop stops for a clone of the core, which shares with it all that is large until one of them changes it. The
//! thread encodes and writes the clone; meanwhile the loop goes on. A snapshot stands between two segments, so a start
//! reads it and the segments after it.
//!
//! One is due when the segments since the last one are long enough, and longer for a large state: a byte of a snapshot,
//! and the copies that the loop makes after it, cost three times as much as a byte of the journal. So a start takes
//! seconds, and snapshots cost a load that fills the machine about a twentieth. One that cannot be written is no loss:
//! the journal from before stays, and the next one is tried later.
//!
//! Two are always kept, with all segments after the older one: if the newer one is damaged, a start takes the older.
//! What is older still is kept for replays, within a limit, and while the disk has room: at the end of each segment the
//! thread looks how much is free.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::history::Index;
use crate::journal::Written;
use bft::core::Core;
use bft::journal::{Durability, SnapshotHead};
use crossbeam_channel::{Receiver, Sender};
use wire::journal::{segment_path, segments};
use wire::procfs::free_bytes;
use wire::snapshot::{self, Durable, snapshot_path, snapshots};

/// Lengths that are not a matter of safety.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lengths {
    /// Of a segment: the next one begins at the first event after it.
    pub(crate) segment_bytes: u64,
    /// Of the segments after which a snapshot is due.
    pub(crate) snapshot_after_bytes: u64,
    /// Of all files, if less is enough for a start.
    pub(crate) kept_bytes: u64,
}

impl Lengths {
    /// The journal after which a snapshot of a state of so many bytes is due.
    fn due_after_bytes(self, state_bytes: u64) -> u64 {
        let scaled = u128::from(self.snapshot_after_bytes) * u128::from(state_bytes.max(STATE_BYTES));
        u64::try_from(scaled / u128::from(STATE_BYTES)).unwrap_or(u64::MAX)
    }

    /// What a node writes from one snapshot to the end of the next, of so many bytes.
    fn cycle_bytes(self, snapshot_bytes: u64) -> u64 {
        let journal_bytes = self.due_after_bytes(snapshot_bytes).saturating_add(self.segment_bytes);
        journal_bytes.saturating_add(snapshot_bytes)
    }
}

#[cfg(test)]
impl Lengths {
    /// Longer than any test writes.
    pub(crate) const UNLIMITED: Lengths =
        Lengths { segment_bytes: u64::MAX, snapshot_after_bytes: u64::MAX, kept_bytes: u64::MAX };
}

/// The longest state after whose [`Lengths::snapshot_after_bytes`] the next snapshot is due; it takes as many times
/// more as the state is longer. By default the journal before a snapshot is eight times as long as it, or more.
const STATE_BYTES: u64 = 32 << 20;

/// The loop's end of the thread.
pub(crate) struct Snapshots {
    tasks: Sender<Task>,
    lengths: Lengths,
    /// Whether one is being written.
    is_busy: Arc<AtomicBool>,
}

/// The work of the thread.
enum Task {
    Snapshot(Box<Job>),
    LookForRoom,
}

/// A snapshot to be written.
pub(crate) struct Job {
    /// The segment that begins there.
    pub(crate) segment: u64,
    pub(crate) head: SnapshotHead,
    pub(crate) core: Box<Core>,
    /// How long the loop stood for it.
    pub(crate) stood: Duration,
    /// Until the journal is written up to it, the snapshot would be ahead.
    pub(crate) after: Written,
}

impl Snapshots {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start(
        directory: &Path,
        durability: Durability,
        lengths: Lengths,
        index: Arc<Index>,
    ) -> io::Result<Snapshots> {
        let (tasks, taken) = crossbeam_channel::unbounded();
        let is_busy = Arc::new(AtomicBool::new(false));
        let (directory, busy) = (directory.into(), is_busy.clone());
        let room = Room { cycle_bytes: lengths.cycle_bytes(0), is_short: false };
        let mut keeper = Keeper { directory, durability, lengths, index, is_busy: busy, room, history: 0 };
        thread::Builder::new().name("snapshots".into()).spawn(move || keeper.run(&taken))?;
        Ok(Snapshots { tasks, lengths, is_busy })
    }

    /// Whether one of so many bytes is due, this long after the last one.
    pub(crate) fn is_due(&self, state_bytes: u64, journal_bytes: u64) -> bool {
        journal_bytes >= self.lengths.due_after_bytes(state_bytes) && !self.is_busy.load(Ordering::Relaxed)
    }

    /// Has one written.
    pub(crate) fn take(&self, job: Job) {
        self.is_busy.store(true, Ordering::Relaxed);
        // The thread runs as long as this end is there.
        let _ = self.tasks.send(Task::Snapshot(Box::new(job)));
    }

    /// A segment has ended: has the thread look whether the disk has room for more.
    pub(crate) fn look_for_room(&self) {
        let _ = self.tasks.send(Task::LookForRoom);
    }
}

/// Bytes of the segments that a start would do again.
pub(crate) fn bytes_since_snapshot(directory: &Path) -> io::Result<u64> {
    let last = snapshots(directory)?.last().copied().unwrap_or(1);
    let since = segments(directory)?.into_iter().filter(|segment| *segment >= last);
    since.map(|segment| Ok(fs::metadata(segment_path(directory, segment))?.len())).sum()
}

/// The thread.
struct Keeper {
    directory: PathBuf,
    durability: Durability,
    lengths: Lengths,
    index: Arc<Index>,
    is_busy: Arc<AtomicBool>,
    room: Room,
    /// The first segment of the history, as of the last snapshot.
    history: u64,
}

impl Keeper {
    fn run(&mut self, tasks: &Receiver<Task>) {
        for task in tasks {
            match task {
                Task::Snapshot(job) => {
                    if job.after.wait().is_err() {
                        // The node ends.
                        return;
                    }
                    match self.write(&job) {
                        Ok(bytes) => self.room.cycle_bytes = self.lengths.cycle_bytes(bytes),
                        Err(error) => log::warn!(
                            "cannot write {}: {error}; a start would do again what came since the last snapshot",
                            snapshot_path(&self.directory, job.segment).display()
                        ),
                    }
                    if let Err(error) = self.find_history(&job.core) {
                        log::warn!("cannot list the snapshots in {}: {error}", self.directory.display());
                    }
                    self.is_busy.store(false, Ordering::Relaxed);
                }
                Task::LookForRoom => self.look_for_room(),
            }
            let kept_bytes = if self.room.is_short { 0 } else { self.lengths.kept_bytes };
            if let Err(error) = prune(&self.directory, kept_bytes, self.history) {
                log::warn!("cannot remove what is not needed in {}: {error}", self.directory.display());
            }
        }
    }

    /// Drops from the index what the history does not need, and so finds its first segment.
    fn find_history(&mut self, core: &Core) -> io::Result<()> {
        let snapshots = snapshots(&self.directory)?;
        if let Some(older) = snapshots.len().checked_sub(2).map(|at| snapshots[at]) {
            let needed = core.in_journal().collect();
            self.history = self.index.keep(&needed, older).unwrap_or(older);
        }
        Ok(())
    }

    fn look_for_room(&mut self) {
        // Where `df` is missing or prints something else, nothing is known.
        let Some(free_bytes) = free_bytes(&self.directory) else { return };
        let (directory, free_mib) = (self.directory.display(), free_bytes >> 20);
        match self.room.look(free_bytes) {
            Some(Change::Short) => log::warn!(
                "only {free_mib} MiB free for {directory}: what only replays need is removed; the node ends once the \
                 disk is full"
            ),
            Some(Change::Enough) => log::info!("{free_mib} MiB free for {directory}: room again"),
            None => {}
        }
    }

    /// Writes the snapshot; returns its length in bytes.
    fn write(&self, Job { segment, head, core, stood, .. }: &Job) -> io::Result<u64> {
        let began = Instant::now();
        let durable = match self.durability {
            Durability::Process => Durable::WhileSystemRuns,
            Durability::Power => Durable::OnDisk,
        };
        let bytes = snapshot::write(&self.directory, *segment, durable, |writer| head.write(core, writer))?;
        log::info!(
            "wrote a snapshot after {} events: {} MB in {} ms; the loop stood for {:.1} ms",
            head.past.done.events,
            bytes / 1_000_000,
            began.elapsed().as_millis(),
            stood.as_secs_f64() * 1e3
        );
        Ok(bytes)
    }
}

/// Whether the disk has room.
struct Room {
    /// What the node writes from one snapshot to the end of the next.
    cycle_bytes: u64,
    is_short: bool,
}

/// How [`Room`] has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Short,
    Enough,
}

/// Room is short when less than so many cycles are free: the next snapshot makes older files useless, and a machine may
/// hold several nodes.
const CYCLES_SHORT: u64 = 4;
/// Room is enough again when so many are free; more, so that the log does not fill at the bound.
const CYCLES_ENOUGH: u64 = 6;

impl Room {
    /// Takes note of the bytes that are free now.
    fn look(&mut self, free_bytes: u64) -> Option<Change> {
        let cycles = if self.is_short { CYCLES_ENOUGH } else { CYCLES_SHORT };
        let is_short = free_bytes < self.cycle_bytes.saturating_mul(cycles);
        let changed = std::mem::replace(&mut self.is_short, is_short) != is_short;
        changed.then_some(if is_short { Change::Short } else { Change::Enough })
    }
}

/// Removes the oldest segments and snapshots while all files are longer than so many bytes, and a start from either of
/// the last two snapshots does not need them; but no segment of the history, which begins with this one.
fn prune(directory: &Path, kept_bytes: u64, history: u64) -> io::Result<()> {
    let (snapshots, segments) = (snapshots(directory)?, segments(directory)?);
    let files = snapshots.iter().map(|number| (*number, snapshot_path(directory, *number)));
    let files = files.chain(segments.iter().map(|number| (*number, segment_path(directory, *number))));
    let files: Vec<(u64, u64, PathBuf)> = files
        .map(|(number, path)| Ok((number, fs::metadata(&path)?.len(), path)))
        .collect::<io::Result<_>>()?;
    let bytes_from = |first: u64| {
        files.iter().filter(|(number, ..)| *number >= first).map(|(_, bytes, _)| bytes).sum::<u64>()
    };
    let Some((_, older)) = snapshots.split_last() else { return Ok(()) };
    let first = if bytes_from(0) <= kept_bytes {
        return Ok(());
    } else {
        older.iter().find(|first| bytes_from(**first) <= kept_bytes).or(older.last())
    };
    let Some(first) = first else { return Ok(()) };
    let is_needed = |number: u64, path: &Path| {
        number >= *first || (number >= history && path == segment_path(directory, number))
    };
    let useless = files.iter().filter(|(number, _, path)| !is_needed(*number, path));
    useless.map(|(_, _, path)| path).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use wire::rand;

    use super::*;

    #[test]
    fn room_is_short_and_comes_back() {
        let mut room = Room { cycle_bytes: 25, is_short: false };
        let looks = [100, 99, 100, 149, 0, 150, 100].map(|free_bytes| room.look(free_bytes));
        let expected = [None, Some(Change::Short), None, None, None, Some(Change::Enough), None];
        assert_eq!(looks, expected);
    }

    #[test]
    fn the_oldest_goes_first_and_two_snapshots_stay() {
        let directory =
            std::env::temp_dir().join(format!("node-snapshot-{}-{:x}", std::process::id(), rand::u64()));
        fs::create_dir(&directory).unwrap();
        let left = |kept_bytes| {
            prune(&directory, kept_bytes, u64::MAX).unwrap();
            (segments(&directory).unwrap(), snapshots(&directory).unwrap())
        };
        (1..=8).for_each(|number| fs::write(segment_path(&directory, number), [0; 100]).unwrap());
        assert_eq!(left(0).0.len(), 8, "without a snapshot all is needed");
        fs::write(snapshot_path(&directory, 3), [0; 50]).unwrap();
        assert_eq!(left(0).0.len(), 8, "one snapshot may be damaged");
        [5, 7].iter().for_each(|number| fs::write(snapshot_path(&directory, *number), [0; 50]).unwrap());
        assert_eq!(left(950), ((1..=8).collect(), vec![3, 5, 7]));
        assert_eq!(left(949), ((3..=8).collect(), vec![3, 5, 7]));
        assert_eq!(bytes_since_snapshot(&directory).unwrap(), 200);
        assert_eq!(left(0), ((5..=8).collect(), vec![5, 7]));
        assert_eq!(left(0), ((5..=8).collect(), vec![5, 7]));
        fs::remove_dir_all(&directory).unwrap();
    }
}
