//! `tools sim`: seeds of the simulator, many of them or one in detail.
//!
//! Two threads take scenarios from one list; each scenario is a world of its own, so the results do not depend on which
//! thread runs what. A violation is printed with the command that replays it, and the last lines of the replay's trace.

mod search;
mod suites;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bft::sim::{Adversary, Crashes, Direct, Report, Scenario, SuiteKind, Trace, run as simulate};
use wire::nearest::nearest;
use wire::text::ParseError;

use crate::flags::{Command, Opt, Range, UsageError, Values};
use crate::grid::{Side, aligned_within, wrapped};
use crate::terminal::{columns, print};
use suites::Suites;

/// The options of `tools sim`.
pub(crate) const COMMAND: Command = Command {
    name: "sim",
    summary: "attacks whole cores in a seeded simulator",
    about: "Runs whole cores in virtual time under random schedules and adversaries, checks agreement, conservation \
            and every other promise after each step, then heals the network and checks that all transactions get \
            their fate.\n\n\
            The same seed, numbers of nodes and shards, adversary and suite give the same run. A failing run is \
            printed with the command that replays it.",
    operands: &[],
    options: &[
        Opt::with(
            "seeds",
            "A..B",
            "0..192",
            "Seeds to run, A up to but without B, spread over nodes, shards and adversaries.",
        ),
        Opt::without_default(
            "seed",
            "S",
            "One seed only, with every number of nodes and shards and adversary chosen.",
        )
        .within(Range::whole(0, u64::MAX)),
        Opt::with("nodes", "LIST", "4,7,10", "Sizes of a shard, comma-separated.")
            .within(Range::List { min: 1, max: NODES_MAX }),
        Opt::with("shards", "LIST", "1,2", "Numbers of shards, comma-separated.")
            .within(Range::List { min: 1, max: SHARDS_MAX }),
        Opt::with("adversary", "NAME|all", "all", "What is tried; see ADVERSARIES."),
        Opt::with(
            "suite",
            "real|stand-in|mixed",
            "mixed",
            "Signatures and threshold coin; see SUITES.",
        ),
        Opt::with("crashes", "off|process|power", "off", "Journals and restarts of members; see CRASHES."),
        Opt::switch("every", "Every seed with all nodes, shards and adversaries, not in turn."),
        Opt::switch("trace", "Writes down every step of the run; for one scenario."),
        Opt::with("threads", "T", "2", "Scenarios run at once.").within(Range::whole(1, 64)),
        Opt::switch_with(
            "search",
            "VIEWS",
            "4",
            "Instead of seeds: every execution of agreement among 4 members, one of them Byzantine, over so many \
             views. Each view takes about ten times as long as the one before.",
        )
        .within(Range::whole(1, SEARCH_VIEWS_MAX)),
    ],
    sections: &[
        (
            "ADVERSARIES",
            "random mute equivocating-lane equivocating-spb equivocating-ballots twins \
             withheld-payload forged-certificate short-certificate duplicate-signer wrong-round \
             wrong-shard false-halt false-justification other-digest uncertified-cut \
             invalid-entry wrong-vote bad-share early-share missing-share stale-flood \
             future-flood mutated-bytes chaos dying-child starved-leader last-in-first-out \
             resubmitting reconnecting unknown-tips silent-signers false-claim false-certificates \
             short-history false-checkpoints false-copies\n\
             Between shards, of which there must be two at least: silent-partner false-transfer \
             reshaped-transfer false-sign false-reject false-cancel forged-import false-order \
             slow-shards chosen-ids",
        ),
        (
            "SUITES",
            "real  ed25519 signatures and the threshold coin: what a node runs. A seed takes about three times as \
             long as on the stand-in.\n\
             stand-in  keyed hashes in place of both. A change in the modules bft::crypto::real, ed25519 and coin \
             (but for coin::leader) changes nothing here.\n\
             mixed  the real one under adversaries that attack signatures or the coin, and for every 8th seed; \
             the stand-in for the rest.",
        ),
        (
            "CRASHES",
            "off  nothing is written down: at most f members of a shard crash, and stay away.\n\
             process  events are written to the system before their effects leave. Any members crash at any \
             moment, all of them at once too, and are started again from their journals and snapshots.\n\
             power  events are written to the disk. Power is lost too, with what the disk did not have.\n\
             Within the bound of faulty members, disks are harmed as well; these members must stay away.",
        ),
        (
            "COLUMNS",
            "size  shards × members of each\n\
             seeds, real  runs, and those of them on the real suite\n\
             blocks, views  blocks decided, and views of agreement that this took\n\
             cross, cancel  transactions between shards that were finished, and cancelled\n\
             frames  messages delivered\n\
             faults  misbehaviour of peers that honest members have seen",
        ),
        ("EXIT STATUS", "0  no violation\n1  a violation\n2  usage"),
        (
            "EXAMPLES",
            "tools sim --seeds 0..1000 --shards 2,3  A thousand seeds, spread over everything.\n\
             tools sim --seed 7 --nodes 4 --shards 1 --adversary twins --trace  One run, step by step.\n\
             tools sim --seeds 0..200 --suite real  After a change of the election.\n\
             tools sim --seeds 0..500 --crashes power  Restarts, with what a loss of power leaves of a disk.\n\
             tools sim --search 5  All of agreement over five views.",
        ),
    ],
};

/// Lines of a trace that are shown with a violation.
const TRACE_LINES_SHOWN: usize = 60;
/// Largest shard that is simulated: beyond it a run takes minutes.
const NODES_MAX: u64 = 31;
/// Most shards that are simulated, for the same reason.
const SHARDS_MAX: u64 = 4;
/// Most views that are searched: a byte identifies a view in the keys of states.
const SEARCH_VIEWS_MAX: u64 = 200;

/// Runs the command; the exit status.
pub(crate) fn run(values: &Values) -> Result<u8, UsageError> {
    if let Some(views) = values.optional_whole("search")? {
        if let Some(suite) = values.text("suite").filter(|_| values.is_given("suite")) {
            let expected = "no suite with --search, which tries every leader on the stand-in";
            return Err(UsageError::Value(ParseError::of("--suite", suite, expected)));
        }
        return Ok(search::run(views as u32));
    }
    let scenarios = scenarios(values)?;
    let threads = values.whole("threads")? as usize;
    let status = if values.is_given("trace") { trace_all(&scenarios) } else { run_all(&scenarios, threads) };
    print(wrapped(&suites::sentence(&scenarios), 0, columns()).trim_end());
    Ok(status)
}

fn scenarios(values: &Values) -> Result<Vec<Scenario>, UsageError> {
    let seeds = match values.optional_whole("seed")? {
        Some(seed) => vec![seed],
        None => values.value("seeds", "A..B with A below B", |text| {
            let (from, to) = text.split_once("..")?;
            let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
            (from < to).then(|| (from..to).collect())
        })?,
    };
    let (nodes, shards) = (sizes(values, "nodes")?, sizes(values, "shards")?);
    let mut all = Vec::new();
    for adversary in adversaries(values)? {
        // Where there is nothing between shards there is nothing to attack.
        for shards in shards.iter().filter(|shards| **shards > 1 || !adversary.needs_shards()) {
            all.extend(nodes.iter().map(|nodes| Scenario::mixed(0, *nodes, *shards, adversary)));
        }
    }
    if all.is_empty() {
        return Err(UsageError::Value(ParseError::of("--shards", "1", "2 or more for this adversary")));
    }
    let suites = Suites::parse(values.required("suite")?)?;
    let crashes = crashes(values)?;
    let of_seed = |seed: &u64, scenario: &Scenario| {
        let suite = suites.of(*seed, scenario.adversary);
        Scenario { seed: *seed, suite, crashes, ..*scenario }
    };
    if values.is_given("every") || values.is_given("seed") {
        return Ok(seeds
            .iter()
            .flat_map(|seed| all.iter().map(move |scenario| of_seed(seed, scenario)))
            .collect());
    }
    Ok(seeds.iter().zip(all.iter().cycle()).map(|(seed, scenario)| of_seed(seed, scenario)).collect())
}

/// The numbers of a list, whose range has no more than 16 bits.
fn sizes(values: &Values, option: &'static str) -> Result<Vec<u16>, UsageError> {
    Ok(values.list(option)?.into_iter().map(|number| number as u16).collect())
}

fn crashes(values: &Values) -> Result<Crashes, UsageError> {
    let expected = "off, process or power";
    values.value("crashes", expected, |text| Crashes::ALL.into_iter().find(|crashes| crashes.name() == text))
}

fn adversaries(values: &Values) -> Result<Vec<Adversary>, UsageError> {
    let name = values.required("adversary")?;
    if name == "all" {
        return Ok(Adversary::ALL.to_vec());
    }
    let unknown = || UsageError::Unknown {
        what: "adversary",
        given: name.to_string(),
        nearest: nearest(name, Adversary::ALL.iter().map(|adversary| adversary.name())).map(String::from),
    };
    Adversary::parse(name).map(|adversary| vec![adversary]).ok_or_else(unknown)
}

/// One scenario; `Err` if it panicked, with a note beside the replay command.
fn simulate_caught(scenario: &Scenario, trace: Trace) -> Result<Report, ()> {
    catch_unwind(AssertUnwindSafe(|| simulate(scenario, &mut Direct, trace))).map_err(|_| ())
}

fn trace_all(scenarios: &[Scenario]) -> u8 {
    announce_panics();
    let mut status = 0;
    for scenario in scenarios {
        set_current(scenario);
        let Ok(report) = simulate_caught(scenario, Trace::Lines(Vec::new())) else {
            status = 1;
            continue;
        };
        if let Trace::Lines(lines) = &report.trace {
            lines.iter().for_each(print);
        }
        match &report.violation {
            Some(violation) => {
                status = 1;
                print(format!("{scenario}: {violation}"));
            }
            None => {
                print(format!("{scenario}: no violation, {} blocks, {} frames", report.height, report.frames))
            }
        }
    }
    status
}

/// The key of a row of the summary: an adversary, shards, and nodes of each.
type Size = (Adversary, u16, u16);

/// The sums of one row of the summary.
#[derive(Clone, Copy, Default)]
struct Row {
    seeds: u64,
    /// Of these, on the real suite.
    real: u64,
    decisions: u64,
    views: u64,
    finished: u64,
    cross: u64,
    cancelled: u64,
    frames: u64,
    /// The most that one event has cost.
    steps_most: u64,
    faults: u64,
    /// Members that went on after a crash, and that refused to.
    restarted: u64,
    refused: u64,
    violations: u64,
}

impl Row {
    /// Adds a run; `Err` if it panicked.
    fn add(&mut self, scenario: &Scenario, result: &Result<Report, ()>) {
        self.seeds += 1;
        self.real += u64::from(scenario.suite == SuiteKind::Real);
        let Ok(report) = result else {
            self.violations += 1;
            return;
        };
        self.decisions += report.height.0;
        self.views += report.views;
        self.finished += report.finished;
        self.cross += report.finished_cross;
        self.cancelled += report.cancelled;
        self.frames += report.frames;
        self.steps_most = self.steps_most.max(report.steps_most);
        self.faults += report.faults.values().sum::<u64>();
        let crashes = |what| report.crashes.get(what).copied().unwrap_or_default();
        self.restarted += crashes("restarted");
        self.refused += crashes("refused");
        self.violations += u64::from(report.violation.is_some());
    }

    /// Adds another row.
    fn join(&mut self, row: &Row) {
        self.seeds += row.seeds;
        self.real += row.real;
        self.decisions += row.decisions;
        self.views += row.views;
        self.finished += row.finished;
        self.cross += row.cross;
        self.cancelled += row.cancelled;
        self.frames += row.frames;
        self.steps_most = self.steps_most.max(row.steps_most);
        self.faults += row.faults;
        self.restarted += row.restarted;
        self.refused += row.refused;
        self.violations += row.violations;
    }

    fn cells(&self, name: &str, size: String) -> Vec<String> {
        let Row { seeds, real, decisions, views, cross, cancelled, frames, faults, .. } = self;
        let numbers = [seeds, real, decisions, views, cross, cancelled, frames, faults];
        let numbers = numbers.map(u64::to_string);
        let violations = if self.violations == 0 { String::new() } else { self.violations_text() };
        [name.into(), size].into_iter().chain(numbers).chain([violations]).collect()
    }

    fn violations_text(&self) -> String {
        format!("{} violation{}", self.violations, if self.violations == 1 { "" } else { "s" })
    }
}

/// Between two lines of progress, which go to standard error: what is printed does not depend on the pace.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// The runs that have ended.
struct Ended {
    rows: BTreeMap<Size, Row>,
    seeds: usize,
    /// When progress is to be shown next, since the beginning.
    progress_due: Duration,
}

fn run_all(scenarios: &[Scenario], threads: usize) -> u8 {
    announce_panics();
    let begun = Instant::now();
    let next = AtomicUsize::new(0);
    let ended = Mutex::new(Ended { rows: BTreeMap::new(), seeds: 0, progress_due: PROGRESS_EVERY });
    let work = || {
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            set_current(scenario);
            let result = simulate_caught(scenario, Trace::Off);
            let mut ended = ended.lock().expect("nothing panics while it is held");
            let key = (scenario.adversary, scenario.shards, scenario.nodes);
            ended.rows.entry(key).or_default().add(scenario, &result);
            ended.seeds += 1;
            if begun.elapsed() >= ended.progress_due {
                ended.progress_due = begun.elapsed() + PROGRESS_EVERY;
                let (all, elapsed_s) = (scenarios.len(), begun.elapsed().as_secs());
                eprintln!("{} of {all} runs after {elapsed_s} s", ended.seeds);
            }
            drop(ended);
            if let Ok(report) = &result
                && let Some(violation) = &report.violation
            {
                print(format!("VIOLATION {violation}\n  replay: {scenario} --trace"));
                show_end_of_trace(scenario);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(work);
        });
    });
    let Ended { rows, .. } = ended.into_inner().expect("nothing panics while it is held");
    print(summary(&rows, begun.elapsed().as_secs_f64(), columns()).trim_end());
    u8::from(rows.values().any(|row| row.violations > 0))
}

/// The last steps of each replica.
fn show_end_of_trace(scenario: &Scenario) {
    let Ok(report) = simulate_caught(scenario, Trace::Lines(Vec::new())) else { return };
    if let Trace::Lines(lines) = report.trace {
        for line in &lines[lines.len().saturating_sub(TRACE_LINES_SHOWN)..] {
            print(format!("  {line}"));
        }
    }
}

/// The summary of all runs, for a terminal of so many columns.
fn summary(rows: &BTreeMap<Size, Row>, seconds: f64, width: usize) -> String {
    const HEADINGS: [&str; 11] =
        ["adversary", "size", "seeds", "real", "blocks", "views", "cross", "cancel", "frames", "faults", ""];
    let mut total = Row::default();
    rows.values().for_each(|row| total.join(row));
    let mut lines = vec![HEADINGS.map(String::from).to_vec()];
    let of_size = |((adversary, shards, nodes), row): (&Size, &Row)| {
        row.cells(adversary.name(), format!("{shards}×{nodes}"))
    };
    lines.extend(rows.iter().map(of_size));
    lines.push(total.cells("total", String::new()));
    let mut sides = [Side::Right; HEADINGS.len()];
    (sides[0], sides[HEADINGS.len() - 1]) = (Side::Left, Side::Left);
    let crashes = match (total.restarted, total.refused) {
        (0, 0) => String::new(),
        (restarted, refused) => format!("{restarted} restarts, {refused} refused as they must be; "),
    };
    let facts = format!(
        "{} seeds in {seconds:.0} s, {:.0} frames/s, at most {} steps of work in an event; {} transactions finished \
         within shards; {crashes}{}",
        total.seeds,
        total.frames as f64 / seconds.max(0.001),
        total.steps_most,
        total.finished,
        if total.violations == 0 { "no violation".into() } else { total.violations_text() }
    );
    format!("\n{}{}", aligned_within(width, &sides, &lines, 0), wrapped(&facts, 0, width))
}

thread_local! {
    static CURRENT: std::cell::Cell<Option<Scenario>> = const { std::cell::Cell::new(None) };
}

fn set_current(scenario: &Scenario) {
    CURRENT.with(|current| current.set(Some(*scenario)));
}

/// A panic of the core is a violation too: with it goes the command that replays it, even where panics abort.
fn announce_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        if let Some(scenario) = CURRENT.with(std::cell::Cell::get) {
            print(format!("VIOLATION a panic\n  replay: {scenario} --trace"));
        }
    }));
}

#[cfg(test)]
mod tests {
    use bft::sim::REAL_SUITE_EVERY;

    use super::*;
    use crate::flags::Invocation;

    fn parse(line: &str) -> Result<Vec<Scenario>, String> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        match COMMAND.parse(&words) {
            Ok(Invocation::Run(values)) => scenarios(&values).map_err(|error| error.to_string()),
            Ok(Invocation::Help) => Err("help".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn scenarios_of_a_command_line() {
        for suite in SuiteKind::ALL {
            let replayed = Scenario { suite, ..Scenario::mixed(5, 7, 3, Adversary::Twins) };
            let line = replayed.to_string();
            let line = line.strip_prefix("tools sim ").expect("that is the command");
            assert_eq!(parse(line), Ok(vec![replayed]));
        }
        for crashes in Crashes::ALL {
            let replayed = Scenario { crashes, ..Scenario::mixed(5, 7, 3, Adversary::Twins) };
            let line = replayed.to_string();
            let line = line.strip_prefix("tools sim ").expect("that is the command");
            assert_eq!(parse(line), Ok(vec![replayed]));
        }
        let suites = |line: &str| -> Vec<SuiteKind> {
            parse(line).unwrap().iter().map(|scenario| scenario.suite).collect()
        };
        assert_eq!(suites("--seeds 0..9 --adversary mute --suite real"), [SuiteKind::Real; 9]);
        assert_eq!(suites("--seeds 0..9 --adversary bad-share --suite stand-in"), [SuiteKind::StandIn; 9]);
        let mixed = suites("--seeds 0..9 --adversary mute");
        assert_eq!(mixed, suites("--seeds 0..9 --adversary mute --suite mixed"));
        assert_eq!((mixed[0], mixed[1], mixed[8]), (SuiteKind::Real, SuiteKind::StandIn, SuiteKind::Real));
        assert_eq!(parse("--seeds 0..10 --adversary mute").unwrap().len(), 10);
        assert_eq!(parse("--seeds 0..10 --adversary mute --every").unwrap().len(), 60);
        assert_eq!(parse("--seeds 0..2 --adversary mute --shards 1,2 --every").unwrap().len(), 12);
        let all = parse("--every --seeds 3..4").unwrap();
        let between = Adversary::ALL.iter().filter(|adversary| adversary.needs_shards()).count();
        assert_eq!(all.len(), 3 * (2 * Adversary::ALL.len() - between));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            parse("--adversary twin").unwrap_err(),
            "there is no adversary 'twin'; the nearest is 'twins'"
        );
        assert_eq!(parse("--suite rael").unwrap_err(), "there is no suite 'rael'; the nearest is 'real'");
        assert!(parse("--nodes 4,x").unwrap_err().contains("--nodes: found '4,x'"));
        assert!(parse("--shards 1 --adversary false-sign").unwrap_err().contains("2 or more"));
        assert!(parse("--shards 9").unwrap_err().contains("--shards: found '9'"));
        assert!(parse("--seeds 9..3").unwrap_err().contains("--seeds: found '9..3'"));
    }

    #[test]
    fn the_page_names_every_adversary() {
        let page = COMMAND.page(80);
        for adversary in Adversary::ALL {
            assert!(page.contains(adversary.name()), "{}", adversary.name());
        }
    }

    #[test]
    fn the_page_states_the_mixture_of_suites() {
        assert!(COMMAND.page(1_000).contains(&format!("every {REAL_SUITE_EVERY}th seed")));
    }

    #[test]
    fn the_summary_fits_eighty_columns() {
        let row = |violations| Row {
            seeds: 192,
            real: 24,
            decisions: 23_456,
            views: 34_567,
            finished: 61_234,
            cross: 12_345,
            cancelled: 3_210,
            frames: 3_456_789,
            steps_most: 12_345,
            faults: 123_456,
            restarted: 1_234,
            refused: 123,
            violations,
        };
        let longest = Adversary::ALL.into_iter().max_by_key(|adversary| adversary.name().len()).unwrap();
        let rows = |violations| BTreeMap::from([((longest, 2, 10), row(violations))]);
        let well = summary(&rows(0), 60.0, 80);
        assert!(crate::grid::fits(80, &well), "{well}");
        assert!(
            well.ends_with("no violation\n") && well.lines().nth(3).unwrap().starts_with("total "),
            "{well}"
        );
        let ill = summary(&rows(2), 60.0, 80);
        assert!(crate::grid::fits(80, &ill) && ill.matches("2 violations").count() == 3, "{ill}");
    }

    #[test]
    fn a_few_seeds_pass() {
        let scenarios = parse("--seeds 0..4 --nodes 4 --adversary random").unwrap();
        assert_eq!(run_all(&scenarios, 2), 0);
    }
}
