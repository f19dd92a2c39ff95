//! `rounds-<id>.csv`: a line for each block that this node executed. `docs/files.md` defines its columns, most of which
//! are those of a [`BlockReport`].
//!
//! A node that goes on from its journal goes on with its file: blocks whose lines were not flushed get them from the
//! replay, and lines of blocks that it executes anew are removed.
//!
//! Lines are flushed within a second and at the end, but none before the journal has the event that executed its block:
//! the file never knows more than the node would after a crash. If the file cannot be written any more, on a full disk
//! for example, it ends there, with an error in the log. Consensus does not depend on it, and `tools verify` lists the
//! missing rounds.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bft::event::{BlockReport, JumpReport};
use wire::hex;
use wire::ids::{NodeId, Round, ShardId};

/// The file.
pub(crate) struct RoundsFile {
    path: PathBuf,
    /// How each line begins: the node and its shard.
    owner: String,
    /// The last round that it has a line for.
    last: Round,
    state: State,
}

enum State {
    Open {
        file: File,
        /// Lines that are not flushed, each with the records of the journal up to its event: those of some seconds.
        lines: VecDeque<(u64, String)>,
        /// When the next flush is due; `None` while there is nothing to flush.
        due: Option<Instant>,
    },
    /// A write failed; further lines would leave a gap.
    Lost,
}

const HEADER: &str = "node,shard,round,header,finished,rejected,skipped,spent,finished_cross,cancelled,refunded,closed,\
                      entries,payload_bytes,views,leader,spb_us,coin_us,decide_us,agreement_us,fetch_us,executed_ms";
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Pause before lines that the journal is behind of are tried again.
const WRITE_AGAIN: Duration = Duration::from_millis(10);

impl RoundsFile {
    /// A new file of this node, with its header line.
    pub(crate) fn create(path: &Path, node: NodeId, shard: ShardId) -> io::Result<RoundsFile> {
        let mut file = File::create(path)?;
        writeln!(file, "{HEADER}")?;
        let (owner, state) = (format!("{node},{shard},"), State::of(file));
        Ok(RoundsFile { path: path.into(), owner, last: Round(0), state })
    }

    /// The file that an earlier start of this node left, without what it did not finish; a new one if there is none.
    pub(crate) fn open(path: &Path, node: NodeId, shard: ShardId) -> io::Result<RoundsFile> {
        let owner = format!("{node},{shard},");
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return RoundsFile::create(path, node, shard);
            }
            Err(error) => return Err(error),
        };
        let Some((last, bytes)) = last_line(&file, &owner, Round(u64::MAX))? else {
            return RoundsFile::create(path, node, shard);
        };
        cut(&mut file, bytes)?;
        Ok(RoundsFile { path: path.into(), owner, last, state: State::of(file) })
    }

    /// Adds a line for a block executed now, by an event up to which the journal has so many records.
    pub(crate) fn add(&mut self, report: &BlockReport, records: u64) {
        self.add_at(report, now_ms(), records);
    }

    /// Adds a line for a block that an earlier start executed then, if it has none.
    pub(crate) fn add_again(&mut self, report: &BlockReport, executed_ms: u128) {
        if report.round > self.last {
            self.add_at(report, executed_ms, 0);
        }
    }

    /// Adds the line of a state that was taken over, in the place of all lines up to its height.
    pub(crate) fn jump(&mut self, report: &JumpReport, executed_ms: u128, records: u64) {
        if report.height > self.last {
            self.push(report.height, jump_line(&self.owner, report, executed_ms), records);
        }
    }

    /// Removes lines of later blocks, if there are any: the next block is the one after `executed`.
    pub(crate) fn ends_with(&mut self, executed: Round) {
        self.flush(u64::MAX);
        let State::Open { file, .. } = &mut self.state else { return };
        if self.last <= executed {
            return;
        }
        let mut cut_after = || {
            let kept = last_line(&File::open(&self.path)?, &self.owner, executed)?;
            let (last, bytes) = kept.ok_or(io::ErrorKind::InvalidData)?;
            cut(file, bytes)?;
            Ok(last)
        };
        match cut_after() {
            Ok(last) => self.last = last,
            Err(error) => self.keep_if(Err(error)),
        }
    }

    fn add_at(&mut self, report: &BlockReport, executed_ms: u128, records: u64) {
        self.push(report.round, line(&self.owner, report, executed_ms), records);
    }

    fn push(&mut self, last: Round, line: String, records: u64) {
        let State::Open { lines, due, .. } = &mut self.state else { return };
        self.last = last;
        due.get_or_insert_with(|| Instant::now() + WRITE_EVERY);
        lines.push_back((records, line));
    }

    /// When [`RoundsFile::flush`] is due; `None` while there is nothing to flush.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Open { due, .. } => due,
            State::Lost => None,
        }
    }

    /// Writes the lines whose events are within the first `written` records of the journal; the others soon.
    pub(crate) fn flush(&mut self, written: u64) {
        let State::Open { file, lines, due } = &mut self.state else { return };
        let ready = lines.partition_point(|(records, _)| *records <= written);
        let text: String = lines.drain(..ready).map(|(_, line)| line).collect();
        *due = (!lines.is_empty()).then(|| Instant::now() + WRITE_AGAIN);
        let written = file.write_all(text.as_bytes());
        self.keep_if(written);
    }

    fn keep_if(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            log::error!("{} cannot be written any more: {error}", self.path.display());
            self.state = State::Lost;
        }
    }
}

impl State {
    fn of(file: File) -> State {
        State::Open { file, lines: VecDeque::new(), due: None }
    }
}

/// The last whole line of a round up to `until`, and where it ends; `None` if the file does not begin as one of this
/// owner. A line that does not follow the one before it ends the search.
fn last_line(file: &File, owner: &str, until: Round) -> io::Result<Option<(Round, u64)>> {
    let mut lines = BufReader::with_capacity(64 << 10, file);
    let mut line = String::new();
    let mut bytes = lines.read_line(&mut line)? as u64;
    if line.trim_end() != HEADER || !line.ends_with('\n') {
        return Ok(None);
    }
    let mut last = Round(0);
    loop {
        line.clear();
        let length = lines.read_line(&mut line)? as u64;
        let round =
            || line.strip_suffix('\n')?.strip_prefix(owner)?.split(',').next()?.parse().ok().map(Round);
        let is_jump = line.contains(NO_COUNTS);
        match round() {
            Some(round) if (round == last.next() || is_jump && round > last) && round <= until => {
                (last, bytes) = (round, bytes + length);
            }
            _ => return Ok(Some((last, bytes))),
        }
    }
}

/// Leaves the first bytes and goes on after them.
fn cut(file: &mut File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)?;
    file.seek(SeekFrom::Start(bytes)).map(drop)
}

/// Unix time in ms; 0 if the clock is before 1970.
pub(crate) fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// The columns from `finished` to `fetch_us` of a state that was taken over.
const NO_COUNTS: &str = ",,,,,,,,,,,,,,,,,,";

fn jump_line(owner: &str, report: &JumpReport, executed_ms: u128) -> String {
    let JumpReport { height, header, .. } = report;
    format!("{owner}{height},{}{NO_COUNTS}{executed_ms}\n", hex::encode(&header.0))
}

fn line(owner: &str, report: &BlockReport, executed_ms: u128) -> String {
    let BlockReport {
        round,
        header,
        finished,
        rejected,
        skipped,
        spent,
        finished_cross,
        cancelled,
        refunded,
        closed,
        entries,
        payload_bytes,
        views,
        leader,
        spb_us,
        coin_us,
        decide_us,
        agreement_us,
        fetch_us,
    } = report;
    let header = hex::encode(&header.0);
    format!(
        "{owner}{round},{header},{finished},{rejected},{skipped},{spent},{finished_cross},{cancelled},{refunded},\
         {closed},{entries},{payload_bytes},{views},{leader},{spb_us},{coin_us},{decide_us},{agreement_us},{fetch_us},{executed_ms}\n"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wire::ids::Digest;
    use wire::rand;

    use super::*;

    #[test]
    fn a_full_disk_ends_the_file_and_nothing_else() {
        let state = State::of(File::options().write(true).open("/dev/full").unwrap());
        let mut rounds = RoundsFile { path: "/dev/full".into(), owner: String::new(), last: Round(0), state };
        rounds.add(&BlockReport::default(), 0);
        assert!(rounds.due().is_some(), "the line is not flushed");
        rounds.flush(0);
        rounds.add(&BlockReport::default(), 0);
        assert!(rounds.due().is_none() && matches!(rounds.state, State::Lost));
    }

    #[test]
    fn a_file_goes_on_where_the_replay_ends() {
        let path = std::env::temp_dir().join(format!("rounds-{}-{:x}.csv", std::process::id(), rand::u64()));
        let report = |round| BlockReport { round: Round(round), ..BlockReport::default() };
        let open = || RoundsFile::open(&path, NodeId(2), ShardId(1)).unwrap();
        let mut rounds = open();
        (1..=4).for_each(|round| rounds.add(&report(round), 10 * round));
        rounds.flush(39);
        assert!(rounds.due().is_some(), "the last block waits for the journal");
        drop(rounds);
        // The process was killed within a line: two blocks have no whole one.
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 3]).unwrap();
        let mut rounds = open();
        assert_eq!(rounds.last, Round(2));
        (1..=4).for_each(|round| rounds.add_again(&report(round), 77));
        rounds.ends_with(Round(4));
        let whole = fs::read_to_string(&path).unwrap();
        let times: Vec<&str> = whole.lines().skip(1).map(|line| line.rsplit_once(',').unwrap().1).collect();
        assert!(times.len() == 4 && times[..2].iter().all(|ms| *ms != "77") && times[2..] == ["77", "77"]);
        // The journal lost what made the last two blocks: they will be executed again.
        let mut rounds = open();
        rounds.ends_with(Round(2));
        (3..=4).for_each(|round| rounds.add(&report(round), 0));
        rounds.flush(0);
        let again = fs::read_to_string(&path).unwrap();
        assert!(again.lines().count() == 5 && again.starts_with(&text[..text.len() / 2]), "{again}");
        assert!(!again.contains(",77\n"), "{again}");
        // So is one in which the node has taken over a state.
        let jump = |height| JumpReport {
            from: Round(4),
            height: Round(height),
            header: Digest([1; 32]),
            bytes: 0,
            vouchers: Vec::new(),
        };
        let mut rounds = open();
        rounds.jump(&jump(90), 1, 0);
        rounds.add(&report(91), 0);
        rounds.flush(0);
        let mut rounds = open();
        assert_eq!(rounds.last, Round(91));
        rounds.ends_with(Round(90));
        rounds.jump(&jump(90), 2, 0);
        assert_eq!(rounds.last, Round(90));
        // A file of another node is not gone on with.
        assert_eq!(RoundsFile::open(&path, NodeId(3), ShardId(1)).unwrap().last, Round(0));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_line_has_the_columns_of_the_header_in_order() {
        let report = BlockReport {
            round: Round(1),
            header: Digest([0xAB; 32]),
            finished: 2,
            rejected: 3,
            skipped: 4,
            spent: 5,
            finished_cross: 6,
            cancelled: 7,
            refunded: 8,
            closed: 9,
            entries: 10,
            payload_bytes: 11,
            views: 12,
            leader: NodeId(13),
            spb_us: 14,
            coin_us: 15,
            decide_us: 16,
            agreement_us: 17,
            fetch_us: 18,
        };
        let line = line("20,21,", &report, 19);
        let digest = "ab".repeat(32);
        assert_eq!(line, format!("20,21,1,{digest},2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19\n"));
        assert_eq!(HEADER.split(',').count(), line.split(',').count());
        let (from, height, vouchers) = (Round(1), Round(7), Vec::new());
        let report = JumpReport { from, height, header: Digest([0xAB; 32]), bytes: 8, vouchers };
        let jump = jump_line("20,21,", &report, 19);
        assert_eq!(jump, format!("20,21,7,{digest},,,,,,,,,,,,,,,,,,19\n"));
        assert_eq!(HEADER.split(',').count(), jump.split(',').count());
    }
}
