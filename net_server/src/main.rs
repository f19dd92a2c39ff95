//! net_server
#![forbid(unsafe_code)]

fn main() {}
