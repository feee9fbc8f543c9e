//! DocStore for development: every service in one process, with an identity that needs no login.
//!
//! It is the server with other defaults: where `DEV_IDENTITY` and `BOOTSTRAP_ADMIN` are not set, both are
//! `developer@example.com`, and logs are text.

use std::process::ExitCode;

use docstore::{Arguments, Server, Settings, policy_worker};
use docstore_service::{Shutdown, telemetry};

/// Who everybody is, unless the environment says otherwise.
const IDENTITY: &str = "developer@example.com";

fn main() -> ExitCode {
    if policy_worker::is_asked_for() {
        return policy_worker::run();
    }
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("docstore-dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::of_process("docstore-dev");
    let mut environment = arguments.environment();
    if arguments.is_healthcheck() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(docstore::healthcheck(&environment))?;
        return Ok(ExitCode::SUCCESS);
    }
    let identity = environment.text("DEV_IDENTITY").unwrap_or(IDENTITY).to_owned();
    for (name, value) in [("DEV_IDENTITY", identity.as_str()), ("BOOTSTRAP_ADMIN", &identity), ("LOG_FORMAT", "text")] {
        if environment.text(name).is_none() {
            environment.set(name, value);
        }
    }
    let settings = Settings::from_environment(&environment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let _telemetry = telemetry::init(&settings.service, "docstore-dev")?;
        let shutdown = Shutdown::on_signal()?;
        let server = Server::start(settings, shutdown).await?;
        tracing::info!(address = %server.address(), identity, "listening");
        Ok(server.finished().await.exit_code())
    })
}
