//! Which checks every commit to some branches has to have. They are there from the moment of the commit, as `expected`,
//! and end as passed, failed or not applicable.

use docstore_database::{repos::lock_repo, required_checks};
use docstore_models::{BranchPattern, CheckName, ErrorCode, EventData, RequireCheckRequest, RequiredCheck};

use crate::{
    Error, IdempotencyKey, Maintainer, Operations, Reader, Result,
    limits::reached,
    write::{Write, begin},
};

/// The most required checks of a repo: every commit looks at all of them.
const REQUIRED_CHECKS_MAX: usize = 200;

impl Operations {
    /// The required checks of a repo, by pattern and name.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn list_required_checks(&self, reader: &Reader) -> Result<Vec<RequiredCheck>> {
        Ok(required_checks::list_required_checks(self.pool(), reader.repo_id()).await?)
    }

    /// Requires a check on the branches that a pattern means, also of the heads that they have now.
    ///
    /// # Errors
    /// A name or pattern that cannot be used, or `CONFLICT` when there are too many.
    pub async fn require_check(
        &self,
        maintainer: &Maintainer,
        key: Option<&IdempotencyKey>,
        request: &RequireCheckRequest,
    ) -> Result<RequiredCheck> {
        if request.check_name.is_empty() {
            return Err(Error::bad_request("check_name is required"));
        }
        let name = CheckName::parse(request.check_name.clone())?;
        let pattern = parse_pattern(request.branch_pattern.as_deref())?;
        maintainer.check_all_branches()?;
        let mut write = begin!(self, maintainer.caller(), key);
        let repo_id = maintainer.repo_id();
        lock_alone(&mut write, repo_id).await?;
        let (required, is_new) = required_checks::require_check(
            &mut write.transaction,
            repo_id,
            pattern.as_str(),
            name.as_str(),
            maintainer.identity(),
        )
        .await?;
        if is_new {
            let known = required_checks::list_required_checks(&mut *write.transaction, repo_id).await?;
            if known.len() > REQUIRED_CHECKS_MAX {
                reached("required_checks");
                return Err(Error::refused(
                    ErrorCode::Conflict,
                    format!("a repo may have at most {REQUIRED_CHECKS_MAX} required checks"),
                ));
            }
            let event = EventData::RequiredCheckAdded {
                repo: maintainer.repo().to_owned(),
                branch_pattern: pattern.into(),
                check_name: name.into(),
                added_by: maintainer.identity().to_owned(),
            };
            write.note(Some(repo_id), &event)?;
        }
        self.finish(write, required).await
    }

    /// No longer requires a check on the branches that a pattern means. Where it is still expected it ends as not
    /// applicable.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn delete_required_check(
        &self,
        maintainer: &Maintainer,
        key: Option<&IdempotencyKey>,
        name: &str,
        pattern: Option<&str>,
    ) -> Result<()> {
        if name.is_empty() {
            return Err(Error::bad_request("check_name parameter is required"));
        }
        let pattern = parse_pattern(pattern)?;
        maintainer.check_all_branches()?;
        let mut write = begin!(self, maintainer.caller(), key);
        let repo_id = maintainer.repo_id();
        lock_alone(&mut write, repo_id).await?;
        let found =
            required_checks::delete_required_check(&mut write.transaction, repo_id, pattern.as_str(), name).await?;
        if !found {
            return Err(Error::refused(ErrorCode::NotFound, "required check not found"));
        }
        let event = EventData::RequiredCheckRemoved {
            repo: maintainer.repo().to_owned(),
            branch_pattern: pattern.into(),
            check_name: name.to_owned(),
            removed_by: maintainer.identity().to_owned(),
        };
        write.note(Some(repo_id), &event)?;
        self.finish(write, ()).await
    }
}

/// All branches, unless a pattern says which.
fn parse_pattern(pattern: Option<&str>) -> Result<BranchPattern> {
    let pattern = pattern.filter(|pattern| !pattern.is_empty()).unwrap_or("*");
    Ok(BranchPattern::parse(pattern)?)
}

/// Waits until nobody writes to the repo: every commit is before the change and seen by it, or after and sees it.
async fn lock_alone(write: &mut Write, repo_id: i64) -> Result<()> {
    match lock_repo(&mut *write.transaction, repo_id).await? {
        true => Ok(()),
        false => Err(Error::refused(ErrorCode::RepoNotFound, "repo not found")),
    }
}
