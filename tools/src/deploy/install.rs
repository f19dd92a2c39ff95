//! Bringing a testbed to its hosts: the programs, where all nodes are, the committee, and to each host the keys of its
//! own nodes only.
//!
//! A file that is there already, by its SHA-256, is not sent again. Files travel under another name and are moved when
//! they have come whole, so that half a program is never run. In the end each host reports its version.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wire::committee::Committee;
use wire::hex;
use wire::hosts::{Host, Hosts};

use super::deployment::Deployment;
use super::script::{self, Reply, printable, quoted};
use super::sites::{Failures, Site, all_or_failures, on_all};
use super::ssh_error::SshError;
use super::step::Input;
use crate::run::{BYZANTINE, Directories, ProgramError, program, wan};

/// The programs of a node, and the one that offers load.
const PROGRAMS: [&str; 4] = ["node", "net_client", "net_server", "tools"];

/// All files for hosts.
pub(super) struct Bundle {
    /// For all of them.
    common: Vec<Item>,
    keys: PathBuf,
    testbed: String,
    version: String,
}

/// A file and what it is to be there.
#[derive(Clone)]
struct Item {
    path: String,
    mode: &'static str,
    source: Source,
    sum: String,
    bytes: u64,
}

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Text(String),
}

/// Why there is nothing to bring.
#[derive(Debug)]
pub(super) struct BundleError(String);

impl std::fmt::Display for BundleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ProgramError> for BundleError {
    fn from(error: ProgramError) -> BundleError {
        BundleError(error.to_string())
    }
}

impl Bundle {
    /// The programs beside this one, and the files of a testbed.
    pub(super) fn gather(
        hosts: &Hosts,
        committee: &Committee,
        directories: &Directories,
    ) -> Result<Bundle, BundleError> {
        let keys = directories.keys();
        let mut common = Vec::new();
        for name in PROGRAMS {
            let path = program(name)?;
            common.push(Item::file(format!("bin/{name}"), "0700", path)?);
        }
        // Where to log in is nobody else's business.
        let places = hosts.iter().map(|host| Host { ssh: None, ..host.clone() }).collect();
        common.push(Item::text("hosts.txt", Hosts::new(places).text()));
        common.push(Item::text("wan.txt", wan_text(directories)?));
        common.push(Item::text("keys/committee.txt", committee.text().to_string()));
        Ok(Bundle { common, keys, testbed: committee.testbed().to_string(), version: version_of_node()? })
    }

    /// The same with the program of Byzantine nodes.
    pub(super) fn with_byzantine(mut self) -> Result<Bundle, BundleError> {
        self.common.push(Item::file(format!("bin/{BYZANTINE}"), "0700", program(BYZANTINE)?)?);
        Ok(self)
    }

    fn items_of(&self, site: &Site) -> Result<Vec<Item>, BundleError> {
        let mut items = self.common.clone();
        for id in site.ids() {
            let name = format!("node-{id}.key");
            items.push(Item::file(format!("keys/{name}"), "0600", self.keys.join(name))?);
        }
        Ok(items)
    }
}

/// The network that nodes emulate. Its file replaces that of an earlier run, so there is one even if there is none.
fn wan_text(directories: &Directories) -> Result<String, BundleError> {
    match wan::written(directories) {
        Some(path) => fs::read_to_string(&path)
            .map_err(|error| BundleError(format!("cannot read {}: {error}", path.display()))),
        None => Ok("# no network is emulated\n".into()),
    }
}

impl Item {
    fn file(path: String, mode: &'static str, source: PathBuf) -> Result<Item, BundleError> {
        let sum = sum_of(&source)
            .map_err(|error| BundleError(format!("cannot read {}: {error}", source.display())))?;
        Ok(Item { path, mode, source: Source::File(source), sum: sum.0, bytes: sum.1 })
    }

    fn text(path: &str, text: String) -> Item {
        let sum = hex::encode(&Sha256::digest(text.as_bytes()));
        Item { path: path.into(), mode: "0600", bytes: text.len() as u64, source: Source::Text(text), sum }
    }

    fn open(&self) -> Result<Input, SshError> {
        match &self.source {
            Source::Text(text) => Ok(Input::Bytes(text.clone().into_bytes())),
            Source::File(path) => {
                let what = || format!("cannot read {}", path.display());
                File::open(path).map(Input::File).map_err(|error| SshError::Here { what: what(), error })
            }
        }
    }
}

/// Brings everything to all hosts.
pub(super) fn install(deployment: &Deployment, bundle: &Bundle) -> Result<(), Failures> {
    let sites = &deployment.target.sites;
    let outcomes = on_all(sites, "install", |site| {
        let items = bundle.items_of(site).map_err(|error| vec![error.to_string()])?;
        let note = install_on(deployment, site, bundle, &items).map_err(|error| vec![error.to_string()])?;
        let version = version_on(deployment, site).map_err(|error| vec![error.to_string()])?;
        if version == bundle.version {
            Ok(((), note))
        } else {
            Err(vec![format!("'{version}' runs there, and '{}' was installed", bundle.version)])
        }
    });
    all_or_failures(sites, "install", outcomes).map(drop)
}

fn install_on(
    deployment: &Deployment,
    site: &Site,
    bundle: &Bundle,
    items: &[Item],
) -> Result<String, SshError> {
    let paths = items.iter().map(|item| item.path.clone());
    let arguments = [bundle.testbed.clone()].into_iter().chain(paths);
    let reply = deployment.run(site, script::INVENTORY, arguments, Duration::ZERO)?;
    let there = sums(&reply);
    let missing: Vec<&Item> =
        items.iter().filter(|item| there.get(item.path.as_str()) != Some(&item.sum.as_str())).collect();
    for item in &missing {
        let doing = format!("sending {}", item.path);
        deployment.ssh.send(site, &doing, &receive(&deployment.target.run_dir, &item.path), item.open()?)?;
    }
    let words = missing.iter().flat_map(|item| [item.sum.clone(), item.mode.into(), item.path.clone()]);
    deployment.run(site, script::PLACE, words, Duration::ZERO)?;
    let bytes: u64 = missing.iter().map(|item| item.bytes).sum();
    let unchanged = items.len() - missing.len();
    Ok(format!("sent {} files ({:.1} MB), {unchanged} unchanged", missing.len(), bytes as f64 / 1e6))
}

/// The command that takes a file from its input.
fn receive(run_dir: &str, path: &str) -> String {
    let part = quoted(&format!("{path}.part"));
    let script =
        format!("umask 077; cd {} && {{ cat > {part} || {{ rm -f {part}; exit 1; }}; }}", quoted(run_dir));
    format!("exec sh -c {}", quoted(&script))
}

fn sums(reply: &Reply) -> BTreeMap<&str, &str> {
    reply.all("sum").filter_map(|text| text.split_once(' ')).map(|(sum, path)| (path, sum)).collect()
}

/// The version that a host reports.
pub(super) fn version_on(deployment: &Deployment, site: &Site) -> Result<String, SshError> {
    let reply = deployment.run(site, script::STATUS, ["full".to_string()], Duration::ZERO)?;
    Ok(printable(reply.text("version").unwrap_or("nothing")))
}

/// The version of `node` here.
pub(super) fn version_of_node() -> Result<String, BundleError> {
    let program = program("node")?;
    let output = Command::new(&program)
        .arg("--version")
        .output()
        .map_err(|error| BundleError(format!("cannot run {}: {error}", program.display())))?;
    Ok(printable(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default()))
}

/// SHA-256 and length of a file.
fn sum_of(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hex::encode(&hash.finalize()), bytes)),
            count => {
                hash.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::TestDir;

    #[test]
    fn sums_are_those_of_sha256sum() {
        let dir = TestDir::new();
        let path = dir.path().join("x");
        fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sum_of(&path).unwrap(), (expected.to_string(), 3));
        assert_eq!(Item::text("x", "abc".into()).sum, expected);
    }

    #[test]
    fn what_is_received_is_whole_or_not_there() {
        let dir = TestDir::new();
        let run_dir = dir.path().join("it's here");
        fs::create_dir(&run_dir).unwrap();
        let command = receive(run_dir.to_str().unwrap(), "a file");
        let mut child =
            Command::new("sh").args(["-c", &command]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        io::Write::write_all(&mut child.stdin.take().unwrap(), b"abc").unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(fs::read(run_dir.join("a file.part")).unwrap(), b"abc");
        let absent = receive(dir.path().join("absent").to_str().unwrap(), "x");
        let status = Command::new("sh").args(["-c", &absent]).stderr(std::process::Stdio::null()).status();
        assert!(!status.unwrap().success());
    }
}
