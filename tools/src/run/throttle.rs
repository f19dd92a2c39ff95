//! A slow node: its processes are stopped and continued in turn, as the quota of a container does it.
//!
//! In each [`PERIOD`], that of the kernel's quotas, they run for the given share and stand still for the rest. A shell
//! does it, on whichever machine they are, and stops by itself in the end. `sleep` and `kill` lengthen the time that
//! they run; `docs/faults.md` has by how much.

use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(100);

/// What a shell is given to slow processes down.
pub(crate) const SCRIPT: &str = include_str!("throttle.sh");

/// The arguments of [`SCRIPT`] before the file and the processes.
pub(crate) fn arguments(percent: u8, lasts: Duration) -> [String; 3] {
    let on = PERIOD * u32::from(percent) / 100;
    let turns = lasts.as_millis().div_ceil(PERIOD.as_millis());
    let [on, off] = [on, PERIOD - on].map(|time| time.as_secs_f64().to_string());
    [on, off, turns.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_divided_by_the_share() {
        assert_eq!(arguments(25, Duration::from_secs(3)), ["0.025", "0.075", "30"]);
        assert_eq!(arguments(99, Duration::from_millis(150)), ["0.099", "0.001", "2"]);
    }
}
