//! ds.

fn main() {}
