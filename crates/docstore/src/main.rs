//! docstore.

fn main() {}
