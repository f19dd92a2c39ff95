//! The disk of a simulated member: segments of its journal, as bytes, and what crashes leave of them.
//!
//! Bytes are *written* once the system has them and *synced* once the disk has them. The end of a process takes at most
//! the rest of a write that it was in. A loss of power takes what was not synced: all of it, a part, or blocks in any
//! order. Some disks are worse than that, and change what they had ([`Harm`]).

use std::collections::BTreeMap;

use wire::record::Item;
use wire::segment::{MAGIC, Next, Problem, Segment};

use crate::journal::Opening;
use crate::mutant::{Mutant, in_force};
use crate::prng::Prng;

/// A disk writes or loses so many bytes at once.
const BLOCK_BYTES: usize = 64;

/// One file.
#[derive(Debug)]
struct SegmentFile {
    bytes: Vec<u8>,
    synced: usize,
}

/// What a loss of power does to bytes that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loss {
    /// They are all there.
    Nothing,
    /// They are gone.
    All,
    /// They end somewhere, and so mostly within a record.
    Tail,
    /// One bit is another.
    Bit,
    /// Some blocks were never written, though later ones were.
    Blocks,
}

impl Loss {
    /// Losses that leave the beginning of what was written, from which a node goes on.
    pub(super) const TAILS: [Loss; 3] = [Loss::Nothing, Loss::All, Loss::Tail];
    /// All of them.
    pub(super) const ANY: [Loss; 5] = [Loss::Nothing, Loss::All, Loss::Tail, Loss::Bit, Loss::Blocks];
}

/// Whether a member may refuse to go on from its disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Harm {
    /// No: what is missing is a tail that was never synced.
    None,
    /// Yes: something in the journal is not what was written there.
    Done,
}

/// The readable beginning of a journal.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) items: Vec<Item>,
    torn: Option<Torn>,
}

impl Found {
    /// Whether there is more, which cannot be read.
    pub(super) fn is_torn(&self) -> bool {
        self.torn.is_some()
    }
}

/// Where the rest begins.
#[derive(Clone, Copy, Debug)]
struct Torn {
    segment: u64,
    offset: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Disk {
    /// By number.
    segments: BTreeMap<u64, SegmentFile>,
    /// The last snapshot that was finished.
    pub(super) snapshot: Option<Vec<u8>>,
    pub(super) harm: Harm,
}

impl Disk {
    pub(super) fn new() -> Disk {
        Disk { segments: BTreeMap::new(), snapshot: None, harm: Harm::None }
    }

    /// Begins a segment, and syncs its opening; its number.
    pub(super) fn begin(&mut self, opening: &Opening) -> u64 {
        let number = self.segments.last_key_value().map_or(1, |(last, _)| last + 1);
        let mut bytes = MAGIC.to_vec();
        opening.record().write_to(&mut bytes);
        let synced = bytes.len();
        self.segments.insert(number, SegmentFile { bytes, synced });
        number
    }

    /// The last segment was being begun: of its opening there is only a part.
    pub(super) fn tear_opening(&mut self, prng: &mut Prng) {
        let file = self.last();
        file.bytes.truncate(prng.below(file.bytes.len() as u64) as usize);
        file.synced = 0;
    }

    /// Removes the segments before this one.
    pub(super) fn forget_before(&mut self, number: u64) {
        self.segments = self.segments.split_off(&number);
    }

    /// Appends to the last segment.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.last().bytes.extend_from_slice(bytes);
    }

    /// The disk has everything that the system has.
    pub(super) fn sync(&mut self) {
        self.segments.values_mut().for_each(|file| file.synced = file.bytes.len());
    }

    fn last(&mut self) -> &mut SegmentFile {
        self.segments.last_entry().expect("a member begins a segment before anything else").into_mut()
    }

    /// Power is lost.
    pub(super) fn lose(&mut self, loss: Loss, prng: &mut Prng) {
        let file = self.last();
        let (synced, unsynced) = (file.synced, file.bytes.len() - file.synced);
        if unsynced == 0 {
            return;
        }
        match loss {
            Loss::Nothing => {}
            Loss::All => file.bytes.truncate(synced),
            Loss::Tail => file.bytes.truncate(synced + prng.below(unsynced as u64) as usize),
            Loss::Bit => flip(&mut file.bytes[synced..], prng),
            Loss::Blocks => {
                let mut blocks: Vec<&mut [u8]> = file.bytes[synced..].chunks_mut(BLOCK_BYTES).collect();
                let surely = prng.below(blocks.len() as u64) as usize;
                for (at, block) in blocks.iter_mut().enumerate() {
                    if at == surely || prng.chance(1, 2) {
                        block.fill(0);
                    }
                }
            }
        }
        if !Loss::TAILS.contains(&loss) {
            self.harm = Harm::Done;
        }
    }

    /// A bit of any segment turns over.
    pub(super) fn rot(&mut self, prng: &mut Prng) {
        let at = prng.below(self.segments.len() as u64) as usize;
        let file = self.segments.values_mut().nth(at).expect("it is one of them");
        flip(&mut file.bytes, prng);
        self.harm = Harm::Done;
    }

    /// Reads the journal as `wire::journal` does.
    pub(super) fn read(&self) -> Result<Found, Problem> {
        let mut items = Vec::new();
        let last = self.segments.last_key_value().map(|(number, _)| *number);
        let mut before = None;
        for (number, file) in &self.segments {
            if before.replace(*number).is_some_and(|before| before + 1 != *number) {
                return Err(Problem::Gap);
            }
            let mut segment = Segment::new(&file.bytes[..], file.bytes.len() as u64);
            let problem = loop {
                match segment.next_item() {
                    Ok(Next::Item(item)) => items.push(item),
                    Ok(Next::End) => break None,
                    Ok(Next::Unfinished(_)) => break Some(Problem::Cut),
                    Err(problem) => break Some(problem),
                }
            };
            let torn = Some(Torn { segment: *number, offset: segment.offset() as usize });
            match problem {
                None => {}
                Some(Problem::Cut) if Some(*number) == last => return Ok(Found { items, torn }),
                Some(_) if !in_force(Mutant::DamageIsNoTail) => return Ok(Found { items, torn }),
                Some(problem) => return Err(problem),
            }
        }
        Ok(Found { items, torn: None })
    }

    /// Removes what could not be read, as `node::restart` does.
    pub(super) fn cut_off(&mut self, found: &Found) {
        let Some(Torn { segment, offset }) = found.torn else { return };
        self.segments.split_off(&(segment + 1));
        if offset <= MAGIC.len() {
            self.segments.remove(&segment);
            return;
        }
        let file = self.last();
        file.bytes.truncate(offset);
        file.synced = file.bytes.len();
    }
}

fn flip(bytes: &mut [u8], prng: &mut Prng) {
    let at = prng.below(bytes.len() as u64) as usize;
    bytes[at] ^= 1 << prng.below(8);
}
