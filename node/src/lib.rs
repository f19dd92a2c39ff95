//! `node`, one participant: the consensus core, and parent of its `net_client` and `net_server`.
//!
//! ```text
//! net_server ──IPC──▶ supervisor ─┐                                  ┌─▶ writer ──IPC──▶ net_client
//! net_client ──IPC──▶ supervisor ─┴─▶ inbound queue ──▶ round loop ──┴─▶ writer ──IPC──▶ net_server
//! ```
//!
//! A supervisor starts its child, reads its messages, and restarts it when it dies. The round loop feeds the machine,
//! which is the core or, with `--pipe`, a counter. When the node ends, for whatever reason, the children's queues end,
//! and with them the children. Nothing is printed on standard output; errors of start and end go to standard error.
//!
//! This is a library so that two programs share it: `node`, and `byzantine_node`, which tests and `--faults byzantine:`
//! start. What that one does in place of the core stands in its own file and in `bft::sim`, so no other program has it.
#![forbid(unsafe_code)]

mod audit;
mod child;
mod config;
mod control;
mod driver;
mod history;
mod inbound;
mod journal;
mod lag;
mod link_rules;
mod machine;
mod metrics;
mod outlet;
mod pipe;
mod restart;
mod rounds;
mod silence;
mod snapshot;
mod stats;
mod status;
mod subscriptions;

use std::error::Error;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};

use bft::core::{Core, CoreConfig};
use bft::crypto::real::RealSuite;
use bft::crypto::suite::Suite;
use bft::journal::{Opening, Past};
use bft::lane::{HistoryPlace, LaneSettings};
use bft::pending::MempoolLimits;
use crossbeam_channel::Receiver;
use wire::ids::{NodeId, ShardId};
use wire::keys::NodeKeys;
use wire::limits::local::Local;
use wire::logging;
use wire::name::Name;
use wire::rand;
use wire::text::{self, ParseError};
use wire::version;

use crate::child::{Child, Children};
use crate::config::{Config, CoreSettings, MachineSettings, PROGRAM, StopWhen};
use crate::control::StdinReader;
use crate::driver::{Beginning, Driver, Ended};
use crate::inbound::{Inbound, InboundSender};
use crate::journal::{BegunSegment, Journal, JournalSettings};
use crate::metrics::About;
use crate::pipe::{Pipe, PipeFigures, PipeSettings};
use crate::restart::{Directory, RestartError, Resumed};
use crate::rounds::RoundsFile;
use crate::silence::Silences;
use crate::snapshot::Lengths;

pub use crate::machine::Machine;

/// The flags or files are wrong.
const EXIT_USAGE: u8 = 2;
/// The node could not go on.
const EXIT_FAILED: u8 = 1;

/// Runs a node with these arguments. `machine` is given its core, new or resumed, the core's settings and its keys, and
/// returns what is to run in its place: for `node` the core itself.
pub fn run<M: Machine>(
    arguments: impl IntoIterator<Item = String>,
    machine: impl FnOnce(Core, &CoreConfig, Arc<dyn Suite>) -> M,
) -> ExitCode {
    let arguments: Vec<String> = arguments.into_iter().collect();
    if let Some(answer) = PROGRAM.answer(arguments.iter().cloned(), wire::commit!()) {
        text::print(&answer);
        return ExitCode::SUCCESS;
    }
    let (config, listener) = match Config::read(arguments).and_then(|config| {
        // Before the keys are used: a node that cannot start has signed nothing.
        let listener = config.metrics.map(metrics::listen).transpose()?;
        log_to(&config)?;
        Ok((config, listener))
    }) {
        Ok(started) => started,
        Err(error) => {
            text::complain(&format!("node: {error}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match run_with(&config, listener, machine) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            text::complain(&format!("node {}: {error}", config.id));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run_with<M: Machine>(
    config: &Config,
    metrics: Option<TcpListener>,
    machine: impl FnOnce(Core, &CoreConfig, Arc<dyn Suite>) -> M,
) -> Result<(), Box<dyn Error>> {
    let inbox = Inbox::open(config)?;
    match &config.machine {
        MachineSettings::Core(settings) => run_core(config, *settings, inbox, metrics, machine),
        MachineSettings::Pipe(settings) => run_pipe(config, *settings, inbox, metrics),
    }
}

/// The inbound queue, open to a request to stop before the loop that reads it begins: a replay may take minutes.
struct Inbox {
    sender: InboundSender,
    receiver: Receiver<Inbound>,
    /// Whether the request has come.
    stops: Arc<AtomicBool>,
}

impl Inbox {
    fn open(config: &Config) -> io::Result<Inbox> {
        let (sender, receiver) = inbound::queue();
        let stops = Arc::new(AtomicBool::new(false));
        let reader = StdinReader {
            id: config.id,
            committee: config.committee.clone(),
            inbound: sender.clone(),
            stops: stops.clone(),
        };
        match config.stop {
            StopWhen::StdinEnds => drop(spawn("stdin", move || reader.stop_at_end())?),
            StopWhen::StdinLine => drop(spawn("stdin", move || reader.ignore_end())?),
            StopWhen::Never => {}
        }
        Ok(Inbox { sender, receiver, stops })
    }
}

fn run_core<M: Machine>(
    config: &Config,
    settings: CoreSettings,
    inbox: Inbox,
    metrics: Option<TcpListener>,
    machine: impl FnOnce(Core, &CoreConfig, Arc<dyn Suite>) -> M,
) -> Result<(), Box<dyn Error>> {
    let NodeKeys { signing, coin_secret, .. } = &config.own_keys;
    let suite = RealSuite::new(&config.committee, config.id, signing, *coin_secret)?;
    let limits = &config.limits;
    let lanes = LaneSettings {
        pipeline: settings.pipeline,
        open_bytes_max: limits.get(Local::LaneOpenBytes),
        // The owner's cut may be ahead of ours.
        kept_bytes_max: 2 * limits.get(Local::LaneOpenBytes),
        history_rounds_max: limits.get(Local::HistoryRounds),
        history_bytes_max: settings.history_bytes_max,
        history_place: if config.journal.is_some() { HistoryPlace::Journal } else { HistoryPlace::Memory },
    };
    let mempool = MempoolLimits {
        transactions_max: limits.count(Local::MempoolTransactions),
        bytes_max: limits.get(Local::MempoolBytes),
        client_percent_max: limits.count(Local::MempoolClientPercent),
        peers_percent_max: limits.count(Local::MempoolPeersPercent),
        share: settings.share,
    };
    let core = CoreConfig {
        committee: config.committee.clone(),
        node: config.id,
        lanes,
        mempool,
        batch: settings.batch,
        hash_seed: rand::u64(),
        tracing: driver::tracing(),
    };
    let suite: Arc<dyn Suite> = Arc::new(suite);
    // The lock of the journal is held until the node ends: nobody else may write there.
    let (begun, _lock) = match begin(config, &core, &suite, &inbox.stops) {
        Err(BeginError::Stopped) => {
            log::info!("node {} has ended on request, before it had done its journal again", config.id);
            return Ok(());
        }
        Err(BeginError::MayNotSign(reason)) if config.follow => {
            log::warn!("node {} only follows: {reason}. It signs nothing, so it counts against f", config.id);
            // It has no journal, though another life of it may have had one.
            let lanes = LaneSettings { history_place: HistoryPlace::Memory, ..core.lanes };
            let follower = Core::follower(CoreConfig { lanes, ..core.clone() }, suite.clone());
            (Begun::first(follower, rounds_file(config, RoundsFile::create)?), None)
        }
        begun => begun.map_err(BeginError::in_words)?,
    };
    let Begun { machine: made, rounds, journal, beginning } = begun;
    let begun = Begun { machine: machine(made, &core, suite), rounds, journal, beginning };
    serve(config, begun, inbox, metrics).map(drop)
}

/// Why a core does not begin.
enum BeginError {
    /// It may not sign, since what it has signed is not known any more; why.
    MayNotSign(String),
    /// It is not to begin any more.
    Stopped,
    /// It could not follow either.
    Other(Box<dyn Error>),
}

impl BeginError {
    fn in_words(self) -> Box<dyn Error> {
        match self {
            BeginError::MayNotSign(reason) => format!(
                "{reason}; deal new keys with 'tools keygen', or have the node only follow with --follow"
            )
            .into(),
            BeginError::Stopped => "ended on request".into(),
            BeginError::Other(error) => error,
        }
    }
}

impl From<String> for BeginError {
    fn from(error: String) -> BeginError {
        BeginError::Other(error.into())
    }
}

impl From<RestartError> for BeginError {
    fn from(error: RestartError) -> BeginError {
        match error {
            RestartError::AnotherBoot(_) => BeginError::MayNotSign(error.to_string()),
            RestartError::Stopped => BeginError::Stopped,
            error => BeginError::Other(error.into()),
        }
    }
}

/// A core that may sign: a new one, or one that goes on from its journal, with the lock on that.
fn begin(
    config: &Config,
    core: &CoreConfig,
    suite: &Arc<dyn Suite>,
    stops: &AtomicBool,
) -> Result<(Begun<Core>, Option<Directory>), BeginError> {
    let first = || Core::new(core.clone(), suite.clone());
    let Some(JournalSettings { directory, durability }) = &config.journal else {
        claim_keys(config, None)?;
        return Ok((Begun::first(first(), rounds_file(config, RoundsFile::create)?), None));
    };
    let directory = Directory::lock(directory)?;
    let version = version::line("node", wire::commit!());
    let opening = Opening::of(version, core, restart::first_start(*durability));
    let mut rounds = rounds_file(config, RoundsFile::open)?;
    let (committee, tracing) = (config.committee.clone(), core.tracing);
    let begun = match directory.resume(&opening, committee, suite.clone(), tracing, &mut rounds, stops)? {
        Some(Resumed { core, past, opening }) => {
            claim_keys(config, Some(opening.id()))?;
            let beginning = Beginning::Again { now: past.now, sessions: past.sessions.clone() };
            let journal = Some((directory.write(opening)?, past));
            Begun { machine: core, rounds, journal, beginning }
        }
        None => {
            // The journal first: if the node ends in between, it can begin again.
            let (id, writer) = (opening.id(), directory.write(opening)?);
            claim_keys(config, Some(id))?;
            // Only now: a start that is refused leaves the file of another one alone.
            let rounds = rounds_file(config, RoundsFile::create)?;
            let journal = Some((writer, Past::default()));
            Begun { journal, ..Begun::first(first(), rounds) }
        }
    };
    Ok((begun, Some(directory)))
}

/// The file of this node's blocks, made or opened.
fn rounds_file(
    config: &Config,
    open: impl FnOnce(&Path, NodeId, ShardId) -> io::Result<RoundsFile>,
) -> Result<RoundsFile, String> {
    let path = config.log_dir.join(format!("rounds-{}.csv", config.id));
    open(&path, config.id, config.committee.shard_of(config.id))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// Marks these keys as used, with the journal that remembers what they sign, if there is one; refuses keys that were
/// used without it.
///
/// # Security
/// A node that has forgotten what it has signed could sign a second, different message for the same instance, as a
/// Byzantine node does. So keys serve one start, or all starts with one journal. The mark appears with its content at
/// once, so that a node that ends meanwhile leaves either none or a whole one.
fn claim_keys(config: &Config, journal: Option<u64>) -> Result<(), BeginError> {
    let path = config.used_mark();
    let mark = journal.map_or_else(|| "without a journal\n".into(), |id| format!("journal {id:016x}\n"));
    let unwritten = |error| format!("{} cannot be written: {error}", path.display());
    let used = || {
        BeginError::MayNotSign(format!(
            "{} exists: a node was started with these keys before, and {}",
            path.display(),
            match journal {
                Some(_) => "not with this journal, so what they have signed is not known",
                None => "its signatures are not known any more",
            }
        ))
    };
    match fs::read_to_string(&path) {
        Ok(found) if journal.is_some() && found == mark => return Ok(()),
        Ok(_) => return Err(used()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unwritten(error).into()),
    }
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let link = || {
        let mut file = File::create(&draft)?;
        file.write_all(mark.as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft)?;
        linked
    };
    link().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => used(),
        _ => unwritten(error).into(),
    })
}

fn run_pipe(
    config: &Config,
    settings: PipeSettings,
    inbox: Inbox,
    metrics: Option<TcpListener>,
) -> Result<(), Box<dyn Error>> {
    let shard = config.committee.shard_of(config.id);
    let others = config.committee.members(shard).filter(|node| *node != config.id);
    let pipe = Pipe::new(config.id, others, settings, rand::u64());
    let begun = Begun::first(pipe, rounds_file(config, RoundsFile::create)?);
    let pipe = serve(config, begun, inbox, metrics)?;
    let PipeFigures { payload_bytes, seconds } = pipe.figures();
    let path = config.log_dir.join(format!("pipe-{}.json", config.id));
    fs::write(&path, format!("{{\"payload_bytes\": {payload_bytes}, \"seconds\": {seconds:.6}}}\n"))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(())
}

/// A machine and what belongs to it when the loop begins.
struct Begun<M> {
    machine: M,
    rounds: RoundsFile,
    /// Where its events go, and those before.
    journal: Option<(BegunSegment, Past)>,
    beginning: Beginning,
}

impl<M> Begun<M> {
    /// A new machine, without a journal.
    fn first(machine: M, rounds: RoundsFile) -> Begun<M> {
        Begun { machine, rounds, journal: None, beginning: Beginning::First }
    }
}

/// Runs the three processes around a machine until the node stops; returns the machine.
fn serve<M: Machine>(
    config: &Config,
    begun: Begun<M>,
    inbox: Inbox,
    metrics: Option<TcpListener>,
) -> Result<M, Box<dyn Error>> {
    let Begun { machine, rounds, journal, beginning } = begun;
    let own_program = std::env::current_exe()?;
    let Inbox { sender, receiver, .. } = inbox;
    let lengths = Lengths {
        segment_bytes: config.limits.get(Local::SegmentBytes),
        snapshot_after_bytes: config.limits.get(Local::SnapshotAfterBytes),
        kept_bytes: config.limits.get(Local::JournalKeptBytes),
    };
    let journal =
        journal.map(|(segment, past)| Journal::start(segment, past, lengths, sender.clone())).transpose()?;
    let children = Children::new();
    let supervisors = [Child::NetClient, Child::NetServer]
        .into_iter()
        .map(|child| spawn_supervisor(config, child, &own_program, &children, &sender))
        .collect::<io::Result<Vec<_>>>()?;
    if let Some(listener) = metrics {
        let about = About { node: config.id, shard: config.committee.shard_of(config.id) };
        metrics::serve(listener, about, sender)?;
    }
    let (node, shard) = (Name::Node(config.id), Name::Shard(config.committee.shard_of(config.id)));
    log::info!("{node} of {shard} runs, one of {} nodes", config.committee.nodes().count());
    let others = config.committee.members(config.committee.shard_of(config.id));
    let others = others.filter(|node| *node != config.id);
    let silences = Silences::new(others, config.limits.time(Local::PingTimeoutMs), beginning.now());
    let (machine, ended) = Driver::new(machine, receiver, rounds, silences, journal, beginning).run();
    children.end();
    for supervisor in supervisors {
        supervisor.join().map_err(|_| "the supervisor of a child panicked")?;
    }
    match ended {
        Ended::Stopped => {
            log::info!("{node} has ended on request");
            Ok(machine)
        }
        Ended::Failed(reason) => Err(reason.into()),
    }
}

fn spawn_supervisor(
    config: &Config,
    child: Child,
    own_program: &Path,
    children: &Children,
    inbound: &InboundSender,
) -> io::Result<JoinHandle<()>> {
    let (spec, children, inbound) = (config.child(child, own_program), children.clone(), inbound.clone());
    spawn(&format!("{}-supervisor", child.name()), move || child::supervise(&spec, &children, &inbound))
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.into()).spawn(body)
}

/// Logs into the log directory and guards it: the log stays locked for as long as this process lives, however that
/// ends, so that no run begins there meanwhile and no second node of this id writes into it.
fn log_to(config: &Config) -> Result<(), ParseError> {
    let (path, id) = (config.log(), config.id);
    let refused = |why: &str, expected: &str| {
        ParseError::of("--log-dir", &format!("{} ({why})", path.display()), expected)
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| refused(&error.to_string(), "a directory that can be written to"))?;
    let locked = file.try_lock();
    if let Err(TryLockError::WouldBlock) = locked {
        return Err(refused(&format!("a node {id} that runs writes it"), "a directory of another log"));
    }
    env_logger::Builder::new()
        .parse_filters(&logging::filter("info")?)
        .format_timestamp_micros()
        .target(env_logger::Target::Pipe(Box::new(file)))
        .init();
    if let Err(error) = locked {
        log::warn!("{} cannot be locked, so nothing guards its directory: {error}", path.display());
    }
    Ok(())
}
