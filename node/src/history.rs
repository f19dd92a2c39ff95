//! The history in the journal: which segment has which entry or part, and a thread that reads them for members that
//! lag.
//!
//! The bytes of entries and parts stand in the journal anyway, in the messages that brought them. So they are written
//! once, memory and snapshots are free of them, and the history may be as long as the disk is large. The core knows
//! what it can offer by digest ([`Effect::SendKept`]); the *index* knows where that is.
//!
//! The writer of the journal adds what it has written, to the map of its segment. After a snapshot, older segments lose
//! what no member can request of us any more, and files that nothing needs are removed. At a start the thread scans the
//! segments that are there, newest first; what it has not found yet is not sent, and who requested it asks another
//! member.
//!
//! # Correctness
//! Bytes that do not fit their digest are never sent: the disk may have spoiled them.
//!
//! Cost: about 60 bytes of memory for each entry and part; a request reads the disk and hashes what it has read.
//!
//! [`Effect::SendKept`]: bft::event::Effect::SendKept

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bft::journal::is_kept;
use crossbeam_channel::{Receiver, Sender};
use sha2::{Digest as _, Sha256};
use wire::bytes::Bytes;
use wire::envelope::Class;
use wire::ids::{Digest, NodeId};
use wire::journal::{Problem, segment_path};
use wire::segment::{BodyPlace, Segment};

use crate::inbound::{InboundSender, LoopEnded, NO_PANIC};

/// Where the bytes of a message stand in its segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// The messages of each segment that others may request.
///
/// Bound: what the segments have. Of those before the last two snapshots, what the core offers.
#[derive(Default)]
pub(crate) struct Index {
    segments: Mutex<BTreeMap<u64, HashMap<Digest, Place>>>,
    /// Whether it has what the segments of earlier starts have.
    is_whole: AtomicBool,
}

impl Index {
    /// A segment has these.
    pub(crate) fn add(&self, segment: u64, found: impl IntoIterator<Item = (Digest, Place)>) {
        self.segments.lock().expect(NO_PANIC).entry(segment).or_default().extend(found);
    }

    /// A segment that has this message, and where.
    fn find(&self, digest: &Digest) -> Option<(u64, Place)> {
        let segments = self.segments.lock().expect(NO_PANIC);
        segments.iter().rev().find_map(|(segment, places)| Some((*segment, *places.get(digest)?)))
    }

    /// Drops from the segments before `recent` what is not among these; the first segment that has one of them, or may
    /// have one.
    pub(crate) fn keep(&self, needed: &HashSet<Digest>, recent: u64) -> Option<u64> {
        if !self.is_whole.load(Ordering::Acquire) {
            return Some(0);
        }
        let older: Vec<u64> =
            self.segments.lock().expect(NO_PANIC).range(..recent).map(|(number, _)| *number).collect();
        // In the thread of snapshots, and one at a time: the writer of the journal waits for this lock.
        for segment in older {
            let mut segments = self.segments.lock().expect(NO_PANIC);
            let Some(places) = segments.get_mut(&segment) else { continue };
            places.retain(|digest, _| needed.contains(digest));
            places.shrink_to_fit();
            if places.is_empty() {
                segments.remove(&segment);
            }
        }
        self.segments.lock().expect(NO_PANIC).keys().next().copied()
    }
}

/// A message that the core sends from the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) to: NodeId,
    pub(crate) class: Class,
    pub(crate) digest: Digest,
}

/// The loop's end of the thread.
pub(crate) struct History(Sender<Wanted>);

impl History {
    /// Starts the thread. The segments `older` were there before this start.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start(
        directory: &Path,
        index: Arc<Index>,
        older: Vec<u64>,
        inbound: InboundSender,
    ) -> io::Result<History> {
        // Short entries: the core bounds what each member may request in a second.
        let (wanted, requests) = crossbeam_channel::unbounded();
        let reader = Reader { directory: directory.into(), index, file: None, inbound };
        thread::Builder::new().name("history".into()).spawn(move || reader.run(older, &requests))?;
        Ok(History(wanted))
    }

    /// Has a message read, to be sent.
    pub(crate) fn send(&self, wanted: Wanted) {
        // Fails only if the loop has ended, and with it the thread.
        let _ = self.0.send(wanted);
    }
}

/// The thread.
struct Reader {
    directory: PathBuf,
    index: Arc<Index>,
    /// The segment that was read last: the next message is often in it.
    file: Option<(u64, File)>,
    inbound: InboundSender,
}

impl Reader {
    fn run(mut self, mut older: Vec<u64>, requests: &Receiver<Wanted>) -> Result<(), LoopEnded> {
        while let Some(segment) = older.pop() {
            if let Err(error) = self.scan(segment) {
                let path = segment_path(&self.directory, segment);
                log::debug!("what {} has for other members is not known: {error}", path.display());
            }
            self.serve_all(requests.try_iter())?;
        }
        self.index.is_whole.store(true, Ordering::Release);
        self.serve_all(requests.iter())
    }

    fn serve_all(&mut self, mut requests: impl Iterator<Item = Wanted>) -> Result<(), LoopEnded> {
        requests.try_for_each(|wanted| self.serve(wanted))
    }

    /// Adds what a segment of an earlier start has. One that was removed meanwhile has nothing.
    fn scan(&self, segment: u64) -> Result<(), Problem> {
        let file = File::open(segment_path(&self.directory, segment)).map_err(Problem::Io)?;
        let bytes = file.metadata().map_err(Problem::Io)?.len();
        let mut reader = Segment::new(BufReader::with_capacity(1 << 18, file), bytes);
        let mut found = Vec::new();
        while let Some(BodyPlace { digest, first, offset, bytes }) = reader.next_place()? {
            if let Some(digest) = digest.filter(|_| is_kept(first.as_slice())) {
                found.push((digest, Place { offset, bytes }));
            }
        }
        self.index.add(segment, found);
        Ok(())
    }

    /// Hands a message to the loop, if the journal has it.
    fn serve(&mut self, Wanted { to, class, digest }: Wanted) -> Result<(), LoopEnded> {
        let Some((segment, place)) = self.index.find(&digest) else {
            log::debug!("node {to} wants {digest}, which the journal does not have");
            return Ok(());
        };
        match self.read(segment, place) {
            Ok(body) if digest.0 == <[u8; 32]>::from(Sha256::digest(&body)) => {
                self.inbound.send_from_journal(to, class, digest, Bytes::from(body))
            }
            read => {
                let reason = read.map_or_else(|error| error.to_string(), |_| "it was damaged".into());
                log::warn!(
                    "a message of {} bytes in {}, byte {}, cannot be read: {reason}; node {to} has to ask another member",
                    place.bytes,
                    segment_path(&self.directory, segment).display(),
                    place.offset
                );
                Ok(())
            }
        }
    }

    fn read(&mut self, segment: u64, place: Place) -> io::Result<Vec<u8>> {
        let file = match self.file.take() {
            Some((number, file)) if number == segment => file,
            _ => File::open(segment_path(&self.directory, segment))?,
        };
        let mut body = vec![0; place.bytes as usize];
        file.read_exact_at(&mut body, place.offset)?;
        self.file = Some((segment, file));
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use wire::journal::MAGIC;
    use wire::rand;
    use wire::record::Record;

    use super::*;
    use crate::inbound::{self, Inbound};

    /// A message that others may request: the first byte is that of an entry.
    fn entry(filler: u8) -> (Digest, Record) {
        let body = [[0].as_slice(), &[filler; 10_000]].concat();
        let digest = Digest(Sha256::digest(&body).into());
        (digest, Record { head: b"head".to_vec(), digest: Some(digest), body: Bytes::from(body) })
    }

    #[test]
    fn messages_of_earlier_starts_are_found_and_spoiled_ones_not_sent() {
        let place =
            std::env::temp_dir().join(format!("node-history-{}-{:x}", std::process::id(), rand::u64()));
        fs::create_dir(&place).unwrap();
        let (kept, damaged, other) = (entry(1), entry(2), Record { head: vec![1; 40], ..entry(3).1 });
        let opening = Record { digest: None, body: Bytes::from(Vec::new()), ..kept.1.clone() };
        let vote = Record { body: Bytes::from(vec![1; 70]), ..other };
        let mut bytes = MAGIC.to_vec();
        [&opening, &vote, &kept.1, &damaged.1].iter().for_each(|record| record.write_to(&mut bytes));
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(segment_path(&place, 1), &bytes).unwrap();

        let index = Arc::new(Index::default());
        let (sender, receiver) = inbound::queue();
        // One of the segments is gone.
        let history = History::start(&place, index.clone(), vec![1, 2], sender).unwrap();
        let wanted = |digest| Wanted { to: NodeId(3), class: Class::Keep, digest };
        [Digest([9; 32]), vote.digest.unwrap(), damaged.0, kept.0]
            .into_iter()
            .for_each(|digest| history.send(wanted(digest)));
        // The thread may have looked for the last one before it had scanned the segment.
        let mut come = receiver.recv_timeout(Duration::from_millis(500));
        while come.is_err() {
            history.send(wanted(kept.0));
            come = receiver.recv_timeout(Duration::from_millis(500));
        }
        let Ok(Inbound::FromJournal { to: NodeId(3), digest, body, .. }) = come else { panic!("a message") };
        assert_eq!((digest, &body[..]), (kept.0, &kept.1.body[..]));
        drop(history);
        assert!(receiver.recv_timeout(Duration::from_secs(60)).is_err(), "nothing else, and the thread ends");
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn old_segments_keep_what_the_core_offers() {
        let (index, place) = (Index::default(), Place { offset: 0, bytes: 1 });
        let digest = |segment: u64, number: u8| (Digest([segment as u8 * 10 + number; 32]), place);
        (1..=4).for_each(|segment| index.add(segment, [digest(segment, 1), digest(segment, 2)]));
        let needed = HashSet::from([digest(2, 2).0, digest(4, 1).0]);
        assert_eq!(index.keep(&needed, 4), Some(0), "what earlier starts have left is not known yet");
        index.is_whole.store(true, Ordering::Release);
        assert_eq!(index.keep(&needed, 4), Some(2));
        let has = |segment, number| index.find(&digest(segment, number).0).map(|found| found.0);
        assert_eq!([has(1, 1), has(2, 1), has(2, 2), has(3, 1)], [None, None, Some(2), None]);
        assert_eq!([has(4, 1), has(4, 2)], [Some(4); 2], "recent ones stay");
        assert_eq!(index.keep(&HashSet::new(), 9), None);
        // A message that came twice is read from the later segment, which is kept longer.
        [7, 8].iter().for_each(|segment| index.add(*segment, [digest(1, 1)]));
        assert_eq!(has(1, 1), Some(8));
    }
}
