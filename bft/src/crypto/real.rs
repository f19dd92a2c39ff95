//! The real suite: cofactored ed25519 signatures and the threshold coin over ristretto255.

use std::fmt;
use std::sync::Mutex;

use ed25519_dalek::SigningKey;

use wire::committee::Committee;
use wire::hex;
use wire::ids::{Digest, Index, NodeId, ShardId, Signature};
use wire::text::ParseError;

use crate::crypto::coin::{self, CoinBase, CoinKeys, CoinSecret};
use crate::crypto::deal::NodeSecrets;
use crate::crypto::ed25519::{KeyRing, Signer};
use crate::crypto::suite::{CoinName, CoinShare, Statement, Suite};

/// Signatures and coin of one shard, with the secrets of one of its members.
pub struct RealSuite {
    testbed: Digest,
    shard: ShardId,
    me: Index,
    n: usize,
    signer: Signer,
    /// The keys of every shard's members.
    rings: Vec<KeyRing>,
    coin: CoinKeys,
    coin_secret: CoinSecret,
    /// The name hashed last, since all shares of a view need the same one. A memo: no answer depends on it.
    last_base: Mutex<Option<(CoinName, CoinBase)>>,
}

impl RealSuite {
    /// The suite of node `me`. An error names an invalid key of the committee, or a secret that does not belong to the
    /// key of `me` in the committee.
    ///
    /// # Panics
    /// If the committee has no node `me`.
    pub fn new(
        committee: &Committee,
        me: NodeId,
        signing: &SigningKey,
        coin_secret: [u8; 32],
    ) -> Result<RealSuite, ParseError> {
        let (shard, member) = (committee.shard_of(me), committee.member(me));
        let signer = Signer::new(signing);
        if signer.public_key() != member.public_key {
            let expected = format!("the committee's, {}", hex::encode(&member.public_key));
            let item = format!("public key of node {me}'s signing key");
            return Err(ParseError::of(&item, &hex::encode(&signer.public_key()), expected));
        }
        // An error must not show a secret, so it describes the secret that was found.
        let item = format!("coin secret of node {me}");
        let coin_secret = CoinSecret::from_bytes(coin_secret)
            .ok_or_else(|| ParseError::of(&item, "(secret)", "a canonical scalar, not zero"))?;
        if coin_secret.commitment() != member.coin_commitment {
            let found = format!("one of commitment {}", hex::encode(&coin_secret.commitment()));
            let expected = format!("the committee's, {}", hex::encode(&member.coin_commitment));
            return Err(ParseError::of(&item, &found, expected));
        }
        Ok(RealSuite {
            testbed: committee.testbed(),
            shard,
            me: committee.index_of(me),
            n: committee.n(),
            signer,
            rings: (0..committee.shards())
                .map(|shard| KeyRing::of_shard(committee, ShardId(shard)))
                .collect::<Result<_, _>>()?,
            coin: CoinKeys::of_shard(committee, shard)?,
            coin_secret,
            last_base: Mutex::new(None),
        })
    }

    /// The suite of a node with these secrets, which were dealt together with the committee.
    ///
    /// # Panics
    /// If they were not.
    pub fn of(committee: &Committee, secrets: &NodeSecrets) -> RealSuite {
        RealSuite::new(committee, secrets.id, &secrets.signing, secrets.coin_secret)
            .expect("committee and secrets were dealt together")
    }

    fn base(&self, name: &CoinName) -> CoinBase {
        let mut last = self.last_base.lock().expect("nothing panics while it is held");
        match *last {
            Some((last_name, base)) if last_name == *name => base,
            _ => {
                let base = CoinBase::of(&self.testbed, self.shard, name);
                *last = Some((*name, base));
                base
            }
        }
    }

    fn ring(&self) -> &KeyRing {
        &self.rings[usize::from(self.shard.0)]
    }

    fn message(&self, statement: &Statement) -> [u8; Statement::BYTES] {
        statement.to_bytes(&self.testbed, self.shard)
    }
}

impl Suite for RealSuite {
    fn shard(&self) -> ShardId {
        self.shard
    }

    fn sign(&self, statement: &Statement) -> Signature {
        self.signer.sign(&self.message(statement))
    }

    fn verify(&self, signer: Index, statement: &Statement, signature: &Signature) -> bool {
        self.ring().verify(signer, &self.message(statement), signature)
    }

    fn verify_all(&self, statement: &Statement, signatures: &[(Index, Signature)]) -> bool {
        self.ring().verify_all(&self.message(statement), signatures)
    }

    fn verify_all_of(
        &self,
        shard: ShardId,
        statement: &Statement,
        signatures: &[(Index, Signature)],
    ) -> bool {
        let ring = self.rings.get(usize::from(shard.0));
        ring.is_some_and(|ring| ring.verify_all(&statement.to_bytes(&self.testbed, shard), signatures))
    }

    fn coin_share(&self, name: &CoinName) -> CoinShare {
        self.coin.share(self.me, &self.coin_secret, &self.base(name))
    }

    fn verify_coin_share(&self, signer: Index, name: &CoinName, share: &CoinShare) -> bool {
        self.coin.verify(signer, &self.base(name), share)
    }

    fn elect(&self, _name: &CoinName, shares: &[(Index, CoinShare)]) -> Option<Index> {
        self.coin.combine(shares).map(|coin| coin::leader(&coin, self.n))
    }
}

impl fmt::Debug for RealSuite {
    /// Never the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RealSuite(shard {}, member {})", self.shard, self.me)
    }
}
