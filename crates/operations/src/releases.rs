//! Releases.

use docstore_database::{branches, lists::Place, releases, repos::hold_repo};
use docstore_models::{CreateReleaseRequest, ErrorCode, EventData, MAIN_BRANCH, Release, ReleaseName};
use uuid::Uuid;

use crate::{
    Admin, Error, IdempotencyKey, List, Maintainer, Operations, Reader, Result,
    changes::check_text,
    lists::{Paging, length},
    write::begin,
};

fn release_not_found() -> Error {
    Error::refused(ErrorCode::ReleaseNotFound, "release not found")
}

impl Operations {
    /// Names a sequence for ever.
    ///
    /// # Errors
    /// A name that cannot be used, a sequence that does not exist, or `CONFLICT` when the name is taken.
    pub async fn create_release(
        &self,
        maintainer: &Maintainer,
        key: Option<&IdempotencyKey>,
        request: &CreateReleaseRequest,
    ) -> Result<Release> {
        if request.name.is_empty() {
            return Err(Error::bad_request("name is required"));
        }
        let name = ReleaseName::parse(request.name.clone())?;
        let body = request.body.as_deref().filter(|body| !body.is_empty());
        if let Some(body) = body {
            check_text("body", body, self.limits().message_bytes_max)?;
        }
        let repo_id = maintainer.repo_id();
        let mut write = begin!(self, maintainer.caller(), key);
        hold_repo(&mut *write.transaction, repo_id).await?;
        let sequence = match request.sequence {
            None | Some(0) => {
                branches::branch(&mut *write.transaction, repo_id, MAIN_BRANCH)
                    .await?
                    .ok_or_else(|| Error::refused(ErrorCode::RepoNotFound, "repo not found"))?
                    .head_sequence
            }
            Some(sequence) => {
                if !releases::sequence_exists(&mut *write.transaction, repo_id, sequence).await? {
                    return Err(Error::bad_request("sequence not found"));
                }
                sequence
            }
        };
        let created = releases::create_release(
            &mut *write.transaction,
            repo_id,
            maintainer.repo(),
            name.as_str(),
            sequence,
            body,
            maintainer.identity(),
        )
        .await;
        let release = match created {
            Err(error) if error.is_constraint("releases_name") => {
                return Err(Error::refused(ErrorCode::Conflict, "release already exists"));
            }
            other => other?,
        };
        let event = EventData::ReleaseCreated {
            repo: maintainer.repo().to_owned(),
            name: release.name.clone(),
            sequence,
            created_by: maintainer.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        self.finish(write, release).await
    }

    /// The releases, newest first: one page.
    ///
    /// # Errors
    /// A cursor that is no release of this repo.
    pub async fn list_releases(
        &self,
        reader: &Reader,
        after: Option<Uuid>,
        limit: Option<i64>,
    ) -> Result<List<Release>> {
        let (pool, repo_id, repo) = (self.pool().clone(), reader.repo_id(), reader.repo().to_owned());
        let after = match after {
            None => None,
            Some(id) => Some(releases::place_of_release(&pool, repo_id, id).await?.ok_or_else(Error::invalid_cursor)?),
        };
        let paging = Paging {
            after,
            limit: Some(self.limits().page(limit, 100)),
            page_rows: None,
            place: |release: &Release| Place { created_at: release.created_at.to_utc(), id: release.id },
            bytes: |release| length(release.body.as_ref()),
        };
        Ok(paging.read(move |after, page| {
            let (pool, repo) = (pool.clone(), repo.clone());
            async move { Ok(releases::list_releases(&pool, repo_id, &repo, after, page).await?) }
        }))
    }

    /// One release.
    ///
    /// # Errors
    /// `RELEASE_NOT_FOUND`.
    pub async fn release(&self, reader: &Reader, name: &str) -> Result<Release> {
        releases::release(self.pool(), reader.repo_id(), reader.repo(), name).await?.ok_or_else(release_not_found)
    }

    /// Deletes a release; the name is free again.
    ///
    /// # Errors
    /// `RELEASE_NOT_FOUND`.
    pub async fn delete_release(&self, admin: &Admin, key: Option<&IdempotencyKey>, name: &str) -> Result<()> {
        let mut write = begin!(self, admin.caller(), key);
        hold_repo(&mut *write.transaction, admin.repo_id()).await?;
        if !releases::delete_release(&mut *write.transaction, admin.repo_id(), name).await? {
            return Err(release_not_found());
        }
        let event = EventData::ReleaseDeleted {
            repo: admin.repo().to_owned(),
            name: name.to_owned(),
            deleted_by: admin.identity().to_owned(),
        };
        write.note(Some(admin.repo_id()), &event)?;
        self.finish(write, ()).await
    }
}
