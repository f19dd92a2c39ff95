//! Transactions: their bytes, a view of them in place, and the rules that bytes alone decide.
//!
//! A transaction spends coins and creates coins in one output shard. Its encoding is fixed-width and little-endian, so
//! that it can be read in place and each transaction has exactly one encoding:
//!
//! ```text
//! inputs u8 | outputs u8 | expiries u8 | signatures u8 | output shard u16 | payload bytes u32     10 bytes
//! each input:  shard u16 | coin 32 | amount u64                                                   42 bytes
//! each output: owner 32 | amount u64                                                              40 bytes
//! each expiry: input shard u16 | round u64                                                        10 bytes
//! payload, opaque
//! each signature: 64 bytes, one an input in the same order, or none at all
//! ```
//!
//! TxId = SHA-256 of all of it, signatures included. The coin of output i is SHA-256 of a tag, TxId and i: the
//! transaction determines its coins, and no other transaction can create them. The same holds for the coins that give
//! back the inputs of a cancelled transaction ([`refund_coin`]).
//!
//! **Static validity \[safety]** ([`validate`]) is a function of these bytes and of committee.txt alone: all nodes
//! reach the same result, whatever their state, so no honest node finds a lane entry invalid that another has echoed.
//! Rules that depend on the ledger (do the coins exist, did their owners sign) are left to execution. Cost: one pass
//! over the fixed part, some tens of nanoseconds, no allocation.

mod encode;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wire::committee::Committee;
use wire::ids::{CoinId, Digest, Round, ShardId, Signature, TxId};
use wire::limits::{INPUTS_MAX, OUTPUTS_MAX};

pub use encode::{Transaction, encoded_bytes};

const HEADER_BYTES: usize = 10;
const INPUT_BYTES: usize = 42;
const OUTPUT_BYTES: usize = 40;
const EXPIRY_BYTES: usize = 10;
const SIGNATURE_BYTES: usize = 64;

/// Length of the shortest valid transaction: one input, one output, one expiry.
pub const TRANSACTION_BYTES_MIN: usize = HEADER_BYTES + INPUT_BYTES + OUTPUT_BYTES + EXPIRY_BYTES;

/// A coin to be spent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Input {
    /// The shard whose ledger holds it.
    pub shard: ShardId,
    /// The coin.
    pub coin: CoinId,
    /// Its amount, which execution compares with the amount in the ledger.
    pub amount: u64,
}

/// The owner of a coin: an ed25519 public key where the protocol is signed, 32 arbitrary bytes where it is not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Owner(#[serde(with = "wire::codec::bytes32")] pub [u8; 32]);

/// A coin to be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Output {
    /// Its owner.
    pub owner: Owner,
    /// Its amount.
    pub amount: u64,
}

/// The last round of an input shard in whose block the transaction may execute there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// The input shard.
    pub shard: ShardId,
    /// Its last round for this transaction.
    pub round: Round,
}

/// The rules of static validity, named by their violations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Invalid {
    /// Longer than the protocol's `transaction_bytes_max`.
    TooLarge,
    /// Ends before the sections that its counts announce.
    TooShort,
    /// Continues after the sections that its counts announce.
    TrailingBytes,
    /// No input, or more than `INPUTS_MAX`.
    InputCount,
    /// No output, or more than `OUTPUTS_MAX`.
    OutputCount,
    /// Inputs that do not strictly ascend by shard and coin; so also a coin named twice.
    InputOrder,
    /// An input or output of amount 0.
    ZeroAmount,
    /// Inputs and outputs of different sums.
    UnequalSums,
    /// An input or output shard that is not in the committee.
    UnknownShard,
    /// Expiries that are not exactly one for each input shard, ascending.
    ExpiryShards,
    /// Not one signature an input where the protocol is signed, or any where it is not.
    SignatureCount,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Invalid::TooLarge => "longer than the protocol allows",
            Invalid::TooShort => "shorter than its counts announce",
            Invalid::TrailingBytes => "bytes follow its end",
            Invalid::InputCount => "not 1 to 16 inputs",
            Invalid::OutputCount => "not 1 to 16 outputs",
            Invalid::InputOrder => "inputs do not strictly ascend",
            Invalid::ZeroAmount => "an amount of 0",
            Invalid::UnequalSums => "inputs and outputs differ in sum",
            Invalid::UnknownShard => "a shard that does not exist",
            Invalid::ExpiryShards => "expiries do not match the input shards",
            Invalid::SignatureCount => "not as many signatures as the protocol asks for",
        })
    }
}

impl std::error::Error for Invalid {}

/// The role of a shard in a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All inputs and the output are here.
    Intra,
    /// An input is here, and another or the output elsewhere.
    Cross,
    /// No input is here.
    Foreign,
}

/// A transaction that satisfies all rules of static validity, read in place.
///
/// [`validate`] makes it. [`TransactionView::parse`] checks the layout alone, for bytes that were validated before and
/// for tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransactionView<'a> {
    bytes: &'a [u8],
}

/// Static validity: a function of the bytes and of the committee's shards and protocol. \[safety]
pub fn validate<'a>(bytes: &'a [u8], committee: &Committee) -> Result<TransactionView<'a>, Invalid> {
    if bytes.len() as u64 > committee.protocol().transaction_bytes_max {
        return Err(Invalid::TooLarge);
    }
    let view = TransactionView::parse(bytes)?;
    view.check(committee)?;
    Ok(view)
}

/// The id of a transaction with this encoding.
pub fn tx_id(bytes: &[u8]) -> TxId {
    TxId(Sha256::digest(bytes).into())
}

/// The coin that an output of a transaction creates.
pub fn output_coin(id: &TxId, output: u8) -> CoinId {
    // 37 bytes: one block of SHA-256.
    let mut bytes = *b"COIN................................\0";
    bytes[4..36].copy_from_slice(&id.0);
    bytes[36] = output;
    CoinId(Sha256::digest(bytes).into())
}

/// The coin that gives back an input of a cancelled transaction, in the input's shard, with its amount and owner.
pub fn refund_coin(id: &TxId, coin: &CoinId) -> CoinId {
    let mut bytes = [0; 68];
    bytes[..4].copy_from_slice(b"RFND");
    bytes[4..36].copy_from_slice(&id.0);
    bytes[36..].copy_from_slice(&coin.0);
    CoinId(Sha256::digest(bytes).into())
}

/// A coin that a shard starts with; `index` is below the protocol's `genesis_coins`. It depends on the testbed's id, so
/// no two testbeds share coins.
pub fn genesis_coin(testbed: &Digest, shard: ShardId, index: u64) -> CoinId {
    let mut bytes = [0; 46];
    bytes[..4].copy_from_slice(b"GENC");
    bytes[4..36].copy_from_slice(&testbed.0);
    bytes[36..38].copy_from_slice(&shard.0.to_le_bytes());
    bytes[38..].copy_from_slice(&index.to_le_bytes());
    CoinId(Sha256::digest(bytes).into())
}

/// The ed25519 secret that owns all genesis coins. It follows from the testbed's public id: any client that offers load
/// may spend the coins that a testbed starts with.
pub fn genesis_secret(testbed: &Digest) -> [u8; 32] {
    let mut bytes = *b"GENK................................";
    bytes[4..].copy_from_slice(&testbed.0);
    Sha256::digest(bytes).into()
}

/// The owner of all genesis coins: the public key of [`genesis_secret`].
pub fn genesis_owner(testbed: &Digest) -> Owner {
    let secret = ed25519_dalek::SigningKey::from_bytes(&genesis_secret(testbed));
    Owner(secret.verifying_key().to_bytes())
}

/// The message that an owner signs: a tag, the testbed, and the digest of the transaction without its signatures.
pub fn signing_message(testbed: &Digest, unsigned: &[u8]) -> [u8; 68] {
    let mut bytes = [0; 68];
    bytes[..4].copy_from_slice(b"TXIN");
    bytes[4..36].copy_from_slice(&testbed.0);
    bytes[36..].copy_from_slice(&Sha256::digest(unsigned));
    bytes
}

impl<'a> TransactionView<'a> {
    /// A view of bytes that are exactly as long as their counts announce. Checks no other rule.
    pub fn parse(bytes: &'a [u8]) -> Result<TransactionView<'a>, Invalid> {
        if bytes.len() < HEADER_BYTES {
            return Err(Invalid::TooShort);
        }
        let view = TransactionView { bytes };
        let announced = view.payload_start() as u64
            + u64::from(view.payload_bytes())
            + (view.count(3) * SIGNATURE_BYTES) as u64;
        match announced.cmp(&(bytes.len() as u64)) {
            std::cmp::Ordering::Greater => Err(Invalid::TooShort),
            std::cmp::Ordering::Less => Err(Invalid::TrailingBytes),
            std::cmp::Ordering::Equal => Ok(view),
        }
    }

    /// The encoding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// SHA-256 of the encoding.
    pub fn id(&self) -> TxId {
        tx_id(self.bytes)
    }

    /// The coins it spends, ascending by shard and coin.
    #[inline]
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Input> + use<'a> {
        self.section(HEADER_BYTES, self.count(0), INPUT_BYTES).map(|bytes| Input {
            shard: ShardId(u16_at(bytes, 0)),
            coin: CoinId(array_at(bytes, 2)),
            amount: u64_at(bytes, 34),
        })
    }

    /// The shard in which it creates coins.
    pub fn output_shard(&self) -> ShardId {
        ShardId(u16_at(self.bytes, 4))
    }

    /// The coins it creates.
    #[inline]
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = Output> + use<'a> {
        self.section(self.outputs_start(), self.count(1), OUTPUT_BYTES)
            .map(|bytes| Output { owner: Owner(array_at(bytes, 0)), amount: u64_at(bytes, 32) })
    }

    /// For each input shard, ascending, the last round in which it may execute there.
    #[inline]
    pub fn expiries(&self) -> impl ExactSizeIterator<Item = Expiry> + use<'a> {
        self.section(self.expiries_start(), self.count(2), EXPIRY_BYTES)
            .map(|bytes| Expiry { shard: ShardId(u16_at(bytes, 0)), round: Round(u64_at(bytes, 2)) })
    }

    /// The last round in which it may execute in `shard`; `None` if it has no input there.
    #[inline]
    pub fn expiry_in(&self, shard: ShardId) -> Option<Round> {
        self.expiries().find(|expiry| expiry.shard == shard).map(|expiry| expiry.round)
    }

    /// The signatures, one an input in the same order, or none.
    pub fn signatures(&self) -> impl ExactSizeIterator<Item = Signature> + use<'a> {
        self.section(self.unsigned_bytes(), self.count(3), SIGNATURE_BYTES)
            .map(|bytes| Signature { r: array_at(bytes, 0), s: array_at(bytes, 32) })
    }

    /// The encoding without the signatures, which the signatures cover.
    pub fn unsigned(&self) -> &'a [u8] {
        &self.bytes[..self.unsigned_bytes()]
    }

    /// The role of `shard` in it.
    #[inline]
    pub fn part_of(&self, shard: ShardId) -> Part {
        // Expiries name exactly the input shards.
        let mut inputs_here = false;
        let mut elsewhere = self.output_shard() != shard;
        for expiry in self.expiries() {
            inputs_here |= expiry.shard == shard;
            elsewhere |= expiry.shard != shard;
        }
        match (inputs_here, elsewhere) {
            (false, _) => Part::Foreign,
            (true, true) => Part::Cross,
            (true, false) => Part::Intra,
        }
    }

    /// The rules of static validity except length and layout.
    fn check(&self, committee: &Committee) -> Result<(), Invalid> {
        if !(1..=INPUTS_MAX).contains(&self.count(0)) {
            return Err(Invalid::InputCount);
        }
        if !(1..=OUTPUTS_MAX).contains(&self.count(1)) {
            return Err(Invalid::OutputCount);
        }
        let signatures = if committee.protocol().signed { self.count(0) } else { 0 };
        if self.count(3) != signatures {
            return Err(Invalid::SignatureCount);
        }
        let incoming = self.check_inputs(committee)?;
        let outgoing = self.check_outputs()?;
        if incoming != outgoing {
            return Err(Invalid::UnequalSums);
        }
        if self.output_shard().0 >= committee.shards() {
            return Err(Invalid::UnknownShard);
        }
        Ok(())
    }

    /// Checks order, amounts, shards and expiries of the inputs; returns their sum. 16 amounts of 64 bits do not
    /// overflow 128.
    fn check_inputs(&self, committee: &Committee) -> Result<u128, Invalid> {
        let mut expiries = self.expiries();
        let mut previous: Option<Input> = None;
        let mut sum = 0u128;
        for input in self.inputs() {
            let next_shard = match &previous {
                Some(before) if (before.shard, &before.coin) >= (input.shard, &input.coin) => {
                    return Err(Invalid::InputOrder);
                }
                Some(before) => before.shard != input.shard,
                None => true,
            };
            if next_shard && expiries.next().is_none_or(|expiry| expiry.shard != input.shard) {
                return Err(Invalid::ExpiryShards);
            }
            if input.shard.0 >= committee.shards() {
                return Err(Invalid::UnknownShard);
            }
            if input.amount == 0 {
                return Err(Invalid::ZeroAmount);
            }
            sum += u128::from(input.amount);
            previous = Some(input);
        }
        if expiries.next().is_some() { Err(Invalid::ExpiryShards) } else { Ok(sum) }
    }

    fn check_outputs(&self) -> Result<u128, Invalid> {
        let mut sum = 0u128;
        for output in self.outputs() {
            if output.amount == 0 {
                return Err(Invalid::ZeroAmount);
            }
            sum += u128::from(output.amount);
        }
        Ok(sum)
    }

    #[inline]
    fn section(
        &self,
        start: usize,
        count: usize,
        each: usize,
    ) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.bytes[start..start + count * each].chunks_exact(each)
    }

    #[inline]
    fn count(&self, at: usize) -> usize {
        usize::from(self.bytes[at])
    }

    fn payload_bytes(&self) -> u32 {
        u32::from_le_bytes(array_at(self.bytes, 6))
    }

    fn outputs_start(&self) -> usize {
        HEADER_BYTES + self.count(0) * INPUT_BYTES
    }

    fn expiries_start(&self) -> usize {
        self.outputs_start() + self.count(1) * OUTPUT_BYTES
    }

    fn payload_start(&self) -> usize {
        self.expiries_start() + self.count(2) * EXPIRY_BYTES
    }

    fn unsigned_bytes(&self) -> usize {
        self.bytes.len() - self.count(3) * SIGNATURE_BYTES
    }
}

#[inline]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has the array's length")
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests;
