//! The first item in which two ledgers differ.

use bft::ledger::Item;

/// An item that two ledgers do not have alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Difference<'a> {
    /// Only the first ledger has one about this.
    OnlyHere(&'a Item),
    /// Only the second one.
    OnlyThere(&'a Item),
    /// Both have, and they differ.
    Both(&'a Item, &'a Item),
}

/// The first difference of two lists, each ascending. Lists may have been cut off, so items after the end of one are
/// compared with nothing, unless it is empty.
pub(crate) fn first_difference<'a>(here: &'a [Item], there: &'a [Item]) -> Option<Difference<'a>> {
    let at = here.iter().zip(there).position(|(ours, theirs)| ours != theirs);
    let at = at.unwrap_or(here.len().min(there.len()));
    match (here.get(at), there.get(at)) {
        (None, None) => None,
        (Some(ours), Some(theirs)) if ours.is_about_the_same(theirs) => Some(Difference::Both(ours, theirs)),
        (Some(ours), Some(theirs)) if ours < theirs => Some(Difference::OnlyHere(ours)),
        (Some(ours), None) => Some(Difference::OnlyHere(ours)),
        (_, Some(theirs)) => Some(Difference::OnlyThere(theirs)),
    }
}

impl Difference<'_> {
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
        assert_eq!(first_difference(&here, &here), None);
        let without = [coin(1, 10), coin(4, 10)];
        assert_eq!(first_difference(&here, &without), Some(Difference::OnlyHere(&here[1])));
        let more = [coin(1, 10), coin(2, 10), coin(3, 10), coin(4, 10)];
        assert_eq!(first_difference(&here, &more), Some(Difference::OnlyThere(&more[2])));
        let other = [coin(1, 10), coin(2, 11), coin(4, 10)];
        let both = Difference::Both(&here[1], &other[1]);
        assert_eq!(first_difference(&here, &other), Some(both));
        assert_eq!(first_difference(&here, &[]), Some(Difference::OnlyHere(&here[0])));
        assert_eq!(
            both.in_words("node 0", "node 3"),
            "node 0 has coin 0202020202020202 of 10, unspent; node 3 has coin 0202020202020202 of 11, unspent"
        );
        // Of two sections nothing is about the same.
        let settled = Item::Settled(TxId([2; 32]), bft::ledger::Settled::Finished, Round(3));
        let sections = [coin(1, 10), settled];
        assert_eq!(first_difference(&here, &sections), Some(Difference::OnlyHere(&here[1])));
    }
}
