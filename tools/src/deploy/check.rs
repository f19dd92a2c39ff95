//! The facts of hosts, and obstacles on them: found before anything slow begins, and all
//! of it on all hosts at once, so that all obstacles are known at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use wire::ids::{Digest, NodeId};
use wire::text::ParseError;

use super::clock::{self, Offset};
use super::deployment::Deployment;
use super::script::{self, Reply, printable};
use super::sites::{Failures, Site, all_or_failures, on_all};
use super::ssh_error::SshError;
use crate::grid::{Side, aligned_within};
use crate::ids;
use crate::json::Json;
use crate::procfs::Machine;
use crate::terminal::{columns, print};

/// Room that binaries and the logs of a short run need at the least.
const FREE_KIB_MIN: u64 = 256 << 10;

/// The facts of a host.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Facts {
    pub(super) machine: Machine,
    /// Its processor's architecture, as `uname -m` prints it.
    pub(super) architecture: String,
    /// Free where the run directory is, or would be.
    pub(super) free_kib: u64,
    pub(super) clock: Offset,
    /// The testbed in the run directory, if one is.
    pub(super) testbed: Option<String>,
    /// The ids of nodes that run there.
    pub(super) running: Vec<u16>,
    /// The journals there, and their bytes.
    pub(super) journals: BTreeMap<NodeId, u64>,
}

impl Facts {
    /// For a summary.
    pub(super) fn to_json(&self, site: &Site) -> Json {
        Json::object([
            ("host", Json::text(&site.destination)),
            ("nodes", Json::List(site.ids().map(|id| Json::from(u64::from(id.0))).collect())),
            ("architecture", Json::text(&self.architecture)),
            ("cores", Json::from(self.machine.cores)),
            ("cpu", Json::text(&self.machine.cpu)),
            ("mem_gb", Json::from(self.machine.mem_gb)),
            ("clock_offset_ms", Json::from(self.clock.offset_ms)),
            ("clock_uncertainty_ms", Json::from(self.clock.uncertainty_ms)),
        ])
    }
}

/// The purpose of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// Only to be looked at: a testbed that runs there is reported, and is no obstacle.
    Look,
    /// To run nodes from scratch.
    Run,
    /// To go on with the journals of a testbed, but for those of nodes that are only to follow. Nodes of it that still run
    /// are no obstacle.
    Resume { testbed: Digest, follow: BTreeSet<NodeId> },
}

/// Looks at all hosts and prints them in a table; or returns what is wrong with any of them.
pub(super) fn check(deployment: &Deployment, purpose: &Purpose) -> Result<Vec<Facts>, Failures> {
    let sites = &deployment.target.sites;
    // A table and all that is wrong follow, so no host has a line of its own before.
    let looks = on_all(sites, "check", |site| Ok((look(deployment, site, purpose), String::new())));
    let looks: Vec<Look> = looks.into_iter().map(|look| look.unwrap_or_else(Look::nothing)).collect();
    let headings = ["host", "nodes", "architecture", "cores", "memory", "free", "clock", "state"];
    let mut rows = vec![headings.map(String::from).to_vec()];
    rows.extend(sites.iter().zip(&looks).map(|(site, look)| row(site, look)));
    use Side::{Left, Right};
    let sides = [Left, Left, Left, Right, Right, Right, Right, Left];
    print(aligned_within(columns(), &sides, &rows, 0).trim_end());
    all_or_failures(sites, "check", looks.into_iter().map(Look::into_outcome).collect())
}

/// The facts of a host, and the obstacles there.
struct Look {
    facts: Option<Facts>,
    wrong: Vec<String>,
}

impl Look {
    /// Nothing could be seen, for these reasons.
    fn nothing(wrong: Vec<String>) -> Look {
        Look { facts: None, wrong }
    }

    fn into_outcome(self) -> Result<Facts, Vec<String>> {
        match self {
            Look { facts: Some(facts), wrong } if wrong.is_empty() => Ok(facts),
            Look { wrong, .. } => Err(wrong),
        }
    }
}

fn row(site: &Site, look: &Look) -> Vec<String> {
    let mut row = vec![site.to_string(), site.ids_text()];
    match &look.facts {
        None => row.extend(["-", "-", "-", "-", "-"].map(String::from)),
        Some(facts) => row.extend([
            facts.architecture.clone(),
            facts.machine.cores.to_string(),
            format!("{:.1} GiB", facts.machine.mem_gb),
            format!("{:.1} GiB", facts.free_kib as f64 / f64::from(1 << 20)),
            facts.clock.to_string(),
        ]),
    }
    row.push(match &look.facts {
        Some(facts) if look.wrong.is_empty() => state(facts),
        _ => "FAILED, see below".into(),
    });
    row
}

fn state(facts: &Facts) -> String {
    match &facts.testbed {
        None => "nothing installed".into(),
        Some(testbed) if facts.running.is_empty() => {
            format!("testbed {testbed}, stopped{}", journals(&facts.journals))
        }
        Some(testbed) => {
            let running = ids::numbers_text("node", facts.running.iter().map(|id| u64::from(*id)));
            format!("testbed {testbed}, {running} running{}", journals(&facts.journals))
        }
    }
}

/// The journals of a host, in words that follow others.
fn journals(journals: &BTreeMap<NodeId, u64>) -> String {
    if journals.is_empty() {
        return String::new();
    }
    let bytes = journals.values().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
    format!(", {} with journals ({:.1} MB)", ids::nodes_text(journals.keys()), bytes as f64 / 1e6)
}

/// Looks at one host.
fn look(deployment: &Deployment, site: &Site, purpose: &Purpose) -> Look {
    let ports: BTreeSet<u16> = site.nodes.iter().map(|host| host.port).collect();
    let ports = ports.into_iter().map(|port| format!("{port:04X}"));
    let found = || -> Result<(Reply, Offset), SshError> {
        let reply = deployment.run(site, script::CHECK, ports, Duration::ZERO)?;
        Ok((reply, clock::measure(deployment, site)?))
    };
    let (reply, clock) = match found() {
        Ok(found) => found,
        Err(error) => return Look::nothing(vec![error.to_string()]),
    };
    let facts = match facts(&reply, clock) {
        Ok(facts) => facts,
        Err(error) => return Look::nothing(vec![error.to_string()]),
    };
    let mut wrong = obstacles(&reply, &facts, purpose);
    match listeners(&reply) {
        // Our own nodes listen as they should.
        Ok(listeners) if facts.running.is_empty() => wrong.extend(conflicts(site, &listeners)),
        Ok(_) => {}
        Err(error) => wrong.push(error.to_string()),
    }
    wrong.extend(foreign_addresses(site, &addresses(&reply)));
    if let Purpose::Resume { testbed, follow } = purpose {
        wrong.extend(lacks_for_resuming(site, &facts, &testbed.to_string(), follow));
    }
    Look { facts: Some(facts), wrong }
}

fn facts(reply: &Reply, clock: Offset) -> Result<Facts, ParseError> {
    reply.expect_keys(&[
        "system",
        "architecture",
        "cores",
        "memory_kib",
        "cpu",
        "free_kib",
        "unwritable",
        "missing",
        "testbed",
        "foreign",
        "running",
        "journal",
        "address",
        "address6",
        "listens",
    ])?;
    let running = |text: &str| text.split_once(' ')?.0.parse().ok();
    let machine = Machine {
        cores: reply.one("cores", "a number of processors")?,
        cpu: printable(reply.text("cpu").filter(|cpu| !cpu.is_empty()).unwrap_or("unknown")),
        mem_gb: reply.one::<u64>("memory_kib", "an amount of memory")? as f64 / f64::from(1 << 20),
    };
    Ok(Facts {
        machine,
        architecture: printable(reply.text("architecture").unwrap_or_default()),
        free_kib: reply.one("free_kib", "an amount of free room")?,
        clock,
        testbed: reply.text("testbed").map(|text| printable(text).chars().take(16).collect()),
        running: reply.each("running", "'NODE PID'", running)?,
        journals: reply.journals()?,
    })
}

/// The obstacles in a host's report.
fn obstacles(reply: &Reply, facts: &Facts, purpose: &Purpose) -> Vec<String> {
    let mut wrong = Vec::new();
    let system = printable(reply.text("system").unwrap_or_default());
    if system != "Linux" {
        wrong.push(format!("it runs {system}, and nodes need Linux"));
    }
    let ours = std::env::consts::ARCH;
    if !is_same_architecture(ours, &facts.architecture) {
        wrong.push(format!("its architecture is {}, and these binaries are for {ours}", facts.architecture));
    }
    if let Some(place) = reply.text("unwritable") {
        wrong.push(format!("{} cannot be written to", printable(place)));
    }
    wrong.extend(reply.all("missing").map(|tool| format!("the command '{}' is missing", printable(tool))));
    if let Some(found) = reply.text("foreign") {
        wrong.push(format!(
            "the run directory was not made by tools deploy (it holds {}); choose another with --remote-dir",
            printable(found)
        ));
    }
    if facts.free_kib < FREE_KIB_MIN {
        wrong.push(format!(
            "only {} MiB are free for the run directory, and a run needs at least {} MiB",
            facts.free_kib >> 10,
            FREE_KIB_MIN >> 10
        ));
    }
    let may_run = match purpose {
        Purpose::Look => true,
        Purpose::Run => false,
        Purpose::Resume { testbed, .. } => facts.testbed.as_ref() == Some(&testbed.to_string()),
    };
    if !may_run && !facts.running.is_empty() {
        let nodes = ids::numbers_text("node", facts.running.iter().map(|id| u64::from(*id)));
        let testbed = facts.testbed.clone().unwrap_or_default();
        wrong.push(format!("testbed {testbed} runs there with {nodes}; tools deploy stop ends it"));
    }
    wrong
}

/// What a host lacks that is to go on with a testbed.
///
/// # Security
/// The keys have signed. Without its journal a node would sign other things with them, so installing them anew on a
/// host that has lost it must not be tried.
fn lacks_for_resuming(
    site: &Site,
    facts: &Facts,
    testbed: &str,
    follow: &BTreeSet<NodeId>,
) -> Option<String> {
    let has_lost = |id: &NodeId| !facts.journals.contains_key(id) && !follow.contains(id);
    let lost: Vec<NodeId> = site.ids().filter(has_lost).collect();
    match &facts.testbed {
        None => Some("nothing is installed there to go on with".into()),
        Some(other) if other != testbed => {
            Some(format!("testbed {other} is installed there, and the run to go on with is of {testbed}"))
        }
        Some(_) if lost.is_empty() => None,
        Some(_) => Some(format!(
            "{} has no journal there to go on from; --follow {} goes on without its signatures",
            ids::nodes_text(&lost),
            ids::nodes(&lost)
        )),
    }
}

/// Whether what Rust calls an architecture is what `uname -m` calls so.
fn is_same_architecture(ours: &str, theirs: &str) -> bool {
    match ours {
        "x86" => matches!(theirs, "i386" | "i486" | "i586" | "i686"),
        "arm" => theirs.starts_with("armv"),
        "powerpc64" => theirs.starts_with("ppc64"),
        "aarch64" => matches!(theirs, "aarch64" | "arm64"),
        _ => ours == theirs,
    }
}

/// A port with a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Listener {
    address: IpAddr,
    port: u16,
    /// The listener, as far as it can be seen.
    owner: Option<String>,
}

fn listeners(reply: &Reply) -> Result<Vec<Listener>, ParseError> {
    reply.each("listens", "'ADDRESS:PORT PID [NAME]', as /proc/net/tcp writes addresses", |text| {
        let mut words = text.splitn(3, ' ');
        let (address, port) = words.next()?.split_once(':')?;
        let pid: u32 = words.next()?.parse().ok()?;
        let name = printable(words.next().unwrap_or_default());
        let owner = (pid != 0).then(|| format!("{name} (pid {pid})"));
        Some(Listener {
            address: parse_proc_address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            owner,
        })
    })
}

/// An address as `/proc/net/tcp` writes it: words of 32 bits in the host's byte order, which is ours, since its
/// architecture is.
fn parse_proc_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (index, chunk) in octets.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&word(index * 8)?);
            }
            Some(IpAddr::from(octets))
        }
        _ => None,
    }
}

/// The nodes whose port is taken, and by whom.
fn conflicts(site: &Site, listeners: &[Listener]) -> Vec<String> {
    let mut wrong = Vec::new();
    for host in &site.nodes {
        let clashes = |listener: &&Listener| {
            let (theirs, ours) = (listener.address, host.private_ip);
            listener.port == host.port && (theirs == ours || theirs.is_unspecified() || ours.is_unspecified())
        };
        if let Some(listener) = listeners.iter().find(clashes) {
            let owner = listener.owner.clone().unwrap_or_else(|| "a process of somebody else".into());
            wrong.push(format!("port {} of node {} is taken by {owner}", host.port, host.id));
        }
    }
    wrong
}

fn addresses(reply: &Reply) -> BTreeSet<IpAddr> {
    let v4 = reply.all("address").filter_map(|text| text.parse::<Ipv4Addr>().ok()).map(IpAddr::from);
    let v6 = reply.all("address6").filter(|text| text.len() == 32);
    let v6 =
        v6.filter_map(|text| u128::from_str_radix(text, 16).ok()).map(|bits| Ipv6Addr::from(bits).into());
    v4.chain(v6).collect()
}

/// The nodes that could not bind the address that the hosts file gives them. If the host reports no address, none is
/// accused.
fn foreign_addresses(site: &Site, own: &BTreeSet<IpAddr>) -> Vec<String> {
    let mut wrong = Vec::new();
    for host in &site.nodes {
        let is_fine = own.is_empty() || host.private_ip.is_unspecified() || own.contains(&host.private_ip);
        // All of 127.0.0.0/8 is there, though one address of it is reported.
        if !is_fine && !host.private_ip.is_loopback() {
            let own = own.iter().filter(|address| !address.is_loopback()).map(IpAddr::to_string);
            wrong.push(format!(
                "private_ip {} of node {} is none of its addresses ({})",
                host.private_ip,
                host.id,
                own.collect::<Vec<_>>().join(", ")
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use wire::hosts::Hosts;

    use super::*;
    use crate::deploy::sites::sites;
    use crate::testing::{documented_keys, json_keys};

    fn reply(lines: &str) -> Reply {
        let text = format!("dumbo-testbed begin\n{lines}dumbo-testbed end\n");
        Reply::parse("h", text.as_bytes()).unwrap()
    }

    fn site(text: &str) -> Site {
        sites("h", &Hosts::parse("h", text).unwrap()).unwrap().remove(0)
    }

    const CLOCK: Offset = Offset { offset_ms: 0.0, uncertainty_ms: 1.0 };
    const GOOD: &str = "system Linux\ncores 8\nmemory_kib 1048576\ncpu x\nfree_kib 9999999\n";

    #[test]
    fn facts_are_read_and_every_obstacle_is_listed() {
        let architecture = format!("architecture {}\n", std::env::consts::ARCH);
        let good = reply(&format!("{GOOD}{architecture}running 3 77\ntestbed ab\n"));
        let facts_of = |reply: &Reply| facts(reply, CLOCK).unwrap();
        assert_eq!((facts_of(&good).machine.cores, facts_of(&good).running.as_slice()), (8, [3].as_slice()));
        let keys = json_keys(&facts_of(&good).to_json(&site("0 ::1 a 1 x\n")), &[]);
        assert_eq!(keys, documented_keys("`hosts` of `summary.json`"));
        assert_eq!(obstacles(&good, &facts_of(&good), &Purpose::Look), Vec::<String>::new());
        let running = obstacles(&good, &facts_of(&good), &Purpose::Run);
        assert_eq!(running, ["testbed ab runs there with node 3; tools deploy stop ends it"]);
        // Nodes of the testbed to go on with are left over from a run that was killed.
        let testbed = Digest([0xab; 32]);
        let of = |testbed: Option<String>| Facts { testbed, ..facts_of(&good) };
        let again = Purpose::Resume { testbed, follow: BTreeSet::new() };
        assert_eq!(obstacles(&good, &of(Some(testbed.to_string())), &again), Vec::<String>::new());
        assert_eq!(obstacles(&good, &of(Some("ab".into())), &again), running);

        let bad = reply(
            "system Darwin\narchitecture vax\ncores 8\nmemory_kib 1\ncpu x\nfree_kib 2048\nunwritable /data\n\
             missing awk\nforeign thesis.tex\n",
        );
        let found = obstacles(&bad, &facts_of(&bad), &Purpose::Run).join("\n");
        for part in
            ["runs Darwin", "architecture is vax", "/data cannot", "'awk'", "thesis.tex", "only 2 MiB"]
        {
            assert!(found.contains(part), "{part} in {found}");
        }
        assert!(facts(&reply("cores many\n"), CLOCK).is_err());
        assert!(facts(&reply(&format!("{GOOD}journal 3 much\n")), CLOCK).is_err());
        assert!(facts(&reply("colour red\n"), CLOCK).is_err());
    }

    #[test]
    fn a_run_goes_on_only_where_every_journal_of_its_testbed_is() {
        let site = site("0 10.0.0.1 a 7000 x\n1 10.0.0.1 a 7001 x\n");
        let lacks_but = |follow: &[u16], lines: &str| {
            let facts = facts(&reply(&format!("{GOOD}{lines}")), CLOCK).unwrap();
            let follow = follow.iter().copied().map(NodeId).collect();
            lacks_for_resuming(&site, &facts, "ab", &follow).unwrap_or_default()
        };
        let lacks = |lines: &str| lacks_but(&[], lines);
        assert_eq!(lacks("testbed ab\njournal 0 4\njournal 1 9\n"), "");
        let lost = "node 1 has no journal there to go on from; --follow 1 goes on without its signatures";
        assert_eq!(lacks("testbed ab\njournal 0 4\n"), lost);
        assert_eq!(lacks_but(&[0], "testbed ab\njournal 0 4\n"), lost);
        assert_eq!(lacks_but(&[1], "testbed ab\njournal 0 4\n"), "");
        assert!(lacks("testbed cd\njournal 0 4\njournal 1 9\n").starts_with("testbed cd is installed there"));
        assert_eq!(lacks(""), "nothing is installed there to go on with");
        let journals = reply("journal 0 4000\njournal 1 8000\n").journals().unwrap();
        assert_eq!(super::journals(&journals), ", nodes 0-1 with journals (12.3 MB)");
    }

    #[test]
    fn a_port_is_taken_by_a_listener_on_the_address_or_on_all() {
        let site = site("0 10.0.0.1 a 7000 x\n1 10.0.0.1 a 7001 x\n");
        let hex = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let line = |address, port: u16, rest: &str| format!("listens {}:{port:04X} {rest}\n", hex(address));
        let found = |text: String| conflicts(&site, &listeners(&reply(&text)).unwrap());
        assert_eq!(
            found(line([10, 0, 0, 1], 7000, "42 nc")),
            ["port 7000 of node 0 is taken by nc (pid 42)"]
        );
        assert_eq!(
            found(line([0; 4], 7001, "0 ")),
            ["port 7001 of node 1 is taken by a process of somebody else"]
        );
        assert_eq!(found(line([127, 0, 0, 1], 7000, "42 nc")), Vec::<String>::new());
        assert_eq!(found(line([10, 0, 0, 1], 7002, "42 nc")), Vec::<String>::new());
        let any6 = format!("listens {:032}:{:04X} 7 x\n", 0, 7000);
        assert_eq!(found(any6).len(), 1);
        assert!(listeners(&reply("listens x:1B58 1 x\n")).is_err());
    }

    #[test]
    fn an_address_of_another_host_is_an_obstacle() {
        let site = site("0 10.0.0.9 a 7000 x\n1 0.0.0.0 a 7001 x\n2 fd00::1 a 7002 x\n");
        let reply = reply("address 10.0.0.1\naddress 127.0.0.1\naddress6 fd000000000000000000000000000001\n");
        assert_eq!(
            foreign_addresses(&site, &addresses(&reply)),
            ["private_ip 10.0.0.9 of node 0 is none of its addresses (10.0.0.1, fd00::1)"]
        );
        assert_eq!(foreign_addresses(&site, &BTreeSet::new()), Vec::<String>::new());
    }
}
