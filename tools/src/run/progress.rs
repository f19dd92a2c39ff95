//! Where a run prints how it goes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::terminal;

/// Whether and where a run prints how it goes while it goes.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// On standard output.
    Printed,
    /// Not at all: benchmarks have a table of their own.
    Silent,
    /// On standard output, or kept for a screen while there is one.
    Watched(Rc<RefCell<Kept>>),
}

/// Messages kept for a screen.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    has_screen: bool,
    /// At most [`KEPT_MAX`], the oldest first.
    lines: VecDeque<String>,
}

/// More messages than these nobody reads again.
const KEPT_MAX: usize = 1_000;

impl Progress {
    pub(crate) fn watched() -> Progress {
        Progress::Watched(Rc::default())
    }

    /// Prints a message, if anything is to be printed.
    pub(crate) fn print(&self, line: &str) {
        match self {
            Progress::Printed => terminal::print(line),
            Progress::Silent => {}
            Progress::Watched(kept) => {
                let mut kept = kept.borrow_mut();
                if !kept.has_screen {
                    terminal::print(line);
                    return;
                }
                if kept.lines.len() == KEPT_MAX {
                    kept.lines.pop_front();
                }
                kept.lines.push_back(line.to_string());
            }
        }
    }

    /// Prints a line of the table of seconds, which a screen shows in its own way.
    pub(crate) fn print_second(&self, line: &str) {
        match self {
            Progress::Watched(kept) if kept.borrow().has_screen => {}
            Progress::Printed | Progress::Silent | Progress::Watched(_) => self.print(line),
        }
    }

    /// A screen has been opened: messages are for it.
    pub(crate) fn keep(&self) {
        if let Progress::Watched(kept) = self {
            kept.borrow_mut().has_screen = true;
        }
    }

    /// The messages since then.
    pub(crate) fn kept(&self) -> Vec<String> {
        match self {
            Progress::Watched(kept) => kept.borrow().lines.iter().cloned().collect(),
            Progress::Printed | Progress::Silent => Vec::new(),
        }
    }

    /// The screen is closed: prints them.
    pub(crate) fn release(&self) {
        if let Progress::Watched(kept) = self {
            let Kept { lines, .. } = kept.take();
            lines.iter().for_each(terminal::print);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_while_there_is_a_screen() {
        let progress = Progress::watched();
        progress.keep();
        (0..=KEPT_MAX).for_each(|number| progress.print(&number.to_string()));
        progress.print_second("a row");
        let kept = progress.kept();
        assert_eq!((kept.len(), kept[0].as_str()), (KEPT_MAX, "1"), "the oldest goes");
        progress.release();
        assert!(progress.kept().is_empty());
        progress.print("now printed");
        assert!(progress.kept().is_empty());
    }
}
