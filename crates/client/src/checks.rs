use docstore_models::{
    CheckRun, ReportCheckRequest, ReportCheckResponse, RequireCheckRequest, RequiredCheck, RequiredCheckList,
    RetryChecksRequest, RetryChecksResponse,
};

use crate::{Error, RepoClient, transport::Call};

/// Which check runs to list. By default the latest of each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckQuery {
    /// Only those at exactly this sequence.
    pub at: Option<i64>,
    /// Every attempt, newest commit first.
    pub history: bool,
}

impl RepoClient {
    /// The check runs of a branch: the latest of each name, by name, or all of them.
    ///
    /// # Errors
    /// As every call.
    pub async fn checks(&self, branch: &str, query: &CheckQuery) -> Result<Vec<CheckRun>, Error> {
        let call = Call::get(self.branch_path(branch, "/checks"))
            .query_some("at", query.at)
            .query_some("history", query.history.then_some(true));
        let history = query.history;
        let cursor = |run: &CheckRun| if history { run.id.to_string() } else { run.check_name.clone() };
        self.client.pages(call, None, None, |runs| runs, cursor).await
    }

    /// Says how a check of a commit stands.
    ///
    /// # Errors
    /// 404 `BRANCH_NOT_FOUND`; otherwise as every call.
    pub async fn report_check(&self, request: &ReportCheckRequest) -> Result<ReportCheckResponse, Error> {
        self.client.fetch(Call::post(self.path("check")).json(request)?).await
    }

    /// Begins another attempt of checks that failed.
    ///
    /// # Errors
    /// 409 when none of them failed; otherwise as every call.
    pub async fn retry_checks(&self, request: &RetryChecksRequest) -> Result<RetryChecksResponse, Error> {
        self.client.fetch(Call::post(self.path("checks/retry")).json(request)?).await
    }

    /// The checks that commits to some branches have to have. Additive.
    ///
    /// # Errors
    /// As every call.
    pub async fn required_checks(&self) -> Result<Vec<RequiredCheck>, Error> {
        let list: RequiredCheckList = self.client.fetch(Call::get(self.path("required-checks"))).await?;
        Ok(list.required_checks)
    }

    /// Requires a check of every commit to the branches that a pattern means; all branches without one. Additive.
    ///
    /// # Errors
    /// As every call.
    pub async fn require_check(&self, check_name: &str, branch_pattern: Option<&str>) -> Result<RequiredCheck, Error> {
        let body = RequireCheckRequest {
            check_name: check_name.to_owned(),
            branch_pattern: branch_pattern.map(str::to_owned),
        };
        self.client.fetch(Call::put(self.path("required-checks")).json(&body)?).await
    }

    /// No longer requires a check. Additive.
    ///
    /// # Errors
    /// 404 when it was not required; otherwise as every call.
    pub async fn delete_required_check(&self, check_name: &str, branch_pattern: Option<&str>) -> Result<(), Error> {
        let call = Call::delete(self.path("required-checks"))
            .query_some("check_name", Some(check_name))
            .query_some("branch_pattern", branch_pattern);
        self.client.run(call).await
    }
}
