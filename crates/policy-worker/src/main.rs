//! A worker and nothing else, for the tests of this crate. Servers run theirs from their own executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    docstore_policy_worker::run()
}
