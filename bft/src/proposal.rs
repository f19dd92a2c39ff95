//! The payload of a lane entry: sections, of which the list of transactions is one.
//!
//! ```text
//! sections u8 | each: id u8 | length u32 | bytes          little endian, ids strictly ascending
//! section 3: the transactions, in the encoding of wire::client::list
//! ```
//!
//! Ids 1 and 2 are kept for what execution takes before an entry's transactions, imports and refunds (DESIGN §6). A
//! section with an unknown id makes the entry invalid: what one node cannot read another must not execute.
//!
//! **Validity \[safety]** is a function of the bytes and of committee.txt alone ([`validate`]). An entry without a
//! section, or with an empty list, is valid: nobody need invent a transaction to let a lane advance.

use wire::client::list;
use wire::committee::Committee;

use crate::crypto::cert::Certificate;
use crate::part::PartRef;
use crate::transaction::{self, TRANSACTION_BYTES_MIN, TransactionView};

/// Ids of sections.
const TRANSACTIONS: u8 = 3;
const SECTION_HEADER_BYTES: usize = 5;
/// Bytes around the items of a payload with transactions: section count, section header, list count.
const ENVELOPE_BYTES: usize = 1 + SECTION_HEADER_BYTES + 4;

/// Bytes of a payload that holds one transaction of this length and nothing else.
pub fn payload_bytes(transaction_bytes: usize) -> u64 {
    (ENVELOPE_BYTES + list::item_bytes(transaction_bytes)) as u64
}

/// A part of another shard that is to be executed, and N−f SIGNs of our own shard on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// The part.
    pub part: PartRef,
    /// The SIGNs.
    pub certificate: Certificate,
}

/// Why a payload is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// Longer than the protocol's `proposal_bytes_max`.
    TooLarge,
    /// Its sections do not end where it ends, or do not ascend.
    Sections,
    /// A section of an id that this protocol does not have.
    UnknownSection(u8),
    /// The transactions are not a list that ends where its section ends.
    List,
    /// The transaction at this place of the list breaks a rule.
    Transaction(u32, transaction::Invalid),
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Invalid::TooLarge => f.write_str("longer than the protocol allows"),
            Invalid::Sections => f.write_str("sections out of order or not as long as announced"),
            Invalid::UnknownSection(id) => write!(f, "section {id} is unknown"),
            Invalid::List => f.write_str("the list of transactions is not as long as announced"),
            Invalid::Transaction(index, rule) => write!(f, "transaction {index}: {rule}"),
        }
    }
}

impl std::error::Error for Invalid {}

/// A valid payload, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProposalView<'a> {
    /// Items of the list, without its count.
    items: &'a [u8],
    count: u32,
}

/// The view of a payload that is valid, every transaction of it included. \[safety]
pub fn validate<'a>(payload: &'a [u8], committee: &Committee) -> Result<ProposalView<'a>, Invalid> {
    if payload.len() as u64 > committee.protocol().proposal_bytes_max {
        return Err(Invalid::TooLarge);
    }
    let view = sections(payload)?;
    let mut items = Items { rest: view.items };
    for index in 0..view.count {
        let bytes = items.next().ok_or(Invalid::List)?;
        transaction::validate(bytes, committee).map_err(|rule| Invalid::Transaction(index, rule))?;
    }
    if items.rest.is_empty() { Ok(view) } else { Err(Invalid::List) }
}

impl<'a> ProposalView<'a> {
    /// How many transactions it has.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its transactions in order.
    pub fn transactions(&self) -> impl Iterator<Item = TransactionView<'a>> + use<'a> {
        Items { rest: self.items }.map(|bytes| {
            TransactionView::parse(bytes).expect("a view exists only of a payload that was validated")
        })
    }
}

/// Finds the transactions among the sections.
fn sections(payload: &[u8]) -> Result<ProposalView<'_>, Invalid> {
    let (count, mut rest) = payload.split_first().ok_or(Invalid::Sections)?;
    let mut view = ProposalView { items: &[], count: 0 };
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
            TRANSACTIONS => {
                let (count, items) = section.split_first_chunk::<4>().ok_or(Invalid::List)?;
                view = ProposalView { items, count: u32::from_le_bytes(*count) };
            }
            unknown => return Err(Invalid::UnknownSection(unknown)),
        }
        previous = id;
        rest = after;
    }
    if rest.is_empty() { Ok(view) } else { Err(Invalid::Sections) }
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

/// Writes a payload from transactions that are valid each, up to limits, into a buffer behind what is there already.
#[derive(Debug)]
pub struct ProposalBuilder {
    buffer: Vec<u8>,
    /// Where the payload begins.
    start: usize,
    count: usize,
    bytes_max: usize,
    count_max: usize,
}

/// What became of a transaction handed to a builder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Push {
    /// It is in.
    Added,
    /// It would exceed a limit, and so will any of its length or more.
    Full,
}

impl ProposalBuilder {
    /// A builder of a payload of at most `bytes_max` bytes and `count_max` transactions behind what `buffer` holds.
    pub fn new(mut buffer: Vec<u8>, bytes_max: usize, count_max: usize) -> ProposalBuilder {
        let start = buffer.len();
        buffer.extend([1, TRANSACTIONS, 0, 0, 0, 0]);
        list::begin(&mut buffer);
        ProposalBuilder { buffer, start, count: 0, bytes_max, count_max }
    }

    /// Makes room for about so many bytes of transactions, as far as the limit allows.
    pub fn reserve(&mut self, bytes: usize) {
        self.buffer.reserve(bytes.min(self.bytes_max.saturating_sub(ENVELOPE_BYTES)));
    }

    /// Adds a transaction if it fits.
    pub fn push(&mut self, transaction: &[u8]) -> Push {
        let bytes = self.payload_bytes() + list::item_bytes(transaction.len());
        if self.count == self.count_max || bytes > self.bytes_max {
            return Push::Full;
        }
        list::push(&mut self.buffer, transaction);
        self.count += 1;
        Push::Added
    }

    /// Whether not even the shortest transaction would fit any more.
    pub fn is_full(&self) -> bool {
        self.count == self.count_max
            || self.payload_bytes() + list::item_bytes(TRANSACTION_BYTES_MIN) > self.bytes_max
    }

    /// Transactions added so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The buffer with the payload; one without a section if nothing was added.
    pub fn finish(mut self) -> Vec<u8> {
        if self.count == 0 {
            self.buffer.truncate(self.start);
            self.buffer.push(0);
            return self.buffer;
        }
        let section = u32::try_from(self.payload_bytes() - 1 - SECTION_HEADER_BYTES);
        let section = section.expect("a proposal is bounded far below 4 GiB");
        self.buffer[self.start + 2..self.start + 6].copy_from_slice(&section.to_le_bytes());
        list::finish(&mut self.buffer, self.start + 1 + SECTION_HEADER_BYTES, self.count);
        self.buffer
    }

    fn payload_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use wire::committee::{Member, Protocol};
    use wire::ids::{CoinId, Round, ShardId};

    use super::*;
    use crate::transaction::{Expiry, Input, Output, Owner, Transaction};

    fn committee(proposal_bytes_max: u64) -> Committee {
        let member = Member { public_key: [1; 32], coin_commitment: [2; 32] };
        Committee::new(1, Protocol { proposal_bytes_max, ..Protocol::default() }, vec![member], [3; 32])
    }

    fn transaction(coin: u8, amount: u64) -> Vec<u8> {
        Transaction {
            inputs: &[Input { shard: ShardId(0), coin: CoinId([coin; 32]), amount }],
            output_shard: ShardId(0),
            outputs: &[Output { owner: Owner([0; 32]), amount }],
            expiries: &[Expiry { shard: ShardId(0), round: Round(9) }],
            payload: &vec![coin; usize::from(coin)],
        }
        .encode()
    }

    fn payload(transactions: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = ProposalBuilder::new(Vec::new(), 1 << 20, 100);
        for transaction in transactions {
            assert_eq!(builder.push(transaction), Push::Added);
        }
        builder.finish()
    }

    #[test]
    fn a_view_gives_back_what_was_built() {
        let transactions: Vec<Vec<u8>> = (0..5).map(|coin| transaction(coin, 1)).collect();
        let payload = payload(&transactions);
        let view = validate(&payload, &committee(1 << 20)).unwrap();
        assert_eq!((view.len(), view.is_empty()), (5, false));
        assert_eq!(view.transactions().map(|view| view.bytes().to_vec()).collect::<Vec<_>>(), transactions);
    }

    #[test]
    fn empty_payloads_are_valid() {
        let committee = committee(1 << 20);
        for bytes in [&payload(&[])[..], &[0], &[1, TRANSACTIONS, 4, 0, 0, 0, 0, 0, 0, 0]] {
            let view = validate(bytes, &committee).unwrap();
            assert_eq!((view.is_empty(), view.transactions().count()), (true, 0));
        }
    }

    #[test]
    fn a_builder_stops_at_its_limits() {
        let item = transaction(0, 1);
        let two = ENVELOPE_BYTES + 2 * list::item_bytes(item.len());
        for (bytes_max, count_max, fit) in [(two, 10, 2), (two - 1, 10, 1), (1 << 20, 3, 3), (1 << 20, 0, 0)]
        {
            let mut builder = ProposalBuilder::new(b"before".to_vec(), bytes_max, count_max);
            builder.reserve(1 << 30);
            let added = (0..10).take_while(|_| builder.push(&item) == Push::Added).count();
            assert_eq!((added, builder.count(), builder.is_full()), (fit, fit, true));
            let buffer = builder.finish();
            let payload = buffer.strip_prefix(b"before").expect("what was there stays");
            assert!(payload.len() <= bytes_max);
            assert_eq!(validate(payload, &committee(1 << 20)).unwrap().len(), fit);
        }
    }

    #[test]
    fn each_rule_refuses_what_breaks_it() {
        let good = payload(&[transaction(1, 1), transaction(2, 1)]);
        let generous = committee(1 << 20);
        assert!(validate(&good, &committee(good.len() as u64)).is_ok());
        assert_eq!(validate(&good, &committee(good.len() as u64 - 1)), Err(Invalid::TooLarge));
        for end in 0..good.len() {
            assert!(validate(&good[..end], &generous).is_err(), "cut off at {end}");
        }
        assert_eq!(validate(&[&good[..], &[0]].concat(), &generous), Err(Invalid::Sections));
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        assert_eq!(validate(&changed(1, 9), &generous), Err(Invalid::UnknownSection(9)));
        assert_eq!(validate(&changed(1, 1), &generous), Err(Invalid::UnknownSection(1)));
        assert_eq!(validate(&changed(1, 0), &generous), Err(Invalid::Sections));
        assert_eq!(validate(&changed(6, 1), &generous), Err(Invalid::List), "fewer than there are");
        assert_eq!(validate(&changed(6, 3), &generous), Err(Invalid::List), "more than there are");
        assert_eq!(validate(&changed(13, 0xFF), &generous), Err(Invalid::List), "an item of 4 GiB");
        let twice = [&[2], &good[1..], &good[1..]].concat();
        assert_eq!(validate(&twice, &generous), Err(Invalid::Sections), "a section twice");
        let bad = payload(&[transaction(1, 1), transaction(2, 0)]);
        assert_eq!(
            validate(&bad, &generous),
            Err(Invalid::Transaction(1, transaction::Invalid::ZeroAmount)),
            "one bad transaction makes the entry invalid"
        );
    }
}
