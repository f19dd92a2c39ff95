//! `tools deploy`: a testbed on the machines of `hosts.txt`, over SSH.
//!
//! 1. [`mod@check`]: everything that could be in the way, on all hosts, before anything slow.
//! 2. [`mod@install`]: programs, and to each host the keys of its own nodes.
//! 3. [`processes`]: nodes are started in sessions of their own and outlive the connection. The standard input of a
//!    node is a named pipe in the run directory, and a line on it stops the node: stopping needs write access there, no
//!    port and no key.
//! 4. [`fleet`]: a whole run is the run of `tools local`, whose nodes happen to be elsewhere.
//! 5. [`mod@logs`] and [`clock`]: what the nodes wrote, and how far their clocks are apart.
//!
//! Every step on a host is a shell script ([`script`]) that goes through [`ssh`]; a failure on one
//! host is reported with its reason, and stops only what needs all hosts. Whatever a host sends is read as if an enemy
//! had written it.

mod check;
mod clock;
mod commands;
mod deployment;
mod exit;
mod fleet;
mod install;
mod load;
mod logs;
mod options;
mod processes;
mod run;
mod script;
mod sites;
mod ssh;
mod ssh_error;
mod start;
mod step;

pub(crate) use self::commands::{check, clean, install, logs, status, stop};
pub(crate) use self::load::load;
pub(crate) use self::options::{CHECK, CLEAN, INSTALL, LOAD, LOGS, RUN, START, STATUS, STOP};
pub(crate) use self::run::run;
pub(crate) use self::start::start;
