//! Offering load and keeping the books on it.
//!
//! [`offering`] is the handle; it owns the thread of [`engine`]. [`plan`] holds what is offered, [`workload`] makes the
//! transactions and judges the receipts, [`contact`] notices which nodes are silent, [`tally`] counts, [`histogram`]
//! keeps latencies, [`series`] counts by the second, [`transactions`] writes down single ones.

mod contact;
mod engine;
mod histogram;
mod mix;
mod offering;
mod phase;
mod plan;
mod series;
mod tally;
mod ticker;
mod transactions;
mod window;
mod workload;

pub(crate) use self::contact::{Advice, Contact, Others, Turn};
pub(crate) use self::engine::Shared;
pub(crate) use self::histogram::Histogram;
#[cfg(test)]
pub(crate) use self::mix::{Mix, Share};
pub(crate) use self::offering::Offering;
pub(crate) use self::plan::{
    CROSS, DURATION, EXPIRY_ROUNDS, HAND_ON, INVALID, Plan, RATE, Rate, SEED, TX_BYTES_MIN, TX_SIZE, WARMUP,
};
pub(crate) use self::series::Section;
pub(crate) use self::tally::{Finished, Tally};
pub(crate) use self::ticker::Ticker;
pub(crate) use self::transactions::TransactionLog;
pub(crate) use self::window::Found;
pub(crate) use self::workload::spare_coins;
