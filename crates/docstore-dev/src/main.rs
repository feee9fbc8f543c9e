//! docstore-dev.

fn main() {}
