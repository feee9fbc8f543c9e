use std::mem;

use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use docstore_models::{
    ChainEntry, CommitDetail, CommitList, CommitRequest, CommitResponse, Diff, ImportRequest, ImportResponse,
};
use docstore_operations::{CommitChange, FileChange, ImportChange, Writer};
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::{ApiError, ApiResult},
    extract::{
        LargeJsonBody, Params, PathName, RepoAdmin, RepoCaller, RepoName, RepoReader, declared_length,
        needs::{ADMIN, CONTENTS, READ},
    },
    respond::{Caching, json_array, tagged_json},
    state::AppState,
};

/// The longest body of a commit that is read before it is known whether the caller may commit, in bytes: as much as a small
/// commit may have, in base64, and its paths and message.
const SMALL_COMMIT_BODY_BYTES_MAX: usize = 128 * 1024;

/// Commit to a branch. Writers; on `main` maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/commit", tag = "commits", request_body = CommitRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = CommitResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn commit(
    State(state): State<AppState>,
    RepoName(repo): RepoName,
    RepoCaller(caller): RepoCaller<CONTENTS>,
    request: Request,
) -> ApiResult<(StatusCode, Json<CommitResponse>)> {
    let operations = &state.operations;
    let ask_for_right = async || -> ApiResult<Writer> { Ok(operations.access(&caller, &repo).await?.try_into()?) };
    // A body is read for somebody who may commit; a small one before that is known, since the operation finds it out together
    // with all else that it looks at.
    let is_small = declared_length(request.headers()).is_some_and(|bytes| bytes <= SMALL_COMMIT_BODY_BYTES_MAX);
    let writer = if is_small { None } else { Some(ask_for_right().await?) };
    let read: ApiResult<_> = async {
        let mut body = LargeJsonBody::<CommitRequest>::from_request(request, &state).await?;
        let change = commit_change(mem::take(&mut body.value))?;
        Ok((body, change))
    }
    .await;
    let committed = match (writer, read) {
        (Some(writer), read) => {
            let (body, change) = read?;
            operations.commit(&writer, body.key.as_ref(), change).await?
        }
        (None, Ok((body, change))) => operations.commit_as(&caller, &repo, body.key.as_ref(), change).await?,
        (None, Err(error)) => {
            // Whoever may not commit is told that, whatever they sent.
            ask_for_right().await?;
            return Err(error);
        }
    };
    Ok((StatusCode::CREATED, Json(committed)))
}

fn commit_change(request: CommitRequest) -> ApiResult<CommitChange> {
    let CommitRequest { branch, message, files, expected_head, override_reason } = request;
    // In the contract's order: a missing branch is told before a bad path.
    let required = [(branch.is_empty(), "branch is required"), (files.is_empty(), "at least one file is required")];
    for (missing, sentence) in required.into_iter().chain([(message.is_empty(), "message is required")]) {
        if missing {
            return Err(ApiError::bad_request(sentence));
        }
    }
    let files = files.into_iter().map(FileChange::from_request).collect::<Result<_, _>>()?;
    Ok(CommitChange { branch, message, files, expected_head, override_reason })
}

/// Import commits with their authors and times. Admins. Additive.
#[utoipa::path(post, path = "/repos/{repo}/-/import", tag = "commits", request_body = ImportRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = ImportResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn import(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin<ADMIN>,
    body: LargeJsonBody<ImportRequest>,
) -> ApiResult<(StatusCode, Json<ImportResponse>)> {
    let change = ImportChange::from_request(body.value)?;
    let imported = state.operations.import(&admin, body.key.as_ref(), change).await?;
    Ok((StatusCode::CREATED, Json(imported)))
}

/// Get a commit with its files. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/commit/{sequence}", tag = "commits",
    params(("repo" = String, Path), ("sequence" = i64, Path),
        ("If-None-Match" = Option<String>, Header, description = "304 when the client has it")),
    responses((status = 200, body = CommitDetail, headers(("ETag" = String))), (status = 304, headers(("ETag" = String))),
        Ordinary, InRepo))]
pub(crate) async fn get_commit(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    headers: HeaderMap,
    PathName(sequence): PathName,
) -> ApiResult<Response> {
    let sequence = sequence.parse().map_err(|_| ApiError::bad_request("invalid sequence number"))?;
    let commit = state.operations.commit_detail(&reader, sequence).await?;
    tagged_json(&headers, &commit, Caching::Settled)
}

/// List the commits that lead to the head of a branch, newest first. Readers. Additive.
#[utoipa::path(get, path = "/repos/{repo}/-/commits", tag = "commits",
    params(("repo" = String, Path),
        ("branch" = Option<String>, Query, description = "The branch; `main` when absent"),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent"),
        ("before" = Option<i64>, Query, description = "Only commits before this sequence")),
    responses((status = 200, body = CommitList), Ordinary, InRepo))]
pub(crate) async fn list_commits(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Json<CommitList>> {
    let (limit, before) = (params.limit()?, params.integer("before")?);
    Ok(Json(state.operations.log(&reader, &params.branch(), before, limit).await?))
}

/// Stream the commits between two sequences, both included, with all that enters their hashes. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/chain", tag = "commits",
    params(("repo" = String, Path),
        ("from" = i64, Query, description = "The first sequence"), ("to" = i64, Query, description = "The last one"),
        ("branch" = Option<String>, Query, description = "Only this branch; all when absent. Additive"),
        ("limit" = Option<i64>, Query, description = "At most so many. Additive")),
    responses((status = 200, body = Vec<ChainEntry>), Ordinary, InRepo))]
pub(crate) async fn chain(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Response> {
    if params.text("from").is_none() || params.text("to").is_none() {
        return Err(ApiError::bad_request("from and to query parameters are required"));
    }
    let from = params.integer("from")?.unwrap_or_default();
    let to = params.integer("to")?.unwrap_or_default();
    let entries = state.operations.chain(&reader, params.text("branch"), from, to, params.limit()?)?;
    json_array(entries).await
}

/// What a branch and `main` each changed since the branch's base, and where that conflicts. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/diff", tag = "commits",
    params(("repo" = String, Path), ("branch" = String, Query, description = "The branch"),
        ("If-None-Match" = Option<String>, Header, description = "304 when the client has it")),
    responses((status = 200, body = Diff, headers(("ETag" = String))), (status = 304, headers(("ETag" = String))),
        Ordinary, InRepo))]
pub(crate) async fn diff(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    headers: HeaderMap,
    params: Params,
) -> ApiResult<Response> {
    let diff = state.operations.diff(&reader, params.text("branch").unwrap_or_default()).await?;
    tagged_json(&headers, &diff, Caching::Revalidate)
}
