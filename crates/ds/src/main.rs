//! The `ds` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match ds::Context::from_process() {
        Ok(mut context) => ExitCode::from(ds::run(&mut context, std::env::args_os()).await.code()),
        Err(error) => {
            eprintln!("error: the current directory is gone: {error}");
            ExitCode::FAILURE
        }
    }
}
