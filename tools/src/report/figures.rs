//! The figures of one run, in the order of the questions that a researcher has: did it keep up, how long did a
//! transaction take, where did the time go, were all nodes level, what did it cost.

mod latency;
mod resources;
mod rounds;
mod throughput;
mod traffic;

pub(super) use self::latency::cdf;
pub(super) use self::throughput::committed;

use super::figure::Figure;
use super::run::RunFiles;

/// All figures that the run has the files for.
pub(super) fn all(run: &RunFiles) -> Vec<Figure> {
    let figures = [
        throughput::over_time(run),
        throughput::latency_over_time(run),
        latency::distribution(run),
        rounds::phases(run),
        latency::hops(run),
        rounds::views(run),
        rounds::heights(run),
        traffic::by_kind(run),
        traffic::by_link(run),
        resources::processes(run),
    ];
    figures.into_iter().flatten().collect()
}
