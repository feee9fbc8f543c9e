use std::time::Duration;

use docstore_settings::{Environment, Invalid, Variable};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection, Executor,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{Error, Pool, Result};

/// The variables that this crate reads.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "DATABASE_URL",
        "",
        "PostgreSQL 15 or newer with the encoding UTF8, as `postgres://user:password@host:port/database`. Required.",
    ),
    Variable::new("DOCSTORE_DATABASE_CONNECTIONS", "20", "The most connections that one process opens."),
    Variable::new(
        "DOCSTORE_DATABASE_ACQUIRE_SECONDS",
        "5",
        "How long a request waits for a free connection before it is answered with 503.",
    ),
    Variable::new(
        "DOCSTORE_DATABASE_STATEMENT_SECONDS",
        "30",
        "How long one statement may run. Streams of whole trees read in pieces, so this bounds no download.",
    ),
];

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL, password included.
    pub url: SecretString,
    /// The most connections that one process opens.
    pub connections_max: u32,
    /// How long to wait for a free connection.
    pub acquire_timeout: Duration,
    /// How long one statement may run.
    pub statement_timeout: Duration,
}

impl Settings {
    /// Reads [`VARIABLES`].
    ///
    /// # Errors
    /// Names the variable that is missing or cannot be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, Invalid> {
        let url = environment.required("DATABASE_URL")?;
        // The reason of a URL that does not parse may quote it, and with it the password.
        if url.parse::<PgConnectOptions>().is_err() {
            return Err(Invalid::new("DATABASE_URL", "is not a PostgreSQL URL"));
        }
        let connections = environment.number_or("DOCSTORE_DATABASE_CONNECTIONS", 20, 2..=1000)?;
        Ok(Self {
            url: SecretString::from(url),
            connections_max: u32::try_from(connections).unwrap_or(u32::MAX),
            acquire_timeout: environment.seconds_or("DOCSTORE_DATABASE_ACQUIRE_SECONDS", 5, 1..=300)?,
            statement_timeout: environment.seconds_or("DOCSTORE_DATABASE_STATEMENT_SECONDS", 30, 1..=3600)?,
        })
    }

    /// The options of one connection: UTC, so that times print in UTC, and a bound on every statement.
    ///
    /// # Errors
    /// When the URL does not parse.
    pub fn connect_options(&self) -> Result<PgConnectOptions> {
        let milliseconds = self.statement_timeout.as_millis().to_string();
        Ok(self
            .url
            .expose_secret()
            .parse::<PgConnectOptions>()?
            .application_name("docstore")
            .options([
                ("timezone", "UTC"),
                ("statement_timeout", milliseconds.as_str()),
                // Our queries are few and their parameters alike: planning them again for each call costs more than running
                // them. Compiling them would too.
                ("plan_cache_mode", "force_generic_plan"),
                ("jit", "off"),
                // None of them is large enough to gain by it, and some rely on the order in which their parts run.
                ("max_parallel_workers_per_gather", "0"),
                // Each has an index for what it reads. Plans are made while the tables are young and small, and kept.
                ("enable_seqscan", "off"),
                // Nor does any look the same thing up twice, which is what remembering look-ups would be for.
                ("enable_memoize", "off"),
                // A server that hangs inside a transaction must not keep a branch locked.
                ("idle_in_transaction_session_timeout", "60000"),
            ])
            .log_slow_statements(log::LevelFilter::Warn, Duration::from_secs(5)))
    }
}

/// Opens the pool and waits for its first connection.
///
/// # Errors
/// When the database cannot be reached.
pub async fn connect(settings: &Settings) -> Result<Pool> {
    let connections = PgPoolOptions::new()
        .max_connections(settings.connections_max)
        .acquire_timeout(settings.acquire_timeout)
        // Connections that rest here were just made or just tried out: see `connections`.
        .test_before_acquire(false)
        .connect_with(settings.connect_options()?)
        .await?;
    Ok(Pool::new(connections, settings.connections_max, settings.acquire_timeout))
}

/// Asks the database for a sign of life.
///
/// # Errors
/// When it does not answer.
pub async fn ping(pool: &Pool) -> Result<()> {
    pool.execute("SELECT 1").await?;
    Ok(())
}

/// The migrations, embedded in the binary.
#[must_use]
pub fn migrator() -> Migrator {
    sqlx::migrate!("../../migrations")
}

/// The oldest PostgreSQL whose statements are used.
const POSTGRES_VERSION_MIN: i32 = 15;

/// Why a database cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It cannot be reached, or asked.
    #[error("the database does not answer")]
    Unanswered(#[from] Error),
    /// It is too old.
    #[error("the database is PostgreSQL {0}; {POSTGRES_VERSION_MIN} or newer is needed")]
    TooOld(String),
    /// Its texts are no UTF-8: paths would be compared and cut as something else.
    #[error("the database's encoding is {0}; create it anew with ENCODING 'UTF8'")]
    Encoding(String),
    /// A step failed, or one that was made is not the one that this binary knows.
    #[error(transparent)]
    Step(#[from] sqlx::migrate::MigrateError),
}

/// Brings the schema up to date. Replicas that start together wait for one another on an advisory lock. Steps that a newer
/// binary made are left alone.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(settings: &Settings) -> Result<(), MigrateError> {
    // A migration may take longer than any request: its own connection, without the statement limit.
    let options = settings.connect_options()?.options([("statement_timeout", "0")]);
    let mut connection = options.connect().await.map_err(Error::from)?;
    let (version, number, encoding): (String, i32, String) = sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::integer,
            current_setting('server_encoding')",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(Error::from)?;
    if number / 10_000 < POSTGRES_VERSION_MIN {
        return Err(MigrateError::TooOld(version));
    }
    if encoding != "UTF8" {
        return Err(MigrateError::Encoding(encoding));
    }
    // While a new version is rolled out, or taken back, old servers start beside the newer schema (migrations/README.md).
    migrator().set_ignore_missing(true).run(&mut connection).await?;
    connection.close().await.map_err(Error::from)?;
    Ok(())
}
