//! The raw pipe: what the three processes of each node carry without any agreement.

use std::time::{Duration, Instant};

use wire::ids::NodeId;

use crate::local::{Options, Testbed};
use crate::run::RunError;

/// The load of the pipe.
pub(crate) struct PipeSettings {
    /// Length of a body.
    pub(crate) body_bytes: u64,
    /// Bodies that each node keeps under way.
    pub(crate) window: u64,
}

/// Time for connections to be made and windows to fill.
const WARM_UP: Duration = Duration::from_secs(2);

/// Payload bytes a second of all nodes together; a body counts once, when all others have acknowledged it.
pub(crate) fn measure(
    options: &Options,
    settings: &PipeSettings,
    duration: Duration,
) -> Result<f64, RunError> {
    let pipe = format!("{},{}", settings.body_bytes, settings.window);
    let testbed = Testbed::start(options, &["--pipe", &pipe])?;
    testbed.sleep(WARM_UP)?;
    let (before, began) = (bodies(&testbed), Instant::now());
    testbed.sleep(duration)?;
    let (after, seconds) = (bodies(&testbed), began.elapsed().as_secs_f64());
    testbed.stop();
    Ok(after.saturating_sub(before) as f64 * settings.body_bytes as f64 / seconds)
}

/// Bodies that all nodes have carried, as they report in the field for finished transactions.
fn bodies(testbed: &Testbed) -> u64 {
    let nodes: Vec<NodeId> = testbed.up();
    testbed.statuses(&nodes).values().map(|status| status.finished).sum()
}
