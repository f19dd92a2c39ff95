//! `--wan`: which wide-area network the nodes of a run emulate.
//!
//! A run writes the network into its data directory, with the seed of its randomness and the time at which its first
//! phase began. Nodes read it there whenever they are started, so a restart and `--resume` change nothing.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use wire::nearest;
use wire::text::ParseError;
use wire::wan::Wan;

use super::directories::Directories;
use super::error::StartError;
use crate::flags::{Opt, UsageError, Values};

pub(crate) const WAN: Opt = Opt::with(
    "wan",
    "NAME|FILE",
    "none",
    "The wide-area network that nodes emulate: none, good (every link 50 ms one way and 200 Mbit/s), bad (300 ms and 50 \
     Mbit/s), dynamic (these two in turn, 120 s each), measured regions of a cloud (aws-4, ibm-10, azure-20), or a file of \
     regions and links as docs/wan.md explains it.",
);

/// The networks that have a name.
const NAMED: [(&str, &str); 6] = [
    ("good", include_str!("../../../wan/good.txt")),
    ("bad", include_str!("../../../wan/bad.txt")),
    ("dynamic", include_str!("../../../wan/dynamic.txt")),
    ("aws-4", include_str!("../../../wan/aws-4.txt")),
    ("ibm-10", include_str!("../../../wan/ibm-10.txt")),
    ("azure-20", include_str!("../../../wan/azure-20.txt")),
];

/// What a command line says about the network.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum WanPlan {
    /// None is emulated.
    #[default]
    Off,
    /// That of the run that is gone on with, if it had one.
    AsBefore,
    /// This one.
    On(Network),
}

/// A network that was read and understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Network {
    text: String,
    seed: u64,
}

impl WanPlan {
    /// The network of a command line for so many nodes.
    pub(crate) fn of(values: &Values, nodes: u16, seed: u64) -> Result<WanPlan, UsageError> {
        if values.is_given("resume") && !values.is_given(WAN.name) {
            return Ok(WanPlan::AsBefore);
        }
        let (place, text) = match values.required(WAN.name)? {
            "none" => return Ok(WanPlan::Off),
            name => read(name)?,
        };
        Wan::parse(&place, &text)?.check(&place, nodes)?;
        Ok(WanPlan::On(Network { text, seed }))
    }

    /// Writes the network of a run that begins now into its data directory.
    pub(crate) fn write(&self, directories: &Directories) -> Result<(), StartError> {
        let path = directories.wan();
        match self {
            WanPlan::AsBefore => Ok(()),
            WanPlan::Off => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(StartError::file("remove", &path, error))
                }
                _ => Ok(()),
            },
            WanPlan::On(network) => {
                fs::write(&path, network.as_of_now()).map_err(|error| StartError::file("write", &path, error))
            }
        }
    }
}

impl Network {
    /// The text for the nodes of a run that begins now.
    fn as_of_now(&self) -> String {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        format!("{}\nbegins {now_ms}\nseed {}\n", self.text.trim_end(), self.seed)
    }
}

/// The network of a run's data directory, if it has one.
pub(crate) fn written(directories: &Directories) -> Option<PathBuf> {
    Some(directories.wan()).filter(|path| path.exists())
}

/// The text of a network by its name or file, and its place in errors.
fn read(name: &str) -> Result<(String, String), ParseError> {
    if let Some((_, text)) = NAMED.iter().find(|(known, _)| *known == name) {
        return Ok((format!("--wan {name}"), (*text).into()));
    }
    fs::read_to_string(name).map(|text| (name.into(), text)).map_err(|error| {
        let known: Vec<&str> = ["none"].into_iter().chain(NAMED.iter().map(|(name, _)| *name)).collect();
        let hint = nearest::hint(name, &known);
        let expected = format!("one of {}, or a file that can be read{hint}", known.join(", "));
        ParseError::of("--wan", &format!("{name} ({error})"), expected)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::ids::NodeId;

    use super::*;
    use crate::flags::Invocation;
    use crate::local::COMMAND;
    use crate::testing::TestDir;

    fn plan(line: &str) -> Result<WanPlan, String> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        match COMMAND.parse(&words) {
            Ok(Invocation::Run(values)) => WanPlan::of(&values, 4, 9).map_err(|error| error.to_string()),
            _ => panic!("{line}"),
        }
    }

    fn directories(dir: &TestDir) -> Directories {
        Directories { log: dir.path().join("log"), data: dir.path().into() }
    }

    #[test]
    fn named_networks_are_what_their_names_say() {
        for (name, regions) in [("aws-4", 4), ("ibm-10", 10), ("azure-20", 20)] {
            let (place, text) = read(name).unwrap();
            let wan = Wan::parse(&place, &text).unwrap();
            let delay = |from, to| wan.link(NodeId(from), NodeId(to)).at(Duration::ZERO).delay;
            let pairs = (0..regions).flat_map(|from| (0..regions).map(move |to| (from, to)));
            for (from, to) in pairs.filter(|(from, to)| from != to) {
                let (there, back) = (delay(from, to), delay(to, from));
                assert!((2..200).contains(&there.as_millis()), "{name}: {from} to {to} {there:?}");
                // A slip of a column would break the symmetry that measured round trips have.
                assert!(there.abs_diff(back) <= Duration::from_micros(2_500), "{name}: {from} and {to}");
            }
            assert!(wan.link(NodeId(0), NodeId(regions)).is_plain(), "{name}: within a region");
        }
        let at = |name: &str, after_s| {
            let wan = Wan::parse(name, &read(name).unwrap().1).unwrap();
            wan.link(NodeId(0), NodeId(1)).at(Duration::from_secs(after_s)).to_string()
        };
        assert_eq!(at("good", 0), "delay=50ms bandwidth=200mbit");
        assert_eq!(at("bad", 0), "delay=300ms bandwidth=50mbit");
        assert_eq!(
            [at("dynamic", 119), at("dynamic", 120), at("dynamic", 240)],
            [at("good", 0), at("bad", 0), at("good", 0)]
        );
    }

    #[test]
    fn a_network_is_written_with_its_seed_and_stays_when_a_run_goes_on() {
        let dir = TestDir::new();
        let directories = directories(&dir);
        let read = || Wan::load(&directories.wan(), 4).unwrap();
        plan("--wan dynamic").unwrap().write(&directories).unwrap();
        let first = read();
        let link = first.link(NodeId(0), NodeId(1));
        assert!(link.begins_ms > 1_500_000_000_000, "{link:?}");
        plan("--resume").unwrap().write(&directories).unwrap();
        assert_eq!(read(), first);
        plan("--resume --wan bad").unwrap().write(&directories).unwrap();
        assert_ne!(read(), first);
        plan("").unwrap().write(&directories).unwrap();
        assert_eq!(written(&directories), None);
        plan("").unwrap().write(&directories).unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        let dir = TestDir::new();
        let file = dir.path().join("my.txt");
        fs::write(&file, "regions a b\nlink a b delay=1\n").unwrap();
        let place = file.display();
        for (line, error) in [
            ("--wan god".to_string(), "--wan: found 'god (No such file".to_string()),
            (
                format!("--wan {place}"),
                format!("{place}, line 2: found 'delay=1', expected a time from 0 to 5 s"),
            ),
        ] {
            let found = plan(&line).unwrap_err();
            assert!(found.starts_with(&error), "{found}");
        }
        assert!(plan("--wan god").unwrap_err().ends_with("; the nearest is 'good'"));
        fs::write(&file, "regions a\nnodes a 0-2\n").unwrap();
        let found = plan(&format!("--wan {place}")).unwrap_err();
        assert_eq!(
            found,
            format!("{place}: found 'no region of node 3', expected a line 'nodes' that names it")
        );
    }
}
