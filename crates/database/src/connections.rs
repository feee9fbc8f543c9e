//! Connections and transactions.
//!
//! sqlx's own pool asks the database for a sign of life each time a connection comes back, because it cannot know in
//! which state a cancelled query left it. That is a second round trip for every query. Here a connection whose work ended
//! in order rests here and is taken as it is, the latest one first; one whose work was cancelled, failed or was rolled back
//! goes back to sqlx's pool, which tries it out. Connections that rested for a while are tried out too.

use std::{
    collections::VecDeque,
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream};
use sqlx::{
    Connection as _, Database, Either, Execute, Executor, PgConnection, Postgres, SqlStr, pool::PoolConnection,
};
use sqlx_core::transaction::TransactionManager;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{CommitError, Error, Result};

type PgTransactions = <Postgres as Database>::TransactionManager;

/// How long a connection may have rested before it is tried out: after a restart of the database all resting connections
/// are dead, and on a busy server none rests this long.
const TRUSTED_REST: Duration = Duration::from_millis(500);

/// A pool of connections to the database. Clones share it. A reference to it runs single queries.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    end: End,
}

struct Shared {
    connections: sqlx::PgPool,
    resting: Mutex<VecDeque<Resting>>,
    permits: Arc<Semaphore>,
    connections_max: u32,
    acquire_timeout: Duration,
}

/// From which end of those that rest a connection is taken, and where it comes back to. A backend that has just run the same
/// statements finds plans and rows in the caches of the processor; from one stack for all, requests and what goes on behind
/// them would take each other's.
#[derive(Clone, Copy)]
enum End {
    Requests,
    Background,
}

struct Resting {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl Pool {
    pub(crate) fn new(connections: sqlx::PgPool, connections_max: u32, acquire_timeout: Duration) -> Self {
        // One connection is the event listener's for good.
        let permits = usize::try_from(connections_max).unwrap_or(usize::MAX).saturating_sub(1).max(1);
        let permits = Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let shared = Shared { connections, resting: Mutex::default(), permits, connections_max, acquire_timeout };
        Self { shared: Arc::new(shared), end: End::Requests }
    }

    /// The same pool for what goes on behind the requests and for nobody who waits: it takes the connections that requests
    /// have used least lately.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self { end: End::Background, ..self.clone() }
    }

    /// A connection, for several queries in a row.
    ///
    /// # Errors
    /// When none can be had in time.
    pub async fn acquire(&self) -> Result<Connection> {
        Ok(self.take().await?)
    }

    /// The pool of sqlx underneath, for what insists on one, such as a listener.
    #[must_use]
    pub fn sqlx(&self) -> &sqlx::PgPool {
        &self.shared.connections
    }

    /// Closes all connections; whoever still asks for one is refused.
    pub async fn close(&self) {
        self.shared.permits.close();
        self.resting().clear();
        self.shared.connections.close().await;
    }

    async fn take(&self) -> Result<Connection, sqlx::Error> {
        let acquire = Arc::clone(&self.shared.permits).acquire_owned();
        let permit = match tokio::time::timeout(self.shared.acquire_timeout, acquire).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(sqlx::Error::PoolClosed),
            Err(_) => return Err(sqlx::Error::PoolTimedOut),
        };
        while let Some(mut resting) = self.rested() {
            if resting.since.elapsed() > TRUSTED_REST && resting.connection.ping().await.is_err() {
                continue;
            }
            return Ok(Connection {
                connection: Some(resting.connection),
                in_order: false,
                pool: self.clone(),
                _permit: permit,
            });
        }
        let connection = self.shared.connections.acquire().await?;
        Ok(Connection { connection: Some(connection), in_order: false, pool: self.clone(), _permit: permit })
    }

    fn rested(&self) -> Option<Resting> {
        let mut resting = self.resting();
        match self.end {
            End::Requests => resting.pop_back(),
            End::Background => resting.pop_front(),
        }
    }

    fn rest(&self, connection: PoolConnection<Postgres>) {
        let rested = Resting { connection, since: Instant::now() };
        let mut resting = self.resting();
        match self.end {
            End::Requests => resting.push_back(rested),
            End::Background => resting.push_front(rested),
        }
    }

    fn resting(&self) -> MutexGuard<'_, VecDeque<Resting>> {
        self.shared.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("connections_max", &self.shared.connections_max).finish_non_exhaustive()
    }
}

/// A connection taken from the pool.
pub struct Connection {
    connection: Option<PoolConnection<Postgres>>,
    in_order: bool,
    pool: Pool,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Says that all work on the connection ended in order, so that it may rest as it is.
    pub fn done(mut self) {
        self.in_order = true;
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    #[expect(clippy::expect_used, reason = "the connection is only taken out by drop")]
    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("a connection is there until it is dropped")
    }
}

impl DerefMut for Connection {
    #[expect(clippy::expect_used, reason = "the connection is only taken out by drop")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a connection is there until it is dropped")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Dropped as it is, the connection goes back to sqlx's pool, which tries it out.
        if let Some(mut connection) = self.connection.take()
            && self.in_order
            && !self.pool.shared.permits.is_closed()
        {
            // Otherwise each would keep for good what the largest statement and the largest row took that it ever had.
            connection.shrink_buffers();
            self.pool.rest(connection);
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<<Postgres as Database>::QueryResult, <Postgres as Database>::Row>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        // Whole results: a stream would lend the connection out, and nobody here reads results that do not fit.
        let rows = async move {
            let mut connection = self.take().await?;
            let rows: Vec<_> = connection.fetch_many(query).try_collect().await?;
            connection.done();
            Ok::<_, sqlx::Error>(stream::iter(rows.into_iter().map(Ok)))
        };
        stream::once(rows).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<<Postgres as Database>::Row>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let mut connection = self.take().await?;
            let row = connection.fetch_optional(query).await?;
            connection.done();
            Ok(row)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [<Postgres as Database>::TypeInfo],
    ) -> BoxFuture<'e, Result<<Postgres as Database>::Statement, sqlx::Error>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.take().await?.prepare_with(sql, parameters).await })
    }

    // A part of the trait that only sqlx's macros use, while they compile; it is there when their feature is on.
    #[doc(hidden)]
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.sqlx().describe(sql).await })
    }
}

/// An open transaction; rolls back when dropped.
#[derive(Debug)]
pub struct Transaction {
    connection: Option<Connection>,
}

impl Deref for Transaction {
    type Target = PgConnection;

    #[expect(clippy::expect_used, reason = "the connection is only taken out by what ends it")]
    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("a transaction has its connection until it ends")
    }
}

impl DerefMut for Transaction {
    #[expect(clippy::expect_used, reason = "the connection is only taken out by what ends it")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a transaction has its connection until it ends")
    }
}

impl Transaction {
    /// Ends the transaction and gives its connection back, so that whoever has to ask something else before they say why
    /// does not hold one while they wait for another. Nothing more can be done in it.
    pub fn roll_back(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            // Queued here, sent when sqlx's pool tries the connection out, which is at once.
            PgTransactions::start_rollback(&mut connection);
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.roll_back();
    }
}

/// Attempts at a first statement, which must have no effect when it fails: connections that died in the pool, as all do when
/// the database restarts, are replaced without the caller noticing.
pub(crate) struct Attempts<'p> {
    pool: &'p Pool,
    left: u32,
}

impl<'p> Attempts<'p> {
    pub(crate) fn new(pool: &'p Pool) -> Self {
        // Each failure removes one dead connection from the pool, so this ends with a live one or with the database away.
        Self { pool, left: pool.shared.connections_max }
    }

    /// A connection to try it on.
    pub(crate) async fn connection(&mut self) -> Result<Connection> {
        loop {
            match self.pool.take().await {
                Ok(connection) => return Ok(connection),
                Err(error) => self.failed(error)?,
            }
        }
    }

    /// Lets it be tried again if it failed because the connection was dead.
    pub(crate) fn failed(&mut self, error: sqlx::Error) -> Result<()> {
        match Error::from(error) {
            Error::Unavailable(cause) if self.left > 0 && !matches!(cause, sqlx::Error::PoolTimedOut) => {
                tracing::debug!(%cause, "replacing a dead database connection");
                self.left -= 1;
                Ok(())
            }
            error => Err(error),
        }
    }
}

async fn begin_with(pool: &Pool, statement: Option<&'static str>) -> Result<Transaction> {
    let mut attempts = Attempts::new(pool);
    loop {
        let mut connection = attempts.connection().await?;
        match PgTransactions::begin(&mut connection, statement.map(SqlStr::from_static)).await {
            Ok(()) => return Ok(Transaction { connection: Some(connection) }),
            Err(error) => attempts.failed(error)?,
        }
    }
}

/// Begins a transaction.
///
/// # Errors
/// When no connection can be had.
pub async fn begin(pool: &Pool) -> Result<Transaction> {
    begin_with(pool, None).await
}

/// Begins a read-only transaction in which all queries see the same state.
///
/// # Errors
/// When no connection can be had.
pub async fn begin_snapshot(pool: &Pool) -> Result<Transaction> {
    begin_with(pool, Some("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")).await
}

/// Commits a transaction.
///
/// # Errors
/// Tells a refusal, after which nothing has changed, from a connection that went away when it could have been either.
pub async fn commit(mut transaction: Transaction) -> Result<(), CommitError> {
    let committed = PgTransactions::commit(&mut transaction).await;
    let connection = transaction.connection.take();
    match committed {
        Ok(()) => {
            if let Some(connection) = connection {
                connection.done();
            }
            Ok(())
        }
        Err(error) => Err(match Error::from(error) {
            Error::Unavailable(source) => CommitError::Unknown(source),
            other => CommitError::Refused(other),
        }),
    }
}
