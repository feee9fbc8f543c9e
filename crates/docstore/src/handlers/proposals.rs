use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use docstore_models::{
    CreateProposalRequest, CreateProposalResponse, ErrorCode, IssueList, Proposal, UpdateProposalRequest,
};
use docstore_operations::{ProposalQuery, proposal_etag};
use docstore_service::Json;
use uuid::Uuid;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, OfCondition, Ordinary},
    error::{ApiError, ApiResult},
    extract::{
        Condition, JsonBody, NoBody, Params, PathName, RepoReader, RepoWriter,
        needs::{PROPOSALS, READ},
    },
    respond::{Caching, json_array, json_list, tag},
    state::AppState,
};

/// Open a proposal for a branch. A branch has at most one open proposal. Writers.
#[utoipa::path(post, path = "/repos/{repo}/-/proposals", tag = "proposals", request_body = CreateProposalRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = CreateProposalResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn create_proposal(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<PROPOSALS>,
    body: JsonBody<CreateProposalRequest>,
) -> ApiResult<(StatusCode, Json<CreateProposalResponse>)> {
    let created = state.operations.create_proposal(&writer, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the proposals, newest first. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/proposals", tag = "proposals",
    params(("repo" = String, Path),
        ("state" = Option<String>, Query, description = "`open`, `closed` or `merged`; all when absent"),
        ("branch" = Option<String>, Query, description = "Only those of this branch"),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "The id of the last proposal seen")),
    responses((status = 200, body = Vec<Proposal>), Ordinary, InRepo))]
pub(crate) async fn list_proposals(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Response> {
    let query = ProposalQuery {
        state: params.text("state").map(str::parse).transpose().map_err(ApiError::bad_request)?,
        branch: params.text("branch").map(str::to_owned),
        after: params.cursor()?,
        limit: params.limit()?,
    };
    json_array(state.operations.list_proposals(&reader, query).await?.rows()).await
}

/// Get a proposal. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/proposals/{proposal}", tag = "proposals",
    params(("repo" = String, Path), ("proposal" = String, Path)),
    responses((status = 200, body = Proposal, headers(("ETag" = String))), Ordinary, InRepo))]
pub(crate) async fn get_proposal(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(id): PathName,
) -> ApiResult<Response> {
    Ok(tagged(state.operations.proposal(&reader, proposal_id(&id)?).await?))
}

/// Change title and description of a proposal. Its author, and maintainers.
#[utoipa::path(patch, path = "/repos/{repo}/-/proposals/{proposal}", tag = "proposals",
    request_body = UpdateProposalRequest,
    params(("repo" = String, Path), ("proposal" = String, Path),
        ("If-Match" = Option<String>, Header, description = "412 when it has changed"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = Proposal, headers(("ETag" = String))), Ordinary, InRepo, OfBody, OfChange,
        OfCondition))]
pub(crate) async fn update_proposal(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<PROPOSALS>,
    Condition(condition): Condition,
    PathName(id): PathName,
    body: JsonBody<UpdateProposalRequest>,
) -> ApiResult<Response> {
    let id = proposal_id(&id)?;
    let (key, request) = (body.key.as_ref(), &body.value);
    Ok(tagged(state.operations.update_proposal(&writer, key, id, request, condition.as_ref()).await?))
}

/// Give a proposal up. Its author, and maintainers.
#[utoipa::path(post, path = "/repos/{repo}/-/proposals/{proposal}/close", tag = "proposals",
    params(("repo" = String, Path), ("proposal" = String, Path),
        ("If-Match" = Option<String>, Header, description = "412 when it has changed"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange, OfCondition))]
pub(crate) async fn close_proposal(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<PROPOSALS>,
    Condition(condition): Condition,
    PathName(id): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    let id = proposal_id(&id)?;
    state.operations.close_proposal(&writer, body.key.as_ref(), id, condition.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Open a closed proposal again. Its author, and maintainers. Additive.
#[utoipa::path(post, path = "/repos/{repo}/-/proposals/{proposal}/reopen", tag = "proposals",
    params(("repo" = String, Path), ("proposal" = String, Path),
        ("If-Match" = Option<String>, Header, description = "412 when it has changed"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = Proposal, headers(("ETag" = String))), Ordinary, InRepo, OfBody, OfChange,
        OfCondition))]
pub(crate) async fn reopen_proposal(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<PROPOSALS>,
    Condition(condition): Condition,
    PathName(id): PathName,
    body: NoBody,
) -> ApiResult<Response> {
    let id = proposal_id(&id)?;
    Ok(tagged(state.operations.reopen_proposal(&writer, body.key.as_ref(), id, condition.as_ref()).await?))
}

/// List the issues that are tied to a proposal, by number. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/proposals/{proposal}/issues", tag = "proposals",
    params(("repo" = String, Path), ("proposal" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<i64>, Query, description = "Only numbers behind this one")),
    responses((status = 200, body = IssueList), Ordinary, InRepo))]
pub(crate) async fn list_proposal_issues(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    PathName(id): PathName,
    params: Params,
) -> ApiResult<Response> {
    let (after, limit) = (params.integer("after")?, params.limit()?);
    json_list("issues", state.operations.list_proposal_issues(&reader, &id, after, limit)).await
}

/// What is no id is the id of no proposal.
fn proposal_id(text: &str) -> ApiResult<Uuid> {
    Uuid::try_parse(text).map_err(|_| ApiError::new(ErrorCode::ProposalNotFound, "proposal not found"))
}

/// A proposal with the tag for `If-Match`.
fn tagged(proposal: Proposal) -> Response {
    let etag = proposal_etag(&proposal);
    let mut response = Json(proposal).into_response();
    tag(&mut response, &etag, Caching::Revalidate);
    response
}
