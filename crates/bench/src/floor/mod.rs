//! The floor: the fewest and leanest statements that write or read the same rows over the same indexes, through the same
//! driver on the same PostgreSQL with the same number of clients. One connection per client and no pool; statements are
//! prepared once. What is written goes to a copy of the server's database, so both sides start from the same pages.

pub(crate) mod deliveries;
pub(crate) mod reads;
pub(crate) mod writes;

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};

/// The copy's name.
const COPY: &str = "docstore_bench_floor";

/// How long the server may take to notice that its connections were cut, and to make new ones.
const RECOVERY_SECONDS_MAX: u64 = 30;

/// The server's database, and the copy of it that the bare SQL writes to.
pub(crate) struct Floor {
    original: PgConnectOptions,
    name: String,
}

/// What the database has counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    /// Transactions, a lone statement being one.
    pub(crate) transactions: i64,
}

impl Floor {
    pub(crate) fn new(url: &str) -> Result<Self> {
        let original: PgConnectOptions = url.parse().context("--database-url is not a PostgreSQL URL")?;
        // `disable_statement_logging` also skips the formatting of every statement for a log that nobody reads.
        let original = original.application_name("docstore-bench").disable_statement_logging();
        let name = original.get_database().unwrap_or("postgres").to_owned();
        Ok(Self { original, name })
    }

    /// The database that keeps out of the way of both.
    async fn elsewhere(&self) -> Result<PgConnection> {
        Ok(self.original.clone().database("postgres").connect().await?)
    }

    /// A connection to the server's own database, to read.
    pub(crate) async fn original(&self) -> Result<PgConnection> {
        Ok(self.original.clone().connect().await?)
    }

    /// A connection to the copy, to write.
    pub(crate) async fn copy(&self) -> Result<PgConnection> {
        Ok(self.original.clone().database(COPY).connect().await?)
    }

    /// Connections to the copy.
    pub(crate) async fn copies(&self, count: usize) -> Result<Vec<PgConnection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(self.copy().await?);
        }
        Ok(connections)
    }

    /// Connections to the server's own database.
    pub(crate) async fn originals(&self, count: usize) -> Result<Vec<PgConnection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(self.original().await?);
        }
        Ok(connections)
    }

    /// Does what autovacuum does within a minute of a large import, and then copies the database. A template may have no
    /// connections, so those of the server are cut for the moment; `ready` is asked until it says that the server has
    /// new ones.
    pub(crate) async fn make_copy(&self, ready: impl AsyncFn() -> bool) -> Result<()> {
        self.tidy().await?;
        let mut connection = self.elsewhere().await?;
        let name = format!("\"{}\"", self.name.replace('"', "\"\""));
        self.drop_copy().await?;
        let execute = async |connection: &mut PgConnection, sql: String| {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
        };
        execute(&mut connection, format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await?;
        let copied = async {
            // Waits until each has gone.
            sqlx::query("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1")
                .bind(&self.name)
                .execute(&mut connection)
                .await?;
            execute(&mut connection, format!("CREATE DATABASE {COPY} TEMPLATE {name} STRATEGY file_copy")).await
        }
        .await;
        execute(&mut connection, format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await?;
        copied.context("cannot copy the database; --database-url must be a superuser's")?;
        connection.close().await?;
        for _ in 0..RECOVERY_SECONDS_MAX * 10 {
            if ready().await {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("the server did not recover from the loss of its database connections")
    }

    pub(crate) async fn drop_copy(&self) -> Result<()> {
        let mut connection = self.elsewhere().await?;
        sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")))
            .execute(&mut connection)
            .await?;
        Ok(connection.close().await?)
    }

    /// Vacuums and analyses.
    pub(crate) async fn tidy(&self) -> Result<()> {
        let mut connection = self.original().await?;
        sqlx::raw_sql("VACUUM ANALYZE").execute(&mut connection).await?;
        sqlx::raw_sql("CHECKPOINT").execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Finds a repo.
    pub(crate) async fn repo_id(&self, repo: &str) -> Result<i64> {
        let mut connection = self.original().await?;
        let row = sqlx::query("SELECT id FROM repos WHERE name = $1 AND deleted_at IS NULL")
            .bind(repo)
            .fetch_one(&mut connection)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Asks how much the server's database has done; the question itself is asked elsewhere.
    pub(crate) async fn counted(&self) -> Result<Counted> {
        let mut connection = self.elsewhere().await?;
        let row = sqlx::query("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1")
            .bind(&self.name)
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(Counted { transactions: row.try_get(0)? })
    }

    /// The version and those settings that matter and are not the default.
    pub(crate) async fn describe(&self) -> Result<String> {
        let mut connection = self.elsewhere().await?;
        let version: String = sqlx::query("SHOW server_version").fetch_one(&mut connection).await?.try_get(0)?;
        let rows = sqlx::query(
            "SELECT name || '=' || current_setting(name) FROM pg_settings
             WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_connections', 'jit')
             ORDER BY name",
        )
        .fetch_all(&mut connection)
        .await?;
        let settings: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(format!("PostgreSQL {version} ({})", settings.join(", ")))
    }
}
