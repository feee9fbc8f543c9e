use std::fmt;

use docstore_models::{DirectoryEntry, FileContent, FileHistoryEntry, PAGE_ROWS_LEAST, TreeEntry};

use crate::{
    Download, Error, RepoClient,
    paths::segments,
    transport::{Call, is_not_modified},
};

/// The largest page of a tree that is asked for, which is also the largest that a server gives unless it is told otherwise.
pub const TREE_PAGE_ENTRIES_MAX: usize = 10_000;

/// A point in the history of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A sequence.
    Sequence(i64),
    /// The sequence that a release names.
    Release(String),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(sequence) => sequence.fmt(f),
            Self::Release(name) => f.write_str(name),
        }
    }
}

/// Which tree to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeQuery {
    /// The branch; `main` when absent.
    pub branch: Option<String>,
    /// The point; the head when absent.
    pub at: Option<At>,
}

impl TreeQuery {
    /// The tree at the head of a branch.
    pub fn of_branch(branch: impl Into<String>) -> Self {
        Self { branch: Some(branch.into()), at: None }
    }

    /// The same branch at a sequence.
    #[must_use]
    pub fn at_sequence(mut self, sequence: i64) -> Self {
        self.at = Some(At::Sequence(sequence));
        self
    }

    fn apply(&self, call: Call) -> Call {
        call.query_some("at", self.at.as_ref()).query_some("branch", self.branch.as_ref())
    }
}

impl RepoClient {
    /// One page of a tree, by path; `after` is the last path of the page before.
    ///
    /// # Errors
    /// As every call. A server of the original contract answers an unknown branch with an empty page.
    pub async fn tree_page(
        &self,
        query: &TreeQuery,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Vec<TreeEntry>, Error> {
        let call =
            query.apply(Call::get(self.path("tree")).query_some("after", after)).query("limit", limit.to_string());
        self.client.fetch(call).await
    }

    /// The whole tree, by path, page by page.
    ///
    /// Name a sequence: without one, a commit between two pages would mix two trees.
    ///
    /// # Errors
    /// As [`RepoClient::tree_page`].
    pub async fn tree(&self, query: &TreeQuery) -> Result<Vec<TreeEntry>, Error> {
        let mut entries: Vec<TreeEntry> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.path.clone());
            let page = self.tree_page(query, TREE_PAGE_ENTRIES_MAX, after.as_deref()).await?;
            // A server may be limited to smaller pages. To take one for the last would be to take files for deleted.
            let last = page.len() < PAGE_ROWS_LEAST;
            if let (Some(last), Some(first)) = (&after, page.first())
                && first.path <= *last
            {
                return Err(Error::UnexpectedAnswer {
                    what: "GET tree".to_owned(),
                    reason: format!("the page after '{last}' starts with '{}'", first.path),
                });
            }
            entries.extend(page);
            if last {
                return Ok(entries);
            }
        }
    }

    /// The files and directories directly in a directory, `/` for the root. Additive.
    ///
    /// # Errors
    /// As every call.
    pub async fn directory(
        &self,
        query: &TreeQuery,
        directory: &str,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Vec<DirectoryEntry>, Error> {
        let call = Call::get(self.path("tree")).query_some("after", after).query("dir", directory);
        self.client.fetch(query.apply(call).query("limit", limit.to_string())).await
    }

    /// One file, whole, in memory. For large files see [`RepoClient::file_raw`].
    ///
    /// # Errors
    /// 404 when it is not there; otherwise as every call.
    pub async fn file(&self, path: &str, query: &TreeQuery) -> Result<FileContent, Error> {
        self.client.fetch(query.apply(Call::get(self.path(&format!("file/{}", segments(path)))))).await
    }

    /// The bytes of one file as a stream.
    ///
    /// # Errors
    /// 404 when it is not there; otherwise as every call.
    pub async fn file_raw(&self, path: &str, query: &TreeQuery) -> Result<Download, Error> {
        let call = query.apply(Call::get(self.path(&format!("file/{}", segments(path)))));
        self.download(&call.query("format", "raw"), path.to_owned()).await
    }

    /// The bytes of one file, unless they still are those with this entity tag: then `None`. Additive.
    ///
    /// # Errors
    /// As [`RepoClient::file_raw`].
    pub async fn file_raw_if_changed(
        &self,
        path: &str,
        query: &TreeQuery,
        etag: &str,
    ) -> Result<Option<Download>, Error> {
        let call = query.apply(Call::get(self.path(&format!("file/{}", segments(path)))));
        let call = call.query("format", "raw").header("If-None-Match", etag.to_owned());
        match self.download(&call, path.to_owned()).await {
            Err(Error::Refused(refusal)) if is_not_modified(refusal.status) => Ok(None),
            other => other.map(Some),
        }
    }

    /// One page of a file's changes, newest first, below the sequence `after`.
    ///
    /// # Errors
    /// As every call. An unknown path has no changes.
    pub async fn file_history(
        &self,
        path: &str,
        branch: &str,
        limit: u32,
        after: Option<i64>,
    ) -> Result<Vec<FileHistoryEntry>, Error> {
        let call = Call::get(self.path(&format!("file/{}/history", segments(path))))
            .query_some("after", after)
            .query("branch", branch)
            .query("limit", limit.to_string());
        self.client.fetch(call).await
    }
}
