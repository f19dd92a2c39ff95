//! The first item in which two ledgers differ.

use bft::ledger::Item;

/// An item that two ledgers do not have alike.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Difference {
    /// Only the first ledger has one about this.
    OnlyHere(Item),
    /// Only the second one.
    OnlyThere(Item),
    /// Both have, and they differ.
    Both(Item, Item),
}

/// The first difference of two lists, each ascending. Lists may have been cut off, so items after the end of one are
/// compared with nothing, unless it is empty.
pub(crate) fn first_difference(here: &[Item], there: &[Item]) -> Option<Difference> {
    let at = here.iter().zip(there).position(|(ours, theirs)| ours != theirs);
    let at = at.unwrap_or(here.len().min(there.len()));
    match (here.get(at), there.get(at)) {
        (None, None) => None,
        (Some(ours), Some(theirs)) if ours.is_about_the_same(theirs) => {
            Some(Difference::Both(ours.clone(), theirs.clone()))
        }
        (Some(ours), Some(theirs)) if ours < theirs => Some(Difference::OnlyHere(ours.clone())),
        (Some(ours), None) => Some(Difference::OnlyHere(ours.clone())),
        (_, Some(theirs)) => Some(Difference::OnlyThere(theirs.clone())),
    }
}

impl Difference {
    /// For people.
    pub(crate) fn in_words(&self, here: &str, there: &str) -> String {
        match self {
            Difference::OnlyHere(item) => format!("{here} has {item}; {there} has not"),
            Difference::OnlyThere(item) => format!("{there} has {item}; {here} has not"),
            Difference::Both(ours, theirs) => {
                format!("{here} has {ours}; {there} has {theirs}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::ids::{CoinId, Round, TxId};

    use super::*;

    #[test]
    fn the_first_item_that_is_not_the_same_is_found() {
        let coin = |byte: u8, amount| Item::Coin(CoinId([byte; 32]), amount, None);
        let here = [coin(1, 10), coin(2, 10), coin(4, 10)];
        let difference = |there: &[Item]| first_difference(&here, there);
        assert_eq!(difference(&here), None);
        assert_eq!(difference(&[coin(1, 10), coin(4, 10)]), Some(Difference::OnlyHere(coin(2, 10))));
        let more = [coin(1, 10), coin(2, 10), coin(3, 10), coin(4, 10)];
        assert_eq!(difference(&more), Some(Difference::OnlyThere(coin(3, 10))));
        let other = [coin(1, 10), coin(2, 11), coin(4, 10)];
        let both = Difference::Both(coin(2, 10), coin(2, 11));
        assert_eq!(difference(&other), Some(both.clone()));
        assert_eq!(difference(&[]), Some(Difference::OnlyHere(coin(1, 10))));
        assert_eq!(
            both.in_words("node 0", "node 3"),
            "node 0 has coin 0202020202020202 of 10, unspent; node 3 has coin 0202020202020202 of 11, unspent"
        );
        // Of two sections nothing is about the same.
        let settled = Item::Settled(TxId([2; 32]), bft::ledger::Settled::Finished, Round(3));
        assert_eq!(difference(&[coin(1, 10), settled]), Some(Difference::OnlyHere(coin(2, 10))));
    }
}
