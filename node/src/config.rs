//! The settings of a node: its flags and the files that they name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bft::journal::Durability;
use bft::pending::Share;
use wire::committee::Committee;
use wire::flags::{Flag, Flags, Value};
use wire::ids::NodeId;
use wire::keys::NodeKeys;
use wire::limits::local::{Local, LocalLimits};
use wire::limits::{FRAME_BYTES_MAX, HISTORY_BYTES_MAX, PIPELINE_DEFAULT};
use wire::program::Program;
use wire::startup::Startup;
use wire::text::ParseError;
use wire::wan::Wan;

use crate::child::{Child, Spec};
use crate::journal::JournalSettings;
use crate::outlet::Bounds;
use crate::pipe::{self, PipeSettings};

/// A node's settings, checked.
pub(crate) struct Config {
    pub(crate) id: NodeId,
    pub(crate) committee: Arc<Committee>,
    pub(crate) own_keys: NodeKeys,
    /// The directory of logs and figures.
    pub(crate) log_dir: PathBuf,
    pub(crate) stop: StopWhen,
    pub(crate) machine: MachineSettings,
    pub(crate) journal: Option<JournalSettings>,
    /// Whether a node that may not sign starts all the same.
    pub(crate) follow: bool,
    /// The limits of this run, for all three processes.
    pub(crate) limits: LocalLimits,
    /// The port of the metrics.
    pub(crate) metrics: Option<u16>,
    hosts_file: PathBuf,
    keys_directory: PathBuf,
    /// The file of the emulated network, which has been read to find mistakes at once.
    wan: Option<PathBuf>,
}

/// When a node ends in an orderly way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StopWhen {
    /// At the end of its standard input.
    StdinEnds,
    /// At the line `stop` on its standard input.
    StdinLine,
    /// Only by a signal, which is a crash.
    Never,
}

/// The machine that the round loop drives, and its settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum MachineSettings {
    /// The consensus core.
    Core(CoreSettings),
    /// The counter of the raw pipe.
    Pipe(PipeSettings),
}

/// The settings of the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CoreSettings {
    /// Most transactions in one proposal.
    pub(crate) batch: usize,
    /// Most open lane entries beyond the last decided cut.
    pub(crate) pipeline: u64,
    /// Bytes of executed entries kept for members that lag.
    pub(crate) history_bytes_max: u64,
    /// The members that hold copies of what waits here.
    pub(crate) share: Share,
}

/// The command line of `node`.
pub(crate) const PROGRAM: Program = Program {
    name: "node",
    summary: "one participant of a testbed",
    about: &[
        "Runs the consensus core, and starts net_client and net_server from its own directory: the processes that send \
         and listen for it. 'tools local' and 'tools deploy' start nodes; --help of these explains a whole run.",
        "A node prints nothing on standard output. Its log is DIR/consensus-node-N.log, those of its children are \
         DIR/node-net-client-N.log and DIR/node-net-server-N.log; errors of start and end go to standard error. Keys \
         serve one start, or one journal: KEYS/node-N.used marks those that have signed. Without a --stop-on option only a signal \
         ends it, which is a crash: up to a second of rounds-N.csv is lost.",
    ],
    own: &[
        Flag::required("--log-dir", "DIR", "The directory of logs and rounds-N.csv, which must exist."),
        Flag {
            name: "--batch",
            value: Value::Number { shape: "B", min: 1, max: BATCH_MAX, default: Some(BATCH_DEFAULT) },
            help: "Most transactions in one lane entry.",
        },
        Flag {
            name: "--pipeline",
            value: Value::Number { shape: "W", min: 1, max: PIPELINE_MAX, default: Some(PIPELINE_DEFAULT) },
            help: "Most lane entries that may be open beyond the last decided cut.",
        },
        Flag {
            name: "--history-mib",
            value: Value::Number {
                shape: "M",
                min: 1,
                max: HISTORY_MIB_MAX,
                default: Some(HISTORY_MIB_DEFAULT),
            },
            help: "MiB of executed entries kept for nodes that lag, in memory or in the journal.",
        },
        Flag {
            name: "--metrics",
            value: Value::Number { shape: "PORT", min: 1, max: PORT_MAX, default: None },
            help: "Serves metrics on this port of 127.0.0.1. Without it there are none.",
        },
        Flag::optional(
            "--share",
            "all|backup|none",
            "Which other members of the shard hold copies of transactions that wait here: all, the next f that are connected \
             (backup), or none. backup unless given.",
        ),
        Flag::optional(
            "--journal",
            "DIR",
            "Writes down everything that the core is fed, in this directory, and goes on from what it holds: the node stands \
             where it stood, and contradicts nothing that it has signed. Without it nothing is written down.",
        ),
        Flag::optional(
            "--durability",
            "process|power",
            "What is written before its effects leave the node: process, to the system (it outlives the processes); power, \
             to the disk (it outlives a loss of power). With --journal; process unless given.",
        ),
        Flag::switch(
            "--follow",
            "If what these keys have signed is not known any more, starts all the same and signs nothing: the node executes \
             what the others decide, takes no transactions, and counts against f.",
        ),
        Flag::optional(
            "--wan",
            "FILE",
            "The WAN that net_client emulates, as 'tools local --wan' writes it. Without it there is none.",
        ),
        Flag::switch(
            "--stop-on-stdin-eof",
            "Ends in good order at the end of standard input. Takes the lines of --stop-on-stdin-line, too.",
        ),
        Flag::switch(
            "--stop-on-stdin-line",
            "Ends in good order at the line 'stop' on standard input, whose end is ignored. A line 'link NODE RULE' sets \
             the rule of the link to a node: none, cut, delay=TIME, bandwidth=RATE, or the last two with a comma between \
             them, e.g. 'link 3 delay=200ms,bandwidth=10mbit'.",
        ),
        Flag::optional(
            "--pipe",
            "BYTES,WINDOW",
            "Measures the raw pipe instead of running the core: bodies of BYTES (17 to 16777216) to each member of the \
             shard, WINDOW of them open at once; together at most half of outbox-bytes. Without it the core runs.",
        ),
    ],
    exit_status: &[
        (0, "ended on request"),
        (
            1,
            "could not go on: used keys without their journal, a journal that is damaged or of other settings, a child that \
             cannot be kept running, a file that cannot be written",
        ),
        (
            2,
            "the command line, RUST_LOG or a file is wrong, the port of the metrics is taken, or a node of this id logs \
             there; nothing was started",
        ),
    ],
};

impl Config {
    /// Reads the flags and the files they name.
    pub(crate) fn read(arguments: impl IntoIterator<Item = String>) -> Result<Config, ParseError> {
        let (startup, flags) = Startup::read(arguments, &PROGRAM)?;
        let Startup { id, committee, hosts, keys: own_keys, limits, hosts_file, keys_directory } = startup;
        let log_dir = flags.path("--log-dir")?;
        if !log_dir.is_dir() {
            let given = log_dir.display().to_string();
            return Err(ParseError::of("--log-dir", &given, "a directory that exists"));
        }
        let stop = match (flags.has("--stop-on-stdin-eof"), flags.has("--stop-on-stdin-line")) {
            (true, true) => {
                let expected = "one of it and --stop-on-stdin-eof";
                return Err(ParseError::of("--stop-on-stdin-line", "both", expected));
            }
            (true, false) => StopWhen::StdinEnds,
            (false, true) => StopWhen::StdinLine,
            (false, false) => StopWhen::Never,
        };
        let parse_pipe = |text: &str| parse_pipe(text, limits.get(Local::OutboxBytes));
        let machine = match flags.value("--pipe", PIPE_EXPECTED, parse_pipe)? {
            Some(settings) => MachineSettings::Pipe(settings),
            None => MachineSettings::Core(core_settings(&flags)?),
        };
        let journal = journal(&flags)?;
        let metrics = flags.number("--metrics").map(|port| port as u16);
        let wan = flags.has("--wan").then(|| flags.path("--wan")).transpose()?;
        if let Some(path) = &wan {
            Wan::load(path, hosts.count() as u16)?;
        }
        let committee = Arc::new(committee);
        Ok(Config {
            id,
            committee,
            own_keys,
            log_dir,
            stop,
            machine,
            journal,
            follow: flags.has("--follow"),
            limits,
            metrics,
            hosts_file,
            keys_directory,
            wan,
        })
    }

    /// The file whose existence shows that these keys have signed.
    pub(crate) fn used_mark(&self) -> PathBuf {
        self.keys_directory.join(format!("node-{}.used", self.id))
    }

    /// The node's own log.
    pub(crate) fn log(&self) -> PathBuf {
        self.log_dir.join(format!("consensus-node-{}.log", self.id))
    }

    /// How to start a child. Its program is in the same directory as ours.
    pub(crate) fn child(&self, child: Child, own_program: &Path) -> Spec {
        let log = match child {
            Child::NetClient => format!("node-net-client-{}.log", self.id),
            Child::NetServer => format!("node-net-server-{}.log", self.id),
        };
        let log = self.log_dir.join(log);
        let flag = |name: &str, value: &Path| [OsString::from(name), value.into()];
        let arguments = [
            flag("--id", Path::new(&self.id.to_string())),
            flag("--hosts", &self.hosts_file),
            flag("--keys", &self.keys_directory),
            flag("--log", &log),
        ];
        let limits = self.limits.text().map(|list| flag("--limits", Path::new(&list)));
        let wan = self.wan.as_ref().filter(|_| child == Child::NetClient).map(|path| flag("--wan", path));
        let arguments = arguments.into_iter().chain(limits).chain(wan).flatten().collect();
        let program = own_program.with_file_name(child.name());
        let bounds = Bounds::of(self.committee.n(), &self.limits);
        Spec { child, program, arguments, log, bounds }
    }
}

/// With 250 bytes each, they fill a proposal almost completely.
const BATCH_DEFAULT: u64 = 30_000;
const BATCH_MAX: u64 = 1_000_000;
/// Far more than the bound in bytes allows.
const PIPELINE_MAX: u64 = 1_024;
const HISTORY_MIB_DEFAULT: u64 = HISTORY_BYTES_MAX >> 20;
const HISTORY_MIB_MAX: u64 = 1 << 20;
const PORT_MAX: u64 = u16::MAX as u64;

fn core_settings(flags: &Flags) -> Result<CoreSettings, ParseError> {
    let number = |name| flags.number(name).expect("it has a default");
    Ok(CoreSettings {
        batch: number("--batch") as usize,
        pipeline: number("--pipeline"),
        history_bytes_max: number("--history-mib") << 20,
        share: flags.value("--share", "all, backup or none", Share::parse)?.unwrap_or_default(),
    })
}

fn journal(flags: &Flags) -> Result<Option<JournalSettings>, ParseError> {
    let durability = flags.value("--durability", "process or power", |text| match text {
        "process" => Some(Durability::Process),
        "power" => Some(Durability::Power),
        _ => None,
    })?;
    match (flags.has("--journal"), durability) {
        (true, durability) => Ok(Some(JournalSettings {
            directory: flags.path("--journal")?,
            durability: durability.unwrap_or(Durability::Process),
        })),
        (false, None) => Ok(None),
        (false, Some(_)) => {
            let given = flags.text("--durability").unwrap_or_default();
            Err(ParseError::of("--durability", given, "--journal beside it"))
        }
    }
}

const PIPE_EXPECTED: &str = "BYTES,WINDOW: the length of a body (17 bytes to 16 MiB) and how many are open at once, \
                             together at most half of outbox-bytes (see --limits)";

/// `BYTES,WINDOW`. Two windows must fit an outbox, so that sending one again drops nothing.
fn parse_pipe(text: &str, outbox_bytes_max: u64) -> Option<PipeSettings> {
    let (body_bytes, window) = text.split_once(',')?;
    let (body_bytes, window): (u64, u64) = (body_bytes.parse().ok()?, window.parse().ok()?);
    let lawful = (pipe::HEAD_BYTES as u64..=FRAME_BYTES_MAX).contains(&body_bytes)
        && window > 0
        && body_bytes.checked_mul(window)? <= outbox_bytes_max / 2;
    lawful.then_some(PipeSettings { body_bytes: body_bytes as usize, window })
}

#[cfg(test)]
mod tests {
    use wire::limits::OUTBOX_BYTES_MAX;

    use super::*;

    #[test]
    fn the_page_names_the_bounds_of_a_body() {
        let pipe = PROGRAM.own.iter().find(|flag| flag.name == "--pipe").unwrap();
        let bounds = format!("({} to {FRAME_BYTES_MAX})", pipe::HEAD_BYTES);
        assert!(pipe.help.contains(&bounds), "{bounds}");
    }

    #[test]
    fn a_pipe_has_a_body_and_a_window_that_fit() {
        assert_eq!(
            parse_pipe("1048576,8", OUTBOX_BYTES_MAX),
            Some(PipeSettings { body_bytes: 1 << 20, window: 8 })
        );
        for text in
            ["", "8", "16,1", "100,0", "x,1", "100,1,1", "16777217,1", "1048576,33", "17,99999999999999"]
        {
            assert_eq!(parse_pipe(text, OUTBOX_BYTES_MAX), None, "{text}");
        }
    }
}
