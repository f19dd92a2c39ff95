//! The addresses of the nodes: the content of `hosts.txt`.
//!
//! One line a node, `id private_ip public_ip port [ssh_destination]`; `#` begins a comment. A node listens on
//! `private_ip:port`; everyone dials `public_ip:port`, where `public_ip` may be a name, resolved at each dial. Ids run
//! from 0 without a gap, in any order of lines. `committee.txt` determines the number of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::ids::NodeId;
use crate::limits::NODES_MAX;
use crate::text::ParseError;

/// The addresses of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// The node.
    pub id: NodeId,
    /// The address it listens on.
    pub private_ip: IpAddr,
    /// The address or name at which others reach it.
    pub public: String,
    /// The port, of both addresses.
    pub port: u16,
    /// The `ssh` destination of its machine, for deployments.
    pub ssh: Option<String>,
}

impl Host {
    /// The address that its `net_server` binds.
    pub fn listen_address(&self) -> SocketAddr {
        SocketAddr::new(self.private_ip, self.port)
    }
}

/// The addresses of all nodes, by id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hosts {
    hosts: Vec<Host>,
}

const EXPECTED: &str = "'id private_ip public_ip port [ssh_destination]'";

impl Hosts {
    /// Reads the text of a hosts file; `place` names the file in errors.
    pub fn parse(place: &str, text: &str) -> Result<Hosts, ParseError> {
        let mut hosts: BTreeMap<NodeId, Host> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (index, text) in text.lines().enumerate() {
            let content = text.split('#').next().unwrap_or_default();
            let words: Vec<&str> = content.split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let wrong = |value: &str, expected: &str| ParseError::at_line(place, index + 1, value, expected);
            let host = parse_host(&words, text, wrong)?;
            if !taken.insert((host.public.to_lowercase(), host.port)) {
                let at = format!("{} port {}", host.public, host.port);
                return Err(wrong(&at, "an address and port that no other node has"));
            }
            let id = host.id;
            if hosts.insert(id, host).is_some() {
                return Err(wrong(words[0], "an id that stands on no other line"));
            }
        }
        for (place_in_order, id) in hosts.keys().enumerate() {
            if usize::from(id.0) != place_in_order {
                let expected = format!("ids from 0 without a gap, so also {place_in_order}");
                return Err(ParseError::of(place, &format!("id {id}"), expected));
            }
        }
        if hosts.is_empty() {
            return Err(ParseError::of(place, "no node", format!("one line a node, {EXPECTED}")));
        }
        Ok(Hosts { hosts: hosts.into_values().collect() })
    }

    /// Reads a hosts file.
    pub fn load(path: &Path) -> Result<Hosts, ParseError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ParseError::of(&place, &error.to_string(), "a readable hosts file"))?;
        Hosts::parse(&place, &text)
    }

    /// Hosts whose ids are their indices.
    ///
    /// # Panics
    /// If their text does not parse to the same hosts: callers number them and give each its own address.
    pub fn new(hosts: Vec<Host>) -> Hosts {
        let hosts = Hosts { hosts };
        let read = Hosts::parse("hosts.txt", &hosts.text());
        assert_eq!(read.as_ref(), Ok(&hosts), "hosts are numbered from 0 and have addresses of their own");
        hosts
    }

    /// The text of a hosts file with these hosts.
    pub fn text(&self) -> String {
        let mut text = String::from("# id private_ip public_ip port [ssh_destination]\n");
        for host in &self.hosts {
            write!(text, "{} {} {} {}", host.id, host.private_ip, host.public, host.port)
                .expect("writing to a String does not fail");
            text.extend(host.ssh.iter().map(|ssh| format!(" {ssh}")));
            text.push('\n');
        }
        text
    }

    /// The host of a node.
    pub fn get(&self, node: NodeId) -> Option<&Host> {
        self.hosts.get(usize::from(node.0))
    }

    /// The number of nodes.
    pub fn count(&self) -> usize {
        self.hosts.len()
    }

    /// All hosts, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }
}

fn parse_host(
    words: &[&str],
    line: &str,
    wrong: impl Fn(&str, &str) -> ParseError,
) -> Result<Host, ParseError> {
    let (id, private_ip, public, port, ssh) = match *words {
        [id, private_ip, public, port] => (id, private_ip, public, port, None),
        [id, private_ip, public, port, ssh] => (id, private_ip, public, port, Some(ssh.to_string())),
        _ => return Err(wrong(line, EXPECTED)),
    };
    let id = id.parse().ok().filter(|id| *id < NODES_MAX);
    let id = id.ok_or_else(|| wrong(words[0], &format!("a node id from 0 to {}", NODES_MAX - 1)))?;
    let private_ip = private_ip.parse().map_err(|_| wrong(private_ip, "an IP address to listen on"))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
    if !public.chars().all(plain) {
        return Err(wrong(public, "an IP address or a host name"));
    }
    let port = port.parse().ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| wrong(words[3], "a port from 1 to 65535"))?;
    Ok(Host { id: NodeId(id), private_ip, public: public.into(), port, ssh })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# four columns and a fifth\n\n1 10.0.0.2 example.org 7001 me@example.org # far\n\
                        0 10.0.0.1 203.0.113.1 7000\n2 ::1 ::1 7000\n";

    #[test]
    fn reads_columns_comments_and_any_order() {
        let hosts = Hosts::parse("hosts.txt", TEXT).unwrap();
        assert_eq!(hosts.count(), 3);
        let far = hosts.get(NodeId(1)).unwrap();
        assert_eq!(
            (far.public.as_str(), far.port, far.ssh.as_deref()),
            ("example.org", 7001, Some("me@example.org"))
        );
        assert_eq!(hosts.get(NodeId(0)).unwrap().listen_address(), "10.0.0.1:7000".parse().unwrap());
        assert_eq!(hosts.get(NodeId(3)), None);
        assert_eq!(Hosts::parse("again", &hosts.text()), Ok(hosts.clone()));
        assert_eq!(Hosts::new(hosts.iter().cloned().collect()), hosts);
    }

    #[test]
    fn nodes_behind_different_gateways_may_listen_on_the_same_private_address() {
        let text = "0 0.0.0.0 198.51.100.1 7000\n1 0.0.0.0 198.51.100.2 7000\n";
        assert_eq!(Hosts::parse("h", text).unwrap().count(), 2);
    }

    #[test]
    fn errors_name_line_value_and_expectation() {
        let cases = [
            ("0 127.0.0.1 127.0.0.1", "line 1: found '0 127.0.0.1 127.0.0.1', expected 'id private_ip"),
            ("x 127.0.0.1 127.0.0.1 7000", "line 1: found 'x', expected a node id"),
            ("5000 127.0.0.1 127.0.0.1 7000", "line 1: found '5000', expected a node id from 0 to 1023"),
            ("0 localhost localhost 7000", "line 1: found 'localhost', expected an IP address to listen on"),
            ("0 127.0.0.1 a/b 7000", "line 1: found 'a/b', expected an IP address or a host name"),
            ("0 127.0.0.1 127.0.0.1 70000", "line 1: found '70000', expected a port"),
            ("0 127.0.0.1 127.0.0.1 0", "line 1: found '0', expected a port"),
            ("0 ::1 a 1\n1 ::1 A 1", "line 2: found 'A port 1', expected an address and port that no other"),
            ("0 ::1 a 1\n0 ::1 b 1", "line 2: found '0', expected an id that stands on no other line"),
            ("0 ::1 a 1\n2 ::1 b 1", "found 'id 2', expected ids from 0 without a gap, so also 1"),
            ("# nothing\n", "found 'no node', expected one line a node"),
        ];
        for (text, message) in cases {
            let error = Hosts::parse("h", text).unwrap_err().to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
