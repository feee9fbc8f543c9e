use std::path::PathBuf;

use clap::Parser;
use url::Url;

/// Measures a DocStore server from outside, each figure beside its floor in the same run.
///
/// Only the server's URL is needed. With its database the bare SQL for the same rows is measured as well, with its
/// process id its memory, with `ds` the client. The server must let the caller create repos (development identity, or
/// a token), and the repos it makes are left there.
#[derive(Clone, Debug, Parser)]
#[command(name = "docstore-bench", version)]
pub(crate) struct Arguments {
    /// The server, as http://host:port.
    #[arg(long)]
    pub(crate) url: Url,

    /// The org to create repos in.
    #[arg(long, default_value = "default")]
    pub(crate) org: String,

    /// A bearer token for the server.
    #[arg(long, env = "DOCSTORE_BENCH_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,

    /// Who approves what is merged under policies: somebody else than the caller. A server in development believes the
    /// name; others need the token below.
    #[arg(long, default_value = "reviewer@example.com")]
    pub(crate) reviewer: String,

    /// A bearer token of the reviewer.
    #[arg(long, env = "DOCSTORE_BENCH_REVIEWER_TOKEN", hide_env_values = true)]
    pub(crate) reviewer_token: Option<String>,

    /// The server's own database, as a superuser: it is copied, and the bare SQL writes to the copy.
    #[arg(long)]
    pub(crate) database_url: Option<String>,

    /// The server's process, for its memory.
    #[arg(long)]
    pub(crate) server_pid: Option<u32>,

    /// The `ds` to measure beside git.
    #[arg(long)]
    pub(crate) ds: Option<PathBuf>,

    /// A git bundle or repository whose import is measured.
    #[arg(long)]
    pub(crate) import: Option<PathBuf>,

    /// Only figures whose names begin with this; may be given several times.
    #[arg(long)]
    pub(crate) only: Vec<String>,

    /// How much is measured.
    #[arg(long, value_enum, default_value_t = Size::Normal)]
    pub(crate) size: Size,

    /// How many times longer the history becomes for the second half; 1 leaves that half out.
    #[arg(long, default_value_t = 10)]
    pub(crate) growth: usize,

    /// Where to write the table as Markdown.
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,

    /// Where to write the figures as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Size {
    /// A tenth of everything: for trying out.
    Quick,
    /// 10,000 files and 20,000 commits, then the same with ten times the history.
    Normal,
}

impl Arguments {
    /// Whether a figure is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}
