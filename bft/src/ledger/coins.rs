//! Coins: unspent ones with their amounts, spent ones with the record of their spender until it is forgotten.
//!
//! A coin stays at its place when it is spent and only changes its state, so spending costs one search and no
//! insertion.

use serde::{Deserialize, Serialize};
use wire::codec::CodecError;
use wire::ids::CoinId;

use crate::id_index::{Handle, Hashed, IdIndex, Steps};
use crate::image::load_plain;
use crate::ledger::history::{History, RecordRef, SpentCoins};
use crate::ledger::open::Held;
use crate::ledger::rows::{Rows, read_slab, write_whole};
use crate::slab::{Place, Slab};
use crate::transaction::Owner;

/// The knowledge of a coin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    /// It can be spent.
    Unspent {
        /// Where it stands.
        place: Place,
        /// Its amount.
        amount: u64,
    },
    /// It was spent, and the spender is remembered.
    Spent,
    /// Nothing: it never was, or it was spent and forgotten.
    Not,
}

/// Owners of coins, by place; where the protocol is not signed, owners mean nothing and are not kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Owners {
    /// Not kept.
    Meaningless,
    /// Kept for signatures to be checked against.
    Kept(Vec<Owner>),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Coin {
    id: CoinId,
    state: State,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum State {
    Unspent(u64),
    Spent(RecordRef),
    Vacant,
}

/// All coins of a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Coins {
    index: IdIndex,
    slab: Slab<Coin>,
    owners: Owners,
    unspent: u64,
    value: u128,
}

impl Coins {
    pub(super) fn new(hash_seed: u64, owners: Owners) -> Coins {
        Coins { index: IdIndex::new(hash_seed), slab: Slab::default(), owners, unspent: 0, value: 0 }
    }

    pub(super) fn unspent(&self) -> u64 {
        self.unspent
    }

    pub(super) fn value(&self) -> u128 {
        self.value
    }

    pub(super) fn recount(&self) -> u128 {
        let amounts = self.slab.values().map(|coin| match coin.state {
            State::Unspent(amount) => u128::from(amount),
            State::Spent(_) | State::Vacant => 0,
        });
        amounts.sum()
    }

    /// See [`IdIndex::steps`].
    pub(super) fn steps(&self) -> Steps {
        self.index.steps()
    }

    /// We computed every id here ourselves, from the transaction or genesis that created the coin.
    pub(super) fn hash(&self, id: &CoinId) -> Hashed {
        self.index.hash_digest(&id.0)
    }

    /// See [`IdIndex::warm`].
    #[inline]
    pub(super) fn warm(&self, hashed: Hashed) -> u64 {
        self.index.warm(hashed)
    }

    /// Reads the coin that a search for this hash would look at first.
    #[inline]
    pub(super) fn warm_coin(&self, hashed: Hashed) -> u64 {
        self.index.find(hashed, |_| true).map_or(0, |handle| self.warm_place(place_of(handle)))
    }

    /// Reads the coin at a place.
    #[inline]
    pub(super) fn warm_place(&self, place: Place) -> u64 {
        u64::from(self.slab.get(place).id.0[0])
    }

    /// The hash of the id of the coin at a place.
    pub(super) fn hash_at(&self, place: Place) -> Hashed {
        self.hash(&self.slab.get(place).id)
    }

    pub(super) fn look_up(&self, id: &CoinId, history: &History) -> Known {
        self.look_up_hashed(self.hash(id), id, history)
    }

    pub(super) fn look_up_hashed(&self, hashed: Hashed, id: &CoinId, history: &History) -> Known {
        let found = self.index.find(hashed, |handle| self.slab.get(place_of(handle)).id == *id);
        let Some(handle) = found else { return Known::Not };
        let place = place_of(handle);
        match self.slab.get(place).state {
            State::Unspent(amount) => Known::Unspent { place, amount },
            State::Spent(record) if history.is_remembered(record) => Known::Spent,
            State::Spent(_) | State::Vacant => Known::Not,
        }
    }

    /// The record of the transaction that has spent a coin; it may be forgotten.
    pub(super) fn spender(&self, id: &CoinId) -> Option<RecordRef> {
        let handle = self.index.find(self.hash(id), |handle| self.slab.get(place_of(handle)).id == *id)?;
        match self.slab.get(place_of(handle)).state {
            State::Spent(record) => Some(record),
            State::Unspent(_) | State::Vacant => None,
        }
    }

    /// Creates a coin. Ids are hashes of what creates them and nothing is executed twice, so the id is new.
    pub(super) fn create(&mut self, id: CoinId, amount: u64, owner: Owner) {
        self.create_hashed(self.hash(&id), id, amount, owner);
    }

    pub(super) fn create_hashed(&mut self, hashed: Hashed, id: CoinId, amount: u64, owner: Owner) {
        let place = self.slab.insert(Coin { id, state: State::Unspent(amount) });
        self.index.insert(hashed, Handle::new(u64::from(place.0)));
        if let Owners::Kept(owners) = &mut self.owners {
            let at = place.0 as usize;
            if at == owners.len() { owners.push(owner) } else { owners[at] = owner }
        }
        self.unspent += 1;
        self.value += u128::from(amount);
    }

    /// Marks an unspent coin as spent by the transaction of a record.
    pub(super) fn spend(&mut self, place: Place, by: RecordRef) {
        let coin = self.slab.get_mut(place);
        let State::Unspent(amount) = coin.state else {
            unreachable!("execution spends only coins it has just found unspent")
        };
        coin.state = State::Spent(by);
        self.unspent -= 1;
        self.value -= u128::from(amount);
    }

    /// The description of the unspent coin at a place, to be kept once it is spent under an open record.
    pub(super) fn held(&self, place: Place) -> Held {
        let Coin { id, state } = *self.slab.get(place);
        let State::Unspent(amount) = state else {
            unreachable!("execution holds only coins it has just found unspent")
        };
        Held { coin: id, amount, owner: self.owner(place) }
    }

    /// The owner of the coin at a place; `None` where owners mean nothing.
    pub(super) fn owner(&self, place: Place) -> Option<Owner> {
        match &self.owners {
            Owners::Meaningless => None,
            Owners::Kept(owners) => Some(owners[place.0 as usize]),
        }
    }

    /// Unspent coins with amount and owner, in no order that means anything.
    pub(super) fn unspent_coins(&self) -> impl Iterator<Item = (CoinId, u64, Option<Owner>)> {
        (0u32..).map(Place).zip(self.slab.values()).filter_map(|(place, coin)| match coin.state {
            State::Unspent(amount) => Some((coin.id, amount, self.owner(place))),
            State::Spent(_) | State::Vacant => None,
        })
    }

    /// See `Ledger::unspent_from`.
    pub(super) fn unspent_from(
        &self,
        owner: &Owner,
        place: u32,
        places: usize,
    ) -> (Vec<(CoinId, u64)>, Option<u32>) {
        let until = (place as usize).saturating_add(places);
        let looked_at = (place as usize..until.min(self.slab.places())).map(|place| Place(place as u32));
        let coins = looked_at.filter_map(|place| match self.slab.get(place) {
            Coin { id, state: State::Unspent(amount) }
                if self.owner(place).is_none_or(|kept| kept == *owner) =>
            {
                Some((*id, *amount))
            }
            Coin { .. } => None,
        });
        (coins.collect(), (until < self.slab.places()).then_some(until as u32))
    }

    /// Spent coins with the record of their spender, forgotten ones included, in no order that means anything.
    pub(super) fn spent_coins(&self) -> impl Iterator<Item = (CoinId, RecordRef)> {
        self.slab.values().filter_map(|coin| match coin.state {
            State::Spent(record) => Some((coin.id, record)),
            State::Unspent(_) | State::Vacant => None,
        })
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        let owners = match &self.owners {
            Owners::Meaningless => 0,
            Owners::Kept(owners) => owners.capacity() * size_of::<Owner>(),
        };
        self.index.allocated_bytes() + self.slab.allocated_bytes() + owners
    }
}

impl Rows for Coins {
    /// The sums and owners, then the coins.
    fn write_row(&self, row: usize, bytes: &mut Vec<u8>) -> bool {
        match row.checked_sub(1) {
            None => write_whole(row, &(self.unspent, self.value, &self.owners), bytes),
            Some(row) => self.slab.write_row(row, bytes),
        }
    }
}

impl Coins {
    /// The coins whose rows come next, indexed with the key of these.
    pub(super) fn with_rows(&self, bytes: &mut &[u8]) -> Result<Coins, CodecError> {
        let (unspent, value, owners) = load_plain(bytes)?;
        let mut coins =
            Coins { index: self.index.emptied(), slab: read_slab(bytes)?, owners, unspent, value };
        for (place, coin) in (0u64..).zip(coins.slab.values()) {
            if !matches!(coin.state, State::Vacant) {
                coins.index.insert(coins.index.hash_digest(&coin.id.0), Handle::new(place));
            }
        }
        Ok(coins)
    }
}

impl SpentCoins for Coins {
    /// Frees the places of spent coins whose spenders are forgotten.
    fn forget(&mut self, places: &[Place]) {
        let sink = places.iter().fold(0, |sink, place| sink ^ self.warm_place(*place));
        let sink = places.iter().fold(sink, |sink, place| sink ^ self.warm(self.hash_at(*place)));
        std::hint::black_box(sink);
        for place in places {
            let coin = self.slab.get_mut(*place);
            assert!(matches!(coin.state, State::Spent(_)), "only spent coins are forgotten");
            coin.state = State::Vacant;
            self.index.remove(self.index.hash_digest(&coin.id.0), Handle::new(u64::from(place.0)));
            self.slab.free(*place);
        }
    }
}

fn place_of(handle: Handle) -> Place {
    Place(u32::try_from(handle.number()).expect("handles of coins are made of places"))
}
