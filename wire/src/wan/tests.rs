//! Files of WANs: what they mean, and what is wrong with them.

use super::*;

const TEXT: &str = "\
# three regions
regions virginia ireland tokyo
clients ireland
link * * bandwidth=200mbit loss=0.01%
link virginia virginia delay=0.2ms
round-trip virginia - 80.5 145
round-trip ireland 80.5 - 212   # half of it each way
round-trip tokyo 145 212 -
link tokyo virginia delay=80ms jitter=3ms
seed 7
";

fn wan(text: &str) -> Wan {
    Wan::parse("w", text).unwrap()
}

/// The conditions of the link between two nodes after so many seconds.
fn link(wan: &Wan, from: u16, to: u16, after_s: u64) -> String {
    wan.link(NodeId(from), NodeId(to)).at(Duration::from_secs(after_s)).to_string()
}

#[test]
fn a_link_is_that_of_the_regions_of_its_nodes() {
    let wan = wan(TEXT);
    // Nodes are in the regions in turn.
    assert_eq!(link(&wan, 0, 1, 0), "delay=40.25ms bandwidth=200mbit loss=0.01%");
    assert_eq!(link(&wan, 3, 4, 0), link(&wan, 0, 1, 9));
    assert_eq!(link(&wan, 2, 0, 0), "delay=80ms jitter=3ms bandwidth=200mbit loss=0.01%");
    assert_eq!(link(&wan, 0, 2, 0), "delay=72.5ms bandwidth=200mbit loss=0.01%");
    assert_eq!(link(&wan, 0, 3, 0), "delay=0.2ms bandwidth=200mbit loss=0.01%");
    let (there, back) = wan.clients_links(NodeId(2)).unwrap();
    assert_eq!(there.at(Duration::ZERO).delay, Duration::from_millis(106));
    assert_ne!(there.seed, back.seed);
    assert_ne!(wan.link(NodeId(0), NodeId(1)).seed, wan.link(NodeId(1), NodeId(0)).seed);
}

#[test]
fn nodes_are_where_the_file_places_them() {
    let placed = wan(&format!("{TEXT}nodes tokyo 0 2-3\nnodes ireland 1\n"));
    assert_eq!(link(&placed, 0, 1, 0), "delay=106ms bandwidth=200mbit loss=0.01%");
    assert_eq!(link(&placed, 0, 3, 0), "delay=0ms bandwidth=200mbit loss=0.01%");
    assert_eq!(placed.check("w", 4), Ok(()));
    let error = |nodes| placed.check("w", nodes).unwrap_err().to_string();
    assert_eq!(error(5), "w: found 'no region of node 4', expected a line 'nodes' that names it");
    assert_eq!(error(3), "w: found 'node 3', expected node ids from 0 to 2");
}

#[test]
fn phases_take_turns() {
    let text =
        "regions all\nlink * * jitter=1ms\nphase 120\nlink * * delay=50ms\nphase 60\nlink * * delay=300ms";
    let wan = wan(text);
    for (after_s, delay_ms) in [(0, 50), (119, 50), (120, 300), (179, 300), (180, 50), (1_800 + 120, 300)] {
        assert_eq!(link(&wan, 0, 1, after_s), format!("delay={delay_ms}ms jitter=1ms"), "after {after_s} s");
    }
}

#[test]
fn a_link_is_plain_unless_something_is_emulated() {
    let wan = wan("regions a b\nlink a b delay=1ms\nlink b a delay=0ms");
    let is_plain = |from, to| wan.link(NodeId(from), NodeId(to)).is_plain();
    assert_eq!([is_plain(0, 1), is_plain(1, 0), is_plain(0, 2)], [false, true, true]);
    assert_eq!(wan.clients_links(NodeId(0)), None);
}

#[test]
fn mistakes_are_named_with_their_lines() {
    for (text, error) in [
        ("", "w: found 'no regions', expected a line 'regions NAME...'"),
        (
            "link a b delay=1ms",
            "w, line 1: found 'link a b delay=1ms', expected 'regions NAME...' before every",
        ),
        ("regions a b a", "w, line 1: found 'a', expected a name that no other region has"),
        ("regions a\nregions b", "w, line 2: found 'regions b', expected one line 'regions'"),
        (
            "regions a\n\nlnk a a delay=1ms",
            "w, line 3: found 'lnk a a delay=1ms', expected one of regions, nodes",
        ),
        (
            "regions virginia\nclients virgina",
            "w, line 2: found 'virgina', expected a region of line 'regions'; the nearest",
        ),
        ("regions a b\nlink a b delay=5", "w, line 2: found 'delay=5', expected a time from 0 to 5 s"),
        ("regions a b\nlink a b", "w, line 2: found 'link a b', expected 'link FROM TO delay=TIME...'"),
        ("regions a b\nlink a b delay=5ms", "w: found 'no delay from b to a', expected one for each pair"),
        (
            "regions a b\nlink * * delay=5ms\nlink a b jitter=6ms",
            "w, line 3: found 'jitter=6ms from a to b', expected at most the delay of 5ms",
        ),
        ("regions a b\nround-trip a 1", "w, line 2: found '1 round trips', expected 2, as there are regions"),
        ("regions a b\nround-trip a - x", "w, line 2: found 'x', expected milliseconds from 0 to 5000"),
        ("regions a\nnodes a 1 0-2", "w, line 2: found 'node 1', expected a node that has no region yet"),
        ("regions a\nnodes a 3-1", "w, line 2: found '3-1', expected a node id, or two with '-'"),
        ("regions a\nphase 0", "w, line 2: found '0', expected whole seconds from 1 to 86400"),
        ("regions a\nseed x", "w, line 2: found 'x', expected a whole number"),
    ] {
        let found = Wan::parse("w", text).unwrap_err().to_string();
        assert!(found.starts_with(error), "{found}");
    }
    let names: Vec<String> = (0..256).map(|region| format!("r{region}")).collect();
    let text = format!("regions {}\n{}", names.join(" "), "phase 9\n".repeat(17));
    let found = Wan::parse("w", &text).unwrap_err().to_string();
    assert_eq!(found, "w, line 18: found 'phase 9', expected at most 16 phases of 256 regions");
}
