//! A database of its own for each test, on the server that `DATABASE_URL` names, and waiting for what is written to it.

#![expect(clippy::expect_used, clippy::panic, reason = "a test without its database cannot go on")]

use std::{sync::mpsc, time::Duration};

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgListener},
};
use uuid::Uuid;

use crate::{Pool, Settings};

/// A migrated database that nobody else uses. It is dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    server: PgConnectOptions,
    settings: Settings,
}

impl TestDatabase {
    /// Makes a database. The migrations run once per server and set of migrations; each test gets a copy of the result.
    pub async fn create() -> Self {
        let url = std::env::var("DATABASE_URL")
            .expect("tests need DATABASE_URL: a PostgreSQL server where they may create databases; see scripts/test");
        let server: PgConnectOptions = url.parse().expect("DATABASE_URL is a PostgreSQL URL");
        let server = server.database("postgres");
        let mut admin = server.connect().await.expect("the PostgreSQL server of DATABASE_URL answers");
        let template = ensure_template(&mut admin, &server).await;
        let name = format!("test_{}", Uuid::now_v7().simple());
        // CREATE DATABASE takes no parameters; both names are made here from hexadecimal digits.
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}")))
            .await
            .expect("a test may create a database");
        admin.close().await.expect("the admin connection closes");
        let settings = Settings {
            url: SecretString::from(server.clone().database(&name).to_url_lossy().to_string()),
            connections_max: 20,
            acquire_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(30),
        };
        Self { name, server, settings }
    }

    /// How to reach the database.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A new pool on the database.
    pub async fn pool(&self) -> Pool {
        crate::connect(&self.settings).await.expect("the test database answers")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (name, server) = (self.name.clone(), self.server.clone());
        let (done, dropped) = mpsc::channel();
        // A destructor cannot wait on the test's own runtime.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async {
                let mut admin = server.connect().await.ok()?;
                admin.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await.ok()?;
                admin.close().await.ok()
            })?;
            done.send(()).ok()
        });
        let _ = dropped.recv_timeout(DROP_WAIT_MAX);
    }
}

/// How long a test waits for its database to go. Not for ever: PostgreSQL drops none while a connection is in the middle of
/// its greeting, and one of this test's own may be, whose runtime stands still in the meantime. It goes on once the test has
/// ended.
const DROP_WAIT_MAX: Duration = Duration::from_secs(1);

/// Hears of every committed transaction that writes to a table, so that a test can wait for what it writes.
pub struct TableWatch {
    pool: Pool,
    listener: PgListener,
}

impl TableWatch {
    /// How long it waits for what must come.
    const WAIT_MAX: Duration = Duration::from_secs(60);

    /// From now on it hears. Writers that are at work are waited for.
    pub async fn on(pool: &Pool, table: &str) -> Self {
        let channel = format!("written_to_{table}");
        let mut listener = PgListener::connect_with(pool.sqlx()).await.expect("the test database answers");
        listener.listen(&channel).await.expect("a test may listen");
        for statement in [
            format!(
                "CREATE OR REPLACE FUNCTION tell_{channel}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN NOTIFY {channel}; RETURN NULL; END $$"
            ),
            format!(
                "CREATE OR REPLACE TRIGGER tell_{channel} AFTER INSERT OR UPDATE OR DELETE ON {table}
                FOR EACH STATEMENT EXECUTE FUNCTION tell_{channel}()"
            ),
        ] {
            pool.execute(AssertSqlSafe(statement)).await.expect("the test's own database may have a trigger more");
        }
        Self { pool: pool.clone(), listener }
    }

    /// Waits until a query answers `true`. It is asked now, and again after each write.
    pub async fn until(&mut self, query: &str) {
        let hearing = async {
            while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(query.to_owned()))
                .fetch_one(&self.pool)
                .await
                .unwrap_or_else(|error| panic!("{query}: {error}"))
            {
                self.listener.recv().await.expect("the test database goes on");
            }
        };
        let heard = tokio::time::timeout(Self::WAIT_MAX, hearing).await;
        heard.unwrap_or_else(|_| panic!("waited {:?} for: {query}", Self::WAIT_MAX));
    }
}

/// The name of the migrated database that tests copy, made when it is missing.
async fn ensure_template(admin: &mut PgConnection, server: &PgConnectOptions) -> String {
    let migrator = crate::migrator();
    let mut hasher = Sha256::new();
    for migration in migrator.iter() {
        hasher.update(&migration.checksum);
    }
    let template = format!("docstore_template_{}", &hex::encode(hasher.finalize())[..16]);
    // Tests run in several processes; one of them makes the template while the others wait.
    sqlx::query("SELECT pg_advisory_lock(7301)").execute(&mut *admin).await.expect("the lock is free in the end");
    let ready = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate")
        .bind(&template)
        .fetch_optional(&mut *admin)
        .await
        .expect("the list of databases can be read");
    if ready.is_none() {
        for statement in
            [format!("DROP DATABASE IF EXISTS {template} WITH (FORCE)"), format!("CREATE DATABASE {template}")]
        {
            admin.execute(AssertSqlSafe(statement)).await.expect("a test may create a database");
        }
        let mut connection = server.clone().database(&template).connect().await.expect("the template answers");
        migrator.run(&mut connection).await.unwrap_or_else(|error| panic!("the migrations do not run: {error}"));
        connection.close().await.expect("the template connection closes");
        admin
            .execute(AssertSqlSafe(format!("ALTER DATABASE {template} IS_TEMPLATE true")))
            .await
            .expect("a database can be made a template");
    }
    sqlx::query("SELECT pg_advisory_unlock(7301)").execute(&mut *admin).await.expect("the lock is ours");
    template
}
