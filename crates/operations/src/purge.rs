//! Purging branches that ended long ago.

use docstore_database::{purge, repos};
use docstore_models::{ErrorCode, EventData, PurgeRequest, PurgeResponse};

use crate::{Admin, Error, IdempotencyKey, Operations, Result, write::begin};

/// The longest age in days: more than PostgreSQL can subtract would be an error of ours.
const DAYS_MAX: i32 = 100_000;

impl Operations {
    /// Deletes branches that were merged or abandoned and whose last commit is older than asked for, and every content
    /// that nothing points at afterwards. A dry run counts and changes nothing.
    ///
    /// # Errors
    /// A duration that is none.
    pub async fn purge(
        &self,
        admin: &Admin,
        key: Option<&IdempotencyKey>,
        request: &PurgeRequest,
    ) -> Result<PurgeResponse> {
        if request.older_than.is_empty() {
            return Err(Error::bad_request("older_than is required"));
        }
        let days = parse_days(&request.older_than)?;
        admin.check_all_branches()?;
        let mut write = begin!(self, admin.caller(), key);
        if !repos::lock_repo(&mut *write.transaction, admin.repo_id()).await? {
            return Err(Error::refused(ErrorCode::RepoNotFound, "repo not found"));
        }
        let counts = purge::purge_branches(&mut write.transaction, admin.repo_id(), days).await?;
        if request.dry_run {
            return Ok(counts);
        }
        let event = EventData::RepoPurged {
            repo: admin.repo().to_owned(),
            branches_purged: counts.branches_purged,
            purged_by: admin.identity().to_owned(),
        };
        write.note(Some(admin.repo_id()), &event)?;
        self.finish(write, counts).await
    }
}

fn parse_days(text: &str) -> Result<i32> {
    let shown: String = text.chars().take(40).collect();
    let Some(number) = text.strip_suffix('d') else {
        return Err(Error::bad_request(format!(
            "invalid duration \"{shown}\": must be of the form \"Nd\" (e.g. \"7d\")"
        )));
    };
    match number.parse::<i32>() {
        Ok(days) if (1..=DAYS_MAX).contains(&days) => Ok(days),
        _ => {
            Err(Error::bad_request(format!("invalid duration \"{shown}\": must be a positive integer followed by 'd'")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse_days;

    #[test]
    fn only_whole_positive_days_are_durations() {
        assert_eq!(parse_days("7d").unwrap(), 7);
        for bad in ["", "7", "7h", "d", "0d", "-1d", "1.5d", "99999999999d", "7 d"] {
            assert!(parse_days(bad).is_err(), "{bad}");
        }
    }
}
