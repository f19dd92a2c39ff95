//! ed25519: deterministic signatures, verified with the cofactor, singly or in batches.
//!
//! Guarantee: every node accepts exactly the same signatures, in whatever batches it checks them. ZIP-215 ensures that:
//! a signature (R, s) of key A on a message is valid iff s is canonical, A and R decode to points of the curve
//! (encodings that are not canonical count), and \[8](sB − R − kA) = 0 with k = SHA-512(R ‖ A ‖ message). Rules without
//! the factor 8 let a single check and a batch disagree about keys or nonces of mixed order, and a certificate that
//! some members accept and others refuse stops a shard.
//!
//! A batch checks \[8] Σ zᵢ(sᵢB − Rᵢ − kᵢAᵢ) = 0. Each term times 8 lies in the group of prime order, so with 128-bit
//! weights zᵢ that no signer can predict a batch with a bad term passes with probability 2⁻¹²⁸. The weights come from
//! SHA-512 over the whole batch, kᵢ (hence the messages) included: no randomness, the same answer at every replay.
//!
//! Cost (docs/performance.md): the keys of a shard are decompressed once and kept as tables of multiples, so that a
//! batch pays for the doublings once, for each signature one decompression of R and a 128-bit multiplication of it.

use std::fmt;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint, VartimeEdwardsPrecomputation};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul, VartimePrecomputedMultiscalarMul};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha512};

use wire::committee::Committee;
use wire::hex;
use wire::ids::{Index, ShardId, Signature};
use wire::text::ParseError;

/// Signs; the secret scalar and prefix are expanded once.
pub struct Signer {
    expanded: ExpandedSecretKey,
    public: VerifyingKey,
}

impl Signer {
    /// The signer of a private key.
    pub fn new(key: &SigningKey) -> Signer {
        Signer { expanded: ExpandedSecretKey::from(key.as_bytes()), public: key.verifying_key() }
    }

    /// The public key, compressed.
    pub fn public_key(&self) -> [u8; 32] {
        self.public.to_bytes()
    }

    /// The signature of RFC 8032: the same message gives the same bytes.
    ///
    /// # Security
    /// `raw_sign` is hazardous with a public key that is not the scalar's own; here both come from one private key.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature::from_bytes(raw_sign::<Sha512>(&self.expanded, message, &self.public).to_bytes())
    }
}

impl fmt::Debug for Signer {
    /// Never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", hex::encode(&self.public_key()))
    }
}

/// A public key, decompressed and ready for use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    bytes: [u8; 32],
    /// −A, as every equation uses it.
    negated: EdwardsPoint,
}

impl PublicKey {
    /// The key that `bytes` encode; `None` if they encode no point of the curve.
    pub fn decode(bytes: [u8; 32]) -> Option<PublicKey> {
        let point = CompressedEdwardsY(bytes).decompress()?;
        Some(PublicKey { bytes, negated: -point })
    }

    /// The encoding it was decoded from.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.bytes
    }

    /// Whether the key has small order, so that anybody can sign in its name.
    pub fn is_weak(&self) -> bool {
        self.negated.is_small_order()
    }

    /// Whether the owner of this key signed `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        Equation::of(self, message, signature).is_some_and(|equation| equation.holds(self))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex::encode(&self.bytes))
    }
}

/// One signature with its key and message, of a batch in which each has its own.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The claimed signer.
    pub key: &'a PublicKey,
    /// The message.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a Signature,
}

/// Whether all of these are valid; the same answer as one by one. True of none.
pub fn verify_batch(batch: &[Signed<'_>]) -> bool {
    if let [one] = batch {
        return one.key.verify(one.message, one.signature);
    }
    let equations: Option<Vec<Equation>> =
        batch.iter().map(|item| Equation::of(item.key, item.message, item.signature)).collect();
    let Some(equations) = equations else {
        return false;
    };
    let weights = weights(&equations);
    let base_scalar: Scalar = weights.iter().zip(&equations).map(|(z, equation)| z * equation.s).sum();
    let key_scalars = weights.iter().zip(&equations).map(|(z, equation)| z * equation.k);
    let scalars = std::iter::once(base_scalar).chain(key_scalars).chain(weights.iter().copied());
    let points = std::iter::once(ED25519_BASEPOINT_POINT)
        .chain(batch.iter().map(|item| item.key.negated))
        .chain(equations.iter().map(|equation| equation.r_negated));
    // Both are collected because the multiplication needs their lengths.
    let (scalars, points): (Vec<Scalar>, Vec<EdwardsPoint>) = scalars.zip(points).unzip();
    is_zero(EdwardsPoint::vartime_multiscalar_mul(scalars, points))
}

/// The public keys of a shard, by index, with tables of their multiples (about 10 KiB a key).
pub struct KeyRing {
    keys: Vec<PublicKey>,
    /// Multiples of B, then of each −A.
    tables: VartimeEdwardsPrecomputation,
}

impl KeyRing {
    /// The ring of these keys, by index.
    pub fn new(keys: Vec<PublicKey>) -> KeyRing {
        let points = std::iter::once(ED25519_BASEPOINT_POINT).chain(keys.iter().map(|key| key.negated));
        KeyRing { tables: VartimeEdwardsPrecomputation::new(points), keys }
    }

    /// The ring of a shard's members. An error names the node whose key is invalid.
    pub fn of_shard(committee: &Committee, shard: ShardId) -> Result<KeyRing, ParseError> {
        let key_of = |node| {
            let bytes = committee.member(node).public_key;
            PublicKey::decode(bytes).filter(|key| !key.is_weak()).ok_or_else(|| {
                let item = format!("committee, ed25519 key of node {node}");
                ParseError::of(&item, &hex::encode(&bytes), "a point of the curve, not of small order")
            })
        };
        Ok(KeyRing::new(committee.members(shard).map(key_of).collect::<Result<_, _>>()?))
    }

    /// Whether `signer` signed `message`; not if there is no such member.
    pub fn verify(&self, signer: Index, message: &[u8], signature: &Signature) -> bool {
        self.keys.get(usize::from(signer.0)).is_some_and(|key| key.verify(message, signature))
    }

    /// Whether every one of these members signed the one `message`; the same answer as one by one. True of none.
    pub fn verify_all(&self, message: &[u8], signatures: &[(Index, Signature)]) -> bool {
        if let [(signer, signature)] = signatures {
            return self.verify(*signer, message, signature);
        }
        let equation_of = |(signer, signature): &(Index, Signature)| {
            Equation::of(self.keys.get(usize::from(signer.0))?, message, signature)
        };
        let Some(equations) = signatures.iter().map(equation_of).collect::<Option<Vec<Equation>>>() else {
            return false;
        };
        let Some(last_signer) = signatures.iter().map(|(signer, _)| usize::from(signer.0)).max() else {
            return true;
        };
        let weights = weights(&equations);
        // The factors of B and of each −A: 0 for members that did not sign, none after the last signer.
        let mut table_scalars = vec![Scalar::ZERO; last_signer + 2];
        for ((z, equation), (signer, _)) in weights.iter().zip(&equations).zip(signatures) {
            table_scalars[0] += z * equation.s;
            table_scalars[1 + usize::from(signer.0)] += z * equation.k;
        }
        let nonces = equations.iter().map(|equation| equation.r_negated);
        is_zero(self.tables.vartime_mixed_multiscalar_mul(&table_scalars, &weights, nonces))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.keys).finish()
    }
}

/// The decoded parts of a signature, as they stand in the equation sB − R − kA.
struct Equation {
    /// The input of a batch's weights: A ‖ R ‖ s, and k, which binds the message.
    transcript: [u8; 128],
    s: Scalar,
    k: Scalar,
    r_negated: EdwardsPoint,
}

impl Equation {
    /// `None` if s is not canonical or R no point.
    fn of(key: &PublicKey, message: &[u8], signature: &Signature) -> Option<Equation> {
        let s: Scalar = Option::from(Scalar::from_canonical_bytes(signature.s))?;
        let r = CompressedEdwardsY(signature.r).decompress()?;
        let hash = Sha512::new().chain_update(signature.r).chain_update(key.bytes).chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let mut transcript = [0; 128];
        for (part, bytes) in
            transcript.chunks_exact_mut(32).zip([&key.bytes, &signature.r, &signature.s, k.as_bytes()])
        {
            part.copy_from_slice(bytes);
        }
        Some(Equation { transcript, s, k, r_negated: -r })
    }

    fn holds(&self, key: &PublicKey) -> bool {
        let point = EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.k, &key.negated, &self.s);
        is_zero(point + self.r_negated)
    }
}

/// Whether \[8]`point` = 0.
fn is_zero(point: EdwardsPoint) -> bool {
    point.mul_by_cofactor().is_identity()
}

/// The 128-bit weights of a batch, each depending on all of it.
fn weights(equations: &[Equation]) -> Vec<Scalar> {
    let mut hash = Sha512::new().chain_update(b"dumbo-testbed/ed25519/batch");
    for equation in equations {
        hash.update(equation.transcript);
    }
    let seed = hash.finalize();
    let mut weights = Vec::with_capacity(equations.len());
    for block in 0u64.. {
        let four: [u8; 64] =
            Sha512::new().chain_update(seed).chain_update(block.to_le_bytes()).finalize().into();
        for bytes in four.chunks_exact(16) {
            if weights.len() == equations.len() {
                return weights;
            }
            let number = u128::from_le_bytes(bytes.try_into().expect("chunks of 16 bytes"));
            weights.push(Scalar::from(number));
        }
    }
    unreachable!("a batch has fewer than 2^64 signatures")
}

#[cfg(test)]
mod tests;
