//! Writing payloads.

use wire::client::list;
use wire::ids::TxId;
use wire::limits::REJECTS_PER_MESSAGE_MAX;

use crate::proposal::{
    CANCELS, ID_BYTES, IMPORTS, Import, LIST_ENVELOPE_BYTES, SECTION_HEADER_BYTES, TRANSACTIONS,
    import_bytes, item_bytes,
};
use crate::transaction::TRANSACTION_BYTES_MIN;

/// Bytes of a payload that holds one transaction of this length and nothing else.
pub fn payload_bytes(transaction_bytes: usize) -> u64 {
    (1 + LIST_ENVELOPE_BYTES + item_bytes(transaction_bytes)) as u64
}

/// Writes a payload from valid items, up to limits, behind the present content of a buffer.
///
/// Imports come first, then cancels, then transactions, each kind in the order that validity asks for; so each is
/// written at its final position.
#[derive(Debug)]
pub struct ProposalBuilder {
    buffer: Vec<u8>,
    /// Where the payload begins.
    start: usize,
    section: Section,
    count: usize,
    bytes_max: usize,
    count_max: usize,
}

/// The section that is being written, and where it begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Section {
    None,
    Imports(usize),
    Cancels(usize),
    Transactions(usize),
}

/// The result of adding an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Push {
    /// Added.
    Added,
    /// It would exceed a limit, and so will any of its length or more.
    Full,
}

impl ProposalBuilder {
    /// A builder of a payload of at most `bytes_max` bytes and `count_max` transactions behind the content of `buffer`.
    pub fn new(mut buffer: Vec<u8>, bytes_max: usize, count_max: usize) -> ProposalBuilder {
        let start = buffer.len();
        buffer.push(0);
        ProposalBuilder { buffer, start, section: Section::None, count: 0, bytes_max, count_max }
    }

    /// Reserves this number of bytes for transactions, as far as the limit allows.
    pub fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(bytes.saturating_add(LIST_ENVELOPE_BYTES).min(self.bytes_left()));
    }

    /// Adds an import if it fits in bytes; how many a proposal may have is [`super::Rules::imports_max`]. They come in
    /// ascending order of source and number.
    ///
    /// # Panics
    /// If a cancel or a transaction was added before.
    pub fn push_import(&mut self, import: &Import) -> Push {
        assert!(self.section <= Section::Imports(usize::MAX), "imports come first");
        let opens = matches!(self.section, Section::None);
        let header = if opens { SECTION_HEADER_BYTES } else { 0 };
        if header + import_bytes(import.certificate.0.len()) > self.bytes_left() {
            return Push::Full;
        }
        if opens {
            self.section = Section::Imports(self.open(IMPORTS));
        }
        self.buffer.extend(import.part.source.0.to_le_bytes());
        self.buffer.extend(import.part.number.0.to_le_bytes());
        self.buffer.extend(import.part.digest.0);
        for (signer, signature) in &import.certificate.0 {
            self.buffer.extend(signer.0.to_le_bytes());
            self.buffer.extend(signature.to_bytes());
        }
        Push::Added
    }

    /// Adds a cancel if it fits. They come in ascending order.
    ///
    /// # Panics
    /// If a transaction was added before.
    pub fn push_cancel(&mut self, id: TxId) -> Push {
        assert!(self.section <= Section::Cancels(usize::MAX), "cancels come before transactions");
        let cancels = match self.section {
            Section::Cancels(start) => Some((self.buffer.len() - start) / ID_BYTES),
            _ => None,
        };
        let header = if cancels.is_none() { SECTION_HEADER_BYTES } else { 0 };
        if cancels >= Some(REJECTS_PER_MESSAGE_MAX) || header + ID_BYTES > self.bytes_left() {
            return Push::Full;
        }
        if cancels.is_none() {
            self.section = Section::Cancels(self.open(CANCELS));
        }
        self.buffer.extend(id.0);
        Push::Added
    }

    /// Adds a transaction if it fits.
    pub fn push(&mut self, transaction: &[u8]) -> Push {
        if self.count == self.count_max
            || self.envelope_left() + item_bytes(transaction.len()) > self.bytes_left()
        {
            return Push::Full;
        }
        if !matches!(self.section, Section::Transactions(_)) {
            self.section = Section::Transactions(self.open(TRANSACTIONS));
            list::begin(&mut self.buffer);
        }
        list::push(&mut self.buffer, transaction);
        self.count += 1;
        Push::Added
    }

    /// Whether not even the shortest transaction would fit any more.
    pub fn is_full(&self) -> bool {
        self.count == self.count_max
            || self.envelope_left() + item_bytes(TRANSACTION_BYTES_MIN) > self.bytes_left()
    }

    /// Number of cancels that still fit.
    pub fn cancels_left(&self) -> usize {
        let (header, listed) = match self.section {
            Section::Cancels(start) => (0, (self.buffer.len() - start) / ID_BYTES),
            _ => (SECTION_HEADER_BYTES, 0),
        };
        let fit = self.bytes_left().saturating_sub(header) / ID_BYTES;
        fit.min(REJECTS_PER_MESSAGE_MAX - listed)
    }

    /// How many more transactions may be added.
    pub fn places_left(&self) -> usize {
        self.count_max - self.count
    }

    /// Transactions added so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether no item was added.
    pub fn is_empty(&self) -> bool {
        self.section == Section::None
    }

    /// The buffer with the payload; one without a section if nothing was added.
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.buffer
    }

    /// Ends the section before and begins one; returns the position of its first byte.
    fn open(&mut self, id: u8) -> usize {
        self.close();
        self.buffer[self.start] += 1;
        self.buffer.extend([id, 0, 0, 0, 0]);
        self.buffer.len()
    }

    /// Writes the length of the present section.
    fn close(&mut self) {
        let start = match self.section {
            Section::None => return,
            Section::Imports(start) | Section::Cancels(start) => start,
            Section::Transactions(start) => {
                list::finish(&mut self.buffer, start, self.count);
                start
            }
        };
        let length = u32::try_from(self.buffer.len() - start).expect("a proposal is bounded far below 4 GiB");
        self.buffer[start - 4..start].copy_from_slice(&length.to_le_bytes());
    }

    /// Bytes to open the list of transactions, if it is not open.
    fn envelope_left(&self) -> usize {
        if matches!(self.section, Section::Transactions(_)) { 0 } else { LIST_ENVELOPE_BYTES }
    }

    fn bytes_left(&self) -> usize {
        self.bytes_max.saturating_sub(self.buffer.len() - self.start)
    }
}
