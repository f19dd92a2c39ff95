//! What a journal gives back: whole, cut off at every byte, with every byte damaged.

use sha2::{Digest as _, Sha256};

use super::*;
use crate::bytes::Bytes;
use crate::ids::Digest;
use crate::rand;
use crate::record::{FRAME_BYTES, Record};

/// A directory for one test.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        let name = format!("wire-journal-{}-{:x}", std::process::id(), rand::u64());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Place(path)
    }

    /// Writes a segment of these records.
    fn write(&self, number: u64, records: &[Record]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        records.iter().for_each(|record| record.write_to(&mut bytes));
        fs::write(segment_path(&self.0, number), &bytes).unwrap();
        bytes
    }

    /// All records, with their segment's first one marked, and the torn bytes.
    fn read(&self) -> Result<(Vec<Item>, u64), JournalError> {
        self.read_from(1)
    }

    fn read_from(&self, segment: u64) -> Result<(Vec<Item>, u64), JournalError> {
        let mut reader = Reader::open_at(&self.0, segment)?;
        let mut items = Vec::new();
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
        Ok((items, reader.torn_bytes()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nothing depends on it; a left directory is only untidy.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn record(head: &[u8], body: &[u8]) -> Record {
    Record { head: head.to_vec(), digest: None, body: Bytes::from(body.to_vec()) }
}

fn with_digest(head: &[u8], body: &[u8]) -> Record {
    Record { digest: Some(Digest(Sha256::digest(body).into())), ..record(head, body) }
}

fn some() -> [Record; 4] {
    [
        record(b"opening", b""),
        record(b"one", b"body"),
        with_digest(b"two", b"long body"),
        with_digest(b"", b""),
    ]
}

#[test]
fn places_of_bodies_are_found_without_reading_them() {
    let [opening, one, two, empty] = some();
    let long = with_digest(b"head", &[7; 300_000]);
    let mut bytes = MAGIC.to_vec();
    let records = [opening, one, two, long, empty];
    records.iter().for_each(|record| record.write_to(&mut bytes));
    let places = |bytes: &[u8]| {
        let mut segment = Segment::new(io::Cursor::new(bytes), bytes.len() as u64);
        let mut places = Vec::new();
        while let Some(place) = segment.next_place().unwrap() {
            places.push(place);
        }
        places
    };
    let found = places(&bytes);
    assert_eq!(found.len(), records.len());
    for (place, record) in found.iter().zip(&records) {
        assert_eq!(place.digest, record.digest);
        assert_eq!(place.first, record.body.first().copied());
        assert_eq!(bytes[place.offset as usize..][..place.bytes as usize], record.body[..]);
    }
    // Of an unfinished record there is no place, wherever it ends.
    let last = found[3].offset as usize;
    for cut in [1, FRAME_BYTES, last - found[2].offset as usize - 1, 299_999] {
        let whole = places(&bytes[..found[3].offset as usize + 300_000 - cut]);
        assert!(whole.len() <= 3 && whole == found[..whole.len()], "{cut}");
    }
    bytes[MAGIC.len()] ^= 1;
    let mut damaged = Segment::new(io::Cursor::new(&bytes), bytes.len() as u64);
    assert!(damaged.next_place().is_err());
}

#[test]
fn records_come_back_in_their_order_over_segments() {
    let place = Place::new();
    assert_eq!(place.read().unwrap(), (Vec::new(), 0), "an empty journal");
    let [opening, one, two, three] = some();
    place.write(9, &[opening.clone(), one.clone()]);
    place.write(10, &[opening.clone(), two.clone(), three.clone()]);
    fs::write(place.0.join("notes"), "").unwrap();
    let expected = [
        Item::Opening(opening.clone()),
        Item::Record(one),
        Item::Opening(opening),
        Item::Record(two),
        Item::Record(three),
    ];
    assert_eq!(place.read_from(9).unwrap(), (expected.to_vec(), 0));
    assert_eq!(place.read_from(10).unwrap(), (expected[2..].to_vec(), 0));
    for missing in [1, 8, 11] {
        assert!(matches!(place.read_from(missing), Err(JournalError { problem: Problem::Missing, .. })));
    }
}

#[test]
fn a_tail_cut_off_anywhere_is_torn_and_what_stands_before_it_is_whole() {
    let place = Place::new();
    let records = some();
    let bytes = place.write(1, &records);
    let mut ends = vec![MAGIC.len()];
    ends.extend(records.iter().scan(MAGIC.len(), |end, record| {
        *end += record.file_bytes();
        Some(*end)
    }));
    assert_eq!(ends.last(), Some(&bytes.len()));
    for length in 0..bytes.len() {
        fs::write(segment_path(&place.0, 1), &bytes[..length]).unwrap();
        let whole = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
        let begin = if length < MAGIC.len() { 0 } else { ends[whole] };
        let (items, torn_bytes) = place.read().unwrap();
        assert_eq!((items.len(), torn_bytes), (whole, (length - begin) as u64), "{length} bytes");
    }
    // The same in a segment that another one follows is no tail.
    place.write(2, &records);
    for length in (0..bytes.len()).filter(|length| !ends.contains(length)) {
        fs::write(segment_path(&place.0, 1), &bytes[..length]).unwrap();
        let error = place.read().unwrap_err();
        assert!(matches!(error.problem, Problem::Cut), "{length} bytes: {error}");
    }
}

#[test]
fn every_damaged_byte_is_found_with_its_record() {
    let place = Place::new();
    let records = some();
    let bytes = place.write(1, &records);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        fs::write(segment_path(&place.0, 1), &damaged).unwrap();
        let error = place.read().unwrap_err();
        let ends = records.iter().scan(MAGIC.len(), |end, record| {
            *end += record.file_bytes();
            Some(*end)
        });
        let begin = ends.filter(|end| *end <= at).last().unwrap_or(MAGIC.len());
        let expected = if at < MAGIC.len() { 0 } else { begin as u64 };
        assert_eq!(error.offset, expected, "byte {at}: {error}");
        assert!(matches!(error.problem, Problem::Magic | Problem::Damaged), "byte {at}: {error}");
        assert!(error.to_string().contains("journal-00000001, byte "), "{error}");
    }
}

#[test]
fn a_missing_segment_is_named() {
    let place = Place::new();
    let records = some();
    place.write(1, &records);
    place.write(3, &records);
    let error = place.read().unwrap_err();
    assert!(matches!(error.problem, Problem::Gap));
    assert!(
        error.to_string().contains("journal-00000003, byte 0: a segment is missing before it"),
        "{error}"
    );
}
