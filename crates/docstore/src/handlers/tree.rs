use axum::{
    body::Body,
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use docstore_models::{ArchivePathsRequest, MAIN_BRANCH, PresignResponse};
use docstore_operations::{ReadPoint, Reader, SignedArchive};
use docstore_service::Json;

use crate::{
    api::{
        refusals::{InRepo, NotFound, OfBody, Ordinary},
        shapes::TreeAnswer,
    },
    error::{ApiError, ApiResult},
    extract::{JsonBody, Params, RepoCaller, RepoName, RepoReader, needs::READ, request_token},
    respond::{Caching, not_modified, tag, tagged_json},
    router::SentAsIs,
    sdk::{is_go_sdk, list_for, varied},
    state::AppState,
};

/// Where the parameters `branch` and `at` point.
pub(crate) async fn point(state: &AppState, reader: &Reader, params: &Params) -> ApiResult<ReadPoint> {
    let at = match params.text("at") {
        None => None,
        Some(text) => Some(state.operations.resolve_at(reader, text).await?),
    };
    Ok(ReadPoint { branch: params.branch(), at })
}

/// List the files of a tree, in bytewise order of their paths; or, with `dir`, the children of one directory. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/tree", tag = "files",
    params(("repo" = String, Path),
        ("branch" = Option<String>, Query, description = "The branch; `main` when absent"),
        ("at" = Option<String>, Query, description = "A sequence or the name of a release; the head when absent"),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent. Only the last page is shorter"),
        ("after" = Option<String>, Query, description = "Only paths behind this one"),
        ("dir" = Option<String>, Query, description = "List the children of this directory (`/` is the root): files as \
         above with `\"type\":\"file\"`, and `{\"type\":\"directory\",\"path\"}`"),
        ("If-None-Match" = Option<String>, Header, description = "304 when the tree is the one with this tag")),
    responses((status = 200, body = TreeAnswer, headers(("ETag" = String))), (status = 304, headers(("ETag" = String))),
        Ordinary, InRepo))]
pub(crate) async fn tree(
    State(state): State<AppState>,
    RepoName(repo): RepoName,
    RepoCaller(caller): RepoCaller<READ>,
    headers: HeaderMap,
    params: Params,
) -> ApiResult<Response> {
    let at = match params.text("at").map(str::parse) {
        None => None,
        Some(Ok(sequence)) => Some(sequence),
        // Only the name of a release has to be looked up, by somebody who may.
        Some(Err(_)) => {
            let reader: Reader = state.operations.access(&caller, &repo).await?.try_into()?;
            point(&state, &reader, &params).await?.at
        }
    };
    let point = ReadPoint { branch: params.branch(), at };
    let limit = params.limit()?;
    let after = params.text("after").unwrap_or_default();
    if let Some(directory) = params.text("dir") {
        let page = state.operations.directory(&caller, &repo, &point, directory, after, limit).await?;
        return tagged_json(&headers, &page.entries, Caching::of(page.settled));
    }
    let page = state.operations.tree_page(&caller, &repo, &point, after, limit).await?;
    if is_go_sdk(&headers) {
        return Ok(list_for(true, "entries", page.entries));
    }
    tagged_json(&headers, &page.entries, Caching::of(page.settled)).map(varied)
}

/// The header of an archive that says how many files it leaves out because their bytes were obliterated; absent for none.
const LEFT_OUT: HeaderName = HeaderName::from_static("x-docstore-left-out");

fn tar_response(body: Body, left_out: i64) -> Response {
    let mut response = ([(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"))], body).into_response();
    if left_out > 0 {
        response.headers_mut().insert(LEFT_OUT, HeaderValue::from(left_out));
    }
    response
}

/// Download a tree as tar. Readers; or anybody with a presigned URL.
///
/// Files whose bytes were obliterated are left out; `X-DocStore-Left-Out` says how many, and `tree` which.
#[utoipa::path(get, path = "/repos/{repo}/-/archive", tag = "files",
    security(("bearer" = []), ("session" = []), ("iap" = []), ("signature" = [])),
    params(("repo" = String, Path),
        ("branch" = String, Query, description = "The branch"),
        ("at" = Option<i64>, Query, description = "A sequence; the head when absent or 0"),
        ("expires" = Option<i64>, Query, description = "Of a presigned URL: until when, in Unix seconds"),
        ("sig" = Option<String>, Query, description = "Of a presigned URL: the signature"),
        ("If-None-Match" = Option<String>, Header, description = "304 when the tree is the one with this tag")),
    responses((status = 200, content_type = "application/x-tar", body = Vec<u8>, headers(("ETag" = String))),
        (status = 304, headers(("ETag" = String))),
        (status = 403, content((docstore_models::ErrorBody = "application/json"), (String = "text/plain")),
            description = "The caller may not do this; or the presigned URL is expired or forged, as plain text"),
        Ordinary, NotFound))]
pub(crate) async fn archive(
    State(state): State<AppState>,
    RepoName(repo): RepoName,
    params: Params,
    request: axum::extract::Request,
) -> ApiResult<Response> {
    if params.text("sig").is_some() {
        return presigned_archive(&state, &repo, &params).await;
    }
    let (mut parts, _) = request.into_parts();
    let RepoReader::<READ>(reader) = RepoReader::from_request_parts(&mut parts, &state).await?;
    let Some(branch) = params.text("branch") else {
        return Err(ApiError::bad_request("branch parameter is required"));
    };
    // In the contract 0 means the latest here.
    let at = params.integer("at")?.filter(|at| *at != 0);
    let point = ReadPoint { branch: branch.to_owned(), at };
    let tree = state.operations.pin(&reader, &point).await?;
    let (etag, caching) = (tree.tag.clone(), Caching::of(tree.settled));
    if let Some(response) = not_modified(&parts.headers, &etag, caching) {
        return Ok(response);
    }
    let left_out = tree.left_out;
    let mut response = tar_response(Body::from_stream(state.operations.archive(tree)), left_out);
    tag(&mut response, &etag, caching);
    Ok(response)
}

/// A refusal of a presigned URL, in plain text as the contract has it.
fn forbidden_text(message: &'static str) -> Response {
    (axum::http::StatusCode::FORBIDDEN, [("x-content-type-options", "nosniff")], format!("{message}\n")).into_response()
}

async fn presigned_archive(state: &AppState, repo: &str, params: &Params) -> ApiResult<Response> {
    let Some(signer) = &state.signer else { return Ok(forbidden_text("forbidden")) };
    let (Some(branch), Some(at), Some(expires), Some(signature)) =
        (params.text("branch"), params.text("at"), params.text("expires"), params.text("sig"))
    else {
        return Err(ApiError::bad_request("missing required query parameters"));
    };
    let sequence = at.parse().map_err(|_| ApiError::bad_request("invalid at parameter"))?;
    let expires = expires.parse().map_err(|_| ApiError::bad_request("invalid expires parameter"))?;
    let archive = SignedArchive { repo, branch, sequence, expires };
    if state.operations.is_expired(&archive) {
        return Ok(forbidden_text("expired"));
    }
    if !signer.verify(&archive, signature) {
        tracing::info!(repo, reason = "invalid_archive_signature", "access denied");
        return Ok(forbidden_text("forbidden"));
    }
    let (stream, left_out) = state.operations.presigned_archive(&archive).await?;
    let mut response = tar_response(Body::from_stream(stream), left_out);
    response.extensions_mut().insert(SentAsIs);
    Ok(response)
}

/// Download chosen files of a tree as tar. Readers. What is obliterated is left out and counted as by `GET archive`.
#[utoipa::path(post, path = "/repos/{repo}/-/archive", tag = "files", request_body = ArchivePathsRequest,
    params(("repo" = String, Path)),
    responses((status = 200, content_type = "application/x-tar", body = Vec<u8>), Ordinary, InRepo, OfBody))]
pub(crate) async fn archive_paths(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    body: JsonBody<ArchivePathsRequest>,
) -> ApiResult<Response> {
    let ArchivePathsRequest { branch, at, paths } = body.value;
    let branch = if branch.is_empty() { MAIN_BRANCH.to_owned() } else { branch };
    let (stream, left_out) = state.operations.archive_paths(&reader, ReadPoint { branch, at }, paths).await?;
    Ok(tar_response(Body::from_stream(stream), left_out))
}

/// Make a URL from which anybody may download a tree for an hour. With the request token of a CI job: the tree that the
/// job runs on. Otherwise readers, for the branch and sequence of the query.
#[utoipa::path(post, path = "/repos/{repo}/-/archive/presign", tag = "files",
    security(("bearer" = []), ("session" = []), ("iap" = []), ("request_token" = [])),
    params(("repo" = String, Path),
        ("branch" = Option<String>, Query, description = "The branch; `main` when absent"),
        ("at" = Option<i64>, Query, description = "A sequence; the head when absent")),
    responses((status = 200, body = PresignResponse), Ordinary, InRepo))]
pub(crate) async fn presign_archive(
    State(state): State<AppState>,
    RepoName(repo): RepoName,
    params: Params,
    request: axum::extract::Request,
) -> ApiResult<Json<PresignResponse>> {
    let Some(signer) = state.signer.clone() else {
        return Err(ApiError::new(docstore_models::ErrorCode::ServiceUnavailable, "presigned archives not configured"));
    };
    let (mut parts, _) = request.into_parts();
    if let Some(token) = request_token(&parts.headers) {
        return Ok(Json(state.operations.presign_for_job(&signer, &repo, token).await?));
    }
    let RepoCaller::<READ>(caller) = RepoCaller::from_request_parts(&mut parts, &state).await?;
    let reader = state.operations.access(&caller, &repo).await?.try_into()?;
    let point = ReadPoint { branch: params.branch(), at: params.integer("at")? };
    Ok(Json(state.operations.presign_for_reader(&signer, &reader, &point).await?))
}
