//! `rounds-<id>.csv`: a line for each block that this node executed. `docs/files.md` defines its columns, most of which
//! are those of a [`BlockReport`].
//!
//! Lines are flushed within a second and at the end. If the file cannot be written any more, on a full disk for
//! example, it ends there, with an error in the log. Consensus does not depend on it, and `tools verify` lists the
//! missing rounds.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bft::event::BlockReport;
use wire::hex;
use wire::ids::{NodeId, ShardId};

/// The file.
pub(crate) struct RoundsFile {
    path: PathBuf,
    /// How each line begins: the node and its shard.
    owner: String,
    state: State,
}

enum State {
    Open {
        file: BufWriter<File>,
        /// When the next flush is due; `None` while there is nothing to flush.
        due: Option<Instant>,
    },
    /// A write failed; further lines would leave a gap.
    Lost,
}

const HEADER: &str = "node,shard,round,header,finished,rejected,skipped,spent,finished_cross,cancelled,refunded,closed,\
                      entries,payload_bytes,views,leader,spb_us,coin_us,decide_us,agreement_us,fetch_us,executed_ms";
const WRITE_EVERY: Duration = Duration::from_secs(1);

impl RoundsFile {
    /// A new file of this node, with its header line.
    pub(crate) fn create(path: &Path, node: NodeId, shard: ShardId) -> io::Result<RoundsFile> {
        let mut file = BufWriter::with_capacity(64 << 10, File::create(path)?);
        writeln!(file, "{HEADER}")?;
        file.flush()?;
        Ok(RoundsFile {
            path: path.into(),
            owner: format!("{node},{shard},"),
            state: State::Open { file, due: None },
        })
    }

    /// Adds a line for a block executed now.
    pub(crate) fn add(&mut self, report: &BlockReport) {
        let State::Open { file, due } = &mut self.state else { return };
        // 0 if the clock is before 1970.
        let executed_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        due.get_or_insert_with(|| Instant::now() + WRITE_EVERY);
        let written = file.write_all(line(&self.owner, report, executed_ms).as_bytes());
        self.keep_if(written);
    }

    /// When [`RoundsFile::flush`] is due; `None` while there is nothing to flush.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Open { due, .. } => due,
            State::Lost => None,
        }
    }

    pub(crate) fn flush(&mut self) {
        let State::Open { file, due } = &mut self.state else { return };
        *due = None;
        let written = file.flush();
        self.keep_if(written);
    }

    fn keep_if(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            log::error!("{} cannot be written any more: {error}", self.path.display());
            self.state = State::Lost;
        }
    }
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
    use wire::ids::{Digest, Round};

    use super::*;

    #[test]
    fn a_full_disk_ends_the_file_and_nothing_else() {
        let file = BufWriter::new(File::options().write(true).open("/dev/full").unwrap());
        let state = State::Open { file, due: None };
        let mut rounds = RoundsFile { path: "/dev/full".into(), owner: String::new(), state };
        rounds.add(&BlockReport::default());
        assert!(rounds.due().is_some(), "the line is not flushed");
        rounds.flush();
        rounds.add(&BlockReport::default());
        assert!(rounds.due().is_none() && matches!(rounds.state, State::Lost));
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
    }
}
