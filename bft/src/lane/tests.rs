//! Lanes of one shard, wired to each other without links.

mod attacks;
mod bounds;
mod fetching;
mod finals;
mod happy;
mod net;
mod random;
