use axum::{
    extract::{FromRequest, FromRequestParts, Request, State},
    http::StatusCode,
    response::Response,
};
use docstore_models::{
    CheckRun, ReportCheckRequest, ReportCheckResponse, RequireCheckRequest, RequiredCheck, RequiredCheckList,
    RetryChecksRequest, RetryChecksResponse,
};
use docstore_operations::CheckQuery;
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{
        JsonBody, NoBody, Params, PathName, RepoMaintainer, RepoName, RepoReader, RepoWriter,
        needs::{ADMIN, CHECKS, READ},
        request_token,
    },
    respond::json_array,
    state::AppState,
};

/// Say how a check of a commit stands. With the request token of a CI job: of the commit that it runs on. Otherwise
/// writers.
#[utoipa::path(post, path = "/repos/{repo}/-/check", tag = "checks", request_body = ReportCheckRequest,
    security(("bearer" = []), ("session" = []), ("iap" = []), ("request_token" = [])),
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = ReportCheckResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn report_check(
    State(state): State<AppState>,
    RepoName(repo): RepoName,
    request: Request,
) -> ApiResult<(StatusCode, Json<ReportCheckResponse>)> {
    let (mut parts, body) = request.into_parts();
    let reported = match request_token(&parts.headers) {
        Some(token) => {
            let reporter = state.operations.job_reporter(&repo, token).await?;
            let body = JsonBody::from_request(Request::from_parts(parts, body), &state).await?;
            state.operations.report_check_of_job(&reporter, body.value).await?
        }
        None => {
            let RepoWriter::<CHECKS>(writer) = RepoWriter::from_request_parts(&mut parts, &state).await?;
            let body = JsonBody::from_request(Request::from_parts(parts, body), &state).await?;
            state.operations.report_check(&writer, body.key.as_ref(), body.value).await?
        }
    };
    Ok((StatusCode::CREATED, Json(reported)))
}

/// List the check runs of a branch: the latest of each name, by name; or every attempt, newest commit first. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/branch/{branch}/checks", tag = "checks",
    params(("repo" = String, Path), ("branch" = String, Path),
        ("at" = Option<i64>, Query, description = "Only those of exactly this sequence"),
        ("history" = Option<bool>, Query, description = "`true`: every attempt"),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "The last name seen; of the history the last id")),
    responses((status = 200, body = Vec<CheckRun>), Ordinary, InRepo))]
pub(crate) async fn list_checks(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(branch): PathName,
    params: Params,
) -> ApiResult<Response> {
    let query = CheckQuery {
        at: params.integer("at")?,
        history: params.switch("history"),
        after: params.text("after").map(str::to_owned),
        limit: params.limit()?,
    };
    json_array(state.operations.list_checks(&reader, &branch, query).await?.rows()).await
}

/// Begin another attempt of checks that failed. Maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/checks/retry", tag = "checks", request_body = RetryChecksRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 202, body = RetryChecksResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn retry_checks(
    State(state): State<AppState>,
    RepoMaintainer(maintainer): RepoMaintainer<CHECKS>,
    body: JsonBody<RetryChecksRequest>,
) -> ApiResult<(StatusCode, Json<RetryChecksResponse>)> {
    let retried = state.operations.retry_checks(&maintainer, body.key.as_ref(), body.value).await?;
    Ok((StatusCode::ACCEPTED, Json(retried)))
}

/// List the checks that commits to some branches have to have, by pattern and name. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/required-checks", tag = "checks", params(("repo" = String, Path)),
    responses((status = 200, body = RequiredCheckList), Ordinary, InRepo))]
pub(crate) async fn list_required_checks(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
) -> ApiResult<Json<RequiredCheckList>> {
    Ok(Json(RequiredCheckList { required_checks: state.operations.list_required_checks(&reader).await? }))
}

/// Require a check of every commit to some branches, also of the heads that they have now. Maintainers.
#[utoipa::path(put, path = "/repos/{repo}/-/required-checks", tag = "checks", request_body = RequireCheckRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = RequiredCheck), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn require_check(
    State(state): State<AppState>,
    RepoMaintainer(maintainer): RepoMaintainer<ADMIN>,
    body: JsonBody<RequireCheckRequest>,
) -> ApiResult<Json<RequiredCheck>> {
    Ok(Json(state.operations.require_check(&maintainer, body.key.as_ref(), &body.value).await?))
}

/// No longer require a check; where it is still expected it ends as not applicable. Maintainers.
#[utoipa::path(delete, path = "/repos/{repo}/-/required-checks", tag = "checks",
    params(("repo" = String, Path),
        ("check_name" = String, Query, description = "The name of the check"),
        ("branch_pattern" = Option<String>, Query, description = "The branches; `*` when absent"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn delete_required_check(
    State(state): State<AppState>,
    RepoMaintainer(maintainer): RepoMaintainer<ADMIN>,
    params: Params,
    body: NoBody,
) -> ApiResult<StatusCode> {
    let name = params.text("check_name").unwrap_or_default();
    state.operations.delete_required_check(&maintainer, body.key.as_ref(), name, params.text("branch_pattern")).await?;
    Ok(StatusCode::NO_CONTENT)
}
