//! The DocStore server.

use std::process::ExitCode;

use docstore::{Arguments, Server, Settings, policy_worker};
use docstore_service::{Shutdown, telemetry};
use tikv_jemallocator::Jemalloc;

/// Requests make and drop many small things on all threads at once. musl's allocator, which is what a static binary has
/// otherwise, has one lock for all of them; the one of the C library takes a fifth more time for reads (docs/performance.md).
/// How it is set: `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    if policy_worker::is_asked_for() {
        return policy_worker::run();
    }
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("docstore: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::of_process("docstore");
    let environment = arguments.environment();
    if arguments.is_healthcheck() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(docstore::healthcheck(&environment))?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::from_environment(&environment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let _telemetry = telemetry::init(&settings.service, "docstore")?;
        let shutdown = Shutdown::on_signal()?;
        let server = Server::start(settings, shutdown).await?;
        tracing::info!(address = %server.address(), "listening");
        Ok(server.finished().await.exit_code())
    })
}
