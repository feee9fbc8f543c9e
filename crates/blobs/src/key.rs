//! The names of blobs.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The name of one blob: `<repo id>/<uuid>`, in lower case. Its text is what the database keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobKey {
    text: String,
    /// Where the slash is.
    repo_length: usize,
}

/// A text that is no [`BlobKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob key has the form <repo id>/<uuid>")]
pub struct NotABlobKey;

impl BlobKey {
    /// The key of a repo and a UUID that was never used before. Most callers want [`BlobStore::new_key`].
    ///
    /// [`BlobStore::new_key`]: crate::BlobStore::new_key
    #[must_use]
    pub fn new(repo_id: i64, unique: Uuid) -> Self {
        let repo = repo_id.to_string();
        Self { repo_length: repo.len(), text: format!("{repo}/{unique}") }
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The id of the repo, as text.
    pub(crate) fn repo(&self) -> &str {
        &self.text[..self.repo_length]
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for BlobKey {
    type Err = NotABlobKey;

    /// Takes exactly the texts that [`BlobKey::new`] makes: a key becomes a path, so there is one spelling only.
    fn from_str(text: &str) -> Result<Self, NotABlobKey> {
        let (repo, unique) = text.split_once('/').ok_or(NotABlobKey)?;
        let repo_id = repo.parse().map_err(|_| NotABlobKey)?;
        let key = Self::new(repo_id, Uuid::try_parse(unique).map_err(|_| NotABlobKey)?);
        if key.text == text { Ok(key) } else { Err(NotABlobKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlobKey, NotABlobKey};
    use uuid::Uuid;

    #[test]
    fn a_key_reads_back_and_nothing_else_is_a_key() {
        let key = BlobKey::new(12, Uuid::from_u128(7));
        assert_eq!(key.as_str(), "12/00000000-0000-0000-0000-000000000007");
        assert_eq!(key.repo(), "12");
        assert_eq!(key.as_str().parse(), Ok(key));
        for text in [
            "",
            "12",
            "12/",
            "/00000000-0000-0000-0000-000000000007",
            "../00000000-0000-0000-0000-000000000007",
            "012/00000000-0000-0000-0000-000000000007",
            "+12/00000000-0000-0000-0000-000000000007",
            "12/00000000000000000000000000000007",
            "12/00000000-0000-0000-0000-00000000000A",
            "12/00000000-0000-0000-0000-000000000007/",
            "12/{00000000-0000-0000-0000-000000000007}",
            "12//00000000-0000-0000-0000-000000000007",
        ] {
            assert_eq!(text.parse::<BlobKey>(), Err(NotABlobKey), "{text}");
        }
    }
}
