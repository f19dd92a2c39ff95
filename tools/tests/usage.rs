//! Mistyped command lines: each command prints the mistake in one line and does nothing else. No process is started, no
//! directory made, no file of an earlier run touched.

mod place;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use place::Place;

/// Everything under a directory: files with their content, directories with nothing.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
            all.insert(path, Vec::new());
        } else {
            let content = fs::read(&path).unwrap();
            all.insert(path, content);
        }
    }
    all
}

/// Processes that run in a directory.
fn processes_in(place: &Path) -> Vec<PathBuf> {
    let links = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    // Those of others, and those that have just ended, are not listed.
    links.filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == place)).collect()
}

/// Runs each line, `COMMAND arguments => code, the error`, in a place where an earlier run has left its files.
fn assert_refused(place: &Place, lines: &[(&str, i32, &str)]) {
    let before = contents(&place.0);
    assert!(before.len() > 5, "there is something to lose");
    for (line, code, expected) in lines {
        let (command, arguments) = line.split_once(' ').unwrap();
        let output = place.command(command, arguments).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*code), "{line}: {shown}");
        assert!(shown.starts_with("tools") && shown.contains(expected), "{line}: {shown}");
        assert_eq!(shown.lines().count(), 1, "{line}: {shown}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{line}");
        assert!(contents(&place.0) == before, "{line}: files have changed");
        assert_eq!(processes_in(&place.0), [] as [PathBuf; 0], "{line}");
    }
}

/// A place with the files of an earlier run of two nodes, and hosts files with what is wrong in their names.
fn place_of_an_earlier_run() -> Place {
    let place = Place::new();
    let write = |name: &str, text: &str| {
        let path = place.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let dealt = place.command("keygen", "--nodes 2 --out data/keys").output().unwrap();
    assert_eq!(dealt.status.code(), Some(0));
    write("data/keys/node-0.used", "");
    write("data/hosts.txt", "0 127.0.0.1 127.0.0.1 7000\n1 127.0.0.1 127.0.0.1 7001\n");
    write("log/summary.json", "{}");
    write("log/rounds-0.csv", "round\n");
    write("column-missing.txt", "0 127.0.0.1 127.0.0.1 7000\n1 127.0.0.1 7001\n");
    write("one-port.txt", "0 127.0.0.1 127.0.0.1 7000\n1 127.0.0.1 127.0.0.1 7000\n");
    write("one-node.txt", "0 127.0.0.1 127.0.0.1 7000\n");
    write("no-port.txt", "0 127.0.0.1 127.0.0.1 0\n1 127.0.0.1 127.0.0.1 7001\n");
    write("file", "");
    place
}

#[test]
fn a_mistyped_local_run_begins_nothing() {
    let place = place_of_an_earlier_run();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy_port = format!("local --nodes 1 --base-port {}", busy.local_addr().unwrap().port());
    let port_told = format!("port {} of this machine cannot be bound", busy.local_addr().unwrap().port());
    fs::create_dir(place.0.join("foreign")).unwrap();
    let dealt = place.command("keygen", "--nodes 4 --out mine/keys").output().unwrap();
    assert_eq!(dealt.status.code(), Some(0));
    fs::write(place.0.join("foreign/thesis.tex"), "x").unwrap();
    assert_refused(
        &place,
        &[
            ("local --nodes 4 --rat 5", 2, "there is no option '--rat'; the nearest is '--rate'"),
            ("local --nodes 4 --druation=5", 2, "the nearest is '--duration'"),
            ("local --nodes 0", 2, "--nodes: found '0', expected a whole number from 1 to 128"),
            (
                "local --nodes 4 --rate 0",
                2,
                "--rate: found '0', expected a whole number from 1 to 10000000, or 'max'",
            ),
            ("local --nodes 4 --shards 0", 2, "--shards: found '0'"),
            ("local --nodes 4 --duration 0", 2, "--duration: found '0'"),
            ("local --nodes 4 --faults crahs:0@1", 2, "the nearest is 'crash'"),
            ("local --nodes 4 --faults crash:4@1", 2, "expected node ids from 0 to 3"),
            ("local 4", 2, "found '4', expected an option (--name)"),
            ("local --nodes", 2, "--nodes needs a value: --nodes N"),
            ("local --rate 5", 2, "--nodes N must be given"),
            ("local --nodes 2 --log-dir file", 4, "cannot create file: "),
            ("local --nodes 2 --log-dir file/below --data-dir new", 4, "cannot create file/below: "),
            ("local --nodes 2 --log-dir new/log --data-dir file", 4, "file/pids.txt: found 'Not a directory"),
            ("local --nodes 2 --log-dir /proc", 4, "cannot write /proc/summary.draft: "),
            ("local --nodes 2 --log-dir new --data-dir foreign", 4, "it holds foreign/thesis.tex"),
            ("local --nodes 4 --data-dir mine", 4, "mine/keys holds the keys of testbed"),
            ("local --nodes 3 --base-port 65534", 4, "leaves no ports for 3 nodes"),
            (&busy_port, 4, &port_told),
        ],
    );
}

#[test]
fn an_error_in_a_hosts_file_names_the_line() {
    let place = place_of_an_earlier_run();
    let mut lines = Vec::new();
    for command in ["load", "status"] {
        let line = |rest: &str| format!("{command} --keys data/keys {rest}");
        lines.extend([
            (
                line("--hosts column-missing.txt"),
                "column-missing.txt, line 2: found '1 127.0.0.1 7001', expected 'id private_ip public_ip port",
            ),
            (
                line("--hosts one-port.txt"),
                "one-port.txt, line 2: found '127.0.0.1 port 7000', expected an address and port that no other",
            ),
            (
                line("--hosts one-node.txt"),
                "one-node.txt: found '1 nodes', expected the 2 nodes of committee.txt",
            ),
            (line("--hosts no-port.txt"), "no-port.txt, line 1: found '0', expected a port from 1 to 65535"),
            (line("--hosts nowhere.txt"), "--hosts: found 'nowhere.txt (No such file or directory"),
            (line("--hosts data/hosts.txt --kyes data/keys"), "the nearest is '--keys'"),
            (
                format!("{command} --hosts data/hosts.txt --keys log"),
                "log/committee.txt: found 'No such file or directory",
            ),
        ]);
    }
    let lines: Vec<(&str, i32, &str)> =
        lines.iter().map(|(line, shown)| (line.as_str(), 2, *shown)).collect();
    assert_refused(&place, &lines);
}

#[test]
fn a_wrong_value_is_reported_with_what_was_expected() {
    let place = place_of_an_earlier_run();
    let load = "load --hosts data/hosts.txt --keys data/keys";
    let lines = [
        (
            format!("{load} --rate 0"),
            "--rate: found '0', expected a whole number from 1 to 10000000, or 'max'",
        ),
        (format!("{load} --rate fast"), "--rate: found 'fast'"),
        (format!("{load} --duration -1"), "--duration: found '-1', expected seconds"),
        (format!("{load} --cross 0.5"), "--cross: found '0.5', expected 0, since there is one shard"),
        (format!("{load} --tx-size 5"), "--tx-size: found '5', expected a whole number from"),
        ("status --timeout 0".into(), "--timeout: found '0', expected seconds, more than 0"),
        ("status --watch never".into(), "--watch: found 'never', expected seconds"),
        ("status --json=yes".into(), "--json takes no value"),
        ("status --watc".into(), "the nearest is '--watch'"),
        ("status data".into(), "found 'data', expected an option"),
        ("keygen --nodes 0 --out new".into(), "--nodes: found '0'"),
        ("sim --suite rael".into(), "there is no suite 'rael'; the nearest is 'real'"),
        ("verify --log-dri log".into(), "the nearest is '--log-dir'"),
        ("bench --nodes 0".into(), "--nodes: found '0'"),
    ];
    let lines: Vec<(&str, i32, &str)> =
        lines.iter().map(|(line, shown)| (line.as_str(), 2, *shown)).collect();
    assert_refused(&place, &lines);
}

#[test]
fn a_mistyped_deployment_reaches_no_host() {
    let place = place_of_an_earlier_run();
    // A name that no resolver knows, should it ever be asked.
    let two =
        "0 127.0.0.1 127.0.0.1 7000 nobody@host.invalid\n1 127.0.0.1 127.0.0.1 7001 nobody@host.invalid\n";
    for (name, text) in [
        ("two.txt", two.to_string()),
        ("data/hosts.txt", two.to_string()),
        ("no-ssh.txt", two.replacen(" nobody@host.invalid", "", 1)),
        ("same-port.txt", two.replacen("127.0.0.1 7001", "127.0.0.2 7000", 1)),
    ] {
        fs::write(place.0.join(name), text).unwrap();
    }
    let lines = [
        ("deploy run --hosts two.txt --rat 5", 2, "the nearest is '--rate'"),
        ("deploy rnu --hosts two.txt", 2, "there is no command 'deploy rnu'; the nearest is 'deploy run'"),
        ("deploy run --hosts two.txt --rate 0", 2, "--rate: found '0'"),
        ("deploy run --hosts two.txt --shards 0", 2, "--shards: found '0'"),
        ("deploy run --hosts one-node.txt --shards 2", 2, "node 0 without an ssh destination"),
        (
            "deploy run --hosts two.txt --shards 3",
            2,
            "--shards: found '3', expected a whole number from 1 to 2",
        ),
        ("deploy check", 2, "--hosts: found 'hosts.txt (No such file or directory"),
        ("deploy load", 2, "--hosts: found 'hosts.txt (No such file or directory"),
        (
            "deploy check --hosts column-missing.txt",
            2,
            "column-missing.txt, line 2: found '1 127.0.0.1 7001'",
        ),
        ("deploy check --hosts one-port.txt", 2, "one-port.txt, line 2: found '127.0.0.1 port 7000'"),
        ("deploy check --hosts same-port.txt", 2, "same-port.txt: found 'nodes 0 and 1 on 127.0.0.1:7000'"),
        ("deploy check --hosts no-ssh.txt", 2, "no-ssh.txt: found 'node 0 without an ssh destination'"),
        ("deploy clean --hosts two.txt --remote-dir /", 2, "--remote-dir: found '/'"),
        ("deploy clean --hosts two.txt --remote-dir ../..", 2, "--remote-dir: found '../..'"),
        ("deploy stop --hosts two.txt --ssh-config none", 2, "--ssh-config: found 'none'"),
        ("deploy stop --hosts two.txt --timeout 0", 2, "--timeout: found '0'"),
        (
            "deploy install --hosts two.txt",
            2,
            "--data-dir: found 'keys that have served a start in data/keys'",
        ),
        ("deploy load --hosts two.txt --from there", 2, "--from: found 'there'"),
        ("deploy load --hosts two.txt --rate 0", 2, "--rate: found '0'"),
        ("deploy start --hosts two.txt --data-dir log", 2, "log/keys/committee.txt: found 'No such file"),
        (
            "deploy run --hosts data/hosts.txt",
            2,
            "--hosts: found 'data/hosts.txt', expected a file outside of data",
        ),
        ("deploy run --hosts two.txt --log-dir file", 4, "file"),
        ("deploy logs --hosts two.txt --log-dir file", 4, "cannot create file"),
    ];
    assert_refused(&place, &lines);
}

#[test]
fn an_unknown_command_gets_the_nearest_name() {
    let place = place_of_an_earlier_run();
    let output = place.command("lcoal", "--nodes 4").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        shown,
        "tools: there is no command 'lcoal'; the nearest is 'local' (tools --help lists all)\n"
    );
}

#[test]
fn a_log_level_that_does_not_exist_is_refused_before_anything_is_done() {
    let place = Place::new();
    let output = place.command("local", "--nodes 1").env("RUST_LOG", "debgu").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.starts_with("tools: RUST_LOG: found 'debgu'"), "{shown}");
    assert!(shown.ends_with("the nearest is 'debug'\n"), "{shown}");
    assert!(contents(&place.0).is_empty());
}

/// With a `cargo` that fails, so that nothing is built: exit 4 says that the script came as far as that.
#[test]
fn run_local_refuses_what_it_can_before_it_builds() {
    let place = Place::new();
    let cargo = place.0.join("cargo");
    fs::write(&cargo, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", place.0.display(), std::env::var("PATH").unwrap());
    for (nodes, filter, code, part) in [
        ("four", "", 2, "found 'four', expected how many nodes"),
        ("0", "", 2, "found '0'"),
        ("--rate", "", 2, "usage: ./run_local.sh N"),
        ("4", "debgu", 2, "RUST_LOG: found 'debgu'"),
        ("4", "info,bft=al", 2, "RUST_LOG: found 'al'"),
        ("4", "nod", 2, "RUST_LOG: found 'nod'"),
        ("4", "", 4, ""),
        ("4", "WARN, node,bft::core=trace,mio=off,net_server=,mio,wire::frame/tx,y", 4, ""),
    ] {
        let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../run_local.sh"))
            .arg(nodes)
            .env("RUST_LOG", filter)
            .env("PATH", &path)
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{nodes} {filter}: {shown}");
        assert!(shown.contains(part), "{nodes} {filter}: {shown}");
    }
}
