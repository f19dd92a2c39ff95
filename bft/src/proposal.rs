//! The payload of a lane entry: sections, all of which may be missing.
//!
//! ```text
//! sections u8 | each: id u8 | length u32 | bytes          little endian, ids strictly ascending
//! section 1: imports, strictly ascending by source and number; each
//!            source u16 | number u64 | digest 32 | N−f signatures, each: index u16 | R 32 | s 32
//! section 2: cancels: ids of transactions, strictly ascending
//! section 3: the transactions, in the encoding of wire::client::list
//! ```
//!
//! An *import* orders the execution of a group part that another shard sent; its certificate says that N−f members of
//! this shard have verified the part, so that at least f+1 honest ones hold it. A *cancel* (BACK) states that the
//! lane's owner believes that a transaction of the pool can never finish. Execution takes an entry's imports, then its
//! cancels, then its transactions (docs/design.md §10). A section with an unknown id makes the entry invalid: what one
//! node cannot read another must not execute.
//!
//! **Validity \[safety]** is a function of the bytes, of committee.txt and of the shard alone ([`Rules::validate`]):
//! execution decides whether an import comes in order and whether a cancel names a pool entry. An entry without a
//! section, or with empty ones, is valid: a lane advances without transactions too.
//!
//! **Cost.** One pass, without an allocation for transactions and cancels; for each import one batch verification of
//! N−f signatures, once a member: at ECHO, and execution finds it in the member's cache.

mod builder;
mod rules;

use wire::client::list;
use wire::ids::{Digest, Index, PartNumber, ShardId, Signature, TxId};

use crate::crypto::cert::Certificate;
use crate::part::PartRef;
use crate::transaction::{self, TransactionView};

pub use builder::{ProposalBuilder, Push, payload_bytes};
pub use rules::Rules;

/// Ids of sections.
const IMPORTS: u8 = 1;
const CANCELS: u8 = 2;
const TRANSACTIONS: u8 = 3;
const SECTION_HEADER_BYTES: usize = 5;
const ID_BYTES: usize = 32;
const PART_REF_BYTES: usize = 42;
const SIGNATURE_BYTES: usize = 66;

/// Why a payload is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// Longer than the protocol's `proposal_bytes_max`.
    TooLarge,
    /// Its sections do not end where it ends, or do not ascend.
    Sections,
    /// A section of an id that this protocol does not have.
    UnknownSection(u8),
    /// The imports do not end where their section ends, or are more than a proposal may have.
    Imports,
    /// The import at this position comes from no other shard, has no number, or does not ascend.
    ImportOrder(u32),
    /// The certificate of the import at this position is invalid.
    ImportCertificate(u32),
    /// The cancels do not end where their section ends, are more than a proposal may have, or do not ascend.
    Cancels,
    /// The transactions are not a list that ends where its section ends.
    List,
    /// The transaction at this position of the list breaks a rule.
    Transaction(u32, transaction::Invalid),
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Invalid::TooLarge => f.write_str("longer than the protocol allows"),
            Invalid::Sections => f.write_str("sections out of order or not as long as announced"),
            Invalid::UnknownSection(id) => write!(f, "section {id} is unknown"),
            Invalid::Imports => f.write_str("imports that do not fill their section, or too many"),
            Invalid::ImportOrder(index) => write!(f, "import {index}: out of order or from no other shard"),
            Invalid::ImportCertificate(index) => write!(f, "import {index}: its certificate proves nothing"),
            Invalid::Cancels => f.write_str("cancels out of order, too many, or not filling their section"),
            Invalid::List => f.write_str("the list of transactions is not as long as announced"),
            Invalid::Transaction(index, rule) => write!(f, "transaction {index}: {rule}"),
        }
    }
}

impl std::error::Error for Invalid {}

/// A group part of another shard that is to be executed, with N−f SIGNs of our shard on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// The part.
    pub part: PartRef,
    /// N−f SIGNs on it.
    pub certificate: Certificate,
}

/// A payload read in place, made by [`Rules`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProposalView<'a> {
    /// Imports, each `import_bytes` long.
    imports: &'a [u8],
    import_bytes: usize,
    /// Ids.
    cancels: &'a [u8],
    /// Items of the list of transactions, without its count.
    items: &'a [u8],
    count: u32,
}

impl<'a> ProposalView<'a> {
    /// Number of transactions.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its imports, ascending by source and number.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = Import> + use<'a> {
        self.imports.chunks_exact(self.import_bytes).map(|bytes| {
            let signatures = bytes[PART_REF_BYTES..].chunks_exact(SIGNATURE_BYTES).map(|signed| {
                let index = Index(u16::from_le_bytes(array_at(signed, 0)));
                (index, Signature::from_bytes(array_at(signed, 2)))
            });
            Import { part: part_at(bytes), certificate: Certificate(signatures.collect()) }
        })
    }

    /// The parts that it imports, without their certificates.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = PartRef> + use<'a> {
        self.imports.chunks_exact(self.import_bytes).map(part_at)
    }

    /// The transactions that it lists to be cancelled, ascending.
    pub fn cancels(&self) -> impl ExactSizeIterator<Item = TxId> + use<'a> {
        self.cancels.chunks_exact(ID_BYTES).map(|id| TxId(array_at(id, 0)))
    }

    /// Its transactions in order.
    pub fn transactions(&self) -> impl Iterator<Item = TransactionView<'a>> + use<'a> {
        Items { rest: self.items }.map(|bytes| {
            TransactionView::parse(bytes).expect("a view exists only of a payload that was validated")
        })
    }
}

/// Finds the sections of a payload under a committee whose imports are `import_bytes` long each. Only the lengths of
/// the sections are checked.
fn sections(payload: &[u8], import_bytes: usize) -> Result<ProposalView<'_>, Invalid> {
    let (count, mut rest) = payload.split_first().ok_or(Invalid::Sections)?;
    let mut view = ProposalView { imports: &[], import_bytes, cancels: &[], items: &[], count: 0 };
    let mut previous = 0;
    for _ in 0..*count {
        let (header, body) = rest.split_first_chunk::<SECTION_HEADER_BYTES>().ok_or(Invalid::Sections)?;
        let [id, length @ ..] = *header;
        let (section, after) =
            body.split_at_checked(u32::from_le_bytes(length) as usize).ok_or(Invalid::Sections)?;
        if id <= previous {
            return Err(Invalid::Sections);
        }
        match id {
            IMPORTS => view.imports = section,
            CANCELS => view.cancels = section,
            TRANSACTIONS => {
                let (count, items) = section.split_first_chunk::<4>().ok_or(Invalid::List)?;
                (view.items, view.count) = (items, u32::from_le_bytes(*count));
            }
            unknown => return Err(Invalid::UnknownSection(unknown)),
        }
        previous = id;
        rest = after;
    }
    if rest.is_empty() { Ok(view) } else { Err(Invalid::Sections) }
}

/// Bytes of an import with so many signatures.
fn import_bytes(signatures: usize) -> usize {
    PART_REF_BYTES + signatures * SIGNATURE_BYTES
}

fn part_at(import: &[u8]) -> PartRef {
    PartRef {
        source: ShardId(u16::from_le_bytes(array_at(import, 0))),
        number: PartNumber(u64::from_le_bytes(array_at(import, 2))),
        digest: Digest(array_at(import, 10)),
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has the array's length")
}

/// The items of a list in place; ends early at one that does not fit, and `rest` then is not empty.
struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, body) = self.rest.split_first_chunk::<4>()?;
        let (item, after) = body.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.rest = after;
        Some(item)
    }
}

/// Bytes around the items of a section of transactions: its header and the list's count.
const LIST_ENVELOPE_BYTES: usize = SECTION_HEADER_BYTES + 4;

/// Bytes that one transaction of this length adds to the list.
fn item_bytes(transaction_bytes: usize) -> usize {
    list::item_bytes(transaction_bytes)
}

#[cfg(test)]
mod tests;
