//! The hosts of a testbed with their nodes, and steps on all of them at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wire::hosts::{Host, Hosts};
use wire::ids::NodeId;
use wire::text::ParseError;

use crate::ids;
use crate::terminal::print;

/// How often hosts that keep others waiting are listed.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// A host and its nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Site {
    /// Its place among the hosts, in the order of their first nodes.
    pub(super) index: usize,
    /// Its `ssh` destination.
    pub(super) destination: String,
    pub(super) nodes: Vec<Host>,
}

impl Site {
    /// The ids of its nodes.
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().map(|host| host.id)
    }

    /// The list of its nodes, such as `0-3+8`.
    pub(super) fn ids_text(&self) -> String {
        ids::list(self.ids().map(|id| id.0.into()))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.destination)
    }
}

/// The hosts of a hosts file; `place` names it in errors.
pub(super) fn sites(place: &str, hosts: &Hosts) -> Result<Vec<Site>, ParseError> {
    let mut sites: Vec<Site> = Vec::new();
    let mut by_destination: BTreeMap<&str, usize> = BTreeMap::new();
    for host in hosts.iter() {
        let wrong = |value: &str, expected: &str| Err(ParseError::of(place, value, expected));
        let Some(destination) = &host.ssh else {
            let value = format!("node {} without an ssh destination", host.id);
            return wrong(&value, "a fifth column, e.g. user@host, for every node");
        };
        // A comma separates columns in files about hosts, and a dash would make it an option of ssh.
        if destination.starts_with('-') || destination.contains(',') {
            return wrong(destination, "an ssh destination that has no comma and does not begin with '-'");
        }
        let index = *by_destination.entry(destination).or_insert(sites.len());
        if index == sites.len() {
            sites.push(Site { index, destination: destination.clone(), nodes: Vec::new() });
        }
        let site = &mut sites[index];
        if let Some(other) = site.nodes.iter().find(|other| other.listen_address() == host.listen_address()) {
            let value = format!("nodes {} and {} on {}", other.id, host.id, host.listen_address());
            return wrong(&value, &format!("addresses and ports of their own on {destination}"));
        }
        site.nodes.push(host.clone());
    }
    Ok(sites)
}

/// Failures by host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failures {
    /// The step.
    doing: String,
    hosts: usize,
    /// Each host with what went wrong there, all of it.
    failed: Vec<(Site, Vec<String>)>,
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed on {} of {} hosts", self.doing, self.failed.len(), self.hosts)?;
        for (site, reasons) in &self.failed {
            for reason in reasons {
                write!(
                    f,
                    "\n  {site} ({}): {reason}",
                    ids::numbers_text("node", site.ids().map(|id| id.0.into()))
                )?;
            }
        }
        Ok(())
    }
}

/// The outcome on each host, in their order.
pub(super) type Outcomes<T> = Vec<Result<T, Vec<String>>>;

/// Does something on all hosts at once, a thread each. `work` returns its result and a note, which is printed as soon
/// as the host is done; or all that went wrong there.
pub(super) fn on_all<T: Send>(
    sites: &[Site],
    doing: &str,
    work: impl Fn(&Site) -> Result<(T, String), Vec<String>> + Sync,
) -> Outcomes<T> {
    let done = AtomicUsize::new(0);
    let one = |site: &Site| {
        let result = work(site);
        let count = done.fetch_add(1, Ordering::Relaxed) + 1;
        let note = match &result {
            Ok((_, note)) => note.clone(),
            Err(reasons) => format!("FAILED: {}", reasons.join("; ")),
        };
        if !note.is_empty() {
            print(format!("{doing} {count}/{}  {site}: {note}", sites.len()));
        }
        result.map(|(value, _)| value)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = sites.iter().map(|site| scope.spawn(|| one(site))).collect();
        let mut printed = Instant::now();
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(5));
            if printed.elapsed() >= PROGRESS_INTERVAL {
                let busy = sites.iter().zip(&threads).filter(|(_, thread)| !thread.is_finished());
                let busy: Vec<String> = busy.map(|(site, _)| site.to_string()).collect();
                print(format!("{doing}: still waiting for {}", busy.join(", ")));
                printed = Instant::now();
            }
        }
        let panicked = |_| Err(vec!["the thread of this host panicked".to_string()]);
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    })
}

/// The results of all hosts; or what went wrong on those where something did.
pub(super) fn all_or_failures<T>(
    sites: &[Site],
    doing: &str,
    outcomes: Outcomes<T>,
) -> Result<Vec<T>, Failures> {
    let mut values = Vec::new();
    let mut failed = Vec::new();
    for (site, outcome) in sites.iter().zip(outcomes) {
        match outcome {
            Ok(value) => values.push(value),
            Err(reasons) => failed.push((site.clone(), reasons)),
        }
    }
    if failed.is_empty() {
        Ok(values)
    } else {
        Err(Failures { doing: doing.into(), hosts: sites.len(), failed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Site>, String> {
        sites("h", &Hosts::parse("h", text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn nodes_with_one_destination_are_on_one_host() {
        let sites = parse("0 10.0.0.1 a 1 x\n1 10.0.0.2 b 1 y\n2 10.0.0.1 a 2 x\n").unwrap();
        let texts: Vec<String> = sites.iter().map(|site| format!("{site}:{}", site.ids_text())).collect();
        assert_eq!(texts, ["x:0+2", "y:1"]);
        assert_eq!(sites[1].index, 1);
    }

    #[test]
    fn what_cannot_be_deployed_is_named() {
        for (text, part) in [
            ("0 ::1 a 1\n", "found 'node 0 without an ssh destination'"),
            ("0 ::1 a 1 -oProxyCommand=x\n", "found '-oProxyCommand=x'"),
            ("0 ::1 a 1 x,y\n", "found 'x,y'"),
            ("0 ::1 a 1 x\n1 ::1 b 1 x\n", "found 'nodes 0 and 1 on [::1]:1'"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_error_lists_all_failures_of_all_hosts() {
        let sites = parse("0 ::1 a 1 x\n1 ::1 b 1 y\n2 ::1 c 1 z\n").unwrap();
        let outcomes = on_all(&sites, "test", |site| match site.index {
            1 => Ok(((), String::new())),
            index => Err(vec![format!("one {index}"), format!("two {index}")]),
        });
        let failures = all_or_failures(&sites, "testing", outcomes).unwrap_err().to_string();
        assert_eq!(
            failures,
            "testing failed on 2 of 3 hosts\n  x (node 0): one 0\n  x (node 0): two 0\n  z (node 2): one 2\n  \
             z (node 2): two 2"
        );
    }
}
