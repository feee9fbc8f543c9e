//! Questions to the server that several commands ask, with the ways of older servers.

use docstore_client::{BranchQuery, Error, RepoClient};
use docstore_models::{Branch, ErrorCode};

use crate::{Failure, output::printable, suggest::close_matches};

/// A branch, drafts included. An unknown one is an error that names those most like it.
pub(crate) async fn find_branch(repo: &RepoClient, name: &str) -> Result<Branch, Failure> {
    match repo.branch(name).await {
        Ok(branch) => Ok(branch),
        Err(error) if error.code() == Some(ErrorCode::RepoNotFound) => Err(repo_not_found(repo, error)),
        Err(error) if error.status() == Some(404) => {
            let branches = match repo.branches(&BranchQuery { include_drafts: true, ..BranchQuery::default() }).await {
                Err(error) if error.code() == Some(ErrorCode::RepoNotFound) => return Err(repo_not_found(repo, error)),
                branches => branches?,
            };
            match branches.iter().find(|branch| branch.name == name) {
                // A server without the endpoint for one branch.
                Some(branch) => Ok(branch.clone()),
                None => Err(branch_not_found(name, branches.iter().map(|branch| branch.name.as_str()))),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn branch_not_found<'n>(name: &str, others: impl Iterator<Item = &'n str>) -> Failure {
    let failure = Failure::new(format!("branch \"{}\" not found", printable(name)));
    match close_matches(name, others).as_slice() {
        [] => failure.hint("`ds branches` lists the branches; `ds checkout -b <name>` creates one"),
        matches => failure.hint(format!("did you mean {}?", matches.join(" or "))),
    }
}

fn repo_not_found(repo: &RepoClient, error: Error) -> Failure {
    Failure::from(error).hint(format!(
        "there is no repo '{}' on {}: `ds repos` lists those there are",
        repo.name(),
        repo.client().base_url()
    ))
}

/// A failure with other words for one status, as several commands have them.
pub(crate) fn instead_of_status(error: Error, status: u16, message: impl FnOnce() -> String) -> Failure {
    if error.status() == Some(status) {
        let words = message();
        let mut failure = Failure::from(error);
        failure.rename(words);
        failure
    } else {
        error.into()
    }
}
