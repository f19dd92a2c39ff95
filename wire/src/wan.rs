//! The wide-area network that a run emulates.

mod conditions;

pub use self::conditions::{BANDWIDTH_EXPECTED, Conditions, DELAY_EXPECTED, Rate, Time, bandwidth, delay};
