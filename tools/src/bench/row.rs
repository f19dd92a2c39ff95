//! The row of measurements that `tools bench` makes as a rule: raw pipe, saturation, a steady rate, idleness.

use super::idle::{self, Idle};
use super::pipe;
use super::report::{Figure, Report};
use super::settings::Settings;
use crate::ids;
use crate::run::RunError;

/// The raw pipe.
pub(super) fn measure_pipe(settings: &Settings, report: &mut Report) -> Result<f64, RunError> {
    eprintln!("measuring the raw pipe");
    let bytes_per_s = pipe::measure(&settings.options(&[]), &settings.pipe, settings.duration)?;
    let name = format!("raw pipe, bodies of {} KiB", settings.pipe.body_bytes as f64 / 1024.0);
    report.add(Figure::new(&name, bytes_per_s / 1e6, "MB/s"));
    Ok(bytes_per_s)
}

/// The throughput of the protocol, as a share of the pipe as well, its latency and its costs.
pub(super) fn measure_protocol(
    settings: &Settings,
    pipe_bytes_per_s: f64,
    report: &mut Report,
) -> Result<(), RunError> {
    let small = settings.run(report, "saturation, 250 bytes", &["--rate", "max"])?;
    report.add_throughput("250 B", &small);
    report.add_cpu("250 B", &small);
    let large = settings.run(report, "saturation, 4096 bytes", &["--rate", "max", "--tx-size", "4096"])?;
    report.add_throughput("4096 B", &large);
    let share = 100.0 * large.tps() * 4096.0 / pipe_bytes_per_s.max(1.0);
    report.add(Figure::new("4096 B, share of the raw pipe", share, "%"));
    let rate = settings.rate.to_string();
    let steady = settings.run(report, "steady rate", &["--rate", &rate])?;
    report.add_latency("steady", &steady);
    let f = usize::from(settings.nodes - 1) / 3;
    if f > 0 {
        let crashed = usize::from(settings.nodes) - f..usize::from(settings.nodes);
        let faults = format!("crash:{}@0", ids::list(crashed.map(|id| id as u64)));
        let crashed =
            settings.run(report, "steady rate, f crashed", &["--rate", &rate, "--faults", &faults])?;
        report.add_latency("f crashed", &crashed);
    }
    eprintln!("measuring an idle testbed");
    let Idle { cpu_percent, log_bytes } = idle::measure(&settings.options(&[]), settings.duration)?;
    for (program, percent) in cpu_percent {
        report.add(Figure::new(&format!("idle: {program}, all nodes"), percent, "% of a core"));
    }
    report.add(Figure::new("idle: growth of all logs", log_bytes as f64, "bytes"));
    Ok(())
}
