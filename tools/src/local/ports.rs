//! Ports for the nodes of a local run.
//!
//! Free ones are sought below the range from which the system takes the ports of outgoing connections: a port above
//! may be taken by a dialling node between being found free here and being bound by the node it was meant for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener};

use wire::hosts::{Host, Hosts};
use wire::ids::NodeId;
use wire::rand;

use crate::run::StartError;

/// The address of all nodes of a local run.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Lower ports are reserved or belong to well-known services.
const LOWEST: u16 = 10_000;

/// A place for each of `nodes` nodes: the ports from `base_port` on, or free ones.
pub(crate) fn places(nodes: u16, base_port: Option<u16>) -> Result<Hosts, StartError> {
    let ports = match base_port {
        Some(base) => consecutive(nodes, base)?,
        None => free(nodes, &[])?,
    };
    let host =
        |(id, port)| Host { id: NodeId(id), private_ip: LOCAL, public: LOCAL.to_string(), port, ssh: None };
    Ok(Hosts::new((0..).zip(ports).map(host).collect()))
}

/// The places of a run that goes on: those that it had, but other ports for those that are taken by now, or the ports
/// from `base_port` on.
pub(crate) fn again(hosts: Hosts, base_port: Option<u16>) -> Result<Hosts, StartError> {
    if base_port.is_some() {
        return places(hosts.count() as u16, base_port);
    }
    let had: Vec<u16> = hosts.iter().map(|host| host.port).collect();
    let is_taken = |port: &&u16| TcpListener::bind((LOCAL, **port)).is_err();
    let taken: Vec<u16> = had.iter().filter(is_taken).copied().collect();
    let others: BTreeMap<u16, u16> = taken.iter().copied().zip(free(taken.len() as u16, &had)?).collect();
    let port = |host: &Host| others.get(&host.port).copied().unwrap_or(host.port);
    Ok(Hosts::new(hosts.iter().map(|host| Host { port: port(host), ..host.clone() }).collect()))
}

/// As many free ports as `hosts` has nodes, none of which is one of theirs: for their metrics.
pub(crate) fn for_metrics(hosts: &Hosts) -> Result<Vec<u16>, StartError> {
    let taken: Vec<u16> = hosts.iter().map(|host| host.port).collect();
    free(taken.len() as u16, &taken)
}

fn consecutive(nodes: u16, base: u16) -> Result<Vec<u16>, StartError> {
    (0..nodes)
        .map(|index| {
            let port = base.checked_add(index).ok_or(StartError::PortsBeyondTheLast { base, nodes })?;
            TcpListener::bind((LOCAL, port)).map_err(|error| StartError::Port { port, error })?;
            Ok(port)
        })
        .collect()
}

fn free(count: u16, but: &[u16]) -> Result<Vec<u16>, StartError> {
    let highest = first_ephemeral().saturating_sub(1).max(LOWEST + 1);
    let span = usize::from(highest - LOWEST);
    // A random start keeps runs that begin at the same moment apart.
    let start = rand::below(span);
    // All are held until all are found, so that none is found twice.
    let mut held = Vec::new();
    for step in 0..span {
        if held.len() == usize::from(count) {
            break;
        }
        let port = LOWEST + ((start + step) % span) as u16;
        if !but.contains(&port)
            && let Ok(listener) = TcpListener::bind((LOCAL, port))
        {
            held.push((port, listener));
        }
    }
    if held.len() < usize::from(count) {
        return Err(StartError::NoFreePorts { from: LOWEST, to: highest });
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

/// The first port of outgoing connections; Linux's default if it cannot be read.
fn first_ephemeral() -> u16 {
    let read = || -> io::Result<Option<u16>> {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
        Ok(text.split_whitespace().next().and_then(|first| first.parse().ok()))
    };
    read().ok().flatten().unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_distinct_and_free() {
        let hosts = places(16, None).unwrap();
        assert_eq!(hosts.count(), 16);
        for host in hosts.iter() {
            assert!(host.port < first_ephemeral());
        }
    }

    #[test]
    fn a_run_that_goes_on_leaves_taken_ports() {
        let before = places(4, None).unwrap();
        let ports = |hosts: &Hosts| hosts.iter().map(|host| host.port).collect::<Vec<_>>();
        let had = ports(&before);
        let _other = TcpListener::bind((LOCAL, had[2])).unwrap();
        let now = ports(&again(before, None).unwrap());
        assert_eq!((now[0], now[1], now[3]), (had[0], had[1], had[3]));
        assert!(!had.contains(&now[2]), "{now:?}");
    }

    #[test]
    fn metrics_have_ports_of_their_own() {
        let hosts = places(8, None).unwrap();
        let ports = for_metrics(&hosts).unwrap();
        assert_eq!(ports.len(), 8);
        assert!(hosts.iter().all(|host| !ports.contains(&host.port)));
    }

    #[test]
    fn a_busy_base_port_is_named() {
        let busy = TcpListener::bind((LOCAL, 0)).unwrap();
        let port = busy.local_addr().unwrap().port();
        let error = places(1, Some(port)).unwrap_err().to_string();
        assert!(error.contains(&format!("port {port}")), "{error}");
        let error = places(3, Some(65_534)).unwrap_err().to_string();
        assert!(error.contains("65534"), "{error}");
    }
}
