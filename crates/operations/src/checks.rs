//! Check runs: what CI and others report about commits.

use docstore_database::{
    branches::{LockedBranch, lock_branch},
    checks::{self, CheckReport, RunPlace},
    jobs::{self, JobToken},
};
use docstore_models::{
    CheckName, CheckRun, CheckState, ErrorCode, EventData, ReportCheckRequest, ReportCheckResponse, RetryChecksRequest,
    RetryChecksResponse,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Error, IdempotencyKey, List, Maintainer, Operations, Reader, Result, Writer,
    changes::check_text,
    gate::no_override,
    limits::reached,
    lists::Paging,
    write::{Write, begin},
};

/// The longest URL of a log, in bytes: what browsers and proxies agree on.
const LOG_URL_BYTES_MAX: usize = 2048;

/// The longest reason, in bytes: a sentence or two, shown beside the name.
const REASON_BYTES_MAX: usize = 1024;

/// The longest metadata, in bytes as JSON: they come with every list of checks.
const METADATA_BYTES_MAX: usize = 64 * 1024;

/// How many runs are read at once: with the longest metadata some MiB.
const RUNS_PAGE_ROWS: i64 = 100;

/// What the URL of a log may begin with: pages show it as a link.
const LOG_SCHEMES: &[&str] = &["https://", "http://"];

/// The same of a job: workers also say where in a store they put it (contract, server §4.10).
const LOG_SCHEMES_OF_JOBS: &[&str] = &["https://", "http://", "gs://", "file://"];

/// How many checks a commit may have when somebody reports another one. A decision looks at all of a head, and with those
/// that are required there are as many as it can (`CHECKS_MAX`).
const CHECKS_PER_COMMIT_MAX: i64 = 800;

/// The most checks that one retry may name.
const RETRY_NAMES_MAX: usize = 1000;

/// The job that presented its request token. Having one is the proof that it may report checks of its commit.
#[derive(Clone, Debug)]
pub struct JobReporter(JobToken);

/// Who speaks about a check. What CI has said about a commit, people do not unsay.
#[derive(Clone, Copy)]
enum Speaker {
    /// A job, the holder of its request token.
    Job(Uuid),
    /// An admin who acts as one, as for overriding policies: may go ahead against CI, which is an attempt of its own and an event of the audit trail.
    Admin,
    /// Anybody else who may write.
    Other,
}

impl Speaker {
    fn of(writer: &Writer) -> Self {
        if no_override(writer).is_none() { Self::Admin } else { Self::Other }
    }

    fn job(self) -> Option<Uuid> {
        match self {
            Self::Job(id) => Some(id),
            Self::Admin | Self::Other => None,
        }
    }
}

/// A report as it came in, checked as far as no database is needed.
struct Report {
    branch: String,
    name: CheckName,
    state: CheckState,
    attempt: i16,
    sequence: Option<i64>,
    log_url: Option<String>,
    metadata: Option<Value>,
    reason: Option<String>,
}

impl Report {
    /// `schemes` are those that the URL of the log may have.
    fn from_request(request: ReportCheckRequest, schemes: &[&str]) -> Result<Self> {
        if request.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        if request.check_name.is_empty() {
            return Err(Error::bad_request("check_name is required"));
        }
        if request.status.is_empty() {
            return Err(Error::bad_request("status is required"));
        }
        let name = CheckName::parse(request.check_name)?;
        let state = match request.status.parse::<CheckState>().map_err(Error::bad_request)? {
            // That is what the server says until somebody reports.
            CheckState::Expected => {
                return Err(Error::bad_request("invalid status; must be pending, passed, failed, or not_applicable"));
            }
            state => state,
        };
        let reason = request.reason.filter(|reason| !reason.is_empty());
        if state == CheckState::NotApplicable && reason.is_none() {
            return Err(Error::bad_request("reason is required when a check is not applicable"));
        }
        let attempt = request.attempt.unwrap_or(1);
        if attempt < 1 {
            return Err(Error::bad_request("attempt must be at least 1"));
        }
        let log_url = request.log_url.filter(|url| !url.is_empty());
        check_field("log_url", log_url.as_deref(), LOG_URL_BYTES_MAX)?;
        if log_url.as_deref().is_some_and(|url| !has_scheme(url, schemes)) {
            return Err(Error::bad_request(format!("log_url must begin with {}", schemes.join(" or "))));
        }
        check_field("reason", reason.as_deref(), REASON_BYTES_MAX)?;
        let metadata = request.metadata.filter(|metadata| !metadata.is_null());
        if let Some(metadata) = &metadata {
            // A NUL, escaped, in one of its texts: no request has one, since the parser lets none through.
            let text = serde_json::to_string(metadata).map_err(|error| Error::Internal(Box::new(error)))?;
            check_field("metadata", Some(&text), METADATA_BYTES_MAX)?;
        }
        let sequence = request.sequence.filter(|sequence| *sequence != 0);
        Ok(Self { branch: request.branch, name, state, attempt, sequence, log_url, metadata, reason })
    }
}

fn has_scheme(url: &str, schemes: &[&str]) -> bool {
    schemes.iter().any(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// Refuses a text of a check that is too long.
fn check_field(what: &str, text: Option<&str>, bytes_max: usize) -> Result<()> {
    match text {
        Some(text) if text.len() > bytes_max => {
            reached("check_field_bytes");
            Err(Error::refused(ErrorCode::PayloadTooLarge, format!("{what} is longer than {bytes_max} bytes")))
        }
        Some(text) => check_text(what, text, bytes_max),
        None => Ok(()),
    }
}

/// Which check runs to list.
#[derive(Clone, Debug, Default)]
pub struct CheckQuery {
    /// Only those at this sequence.
    pub at: Option<i64>,
    /// Every attempt, instead of the latest run of each name.
    pub history: bool,
    /// Behind this name, or in the history this run.
    pub after: Option<String>,
    /// At most so many; all when absent.
    pub limit: Option<i64>,
}

impl Operations {
    /// Says how a check of a commit stands. Writers, unless a CI job has spoken about it.
    ///
    /// # Errors
    /// A request that makes no sense, `BRANCH_NOT_FOUND`, or `CONFLICT` when it is for CI to say.
    pub async fn report_check(
        &self,
        writer: &Writer,
        key: Option<&IdempotencyKey>,
        request: ReportCheckRequest,
    ) -> Result<ReportCheckResponse> {
        let report = Report::from_request(request, LOG_SCHEMES)?;
        writer.check_branch(&report.branch)?;
        let mut write = begin!(self, writer.caller(), key);
        let locked = lock(&mut write, writer.repo_id(), &report.branch).await?;
        self.store_report(write, &locked, writer.repo(), writer.identity(), Speaker::of(writer), report).await
    }

    /// The job that holds a request token, if it is one of the repo (contract, server §2.6).
    ///
    /// # Errors
    /// `UNAUTHORIZED`.
    pub async fn job_reporter(&self, repo: &str, token: &str) -> Result<JobReporter> {
        let hash = crate::presign::hash_of_token(token);
        let job = jobs::job_of_request_token(self.pool(), &hash).await?.filter(|job| job.repo == repo);
        job.map(JobReporter).ok_or_else(|| Error::refused(ErrorCode::Unauthorized, "unauthorized"))
    }

    /// The same by a CI job, which speaks about the commit that it runs on and no other.
    ///
    /// # Errors
    /// A request that makes no sense, `FORBIDDEN` for another commit, or `CONFLICT` when a newer job said how it ended.
    pub async fn report_check_of_job(
        &self,
        reporter: &JobReporter,
        request: ReportCheckRequest,
    ) -> Result<ReportCheckResponse> {
        let JobReporter(job) = reporter;
        let mut report = Report::from_request(request, LOG_SCHEMES_OF_JOBS)?;
        if report.branch != job.branch || report.sequence.is_some_and(|sequence| sequence != job.sequence) {
            return Err(Error::refused(
                ErrorCode::Forbidden,
                "forbidden: a job may only report checks of its own commit",
            ));
        }
        report.sequence = Some(job.sequence);
        // Another report of the same attempt changes nothing, so that a job needs no idempotency key.
        let identity = format!("{}{}", docstore_models::JOB_PREFIX, job.job_id);
        let mut write = self.begin_unkeyed(&identity).await?;
        let locked = lock(&mut write, job.repo_id, &report.branch).await?;
        self.store_report(write, &locked, &job.repo, &identity, Speaker::Job(job.job_id), report).await
    }

    async fn store_report(
        &self,
        mut write: Write,
        locked: &LockedBranch,
        repo: &str,
        reporter: &str,
        speaker: Speaker,
        mut report: Report,
    ) -> Result<ReportCheckResponse> {
        let sequence = sequence_on(&mut write, locked, report.sequence).await?;
        let overrides = hear(&mut write, locked, sequence, speaker, &mut report).await?;
        let row = CheckReport {
            id: Uuid::now_v7(),
            sequence,
            check_name: report.name.as_str(),
            attempt: report.attempt,
            state: report.state,
            reason: report.reason.as_deref(),
            reporter,
            log_url: report.log_url.as_deref(),
            metadata: report.metadata.as_ref(),
        };
        let id = checks::report_check(&mut *write.transaction, locked, &row).await?;
        if overrides {
            let event = EventData::CheckOverridden {
                repo: repo.to_owned(),
                branch: report.branch.clone(),
                sequence,
                check_name: row.check_name.to_owned(),
                attempt: report.attempt,
                status: report.state.status(),
                actor: reporter.to_owned(),
            };
            write.note(Some(locked.repo_id), &event)?;
        }
        let event = EventData::CheckReported {
            repo: repo.to_owned(),
            branch: report.branch,
            sequence,
            check_name: report.name.into(),
            status: report.state.status(),
            reporter: reporter.to_owned(),
            attempt: report.attempt,
            state: report.state.beyond_status(),
        };
        write.note(Some(locked.repo_id), &event)?;
        self.finish(write, ReportCheckResponse { id, sequence, log_url: report.log_url }).await
    }

    /// Begins another attempt of checks that failed: of all that did, or of those among the names given.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`, a sequence that is none of the branch, or `CONFLICT` when none of them failed.
    pub async fn retry_checks(
        &self,
        maintainer: &Maintainer,
        key: Option<&IdempotencyKey>,
        request: RetryChecksRequest,
    ) -> Result<RetryChecksResponse> {
        if request.branch.is_empty() {
            return Err(Error::bad_request("branch is required"));
        }
        maintainer.check_branch(&request.branch)?;
        let asked = request.checks.as_deref().unwrap_or_default();
        if asked.len() > RETRY_NAMES_MAX {
            reached("retry_names");
            return Err(Error::refused(
                ErrorCode::PayloadTooLarge,
                format!("one retry may name at most {RETRY_NAMES_MAX} checks"),
            ));
        }
        for name in asked {
            check_text("checks", name, docstore_models::MAX_CHECK_NAME_BYTES)?;
        }
        let mut write = begin!(self, maintainer.caller(), key);
        let locked = lock(&mut write, maintainer.repo_id(), &request.branch).await?;
        let sequence = sequence_on(&mut write, &locked, request.sequence.filter(|sequence| *sequence != 0)).await?;
        let failed: Vec<_> = checks::latest_attempts(&mut *write.transaction, locked.branch.id, sequence)
            .await?
            .into_iter()
            .filter(|run| run.state == CheckState::Failed && (asked.is_empty() || asked.contains(&run.check_name)))
            .collect();
        let Some(last) = failed.iter().map(|run| run.attempt).max() else {
            return Err(Error::refused(ErrorCode::Conflict, "no failed check to retry"));
        };
        let Some(attempt) = last.checked_add(1) else {
            return Err(Error::refused(ErrorCode::Conflict, "the check was tried too often"));
        };
        let names: Vec<String> = failed.into_iter().map(|run| run.check_name).collect();
        checks::retry_checks(&mut *write.transaction, &locked, sequence, attempt, &names).await?;
        let event = EventData::CheckRunRetry {
            repo: maintainer.repo().to_owned(),
            branch: request.branch,
            sequence,
            checks: request.checks,
            attempt,
            retried: names.clone(),
            retried_by: maintainer.identity().to_owned(),
        };
        write.note(Some(maintainer.repo_id()), &event)?;
        self.finish(write, RetryChecksResponse { attempt, checks: names }).await
    }

    /// The check runs of a branch: the latest of each name by name, or all of them, newest commit first. Of an unknown
    /// branch there are none.
    ///
    /// # Errors
    /// A cursor that is no check run of the repo.
    pub async fn list_checks(&self, reader: &Reader, branch: &str, query: CheckQuery) -> Result<List<CheckRun>> {
        let limit = self.limits().optional_page(query.limit);
        let page_rows = Some(RUNS_PAGE_ROWS);
        let (pool, repo_id, repo) = (self.pool().clone(), reader.repo_id(), reader.repo().to_owned());
        let (branch, at) = (branch.to_owned(), query.at);
        if !query.history {
            let place = |run: &CheckRun| run.check_name.clone();
            let paging = Paging { after: query.after, limit, page_rows, place, bytes: |_| 0 };
            return Ok(paging.read(move |after, page| {
                let (pool, repo, branch) = (pool.clone(), repo.clone(), branch.clone());
                async move {
                    let after = after.as_deref().unwrap_or_default();
                    Ok(checks::latest_checks(&pool, repo_id, &repo, &branch, at, after, page.rows).await?)
                }
            }));
        }
        let after = match query.after {
            None => None,
            Some(id) => {
                let id = id.parse().map_err(|_| Error::invalid_cursor())?;
                Some(checks::place_of_run(&pool, repo_id, id).await?.ok_or_else(Error::invalid_cursor)?)
            }
        };
        let place =
            |run: &CheckRun| RunPlace { sequence: run.sequence, created_at: run.created_at.to_utc(), id: run.id };
        let paging = Paging { after, limit, page_rows, place, bytes: |_| 0 };
        Ok(paging.read(move |after, page| {
            let (pool, repo, branch) = (pool.clone(), repo.clone(), branch.clone());
            async move { Ok(checks::check_history(&pool, repo_id, &repo, &branch, at, after, page.rows).await?) }
        }))
    }
}

/// Decides whether a report counts beside what was said before, and as which attempt. Answers whether it goes against CI.
async fn hear(
    write: &mut Write,
    locked: &LockedBranch,
    sequence: i64,
    speaker: Speaker,
    report: &mut Report,
) -> Result<bool> {
    let (name, attempt) = (report.name.as_str(), report.attempt);
    let said = checks::said_before(&mut *write.transaction, locked, sequence, name, attempt, speaker.job()).await?;
    if said.latest.is_none()
        && checks::count_names(&mut *write.transaction, locked, sequence).await? >= CHECKS_PER_COMMIT_MAX
    {
        reached("checks_per_commit");
        return Err(Error::refused(
            ErrorCode::Conflict,
            format!(
                "the commit has {CHECKS_PER_COMMIT_MAX} checks already; report under a name that it has, or gather several \
                 checks under one name"
            ),
        ));
    }
    match (speaker, said.of_jobs) {
        (Speaker::Job(_), _) if said.ended_by_newer_job => {
            Err(Error::refused(ErrorCode::Conflict, "a newer job has said how this check ended"))
        }
        (Speaker::Job(_), None) if said.latest > Some(attempt) => {
            checks::drop_attempts_of_people(&mut *write.transaction, locked, sequence, name, attempt).await?;
            Ok(false)
        }
        (Speaker::Job(_), _) | (_, None) => Ok(false),
        (Speaker::Other, Some(_)) => {
            let message = "CI reports this check of the commit; ask for another attempt with checks/retry";
            Err(Error::refused(ErrorCode::Conflict, message))
        }
        (Speaker::Admin, Some(of_jobs)) => {
            // What CI said stays below it, in the history.
            let latest = said.latest.unwrap_or(of_jobs);
            let own = if latest > of_jobs { Some(latest) } else { latest.checked_add(1) };
            let own = own.ok_or_else(|| Error::refused(ErrorCode::Conflict, "the check was tried too often"))?;
            report.attempt = attempt.max(own);
            Ok(true)
        }
    }
}

/// Locks the branch, so that what is decided about its head does not miss a report that lands at the same time.
async fn lock(write: &mut Write, repo_id: i64, branch: &str) -> Result<LockedBranch> {
    lock_branch(&mut write.transaction, repo_id, branch, false).await?.ok_or_else(Error::branch_not_found)
}

/// The sequence asked for, if it is one of the branch; its head when none was asked for. Numbers can be foreseen, so a check
/// must not be reported before the commit that it is about is there.
async fn sequence_on(write: &mut Write, locked: &LockedBranch, asked: Option<i64>) -> Result<i64> {
    match asked {
        None => Ok(locked.branch.head_sequence),
        Some(sequence) if checks::is_on_branch(&mut *write.transaction, locked, sequence).await? => Ok(sequence),
        Some(_) => Err(Error::bad_request("sequence is not a commit of the branch")),
    }
}
