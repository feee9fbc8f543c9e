//! The configuration of the server: the sum of what its crates read from the environment, with the flags on top.

use std::time::Duration;

use docstore_models::Identity;
use docstore_operations::{ArchiveSigner, Limits};
use docstore_policy_worker::Program;
use docstore_settings::{Environment, Invalid, Variable};

/// The variables that this crate reads itself.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "BOOTSTRAP_ADMIN",
        "",
        "The identity that is admin of repos that have no admin, reads all events and may delete any repo or org. Also the \
         flag `--bootstrap-admin`.",
    ),
    Variable::new(
        "DOCSTORE_BODY_BYTES_MAX",
        "1048576",
        "The longest JSON body, in bytes, of requests that carry no contents of files.",
    ),
    Variable::new(
        "DOCSTORE_CONTENT_BODY_BYTES_MAX",
        "67108864",
        "The longest JSON body, in bytes, of requests that carry contents of files (commit, import, rebase). Larger \
         files are uploaded by hash.",
    ),
    Variable::new(
        "DOCSTORE_BODY_MEMORY_BYTES",
        "134217728",
        "The memory, in bytes, that JSON bodies take together. Requests above it wait up to 5 s and then get 503.",
    ),
    Variable::new(
        "DOCSTORE_BODY_SECONDS",
        "30",
        "How long a client may take to send a whole JSON body, besides DOCSTORE_BODY_SECONDS_PER_MIB. Uploads by hash have \
         no such deadline, only that of progress.",
    ),
    Variable::new(
        "DOCSTORE_BODY_SECONDS_PER_MIB",
        "4",
        "How much longer a client may take for each MiB that it declares; when it declares no length, for each MiB that \
         would be taken.",
    ),
    Variable::new(
        "DOCSTORE_JSON_DEPTH_MAX",
        "32",
        "How deep lists and objects of a JSON body may lie inside one another. The deepest type has four levels.",
    ),
    Variable::new("DOCSTORE_STREAMS_PER_CALLER_MAX", "2048", "The most event streams that one caller has open."),
    Variable::new(
        "DOCSTORE_MAINTENANCE_SECONDS",
        "60",
        "How long background clearing (unused uploads, blobs of deleted files, rows of deleted repos) rests between rounds.",
    ),
    // Variables of the contract whose features belong to other services or later versions are known, so that a shared
    // configuration is not refused, and do nothing here.
    Variable::new("LOG_STORE", "", "Where logs of checks are kept. Read by the CI parts; `local` or `gcs`."),
    Variable::new("LOG_LOCAL_DIR", "", "The folder of check logs with `LOG_STORE=local`. Read by the CI parts."),
    Variable::new("LOG_BUCKET", "", "The bucket of check logs with `LOG_STORE=gcs`. Read by the CI parts."),
    Variable::new("DEV_UI", "", "Reads page templates from the source tree. Read by the web pages."),
];

/// The bounds of requests, beside those of operations and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// The longest JSON body without contents.
    pub body_bytes_max: usize,
    /// The longest JSON body with contents.
    pub content_body_bytes_max: usize,
    /// The memory that JSON bodies take together.
    pub body_memory_bytes: usize,
    /// The time for a whole JSON body, in seconds.
    pub body_seconds: u64,
    /// The seconds more for each MiB of it.
    pub body_seconds_per_mib: u64,
    /// The deepest nesting of a JSON body.
    pub json_depth_max: usize,
    /// The most event streams of one caller.
    pub streams_per_caller_max: usize,
}

impl HttpLimits {
    /// How long a JSON body of so many bytes may take, from the first byte wanted to the last.
    pub(crate) fn body_deadline(&self, bytes: usize) -> Duration {
        let mib = (bytes as u64).div_ceil(1 << 20);
        Duration::from_secs(self.body_seconds.saturating_add(mib.saturating_mul(self.body_seconds_per_mib)))
    }
}

/// All settings of the server.
#[derive(Clone)]
pub struct Settings {
    /// Listening, logs, traces, connection limits.
    pub service: docstore_service::Settings,
    /// The database.
    pub database: docstore_database::Settings,
    /// Who may call.
    pub auth: docstore_auth::Settings,
    /// Where large contents are.
    pub blobs: docstore_blobs::Settings,
    /// The event log and its streams.
    pub events: docstore_events::Settings,
    /// Sending webhooks.
    pub webhooks: docstore_webhooks::Settings,
    /// The keys of secrets.
    pub secrets: docstore_secrets::Settings,
    /// What evaluates policies; this executable, but in tests.
    pub policy_worker: Program,
    /// The bounds of operations.
    pub limits: Limits,
    /// The bounds of requests.
    pub http: HttpLimits,
    /// Presigned archives.
    pub signer: Option<ArchiveSigner>,
    /// The global admin.
    pub bootstrap_admin: Option<Identity>,
    /// The pause of background clearing.
    pub maintenance_interval: Duration,
}

/// Every variable that the server knows, with the crate that reads it.
#[must_use]
pub fn all_variables() -> Vec<(&'static str, &'static [Variable])> {
    vec![
        ("Server", docstore_service::VARIABLES),
        ("Database", docstore_database::VARIABLES),
        ("Identity", docstore_auth::VARIABLES),
        ("Access and requests", VARIABLES),
        ("Operations", docstore_operations::LIMIT_VARIABLES),
        ("Contents", docstore_blobs::VARIABLES),
        ("Events", docstore_events::VARIABLES),
        ("Webhooks", docstore_webhooks::VARIABLES),
        ("Secrets", docstore_secrets::VARIABLES),
        ("Archives", docstore_operations::ARCHIVE_VARIABLES),
    ]
}

impl Settings {
    /// Reads everything, before anything listens.
    ///
    /// # Errors
    /// Names the first variable that is missing, unknown or cannot be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, Invalid> {
        let known: Vec<&Variable> = all_variables().into_iter().flat_map(|(_, variables)| variables).collect();
        environment.refuse_unknown("DOCSTORE_", &known)?;
        if let Some(store) = environment.text("LOG_STORE")
            && !matches!(store, "local" | "gcs")
        {
            return Err(Invalid::new("LOG_STORE", "must be 'local' or 'gcs'"));
        }
        let bytes = |name: &str, default: u64| -> Result<usize, Invalid> {
            let number = environment.number_or(name, default, 1024..=16 << 30)?;
            usize::try_from(number).map_err(|_| Invalid::new(name, "is too large for this machine"))
        };
        let http = HttpLimits {
            body_bytes_max: bytes("DOCSTORE_BODY_BYTES_MAX", 1 << 20)?,
            content_body_bytes_max: bytes("DOCSTORE_CONTENT_BODY_BYTES_MAX", 64 << 20)?,
            body_memory_bytes: bytes("DOCSTORE_BODY_MEMORY_BYTES", 128 << 20)?,
            // At the most an hour, and the slowest line that anybody still has.
            body_seconds: environment.number_or("DOCSTORE_BODY_SECONDS", 30, 1..=3600)?,
            body_seconds_per_mib: environment.number_or("DOCSTORE_BODY_SECONDS_PER_MIB", 4, 0..=600)?,
            // Each level takes some stack while the body is read; 128 of them less than a tenth of it.
            json_depth_max: usize::try_from(environment.number_or("DOCSTORE_JSON_DEPTH_MAX", 32, 8..=128)?)
                .unwrap_or(usize::MAX),
            streams_per_caller_max: usize::try_from(environment.number_or(
                "DOCSTORE_STREAMS_PER_CALLER_MAX",
                2048,
                1..=1_000_000,
            )?)
            .unwrap_or(usize::MAX),
        };
        if http.body_memory_bytes < http.content_body_bytes_max.max(http.body_bytes_max) {
            return Err(Invalid::new(
                "DOCSTORE_BODY_MEMORY_BYTES",
                "is smaller than the largest body, which could then never be read",
            ));
        }
        let bootstrap_admin = environment
            .text("BOOTSTRAP_ADMIN")
            .map(|text| Identity::parse(text).map_err(|error| Invalid::new("BOOTSTRAP_ADMIN", error)))
            .transpose()?;
        let auth = docstore_auth::Settings::from_environment(environment)?;
        Ok(Self {
            service: docstore_service::Settings::from_environment(environment)?,
            database: docstore_database::Settings::from_environment(environment)?,
            webhooks: docstore_webhooks::Settings::from_environment(environment, auth.is_development())?,
            secrets: docstore_secrets::Settings::from_environment(environment, auth.is_development())?,
            auth,
            blobs: docstore_blobs::Settings::from_environment(environment)?,
            events: docstore_events::Settings::from_environment(environment)?,
            policy_worker: Program::this_executable(),
            limits: Limits::from_environment(environment)?,
            http,
            signer: ArchiveSigner::from_environment(environment)?,
            bootstrap_admin,
            maintenance_interval: environment.seconds_or("DOCSTORE_MAINTENANCE_SECONDS", 60, 1..=86_400)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_body_may_take_longer() {
        let limits = HttpLimits {
            body_bytes_max: 1 << 20,
            content_body_bytes_max: 64 << 20,
            body_memory_bytes: 128 << 20,
            body_seconds: 30,
            body_seconds_per_mib: 4,
            json_depth_max: 32,
            streams_per_caller_max: 1,
        };
        assert_eq!([0, 1, 1 << 20, 64 << 20].map(|bytes| limits.body_deadline(bytes).as_secs()), [30, 34, 34, 286]);
    }
}
