//! An idle testbed: it should cost next to nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::local::{Options, Testbed};
use crate::run::{RunError, directory_bytes};

/// The costs of an idle testbed.
pub(crate) struct Idle {
    /// Processor time by program, all nodes together, in percent of one core.
    pub(crate) cpu_percent: BTreeMap<String, f64>,
    /// By how much all files in the log directory grew.
    pub(crate) log_bytes: u64,
}

/// Time for connections to be made and whatever comes at a start to settle.
const SETTLE: Duration = Duration::from_secs(3);

/// Starts a testbed, offers nothing, and watches it for `duration`.
pub(crate) fn measure(options: &Options, duration: Duration) -> Result<Idle, RunError> {
    let mut testbed = Testbed::start(options, &[])?;
    testbed.sleep(SETTLE)?;
    let log = &options.run.directories.log;
    let (cpu_before, log_before, began) = (testbed.cpu_s(), directory_bytes(log), Instant::now());
    testbed.sleep(duration)?;
    let (cpu_after, log_after, seconds) =
        (testbed.cpu_s(), directory_bytes(log), began.elapsed().as_secs_f64());
    testbed.stop();
    let percent = |(program, after): (String, f64)| {
        let before = cpu_before.get(&program).copied().unwrap_or_default();
        (program, 100.0 * (after - before) / seconds)
    };
    Ok(Idle {
        cpu_percent: cpu_after.into_iter().map(percent).collect(),
        log_bytes: log_after.saturating_sub(log_before),
    })
}
