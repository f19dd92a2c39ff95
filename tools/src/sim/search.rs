//! `tools sim --search`: every execution of agreement in a small scope.

use std::time::{Duration, Instant};

use bft::sim::search::{Progress, search};

use crate::terminal::print;

/// Between two lines of progress.
const EVERY: Duration = Duration::from_secs(10);

/// Searches this many views and returns the exit status.
pub(super) fn run(views: u32) -> u8 {
    let begun = Instant::now();
    let mut due = EVERY;
    let outcome = search(views, |progress| {
        if begun.elapsed() >= due {
            due = begun.elapsed() + EVERY;
            print(line(progress, begun.elapsed()));
        }
    });
    match outcome {
        Ok(progress) => {
            print(format!(
                "{}\nno violation in {views} views, every leader tried on the stand-in suite",
                line(&progress, begun.elapsed())
            ));
            0
        }
        Err(violation) => {
            print(format!("VIOLATION after {:.0} s: {violation}", begun.elapsed().as_secs_f64()));
            1
        }
    }
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let Progress { states, expanded, outcomes, deliveries } = progress;
    let by_view: Vec<String> = states.iter().map(u64::to_string).collect();
    format!(
        "{:5.0} s  {expanded} of {} states (by view {}), {outcomes} ends of views, {deliveries} deliveries",
        elapsed.as_secs_f64(),
        states.iter().sum::<u64>(),
        by_view.join(" ")
    )
}
