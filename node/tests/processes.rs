//! Real nodes, three processes each, over loopback: they exchange bodies in pipe mode, survive the death of a child,
//! and leave no process behind.

mod testbed;

use std::net::TcpListener;

use testbed::{Node, Testbed, children_of, eventually, is_alive, kill};

#[test]
fn four_nodes_survive_killed_children_and_end_with_their_input() {
    let testbed = Testbed::new(4);
    let mut nodes: Vec<_> = (0..4).map(|id| testbed.start_pipe(id, "20000,4")).collect();
    // A child has the name of its program only once it has been executed.
    eventually("all have three processes", || {
        let names = |node: &Node| -> Vec<String> {
            children_of(node.pid()).into_iter().map(|child| child.name).collect()
        };
        nodes.iter().all(|node| names(node) == ["net_client", "net_server"]).then_some(())
    });
    eventually("all exchange bodies", || (0..4).all(|id| testbed.confirmed(id) > 100).then_some(()));

    let victims = [
        children_of(nodes[1].pid()).into_iter().find(|child| child.name == "net_client").unwrap(),
        children_of(nodes[2].pid()).into_iter().find(|child| child.name == "net_server").unwrap(),
    ];
    for victim in &victims {
        kill(victim.pid);
    }
    eventually("both are back", || {
        let now: Vec<_> = [1, 2].into_iter().flat_map(|id: usize| children_of(nodes[id].pid())).collect();
        (now.len() == 4 && now.iter().all(|child| victims.iter().all(|victim| victim.pid != child.pid)))
            .then_some(())
    });
    let before: Vec<u64> = (0..4).map(|id| testbed.confirmed(id)).collect();
    eventually("all still confirm bodies", || {
        (0..4).all(|id| testbed.confirmed(id) > before[usize::from(id)] + 1_000).then_some(())
    });
    let status = eventually("peers are up again and sent bytes are counted", || {
        testbed.status(1).filter(|status| status.peers_up == [0, 2, 3] && status.bytes_sent > 20_000 * 1_000)
    });
    assert_eq!((status.restarts, status.frames_dropped), (1, 0));
    assert!(status.faults.is_empty(), "{:?}", status.faults);

    let processes: Vec<u32> = nodes
        .iter()
        .flat_map(|node| children_of(node.pid()).into_iter().map(|child| child.pid).chain([node.pid()]))
        .collect();
    assert_eq!(processes.len(), 12);
    for node in &mut nodes {
        node.close_stdin();
    }
    for (id, node) in nodes.iter_mut().enumerate() {
        assert!(node.wait().success());
        let text = testbed.read(&format!("pipe-{id}.json"));
        let number = |key: &str| -> f64 {
            let (_, rest) = text.split_once(&format!("\"{key}\": ")).unwrap();
            rest.split([',', '}']).next().unwrap().parse().unwrap()
        };
        assert!(number("payload_bytes") > 20_000.0 * 1_000.0 && number("seconds") > 0.0, "{text}");
        assert_eq!(testbed.read(&format!("stderr-{id}.txt")), "");
    }
    assert!(processes.into_iter().all(|pid| !is_alive(pid)), "a node ends after its children");
}

#[test]
fn the_children_of_a_killed_node_end() {
    let testbed = Testbed::new(1);
    let mut node = testbed.start_pipe(0, "100,1");
    let children = eventually("it has two children", || {
        Some(children_of(node.pid())).filter(|children| children.len() == 2)
    });
    eventually("they serve", || testbed.status(0));
    kill(node.pid());
    node.wait();
    eventually("they end", || children.iter().all(|child| !is_alive(child.pid)).then_some(()));
}

#[test]
fn a_busy_port_ends_the_node_with_one_line() {
    let testbed = Testbed::new(1);
    let _occupant = TcpListener::bind(testbed.address(0)).unwrap();
    let mut node = testbed.start_pipe(0, "100,1");
    assert_eq!(node.wait().code(), Some(1));
    let error = testbed.read("stderr-0.txt");
    let port = testbed.address(0).port().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("node 0: net_server ended as soon as it was started"), "{error}");
    assert!(error.contains(&port) && error.to_lowercase().contains("in use"), "{error}");
}

#[test]
fn wrong_flags_are_reported_in_one_line() {
    let testbed = Testbed::new(1);
    for (flag, value, expected) in [
        ("--id", "7", "--id: found '7', expected a node id from 0 to 0"),
        ("--pipe", "lots", "--pipe: found 'lots', expected BYTES,WINDOW"),
        ("--hosts", "/dev/null/x", "/dev/null/x: found"),
        ("--log-dir", "/dev/null", "--log-dir: found '/dev/null', expected a directory that exists"),
        ("--batch", "0", "--batch: found '0', expected a whole number from 1 to"),
        ("--size", "1", "command line: found '--size', expected one of --id"),
        ("--batc", "5", "command line: found '--batc', expected one of --id"),
    ] {
        let mut node = testbed.start(0, &[(flag, value)]);
        assert_eq!(node.wait().code(), Some(2), "{flag}");
        let error = testbed.read("stderr-0.txt");
        assert!(error.starts_with(&format!("node: {expected}")), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert_eq!(flag == "--batc", error.ends_with("; the nearest is '--batch'\n"), "{error}");
    }
}

#[test]
fn help_prints_the_page_of_each_program_and_starts_nothing() {
    for (program, option) in [
        ("node", "    --pipeline W\n"),
        ("net_client", "    --log FILE\n"),
        ("net_server", "    --log FILE|stderr\n"),
    ] {
        let output = testbed::run(program, "--id 0 --help");
        let page = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{program}");
        assert!(page.starts_with(&format!("NAME\n    {program} - ")) && page.contains(option), "{page}");
        assert!(page.contains("\nEXIT STATUS\n    0  "), "{page}");
        assert_eq!(page.lines().find(|line| line.chars().count() > 80), None, "{program}");
    }
}

#[test]
fn a_transaction_is_ordered_in_the_same_block_at_all_nodes() {
    let testbed = Testbed::new(4);
    let mut nodes: Vec<_> = (0..4).map(|id| testbed.start(id, &[])).collect();
    let height = testbed.spend_genesis_coin(2);
    for id in 0..4 {
        let status = eventually("all have executed it", || {
            testbed.status(id).filter(|status| status.executed >= height)
        });
        assert_eq!(status.finished, 1);
    }
    // A child that starts again learns of the rounds that are decided, although no further one is.
    let server = children_of(nodes[0].pid()).into_iter().find(|child| child.name == "net_server").unwrap();
    kill(server.pid);
    eventually("its hello names the decided round", || {
        testbed.decided(0).filter(|decided| *decided >= height)
    });
    for node in &mut nodes {
        node.close_stdin();
        assert!(node.wait().success());
    }
    let blocks: Vec<String> = (0..4)
        .map(|id| {
            let rounds = testbed.read(&format!("rounds-{id}.csv"));
            let line = rounds.lines().find(|line| line.starts_with(&format!("{id},0,{height},"))).unwrap();
            // The columns after `node` and before `views` are the same at all nodes of a shard.
            line.split(',').skip(1).take(13).collect::<Vec<_>>().join(",")
        })
        .collect();
    assert!(blocks.iter().all(|block| *block == blocks[0]), "{blocks:?}");
}
