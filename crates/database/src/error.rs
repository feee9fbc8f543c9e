use docstore_models::Timestamp;

/// The result of a query.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a query failed, told apart by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database cannot be reached or is shutting down; nothing was changed. Trying again makes sense.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// Two transactions got into each other's way (deadlock, serialisation); nothing was changed. Trying again makes
    /// sense.
    #[error("the transaction lost a race")]
    Contention(#[source] sqlx::Error),
    /// The statement took longer than its limit.
    #[error("the query took longer than its limit")]
    TimedOut(#[source] sqlx::Error),
    /// A named constraint does not hold.
    #[error("the constraint {constraint} does not hold")]
    Constraint {
        /// The name of the constraint or unique index.
        constraint: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// A defect: a query that cannot work, or a row that cannot be read.
    #[error("a query failed")]
    Query(#[source] sqlx::Error),
}

impl Error {
    /// Whether this is a violation of the named constraint or unique index.
    #[must_use]
    pub fn is_constraint(&self, name: &str) -> bool {
        matches!(self, Self::Constraint { constraint, .. } if constraint == name)
    }

    /// The limit that was reached, if that is why: the name of its setting without prefix and unit.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable(sqlx::Error::PoolTimedOut) => Some("database_acquire"),
            Self::TimedOut(_) => Some("database_statement"),
            _ => None,
        }
    }

    /// Whether nothing was changed and the same request may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Contention(_))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
                other => Self::Query(other),
            };
        };
        if let Some(constraint) = database.constraint() {
            let constraint = constraint.to_owned();
            return Self::Constraint { constraint, source: error };
        }
        // SQLSTATE classes, PostgreSQL manual appendix A.
        match database.code().as_deref() {
            Some("40001" | "40P01" | "55P03") => Self::Contention(error),
            Some("57014") => Self::TimedOut(error),
            Some(code) if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
                Self::Unavailable(error)
            }
            // The database ended the session because it was left idle inside a transaction.
            Some("25P03") => Self::Unavailable(error),
            _ => Self::Query(error),
        }
    }
}

/// Why a transaction did not end in a known commit.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The database refused; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The connection went away after the commit was sent: it may have happened or not.
    #[error("the database went away in the middle of a commit")]
    Unknown(#[source] sqlx::Error),
}

/// Reads a database time into the wire's.
pub(crate) fn timestamp(moment: chrono::DateTime<chrono::Utc>) -> Timestamp {
    Timestamp::from(moment)
}
