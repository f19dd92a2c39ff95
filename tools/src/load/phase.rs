//! The parts of a load: warm-up, what is measured, drain.

/// Which part of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Load is offered, and no figure is about it.
    WarmUp,
    /// Load is offered, and figures are about it.
    Measured,
    /// Load is no longer offered.
    Drain,
}

impl Phase {
    /// As files name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::WarmUp => "warm-up",
            Phase::Measured => "measured",
            Phase::Drain => "drain",
        }
    }
}

/// The borders of the phases, microseconds since the load began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Borders {
    /// Where the warm-up ends.
    pub(crate) measured_from_us: u64,
    /// Where the offering ends; the far future while it is not known.
    pub(crate) offered_until_us: u64,
}

impl Default for Borders {
    /// All of a load that has no end yet is measured.
    fn default() -> Borders {
        Borders { measured_from_us: 0, offered_until_us: u64::MAX }
    }
}

impl Borders {
    /// The phase of a moment.
    pub(crate) fn phase(&self, at_us: u64) -> Phase {
        if at_us >= self.offered_until_us {
            Phase::Drain
        } else if at_us < self.measured_from_us {
            Phase::WarmUp
        } else {
            Phase::Measured
        }
    }
}
