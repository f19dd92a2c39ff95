//! `--watch`: a run on the whole terminal: load, nodes, faults to come, and keys that make nodes fail by hand.
//!
//! The screen is drawn twice a second and after each key, from what the run knows anyway: last statuses of the nodes,
//! the series of the load, what processes use. It is an alternate screen, so afterwards the terminal shows what it
//! showed before, followed by the messages of the run and its summary. Where standard output is no terminal, lines are
//! printed as without the option.

mod keys;
mod look;
mod screen;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use wire::ids::NodeId;

use self::keys::{Key, Keys};
use self::look::Usage;
use crate::run::{Alone, ByHand, Companion, Progress, Run, RunError, RunPlan, Summary, conduct};
use crate::terminal::{self, FullScreen};

/// Goes through with a run that `begin` starts, on a screen if that is wanted and there is one.
pub(crate) fn conduct_watched<'a>(
    plan: &RunPlan,
    begin: impl FnOnce(Progress) -> Result<Run<'a>, RunError>,
) -> Result<Summary, RunError> {
    if plan.is_watched && terminal::is_terminal() {
        let progress = Progress::watched();
        let run = begin(progress.clone())?;
        return conduct(run, &mut Watch::new(progress));
    }
    conduct(begin(Progress::Printed)?, &mut Alone)
}

/// How long a picture stands.
const FRAME: Duration = Duration::from_millis(500);

/// Draws a run, and turns keys into faults.
struct Watch {
    screen: Option<FullScreen>,
    /// Whether a screen was opened, or could not be.
    has_tried: bool,
    progress: Progress,
    keys: Keys,
    /// The node that keys are for.
    chosen: NodeId,
    drawn: Option<Instant>,
    usage: Usage,
    /// Of each node, the processor share and memory as last looked at.
    used: BTreeMap<NodeId, look::Used>,
    wanted: Vec<ByHand>,
}

impl Watch {
    /// A watch of a run that prints through `progress`.
    fn new(progress: Progress) -> Watch {
        Watch {
            screen: None,
            has_tried: false,
            progress,
            keys: Keys::default(),
            chosen: NodeId(0),
            drawn: None,
            usage: Usage::default(),
            used: BTreeMap::new(),
            wanted: Vec::new(),
        }
    }

    fn draw(&mut self, run: &Run<'_>, elapsed: Duration) {
        let screen = match &mut self.screen {
            Some(screen) => screen,
            None if self.has_tried => return,
            None => {
                self.has_tried = true;
                let Some(screen) = FullScreen::open() else { return };
                self.progress.keep();
                self.screen.insert(screen)
            }
        };
        let nodes = run.plan.nodes_in_all();
        let mut has_key = false;
        for key in self.keys.read(&mut *screen) {
            has_key = true;
            match key {
                Key::Up => self.chosen.0 = self.chosen.0.saturating_sub(1),
                Key::Down => self.chosen.0 = (self.chosen.0 + 1).min(nodes - 1),
                Key::Digit(digit) => self.chosen.0 = u16::from(digit).min(nodes - 1),
                Key::Pause => self.wanted.push(ByHand::Pause(self.chosen)),
                Key::Kill => self.wanted.push(ByHand::Kill(self.chosen)),
                Key::Restart => self.wanted.push(ByHand::Restart(self.chosen)),
                Key::Cut => self.wanted.push(ByHand::Cut(self.chosen)),
            }
        }
        if !has_key && self.drawn.is_some_and(|at| at.elapsed() < FRAME) {
            return;
        }
        self.drawn = Some(Instant::now());
        if let Some(used) = self.usage.look(|| run.fleet.readings()) {
            self.used = used;
        }
        let view = look::view(run, elapsed, self.chosen, &self.used, self.progress.kept());
        let (columns, rows) = screen.size();
        screen.draw(&screen::lines(&view, columns, rows));
    }

    fn close(&mut self) {
        if self.screen.take().is_some() {
            self.progress.release();
        }
    }
}

impl Companion for Watch {
    fn step(&mut self, run: &Run<'_>, elapsed: Duration) {
        self.draw(run, elapsed);
    }

    fn drain(&mut self, run: &Run<'_>, elapsed: Duration) {
        self.draw(run, elapsed);
        // Faults are of the time in which load is offered.
        self.wanted.clear();
    }

    fn by_hand(&mut self) -> Vec<ByHand> {
        std::mem::take(&mut self.wanted)
    }

    fn end(&mut self, _: &Run<'_>) {
        self.close();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.close();
    }
}
