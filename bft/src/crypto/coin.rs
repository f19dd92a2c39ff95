//! The threshold coin that elects the leader of a view: Cachin, Kursawe, Shoup, "Random Oracles in Constantinople"
//! (PODC 2000), §4.3, over the group ristretto255 (RFC 9496).
//!
//! Model: a dealer draws a polynomial p of degree N−f−1 over the scalars for each shard, gives member i (counted from
//! 0) the secret p(i+1), and publishes its commitment g^p(i+1). Guarantee: the coin of a name is H(name)^p(0). Any N−f
//! shares determine it and it is the same whichever they are; fewer reveal nothing about it (that is the Diffie–Hellman
//! assumption). N−f shares come from at least N−2f ≥ f+1 honest members, so nobody knows the coin before f+1 honest
//! members released theirs; and N−f honest members suffice, so nobody can withhold it. \[safety] If f+1 shares
//! sufficed, a single honest member would reveal the coin, and the adversary, who schedules the messages, would choose
//! which SPBs finish knowing the leader. Steps: a share is H(name)^secret with a proof (Chaum–Pedersen DLEQ, made
//! non-interactive by Fiat–Shamir) that its exponent is that of the commitment; shares whose proofs hold are
//! interpolated at 0 in the exponent; the leader is SHA-256 of the coin's encoding, as one big-endian number, mod N.
//! Its bias is below N/2²⁵⁶. Cost (docs/performance.md): two double multiplications for each proof checked, one
//! multiplication with N−f terms for the coin, once a view.
//!
//! All encodings are canonical: any other encoding of a point or scalar is refused, and so is the identity. The nonce
//! of a proof is a hash of secret and name, so shares are deterministic and need no randomness; two proofs with one
//! nonce are the same proof. `docs/coin_vectors.py` computes all of it independently.
//!
//! # Security
//! No code path elects a leader but through [`crate::crypto::suite::Suite::elect`], and in the real suite that is
//! [`CoinKeys::combine`] followed by `leader`, which is visible to the suites alone: nothing derives a leader from
//! round, view or node ids, as the prototype did.

use std::collections::BTreeMap;
use std::fmt;

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest as _, Sha256, Sha512};

use wire::committee::Committee;
use wire::hex;
use wire::ids::{Digest, Index, ShardId};
use wire::text::ParseError;

use crate::crypto::suite::{CoinName, CoinShare};

const NAME_TAG: &[u8] = b"dumbo-testbed/coin/name";
const NONCE_TAG: &[u8] = b"dumbo-testbed/coin/nonce";
const PROOF_TAG: &[u8] = b"dumbo-testbed/coin/proof";

/// Deals the coin of one shard: for each of `n` members its secret, of which any `threshold` make the coin. `fill`
/// writes random bytes.
///
/// # Security
/// Anybody who can guess the bytes that `fill` writes knows all coins in advance.
pub fn deal(n: usize, threshold: usize, fill: &mut dyn FnMut(&mut [u8])) -> Vec<CoinSecret> {
    let coefficients: Vec<Scalar> = (0..threshold)
        .map(|_| {
            let mut wide = [0; 64];
            fill(&mut wide);
            Scalar::from_bytes_mod_order_wide(&wide)
        })
        .collect();
    (1..=n as u64)
        .map(|x| {
            let x = Scalar::from(x);
            CoinSecret(coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * x + coefficient))
        })
        .collect()
}

/// A member's secret share p(index + 1).
#[derive(Clone, PartialEq, Eq)]
pub struct CoinSecret(Scalar);

impl CoinSecret {
    /// From its canonical little-endian bytes; `None` if they are not canonical, or zero.
    pub fn from_bytes(bytes: [u8; 32]) -> Option<CoinSecret> {
        let scalar: Option<Scalar> = Scalar::from_canonical_bytes(bytes).into();
        scalar.filter(|scalar| *scalar != Scalar::ZERO).map(CoinSecret)
    }

    /// Its little-endian bytes, for the key file.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The commitment g^secret, compressed, for committee.txt.
    pub fn commitment(&self) -> [u8; 32] {
        RistrettoPoint::mul_base(&self.0).compress().to_bytes()
    }

    /// Our share of the coin of `base`, with its proof; `commitment` is ours, compressed. In constant time.
    fn share(&self, base: &CoinBase, commitment: &[u8; 32]) -> CoinShare {
        let value = (self.0 * base.element.point).compress();
        let nonce = Scalar::from_bytes_mod_order_wide(
            &Sha512::new()
                .chain_update(NONCE_TAG)
                .chain_update(self.0.as_bytes())
                .chain_update(base.name)
                .finalize()
                .into(),
        );
        let nonce_points = [RistrettoPoint::mul_base(&nonce), nonce * base.element.point];
        let challenge = proof_challenge(base, commitment, value.as_bytes(), &nonce_points);
        let response = nonce + challenge * self.0;
        CoinShare { value: value.to_bytes(), challenge: challenge.to_bytes(), response: response.to_bytes() }
    }
}

impl fmt::Debug for CoinSecret {
    /// Never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoinSecret")
    }
}

/// A point and its one encoding.
#[derive(Clone, Copy)]
struct Element {
    point: RistrettoPoint,
    bytes: [u8; 32],
}

impl Element {
    /// `None` if `bytes` are not canonical or encode the identity.
    fn decode(bytes: [u8; 32]) -> Option<Element> {
        let point = CompressedRistretto(bytes).decompress().filter(|point| !point.is_identity())?;
        Some(Element { point, bytes })
    }
}

const NAME_BYTES: usize = 32 + 2 + 8 + 4;

/// A coin's name hashed into the group: H(name), the base of all its shares.
#[derive(Clone, Copy)]
pub struct CoinBase {
    /// testbed ‖ shard ‖ round ‖ view, little endian, fixed width.
    name: [u8; NAME_BYTES],
    element: Element,
}

impl CoinBase {
    /// H(name): SHA-512, then the one-way map of RFC 9496 §4.3.4.
    pub fn of(testbed: &Digest, shard: ShardId, name: &CoinName) -> CoinBase {
        let mut bytes = [0; NAME_BYTES];
        bytes[..32].copy_from_slice(&testbed.0);
        bytes[32..34].copy_from_slice(&shard.0.to_le_bytes());
        bytes[34..42].copy_from_slice(&name.round.0.to_le_bytes());
        bytes[42..].copy_from_slice(&name.view.0.to_le_bytes());
        let wide: [u8; 64] = Sha512::new().chain_update(NAME_TAG).chain_update(bytes).finalize().into();
        let point = RistrettoPoint::from_uniform_bytes(&wide);
        CoinBase { name: bytes, element: Element { point, bytes: point.compress().to_bytes() } }
    }
}

/// The public side of a shard's coin: the commitments of its members, decompressed.
pub struct CoinKeys {
    threshold: usize,
    commitments: Vec<Element>,
}

impl CoinKeys {
    /// The commitments of a shard's members. An error names the node whose commitment is invalid.
    pub fn of_shard(committee: &Committee, shard: ShardId) -> Result<CoinKeys, ParseError> {
        let commitment_of = |node| {
            let bytes = committee.member(node).coin_commitment;
            Element::decode(bytes).ok_or_else(|| {
                let item = format!("committee, coin commitment of node {node}");
                ParseError::of(&item, &hex::encode(&bytes), "a point of ristretto255, not the identity")
            })
        };
        let commitments = committee.members(shard).map(commitment_of).collect::<Result<_, _>>()?;
        Ok(CoinKeys { threshold: committee.quorum(), commitments })
    }

    /// The share of `member`, whose secret this is.
    ///
    /// # Panics
    /// If there is no such member: it is ourselves.
    pub fn share(&self, member: Index, secret: &CoinSecret, base: &CoinBase) -> CoinShare {
        secret.share(base, &self.commitments[usize::from(member.0)].bytes)
    }

    /// Whether `share` is `member`'s power of `base`: challenge and response are canonical and the proof holds.
    pub fn verify(&self, member: Index, base: &CoinBase, share: &CoinShare) -> bool {
        let checked = || {
            let commitment = self.commitments.get(usize::from(member.0))?;
            let value = Element::decode(share.value)?;
            let challenge: Scalar = Option::from(Scalar::from_canonical_bytes(share.challenge))?;
            let response: Scalar = Option::from(Scalar::from_canonical_bytes(share.response))?;
            let minus = -challenge;
            let nonce_points = [
                RistrettoPoint::vartime_double_scalar_mul_basepoint(&minus, &commitment.point, &response),
                RistrettoPoint::vartime_multiscalar_mul([response, minus], [base.element.point, value.point]),
            ];
            let expected = proof_challenge(base, &commitment.bytes, &value.bytes, &nonce_points);
            Some(expected == challenge)
        };
        checked().unwrap_or(false)
    }

    /// The coin, compressed, from shares that have passed [`CoinKeys::verify`]; `None` if they are of fewer than N−f
    /// distinct members.
    pub fn combine(&self, shares: &[(Index, CoinShare)]) -> Option<[u8; 32]> {
        let by_member: BTreeMap<Index, &CoinShare> =
            shares.iter().map(|(member, share)| (*member, share)).collect();
        if by_member.len() < self.threshold {
            return None;
        }
        let (members, shares): (Vec<Index>, Vec<&CoinShare>) =
            by_member.into_iter().take(self.threshold).unzip();
        let points = shares.iter().map(|share| CompressedRistretto(share.value).decompress());
        let coin = RistrettoPoint::optional_multiscalar_mul(lagrange_at_zero(&members), points)?;
        Some(coin.compress().to_bytes())
    }
}

impl fmt::Debug for CoinKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CoinKeys({} of {})", self.threshold, self.commitments.len())
    }
}

/// The leader among `n` that a coin elects.
pub(super) fn leader(coin: &[u8; 32], n: usize) -> Index {
    let modulus = u32::try_from(n).expect("a shard has at most a few hundred members");
    let digest = Sha256::digest(coin);
    let remainder = digest.iter().fold(0u32, |rest, byte| (rest * 256 + u32::from(*byte)) % modulus);
    Index(remainder as u16)
}

/// The Fiat–Shamir challenge over all values of the proof.
fn proof_challenge(
    base: &CoinBase,
    commitment: &[u8; 32],
    value: &[u8; 32],
    nonce_points: &[RistrettoPoint; 2],
) -> Scalar {
    let hash = Sha512::new()
        .chain_update(PROOF_TAG)
        .chain_update(RISTRETTO_BASEPOINT_COMPRESSED.as_bytes())
        .chain_update(base.element.bytes)
        .chain_update(commitment)
        .chain_update(value)
        .chain_update(nonce_points[0].compress().as_bytes())
        .chain_update(nonce_points[1].compress().as_bytes());
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

/// For each of these distinct members the factor of its share in p(0): Π xⱼ/(xⱼ − xᵢ) over the others j.
fn lagrange_at_zero(members: &[Index]) -> Vec<Scalar> {
    let xs: Vec<Scalar> = members.iter().map(|member| Scalar::from(u64::from(member.0) + 1)).collect();
    let product: Scalar = xs.iter().product();
    // The product over all xⱼ serves every i if the denominator takes back xᵢ.
    let denominator = |(i, xi): (usize, &Scalar)| -> Scalar {
        let others = xs.iter().enumerate().filter(|(j, _)| *j != i);
        others.map(|(_, xj)| xj - xi).product::<Scalar>() * xi
    };
    let mut factors: Vec<Scalar> = xs.iter().enumerate().map(denominator).collect();
    Scalar::invert_batch_alloc(&mut factors);
    factors.iter_mut().for_each(|factor| *factor *= product);
    factors
}

#[cfg(test)]
mod tests;
