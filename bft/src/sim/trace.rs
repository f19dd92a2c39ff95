//! One line for each event of a core: time, node, height and round, event, effects.

use wire::committee::Committee;
use wire::ids::NodeId;

use crate::core::Core;
use crate::event::Effect;
use crate::sim::parcel::Parcel;
use crate::time::Time;

/// The log of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trace {
    /// Not kept.
    Off,
    /// Its lines.
    Lines(Vec<String>),
}

impl Trace {
    /// Writes a line, if it is kept; `line` is not called otherwise.
    pub(super) fn write(&mut self, line: impl FnOnce() -> String) {
        if let Trace::Lines(lines) = self {
            lines.push(line());
        }
    }
}

/// `seconds node`, the head of every line.
pub(super) fn head(now: Time, who: &str) -> String {
    format!("{:>4}.{:06} {who:<4}", now.0 / 1_000_000, now.0 % 1_000_000)
}

/// Height/decided round of a core, the view it is in, open entries and waiting transactions.
pub(super) fn standing(core: &Core) -> String {
    let status = core.status();
    let view = status.view.map_or("idle".to_string(), |view| format!("v{view}"));
    format!(
        "h{}/{} {view:<4} cert{} lane{} pool{}",
        status.executed, status.decided, status.certified, status.lane_open, status.mempool
    )
}

/// The effects of a step of `node`, in short.
pub(super) fn effects(committee: &Committee, node: NodeId, effects: &[Effect]) -> String {
    let mut parts = Vec::new();
    for effect in effects {
        parts.push(match effect {
            Effect::Send { dest, body, .. } => {
                format!("{} to {dest:?}", Parcel::new(body.clone()).said(committee, node))
            }
            Effect::SendKept { to, digest, .. } => format!("-> n{to} {digest} of the journal"),
            Effect::Reply { client, .. } => format!("reply to client {client}"),
            Effect::Progress(progress) => format!("decided r{}", progress.decided),
            Effect::Executed(report) => {
                format!("EXECUTED h{} {} ({} finished)", report.round, report.header, report.finished)
            }
            Effect::Jumped(report) => format!("TOOK OVER h{} {}", report.height, report.header),
            Effect::Fault(fault) => format!("blames {} for {}", fault.peer, fault.kind.name()),
            Effect::Trace { event, .. } => event.to_string(),
        });
    }
    parts.join("; ")
}
