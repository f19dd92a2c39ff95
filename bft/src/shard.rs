//! Traffic between shards: what one shard's blocks have for another, and what members say to each other about
//! transactions that concern several shards (docs/design.md §11–§14, after Kronos, NDSS 2025, and the Python notes).

pub mod home;
pub mod message;
pub mod transfer;
