//! Taking the bytes of a leaked file out of a repo for good.
//!
//! The unit is a content: wherever in the history of the repo the same bytes are, they go at once. What stays is every row
//! that the history is made of, with the hash of the bytes. So chains verify, trees list the file, merges and rebases carry
//! it along, and whoever asks for the bytes is told when and why they went. The repo takes the same bytes no more; there is
//! no way back, since a mark that could be lifted would have to be guarded like the leak itself. Whoever obliterated the
//! wrong file can commit it with a byte changed.
//!
//! Everybody who writes contents to the repo does so before or after: it is locked alone (`lock_repo`). What the policies
//! read on `main` must be replaced there first, so that nothing that judges can become unreadable.

use docstore_database::{
    contents::ContentHash,
    obliterations::{self, NewObliteration},
    repos::lock_repo,
    trees::{self, StoredFile},
};
use docstore_models::{
    ErrorCode, EventData, MAIN_BRANCH, ObliterateRequest, ObliterateResponse, Obliteration, ObliterationPreview,
};
use uuid::Uuid;

use crate::{
    Admin, Error, IdempotencyKey, Operations, ReadPoint, Reader, Result,
    changes::{check_text, parse_hash},
    reads::{file_not_found, parse_key},
    write::begin,
};

/// The longest reason in bytes: a few sentences, which every reader is told.
const OBLITERATION_REASON_BYTES_MAX: usize = 4096;

/// How many places a page of a preview has.
const PLACES_PAGE: i64 = 100;

/// Which content is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObliterationTarget {
    /// That with this hash.
    Hash(ContentHash),
    /// That of a file.
    File {
        /// Where the file is read.
        point: ReadPoint,
        /// Its path.
        path: String,
    },
}

impl ObliterationTarget {
    /// Reads a hash or a path: exactly one of them.
    ///
    /// # Errors
    /// Both, neither, or a hash that is none.
    pub fn parse(content_hash: Option<&str>, path: Option<&str>, point: ReadPoint) -> Result<Self> {
        match (content_hash.filter(|text| !text.is_empty()), path.filter(|text| !text.is_empty())) {
            (Some(hash), None) => Ok(Self::Hash(parse_hash(hash)?)),
            (None, Some(path)) => Ok(Self::File { point, path: path.to_owned() }),
            _ => Err(Error::bad_request("give either path or content_hash")),
        }
    }
}

/// Where a page of places starts: behind a commit and a path in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceCursor(i64, String);

impl PlaceCursor {
    /// Reads `<sequence>/<path>`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::default()) };
        let parsed =
            text.split_once('/').and_then(|(sequence, path)| Some(Self(sequence.parse().ok()?, path.to_owned())));
        parsed.filter(|cursor| !cursor.1.contains('\0')).ok_or_else(Error::invalid_cursor)
    }
}

/// The content of the file that was looked for.
fn hash_of(found: &[StoredFile]) -> Result<ContentHash> {
    found.first().map(|file| file.hash).ok_or_else(file_not_found)
}

fn content_not_found() -> Error {
    Error::refused(ErrorCode::NotFound, "the repo has no content with this hash")
}

impl Operations {
    /// What obliterating a content would touch, one page of it.
    ///
    /// # Errors
    /// `NOT_FOUND` when the repo does not have the content.
    pub async fn preview_obliteration(
        &self,
        admin: &Admin,
        target: &ObliterationTarget,
        after: &PlaceCursor,
        limit: Option<i64>,
    ) -> Result<ObliterationPreview> {
        let hash = match target {
            ObliterationTarget::Hash(hash) => *hash,
            ObliterationTarget::File { point, path } => {
                let paths = std::slice::from_ref(path);
                hash_of(&trees::files(self.pool(), admin.repo_id(), &point.branch, point.at, paths).await?)?
            }
        };
        let limit = self.limits().page(limit, PLACES_PAGE);
        let Some(content) = obliterations::candidate(self.pool(), admin.repo_id(), &hash).await? else {
            return Err(content_not_found());
        };
        let counts = obliterations::count_places(self.pool(), content.id).await?;
        // One row more than asked for tells whether there is a next page.
        let PlaceCursor(sequence, path) = after;
        let mut places = obliterations::list_places(self.pool(), content.id, (*sequence, path), limit + 1).await?;
        let page = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = places.len() > page;
        places.truncate(page);
        let next_after = places.last().filter(|_| more).map(|last| format!("{}/{}", last.sequence, last.path));
        Ok(ObliterationPreview {
            content_hash: hex::encode(hash),
            size: content.size,
            obliterated: self.obliterations_of(admin.repo_id(), &[hash]).await?.pop(),
            changes: counts.changes,
            paths: counts.paths,
            branches: counts.branches,
            places,
            next_after,
        })
    }

    /// Takes the bytes of a content out of the repo, wherever in it they are, and leaves a mark.
    ///
    /// # Errors
    /// `NOT_FOUND` when the repo does not have the content; `CONFLICT` when it was obliterated before, or is that of a policy
    /// or an OWNERS file at the head of `main`.
    pub async fn obliterate(
        &self,
        admin: &Admin,
        key: Option<&IdempotencyKey>,
        request: &ObliterateRequest,
    ) -> Result<ObliterateResponse> {
        let reason = request.reason.trim();
        if reason.is_empty() {
            return Err(Error::bad_request("reason is required"));
        }
        check_text("reason", reason, OBLITERATION_REASON_BYTES_MAX)?;
        let branch = request.branch.as_deref().filter(|branch| !branch.is_empty()).unwrap_or(MAIN_BRANCH);
        let point = ReadPoint { branch: branch.to_owned(), at: request.at };
        let target = ObliterationTarget::parse(request.content_hash.as_deref(), request.path.as_deref(), point)?;
        admin.check_all_branches()?;
        let repo_id = admin.repo_id();

        let mut write = begin!(self, admin.caller(), key);
        // Whoever is bringing the same bytes comes before, and then they go; or after, and is refused.
        if !lock_repo(&mut *write.transaction, repo_id).await? {
            return Err(Error::refused(ErrorCode::RepoNotFound, "repo not found"));
        }
        let hash = match &target {
            ObliterationTarget::Hash(hash) => *hash,
            ObliterationTarget::File { point, path } => {
                let paths = std::slice::from_ref(path);
                hash_of(&trees::files(&mut *write.transaction, repo_id, &point.branch, point.at, paths).await?)?
            }
        };
        let Some(content) = obliterations::lock_candidate(&mut *write.transaction, repo_id, &hash).await? else {
            return Err(content_not_found());
        };
        if content.size == 0 {
            return Err(Error::bad_request("an empty file holds nothing that could be obliterated"));
        }
        let judged = obliterations::judged_by(&mut *write.transaction, content.id).await?;
        if let Some(path) = judged.at_head {
            return Err(Error::refused(
                ErrorCode::Conflict,
                format!("'{path}' on main has this content, and merges are judged by it: change it there first"),
            ));
        }
        let counts = obliterations::count_places(&mut *write.transaction, content.id).await?;
        let new = NewObliteration {
            id: Uuid::now_v7(),
            repo_id,
            content,
            hash: &hash,
            reason,
            obliterated_by: admin.identity(),
            obliterated_at: self.now(),
            was_judged_by: judged.ever,
        };
        let (obliteration, blob_key) = match obliterations::obliterate(&mut write.transaction, &new).await {
            Err(error) if error.is_constraint("obliterations_content") => {
                return Err(Error::refused(ErrorCode::Conflict, "the content was obliterated before"));
            }
            other => other?,
        };
        let event = EventData::ContentObliterated {
            repo: admin.repo().to_owned(),
            obliteration_id: obliteration.id,
            content_hash: obliteration.content_hash.clone(),
            size: obliteration.size,
            changes: counts.changes,
            reason: reason.to_owned(),
            obliterated_by: admin.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        let answer = ObliterateResponse {
            obliteration,
            changes: counts.changes,
            paths: counts.paths,
            branches: counts.branches,
        };
        let answer = self.finish(write, answer).await?;
        self.forget_policies(&[hash]);
        self.delete_blob_now(blob_key).await;
        Ok(answer)
    }

    /// Deletes a blob that is on the list of deletions at once. Where that fails, the next round of clearing away does it.
    async fn delete_blob_now(&self, blob_key: Option<String>) {
        let Some(blob_key) = blob_key else { return };
        let deleted = async {
            self.blobs().delete(&parse_key(&blob_key)?).await?;
            docstore_database::contents::finish_blob_deletions(self.pool(), &[blob_key]).await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = deleted.await {
            tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "the blob of an obliterated content is not deleted yet, trying again later"
            );
        }
    }

    /// One page of what was obliterated, newest first.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_obliterations(
        &self,
        reader: &Reader,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<Vec<Obliteration>> {
        let limit = self.limits().page(limit, 100);
        Ok(obliterations::list_obliterations(self.pool(), reader.repo_id(), after, limit).await?)
    }

    pub(crate) async fn obliterations_of(&self, repo_id: i64, hashes: &[ContentHash]) -> Result<Vec<Obliteration>> {
        Ok(obliterations::obliterations_of(self.pool(), repo_id, hashes).await?)
    }

    /// What somebody is told who asks for bytes that were obliterated; nothing when they were not.
    pub(crate) async fn obliterated(&self, repo_id: i64, hash: ContentHash) -> Result<Option<Error>> {
        let mark = self.obliterations_of(repo_id, &[hash]).await?.pop();
        Ok(mark.map(|mark| Error::ContentObliterated(Box::new(mark))))
    }

    /// What somebody is told who brings bytes that were obliterated; `paths` are those of the files that have them, as far
    /// as they are known.
    pub(crate) async fn content_refused(&self, repo_id: i64, hashes: &[ContentHash], paths: Vec<String>) -> Error {
        match self.obliterations_of(repo_id, hashes).await {
            Ok(obliterated) => Error::ContentRefused { paths, obliterated },
            Err(error) => error,
        }
    }

    /// Forgets compiled policies whose text was obliterated, by whichever process.
    pub(crate) async fn forget_obliterated_policies(&self) -> Result<()> {
        let mut kept = self.policy_cache().hashes();
        kept.extend(self.evaluator().kept());
        if !kept.is_empty() {
            let gone = obliterations::obliterated_anywhere(self.pool(), &kept).await?;
            if !gone.is_empty() {
                self.forget_policies(&gone);
            }
        }
        Ok(())
    }

    /// Forgets texts of policies here and in the processes that evaluate them.
    fn forget_policies(&self, hashes: &[ContentHash]) {
        self.policy_cache().forget(hashes);
        self.evaluator().forget(hashes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_commit_and_a_path() {
        assert_eq!(PlaceCursor::parse(None).unwrap(), PlaceCursor::default());
        assert_eq!(PlaceCursor::parse(Some("12/a/b")).unwrap(), PlaceCursor(12, "a/b".to_owned()));
        for bad in ["", "12", "x/a", "/a", "12/a\0"] {
            assert!(PlaceCursor::parse(Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_content_is_named_in_one_way() {
        let parse = |hash, path| ObliterationTarget::parse(hash, path, ReadPoint::default());
        let hash = "0".repeat(64);
        assert_eq!(parse(Some(&hash), None).unwrap(), ObliterationTarget::Hash([0; 32]));
        assert!(matches!(parse(None, Some("a")).unwrap(), ObliterationTarget::File { .. }));
        for (hash, path) in [(None, None), (Some(hash.as_str()), Some("a")), (Some("x"), None), (Some(""), Some(""))] {
            assert!(parse(hash, path).is_err(), "{hash:?} {path:?}");
        }
    }
}
