//! The nodes that `docs/usage.md` starts by hand, line by line as it says.

mod place;

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use place::{Place, TOOLS, eventually, text};

/// A node that does not outlive the test.
struct Node(Child);

impl Node {
    fn stop(mut self) {
        self.0.stdin.take().unwrap().write_all(b"stop\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of the guide.
fn lines() -> Vec<&'static str> {
    let (_, by_hand) = include_str!("../../docs/usage.md").split_once("## Nodes by hand").unwrap();
    let (block, _) = by_hand.split_once("```sh\n").unwrap().1.split_once("```").unwrap();
    block.lines().map(|line| line.split(" #").next().unwrap().trim_end()).collect()
}

/// A `hosts.txt` as that of the repository, but of ports that are free here.
fn write_hosts(place: &Place) {
    let listeners: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let line = |(id, listener): (usize, &TcpListener)| {
        format!("{id} 127.0.0.1 127.0.0.1 {}\n", listener.local_addr().unwrap().port())
    };
    let text: String = listeners.iter().enumerate().map(line).collect();
    fs::write(place.0.join("hosts.txt"), text).unwrap();
}

/// Takes all steps; everything that they print.
fn follow(place: &Place) -> String {
    let (mut nodes, mut shown) = (Vec::new(), String::new());
    for line in lines() {
        if let Some(arguments) = line.strip_prefix("target/release/node --id 0 ") {
            for id in 0..4 {
                let mut node = Command::new(Path::new(TOOLS).with_file_name("node"));
                node.args(["--id", &id.to_string()]).args(arguments.split(' ')).current_dir(&place.0);
                nodes.push(Node(node.stdin(Stdio::piped()).spawn().unwrap()));
            }
        } else if let Some(command) = line.strip_prefix("target/release/tools ") {
            let (name, arguments) = command.split_once(' ').unwrap();
            if name == "verify" {
                nodes.drain(..).for_each(Node::stop);
            }
            let output = eventually(line, || {
                let output = place.command(name, arguments).output().unwrap();
                // A reader takes longer than a node to come to the next line.
                (name != "status" || output.status.success()).then_some(output)
            });
            assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
            shown += &text(&output);
        } else {
            let output = Command::new("sh").args(["-c", line]).current_dir(&place.0).output().unwrap();
            assert!(output.status.success(), "{line}: {}", text(&output));
        }
    }
    shown
}

#[test]
fn the_steps_work_as_they_are_written_after_a_run_and_twice_in_a_row() {
    let place = Place::new();
    assert_eq!(place.local("--nodes 1 --rate 10 --duration 0.5").status.code(), Some(0));
    let summary = place.read("log/summary.json");
    write_hosts(&place);
    for _ in 0..2 {
        let shown = follow(&place);
        for part in ["4 of 4 nodes answer", "5000 of 5000 submitted", "receipts hold    true"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
    assert_eq!(place.read("log/summary.json"), summary, "the files of the run are left alone");
}
