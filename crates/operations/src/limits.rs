use docstore_models::{MAX_PATH_BYTES, PAGE_ROWS_LEAST};
use docstore_settings::{Environment, Invalid, Variable};

/// The variables that [`Limits`] read.
pub const VARIABLES: &[Variable] = &[
    Variable::new("DOCSTORE_COMMIT_FILES_MAX", "100000", "The most files that one commit may change."),
    Variable::new("DOCSTORE_MESSAGE_BYTES_MAX", "1048576", "The longest commit message, in bytes."),
    Variable::new(
        "DOCSTORE_CONTENT_BYTES_MAX",
        "5368709120",
        "The longest file, in bytes. Longer uploads are refused with 413.",
    ),
    Variable::new(
        "DOCSTORE_PAGE_ROWS_MAX",
        "10000",
        "The most rows that one page of a list holds, 100 or more; a larger `limit` is cut to this.",
    ),
    Variable::new("DOCSTORE_IMPORT_COMMITS_MAX", "2000", "The most commits in one import request."),
    Variable::new("DOCSTORE_HASHES_MAX", "10000", "The most hashes or paths that one request may ask about."),
    Variable::new("DOCSTORE_CHAIN_ROWS_MAX", "1000000", "The most entries that one chain request streams."),
    Variable::new("DOCSTORE_PATH_BYTES_MAX", "4096", "The longest path of a file, in bytes."),
    Variable::new("DOCSTORE_TOKEN_DAYS_MAX", "365", "The longest life of an API token, in days."),
    Variable::new("DOCSTORE_AGENT_HOURS_MAX", "24", "The longest life of an agent, in hours."),
];

/// The bounds of operations: what a request may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most files that one commit may change: one statement inserts them all.
    pub commit_files_max: usize,
    /// The longest commit message in bytes: it is in every chain and log that is read.
    pub message_bytes_max: usize,
    /// The longest file in bytes.
    pub content_bytes_max: u64,
    /// The most rows of one page: they are in memory at once. Not below [`PAGE_ROWS_LEAST`].
    pub page_rows_max: i64,
    /// The most commits of one import: they are one transaction.
    pub import_commits_max: usize,
    /// The most hashes or paths that one request may ask about.
    pub hashes_max: usize,
    /// The most entries that one chain request streams.
    pub chain_rows_max: i64,
    /// The longest path in bytes; never more than [`MAX_PATH_BYTES`].
    pub path_bytes_max: usize,
    /// The longest life of an API token in days: what nobody renews is forgotten somewhere.
    pub token_days_max: i64,
    /// The longest life of an agent in hours: a task, not a colleague.
    pub agent_hours_max: i64,
}

/// Counts that a limit was reached, under the name of its setting without prefix and unit, beside the limits of
/// connections and bodies.
pub(crate) fn reached(limit: &'static str) {
    metrics::counter!("docstore_limit_reached_total", "limit" => limit).increment(1);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commit_files_max: 100_000,
            message_bytes_max: 1 << 20,
            content_bytes_max: 5 << 30,
            page_rows_max: 10_000,
            import_commits_max: 2_000,
            hashes_max: 10_000,
            chain_rows_max: 1_000_000,
            path_bytes_max: MAX_PATH_BYTES,
            token_days_max: 365,
            agent_hours_max: 24,
        }
    }
}

impl Limits {
    /// Reads [`VARIABLES`].
    ///
    /// # Errors
    /// Names the variable that cannot be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, Invalid> {
        let default = Self::default();
        let count = |name: &str, default: usize, max: u64| -> Result<usize, Invalid> {
            let number = environment.number_or(name, default as u64, 1..=max)?;
            usize::try_from(number).map_err(|_| Invalid::new(name, "is too large for this machine"))
        };
        let rows = |name: &str, default: i64, least: u64| -> Result<i64, Invalid> {
            let number = environment.number_or(name, default.unsigned_abs(), least..=100_000_000)?;
            i64::try_from(number).map_err(|_| Invalid::new(name, "is too large"))
        };
        let life = |name: &str, default: i64, max: u64| -> Result<i64, Invalid> {
            let number = environment.number_or(name, default.unsigned_abs(), 1..=max)?;
            i64::try_from(number).map_err(|_| Invalid::new(name, "is too large"))
        };
        Ok(Self {
            commit_files_max: count("DOCSTORE_COMMIT_FILES_MAX", default.commit_files_max, 1_000_000)?,
            message_bytes_max: count("DOCSTORE_MESSAGE_BYTES_MAX", default.message_bytes_max, 64 << 20)?,
            content_bytes_max: environment.number_or(
                "DOCSTORE_CONTENT_BYTES_MAX",
                default.content_bytes_max,
                1..=docstore_blobs::CONTENT_BYTES_MAX,
            )?,
            page_rows_max: rows("DOCSTORE_PAGE_ROWS_MAX", default.page_rows_max, PAGE_ROWS_LEAST as u64)?,
            import_commits_max: count("DOCSTORE_IMPORT_COMMITS_MAX", default.import_commits_max, 100_000)?,
            hashes_max: count("DOCSTORE_HASHES_MAX", default.hashes_max, 1_000_000)?,
            chain_rows_max: rows("DOCSTORE_CHAIN_ROWS_MAX", default.chain_rows_max, 1)?,
            path_bytes_max: count("DOCSTORE_PATH_BYTES_MAX", default.path_bytes_max, MAX_PATH_BYTES as u64)?,
            token_days_max: life("DOCSTORE_TOKEN_DAYS_MAX", default.token_days_max, 3650)?,
            agent_hours_max: life("DOCSTORE_AGENT_HOURS_MAX", default.agent_hours_max, 168)?,
        })
    }

    /// A page size: what was asked for, the default when nothing was, never more than the limit.
    #[must_use]
    pub fn page(&self, asked: Option<i64>, default: i64) -> i64 {
        if asked.is_some_and(|asked| asked > self.page_rows_max) {
            reached("page_rows");
        }
        asked.unwrap_or(default).min(self.page_rows_max)
    }

    /// The size of a page of a list that nobody has to page: everything when nothing was asked for.
    #[must_use]
    pub fn optional_page(&self, asked: Option<i64>) -> Option<i64> {
        asked.map(|asked| self.page(Some(asked), asked))
    }
}
