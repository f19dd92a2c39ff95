//! A run, wherever its nodes are: what it is to be, what happens in it, and what it came to.
//!
//! 1. [`plan`] and [`mod@prepare`]: what is to happen, leftovers of an earlier run ended, directories cleared, keys
//!    dealt; or, with [`resume`], the keys and journals of an earlier run.
//! 2. [`ready`]: every node answers a client; [`mod@settle`]: what an earlier run left open ends.
//! 3. [`ongoing`]: load is offered, planned [`faults`] are carried out at their times ([`mod@carry_out`]) and their
//!    recoveries followed ([`recovery`]), then nothing may stay open. [`diagnosis`] explains why nothing moves.
//! 4. [`mod@wind_up`]: last statuses, stop, compare files; [`summary`] is the result.
//!
//! Processes are started and stopped by a [`Fleet`]: that of [`crate::local`] on this machine, that of
//! [`crate::deploy`] on others. Whatever goes wrong once nodes are started, no process is left: a fleet stops its nodes
//! when it is dropped.

mod by_hand;
mod carry_out;
mod conduct;
mod diagnosis;
mod directories;
mod error;
mod fault_log;
mod faults;
mod fleet;
mod links;
mod observed;
mod ongoing;
mod options;
mod plan;
mod prepare;
mod program;
mod progress;
mod ready;
mod recovery;
pub(crate) mod resume;
mod settle;
mod summary;
pub(crate) mod throttle;
mod usage;
pub(crate) mod wan;
mod wind_up;

pub(crate) use self::by_hand::ByHand;
pub(crate) use self::conduct::{conclude, conduct, conduct_ready, not_begun, print_report};
pub(crate) use self::diagnosis::last_words;
pub(crate) use self::directories::{Directories, directory_bytes, node_of_log, nodes_writing_in};
pub(crate) use self::error::{RunError, StartError};
pub(crate) use self::faults::Part;
pub(crate) use self::fleet::{Deed, Fleet, Reading, UnaskedEnd, killed};
pub(crate) use self::links::{DirectedRule, control_lines};
pub(crate) use self::ongoing::{Alone, Companion, Run};
pub(crate) use self::options::{
    BATCH, DURATION, EXIT_STATUS, FAULTS, FAULTS_SECTION, FOLLOW, HISTORY_MIB, LIMITS, LIMITS_SECTION,
    LOG_DIR, PIPELINE, ROUNDS, SHARDS, SHARE, SIGNED, TRANSACTIONS, WATCH, durability,
};
pub(crate) use self::plan::{NodeSettings, RunPlan, followers, followers_text};
pub(crate) use self::prepare::{Prepared, note_this_run, prepare, prepare_again, refuse_other_run};
pub(crate) use self::program::{BYZANTINE, ProgramError, program};
pub(crate) use self::progress::Progress;
pub(crate) use self::ready::{NotReady, REPLAY, wait_until_ready};
pub(crate) use self::recovery::{Outcome, Recovery, Start};
pub(crate) use self::resume::Begins;
pub(crate) use self::summary::Summary;
#[cfg(test)]
pub(crate) use self::summary::made_up;
pub(crate) use self::usage::Usage;
pub(crate) use self::wan::{WAN, WanPlan};
pub(crate) use self::wind_up::COUNTERS_LATE;
