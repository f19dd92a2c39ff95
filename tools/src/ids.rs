//! Lists of ids as the tools write and read them.
//!
//! Written one way, `0-3+8`: runs with a dash, joined by a plus sign, which neither a CSV file nor the list of
//! `--faults` needs for itself. So what a command prints can be pasted into an option. A comma is read as a plus sign.

use wire::ids::NodeId;

/// A list of numbers in their order, such as `0-3+8`.
pub(crate) fn list(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let run = |(first, last): &(u64, u64)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(run).collect::<Vec<String>>().join("+")
}

/// A list of nodes: `0-3+8`.
pub(crate) fn nodes<'a>(ids: impl IntoIterator<Item = &'a NodeId>) -> String {
    list(ids.into_iter().map(|id| id.0.into()))
}

/// The same in a sentence: `node 3`, or `nodes 0-3+8`.
pub(crate) fn nodes_text<'a>(ids: impl IntoIterator<Item = &'a NodeId>) -> String {
    plural("node", nodes(ids))
}

/// `kind` and a list of numbers: `round 3`, or `rounds 3-4`.
pub(crate) fn numbers_text(kind: &str, numbers: impl IntoIterator<Item = u64>) -> String {
    plural(kind, list(numbers))
}

fn plural(kind: &str, list: String) -> String {
    let s = if list.contains(['-', '+']) { "s" } else { "" };
    format!("{kind}{s} {list}")
}

/// The nodes of a list, in its order; `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<Vec<NodeId>> {
    let id = |text: &str| -> Option<u16> {
        text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let run = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (id(first)?, id(last)?);
        (first <= last).then_some(first..=last)
    };
    let runs = text.split(['+', ',']).map(run).collect::<Option<Vec<_>>>()?;
    Some(runs.into_iter().flatten().map(NodeId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_one_way_and_read_as_people_write_it() {
        for (ids, list) in [
            (&[0, 1, 2, 3, 8][..], "0-3+8"),
            (&[3, 0], "3+0"),
            (&[7], "7"),
            (&[65_534, 65_535], "65534-65535"),
        ] {
            let ids: Vec<NodeId> = ids.iter().copied().map(NodeId).collect();
            assert_eq!(nodes(&ids), list);
            assert_eq!(parse(list), Some(ids));
        }
        assert_eq!(parse("0,1,2-3,8"), parse("0-3+8"));
        for text in ["", ",", "+", "0+", "3-1", "-1", "+1", "0-", "1-2-3", "65536", "a", " 1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(nodes_text(&[NodeId(3)]), "node 3");
        assert_eq!(nodes_text(&[NodeId(3), NodeId(5)]), "nodes 3+5");
        assert_eq!(numbers_text("round", [4, 5]), "rounds 4-5");
    }
}
