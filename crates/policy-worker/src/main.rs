//! A worker and nothing else, for the tests of this crate. Servers run theirs from their own executable.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// That of the server, whose memory has the same bound.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    docstore_policy_worker::run()
}
