//! The command lines of `tools deploy`: a table an action, and their values.

use std::path::{Path, PathBuf};

use wire::hosts::Hosts;
use wire::text::ParseError;

use super::deployment::Target;
use super::processes::PerHost;
use super::sites::sites;
use crate::flags::{Command, Opt, Range, UsageError, Values};
use crate::guest;
use crate::load::{CROSS, DURATION, EXPIRY_ROUNDS, HAND_ON, INVALID, RATE, SEED, TX_SIZE, WARMUP};
use crate::run::{
    self, BATCH, FAULTS, FAULTS_SECTION, HISTORY_MIB, LIMITS, LIMITS_SECTION, PIPELINE, ROUNDS, SHARDS,
    SHARE, SIGNED, TRANSACTIONS, WATCH,
};
use crate::testbed::refuse_missing_hosts;

const HOSTS: Opt =
    Opt::with("hosts", "FILE", "hosts.txt", "Where the nodes are, with a fifth column for ssh.");
const SSH_CONFIG: Opt = Opt::without_default(
    "ssh-config",
    "FILE",
    "A configuration file for ssh (its -F) instead of ~/.ssh/config.",
);
const REMOTE_DIR: Opt = Opt::with(
    "remote-dir",
    "DIR",
    "dumbo-testbed",
    "The run directory on every host, from the home directory unless it begins with '/'.",
);
const TIMEOUT: Opt = Opt::with(
    "timeout",
    "S",
    "30",
    "Seconds for which a step on a host may make no progress before it is given up.",
)
.within(Range::Seconds { min_ms: 100 });
const DATA_DIR: Opt = Opt::with(
    "data-dir",
    "DIR",
    "data",
    "The directory here with keys/, the keys of all nodes. Dealt there if it has none.",
);
const LOG_DIR: Opt = Opt::with("log-dir", "DIR", "log", "The directory here into which logs are fetched.");
const JOURNALS: Opt = Opt::switch(
    "journals",
    "Fetches the journals too, into DATA_DIR/journal-<id>/ in place of those that are there. Without it their size is printed \
     for each host.",
);
const JOURNALS_DIR: Opt =
    Opt::with("data-dir", "DIR", "data", "The directory here with keys/ of the testbed, for --journals.");
const NEW_KEYS: Opt = Opt::switch(
    "new-keys",
    "Deals new keys though there are some, for a testbed that begins anew. Without journals (--durability off) one that was \
     stopped needs them, since its keys serve one start. Journals of the old keys are removed.",
);
const HISTORY: Opt = Opt::without_default(
    "history-mib",
    "M",
    "MiB of decided proposals that a node keeps for nodes that are behind: in memory, or in its journal if it has one; as a \
     rule a quarter of its host's memory, shared by the nodes there, and at most 2048.",
)
.within(HISTORY_MIB);
const METRICS: Opt = Opt::without_default(
    "metrics-port",
    "P",
    "Each node serves its metrics on a port of its host's 127.0.0.1: the first node there on P, the second on P + 1, and so \
     on in the order of ids. What they mean stands in docs/metrics.md.",
)
// Below it as many ports as nodes can be on one host.
.within(Range::whole(1, u16::MAX as u64 - wire::limits::NODES_MAX as u64));
const DURABILITY: Opt = Opt::with(
    "durability",
    "off|process|power",
    "process",
    "Whether nodes write down what their cores are fed, in journal-<id>/ of the run directory, before its effects leave: to \
     the system (process) or to the disk (power). With a journal a node that has ended can be started again. Each node \
     writes some 400 bytes for a transaction of 250 and 10 kB for a round. It keeps about --limits journal-kept-bytes of them \
     (4 GiB), or what the history and a start need if that is more. off writes nothing and commits more.",
);
const RESUME: Opt = Opt::switch(
    "resume",
    "Goes on with the run in DATA_DIR, whose nodes have journals on their hosts, however it ended: the same keys, nodes and \
     protocol settings, which need not be given and may not differ, and a new load on the coins that are unspent. Its \
     LOG_DIR is continued; figures of the load before are moved to LOG_DIR/load-1, and so on.",
);
const FROM: Opt = Opt::with(
    "from",
    "here|hosts",
    "here",
    "Where the load comes from. here: this machine, so latency has the way to the nodes and back in it. hosts: the first \
     host of the file alone, next to the nodes there, from whose processors it takes.",
);

const EXIT_STATUS: (&str, &str) = (
    "EXIT STATUS",
    "0  done on all hosts\n\
     1  not done on some, each with its reason\n\
     2  usage\n\
     4  it could not begin\n\
     130  interrupted",
);

const SSH: (&str, &str) = (
    "SSH",
    "Hosts are reached by the ssh command, with your configuration, agent, known hosts and jump hosts. It never prompts \
     (BatchMode), and host keys are checked as your configuration says: log in once by hand where ssh would prompt. \
     Several nodes whose fifth column is the same run on the same host. There is one connection a host.",
);

/// `tools deploy check`.
pub(crate) const CHECK: Command = Command {
    name: "deploy check",
    summary: "looks at all hosts, and at what would be in the way",
    about: "Reaches every host of hosts.txt and prints its architecture, cores, memory, free disk, how far its clock is from \
            this one's (give or take half the time of the question's way there and back), and what is installed, with the size \
            of journals. Complains \
            of a wrong architecture, missing commands, too little room, a directory of somebody else, ports that are taken, \
            and addresses that are not the host's: all at once, of all hosts.",
    operands: &[],
    options: &[HOSTS, SSH_CONFIG, REMOTE_DIR, TIMEOUT],
    sections: &[EXIT_STATUS, SSH],
};

/// `tools deploy install`.
pub(crate) const INSTALL: Command = Command {
    name: "deploy install",
    summary: "brings programs and keys to all hosts",
    about: "Copies the binaries beside this one, hosts.txt (without its fifth column), committee.txt, and to each host the \
            keys of its own nodes and of no other. Directories have mode 0700, keys 0600. What is there already is not sent \
            again. A host on which nodes run is left alone.",
    operands: &[],
    options: &[HOSTS, SHARDS, SIGNED, DATA_DIR, NEW_KEYS, run::WAN, SSH_CONFIG, REMOTE_DIR, TIMEOUT],
    sections: &[
        EXIT_STATUS,
        (
            "FILES",
            "On each host, in the run directory: dumbo-testbed.marker (the testbed's id), bin/, keys/, hosts.txt, wan.txt, log/, \
             run/\n\
             Here: DATA_DIR/keys/, DATA_DIR/hosts.txt, DATA_DIR/wan.txt with --wan",
        ),
        SSH,
    ],
};

/// `tools deploy start`.
pub(crate) const START: Command = Command {
    name: "deploy start",
    summary: "starts all nodes that do not run, and waits until they take clients",
    about: "Starts the nodes in sessions of their own, so that they outlive the connection. Nodes that run already are left \
            alone. Those that have a journal go on from it, under the settings with which it was begun. \
            Every host must have the same version. RUST_LOG is passed on.",
    operands: &[],
    options: &[
        HOSTS,
        DATA_DIR,
        BATCH,
        PIPELINE,
        SHARE,
        HISTORY,
        METRICS,
        DURABILITY,
        run::FOLLOW,
        LIMITS,
        SSH_CONFIG,
        REMOTE_DIR,
        TIMEOUT,
    ],
    sections: &[LIMITS_SECTION, EXIT_STATUS, SSH],
};

/// `tools deploy status`.
pub(crate) const STATUS: Command = Command {
    name: "deploy status",
    summary: "lists the processes that run on all hosts",
    about: "A line a node: its host, its processes, their memory and processor time, the size of its journal, or its last \
            words. Rounds and transactions of the nodes: tools status.",
    operands: &[],
    options: &[HOSTS, SSH_CONFIG, REMOTE_DIR, TIMEOUT],
    sections: &[
        (
            "EXIT STATUS",
            "0  all nodes run\n1  some do not, or a host cannot be reached\n2  usage\n4  it could not begin\n130  interrupted",
        ),
        SSH,
    ],
};

/// `tools deploy load`.
pub(crate) const LOAD: Command = Command {
    name: "deploy load",
    summary: "offers load to the nodes that run",
    about: "What tools load does, with the nodes of hosts.txt and the keys of DATA_DIR. Latency is timed where the load comes \
            from, by that machine's clock alone.",
    operands: &[],
    options: &[
        HOSTS,
        DATA_DIR,
        FROM,
        RATE,
        DURATION,
        WARMUP,
        TX_SIZE,
        CROSS,
        INVALID,
        EXPIRY_ROUNDS,
        HAND_ON,
        SEED,
        TRANSACTIONS,
        guest::LOG_DIR,
        SSH_CONFIG,
        REMOTE_DIR,
        TIMEOUT,
    ],
    sections: &[("EXIT STATUS", "As tools load; 4 also if the host cannot be reached"), SSH],
};

/// `tools deploy stop`.
pub(crate) const STOP: Command = Command {
    name: "deploy stop",
    summary: "stops all nodes",
    about: "Lets the nodes stop, and after 10 s ends what is left. Only processes whose executable lies in the run \
            directory are ever touched.",
    operands: &[],
    options: &[HOSTS, SSH_CONFIG, REMOTE_DIR, TIMEOUT],
    sections: &[EXIT_STATUS, SSH],
};

/// `tools deploy logs`.
pub(crate) const LOGS: Command = Command {
    name: "deploy logs",
    summary: "fetches the logs of all nodes",
    about: "Copies logs, rounds-<id>.csv and standard error of all nodes into LOG_DIR, under the names of a local run, and \
            writes clocks.csv: how far each host's clock is from this one's, for tools logs. Nodes may run \
            meanwhile. With --journals also what tools replay needs.",
    operands: &[],
    options: &[HOSTS, LOG_DIR, JOURNALS, JOURNALS_DIR, SSH_CONFIG, REMOTE_DIR, TIMEOUT],
    sections: &[EXIT_STATUS, SSH],
};

/// `tools deploy clean`.
pub(crate) const CLEAN: Command = Command {
    name: "deploy clean",
    summary: "stops all nodes and removes what was installed",
    about: "Leaves no file and no process, whatever state a host is in, and may be repeated. A directory that tools deploy did \
            not make is left as it is.",
    operands: &[],
    options: &[HOSTS, SSH_CONFIG, REMOTE_DIR, TIMEOUT],
    sections: &[EXIT_STATUS, SSH],
};

/// `tools deploy run`.
pub(crate) const RUN: Command = Command {
    name: "deploy run",
    summary: "a whole run on the hosts of hosts.txt, judged as a local one",
    about: "Checks the hosts, deals fresh keys, installs, starts, offers load from here, stops, fetches the logs, compares what \
            the nodes wrote, and sums up on the terminal and in LOG_DIR/summary.json, as tools local does. What is installed \
            stays there for the next run; tools deploy clean removes it.\n\n\
            Latency is measured here, from the time at which a transaction was meant to be sent to its receipt, so no two \
            clocks are compared. Ctrl-C stops the nodes, fetches their logs and still sums up. Nodes write \
            journals there (--durability) and so survive: --resume goes on.",
    operands: &[],
    options: &[
        HOSTS,
        SHARDS,
        RATE,
        run::DURATION,
        ROUNDS,
        WARMUP,
        TX_SIZE,
        SIGNED,
        CROSS,
        INVALID,
        EXPIRY_ROUNDS,
        HAND_ON,
        BATCH,
        PIPELINE,
        SHARE,
        HISTORY,
        METRICS,
        DURABILITY,
        LIMITS,
        run::WAN,
        FAULTS,
        RESUME,
        run::FOLLOW,
        SEED,
        TRANSACTIONS,
        WATCH,
        run::LOG_DIR,
        Opt::with(
            "data-dir",
            "DIR",
            "data",
            "Keys, hosts and pid file, here. An earlier run's are replaced.",
        ),
        SSH_CONFIG,
        REMOTE_DIR,
        TIMEOUT,
    ],
    sections: &[
        FAULTS_SECTION,
        LIMITS_SECTION,
        run::EXIT_STATUS,
        (
            "FILES",
            "Those of tools local, and LOG_DIR/clocks.csv: how far each host's clock is from this one's, with hosts.txt, \
             keys/ and, unless --durability is off, options.txt in DATA_DIR",
        ),
        SSH,
    ],
};

/// The options of a run that one which goes on with its journals has in common with it.
pub(super) const BOUND: [&str; 8] =
    ["shards", "signed", "batch", "pipeline", "share", "history-mib", "limits", "remote-dir"];

/// The target of a command line.
pub(super) fn target(values: &Values) -> Result<Target, UsageError> {
    let place = values.required("hosts")?;
    refuse_missing_hosts(Path::new(place))?;
    let hosts = Hosts::load(Path::new(place))?;
    let sites = sites(place, &hosts)?;
    let limit = values.seconds("timeout")?;
    let expected = "a path of letters, digits and . _ - /, without '..', that is no root directory";
    let run_dir = values.value("remote-dir", expected, parse_run_dir)?;
    let ssh_config = values.text("ssh-config").map(PathBuf::from);
    if let Some(path) = ssh_config.as_ref().filter(|path| !path.is_file()) {
        let given = path.display().to_string();
        return Err(ParseError::of("--ssh-config", &given, "a file that is there").into());
    }
    Ok(Target { hosts, sites, run_dir, ssh_config, limit })
}

/// A path that means the same to every shell and tool that sees it. What lies in it will be removed one day, so it must
/// be a directory of its own.
fn parse_run_dir(text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let path = text.trim_end_matches('/');
    let parts = path.strip_prefix('/').unwrap_or(path).split('/');
    let mut parts =
        parts.map(|part| !part.is_empty() && part != "." && part != ".." && !part.starts_with('-'));
    (text.chars().all(is_plain) && parts.all(|is_fine| is_fine)).then(|| path.to_string())
}

/// The settings of nodes that depend on their hosts.
pub(super) fn per_host(values: &Values) -> Result<PerHost, UsageError> {
    let history_mib = values.optional_whole("history-mib")?;
    let metrics_port = values.optional_whole("metrics-port")?;
    Ok(PerHost { history_mib, metrics_port: metrics_port.map(|port| port as u16) })
}

/// Nodes in each shard, and shards, of so many nodes.
pub(super) fn shape(values: &Values, hosts: &Hosts) -> Result<(u16, u16), UsageError> {
    let count = hosts.count() as u64;
    let shards = values.number("shards", 1, count)?;
    if !count.is_multiple_of(shards) {
        let expected = format!("a divisor of the {count} nodes of {}", values.required("hosts")?);
        return Err(ParseError::of("--shards", &shards.to_string(), expected).into());
    }
    let nodes = count / shards;
    if nodes > u64::from(wire::limits::NODES_PER_SHARD_MAX) {
        let expected =
            format!("so many that a shard has at most {} nodes", wire::limits::NODES_PER_SHARD_MAX);
        return Err(ParseError::of("--shards", &shards.to_string(), expected).into());
    }
    Ok((nodes as u16, shards as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_directories_are_plain_paths_of_their_own() {
        for (text, path) in [
            ("dumbo-testbed", Some("dumbo-testbed")),
            ("/srv/a.b/c_d/", Some("/srv/a.b/c_d")),
            ("", None),
            ("/", None),
            (".", None),
            ("../x", None),
            ("a/../b", None),
            ("a//b", None),
            ("~/x", None),
            ("a b", None),
            ("-rf", None),
            ("a/-rf", None),
            ("$HOME", None),
        ] {
            assert_eq!(parse_run_dir(text).as_deref(), path, "{text}");
        }
    }
}
