//! The trusted dealer: all keys of a testbed at once. The only place where a committee with keys is made.
//!
//! `tools keygen` calls it with randomness of the operating system and writes the keys to files; tests and simulations
//! call it with [`seeded_entropy`] and keep it in memory.

use std::fmt;

use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha512};

use wire::committee::{Committee, Member, Protocol};
use wire::ids::{NodeId, ShardId};

use crate::crypto::coin::{self, CoinSecret};

/// The secrets of one node, as its key file holds them.
#[derive(Clone)]
pub struct NodeSecrets {
    /// Their node.
    pub id: NodeId,
    /// The ed25519 key it signs with.
    pub signing: SigningKey,
    /// Its share of its shard's coin, a canonical scalar.
    pub coin_secret: [u8; 32],
}

impl fmt::Debug for NodeSecrets {
    /// Never the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeSecrets(node {})", self.id)
    }
}

/// Deals a committee of `shards` shards of `n` nodes each, and the secrets of its nodes by id. `fill` writes random
/// bytes, which alone determine the secrets.
///
/// # Panics
/// If `n` or `shards` is zero or exceeds `wire::limits`: callers check their flags first.
pub fn deal_committee(
    n: u16,
    shards: u16,
    protocol: Protocol,
    mut fill: impl FnMut(&mut [u8]),
) -> (Committee, Vec<NodeSecrets>) {
    let mut bytes_32 = || {
        let mut bytes = [0; 32];
        fill(&mut bytes);
        bytes
    };
    let nonce = bytes_32();
    let count = n.checked_mul(shards).expect("the caller has checked the number of nodes");
    let signing: Vec<SigningKey> = (0..count).map(|_| SigningKey::from_bytes(&bytes_32())).collect();
    // A committee without coin commitments comes first, since it defines the thresholds.
    let member = |signing: &SigningKey, coin_commitment: [u8; 32]| Member {
        public_key: signing.verifying_key().to_bytes(),
        coin_commitment,
    };
    let without_coins = signing.iter().map(|signing| member(signing, [0; 32])).collect();
    let threshold = Committee::new(n, protocol, without_coins, nonce).quorum();
    let coin_secrets: Vec<CoinSecret> =
        (0..shards).map(ShardId).flat_map(|_| coin::deal(usize::from(n), threshold, &mut fill)).collect();
    let members =
        signing.iter().zip(&coin_secrets).map(|(signing, secret)| member(signing, secret.commitment()));
    let committee = Committee::new(n, protocol, members.collect(), nonce);
    let secrets = committee.nodes().zip(signing).zip(&coin_secrets);
    let secrets =
        secrets.map(|((id, signing), coin)| NodeSecrets { id, signing, coin_secret: coin.to_bytes() });
    let secrets = secrets.collect();
    (committee, secrets)
}

/// Bytes that look random and depend on `seed` alone, for [`deal_committee`].
///
/// # Security
/// Only for tests and simulations: the seed determines the keys.
pub fn seeded_entropy(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut block = 0u64;
    move |buffer| {
        for chunk in buffer.chunks_mut(64) {
            let hash = Sha512::new()
                .chain_update(b"dumbo-testbed/seeded-entropy")
                .chain_update(seed.to_le_bytes())
                .chain_update(block.to_le_bytes());
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
            block += 1;
        }
    }
}
