//! The command line of every command, declared as data.
//!
//! A [`Command`] names its operands and its options with the shape and [`Range`] of their values, their defaults and a
//! sentence of help; from that one table come parsing, the manual page ([`Command::page`]), completion and the errors.
//! An unknown option names the nearest right one; a wrong value names option, value and what was expected. `--name
//! value` and `--name=value` mean the same; operands and options stand in any order.
//!
//! Shapes are read by people and by completion: capitals stand for something (`N`, `FILE`, `DIR`), small letters for
//! themselves, `|` between them means either.

mod command;
mod page;
mod range;
mod seconds;

pub(crate) use self::command::{Command, Invocation, Operand, Opt, UsageError, Values};
pub(crate) use self::page::overview;
pub(crate) use self::range::Range;
pub(crate) use self::seconds::{parse_seconds, seconds_text};
