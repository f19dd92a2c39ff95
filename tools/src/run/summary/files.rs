//! The files for plots: `series.csv` and `latency.csv`. `docs/files.md` defines the columns.

use std::fmt::Write as _;

use crate::load::{Histogram, Section, Tally};

/// A line a section: some second, or what a border between phases leaves of one. Beside each the nodes that were up at
/// its end and the faults that came in it.
pub(crate) fn series_csv<'a>(
    sections: impl IntoIterator<Item = (&'a Section, usize, Vec<String>)>,
) -> String {
    let mut text = String::from(
        "from_s,until_s,phase,meant,sent,committed,committed_cross,rejected,open,p50_ms,p99_ms,max_ms,nodes_up,faults\n",
    );
    for (section, up, faults) in sections {
        let Section { meant, sent, committed, committed_cross, rejected, open, .. } = section;
        let [p50, p99, max] =
            section.latency_us.map_or([const { String::new() }; 3], |quantiles| quantiles.map(ms));
        let _ = writeln!(
            text,
            "{},{},{},{meant},{sent},{committed},{committed_cross},{rejected},{open},{p50},{p99},{max},{up},{}",
            seconds(section.from_us),
            seconds(section.until_us),
            section.phase.name(),
            faults.join("; ")
        );
    }
    text
}

/// A line a bucket that is not empty, of each kind of latency.
pub(crate) fn latency_csv(tally: &Tally) -> String {
    let mut text = String::from("kind,from_us,until_us,count\n");
    let kinds: [(&str, &Histogram); 4] = [
        ("intra", &tally.latency_intra),
        ("cross", &tally.latency_cross),
        ("rejected", &tally.rejection),
        ("never sent", &tally.unsent_waited),
    ];
    for (kind, histogram) in kinds {
        for (first_us, last_us, count) in histogram.buckets() {
            let _ = writeln!(text, "{kind},{first_us},{},{count}", last_us + 1);
        }
    }
    text
}

fn seconds(us: u64) -> String {
    format!("{:.3}", us as f64 / 1e6)
}

fn ms(us: u64) -> String {
    format!("{:.3}", us as f64 / 1e3)
}
