//! net_client
#![forbid(unsafe_code)]

fn main() {}
