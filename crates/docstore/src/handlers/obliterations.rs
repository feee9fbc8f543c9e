use axum::{extract::State, http::StatusCode};
use docstore_models::{ObliterateRequest, ObliterateResponse, ObliterationList, ObliterationPreview};
use docstore_operations::{Access, ObliterationTarget, PlaceCursor, Reader};
use docstore_service::Json;

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::ApiResult,
    extract::{
        JsonBody, Params, RepoAdmin, RepoReader,
        needs::{ADMIN, READ},
    },
    handlers::tree::point,
    state::AppState,
};

/// Take the bytes of a leaked file out of the repo for good, on all branches and in the whole history. Admins. Additive.
///
/// Hashes, commits and chains stay. Whoever asks for the bytes is answered with 410 `CONTENT_OBLITERATED`, and whoever
/// brings the same bytes again with 409 `CONTENT_REFUSED`. There is no way back.
#[utoipa::path(post, path = "/repos/{repo}/-/obliterations", tag = "repos", request_body = ObliterateRequest,
    params(("repo" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = ObliterateResponse), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn obliterate(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin<ADMIN>,
    body: JsonBody<ObliterateRequest>,
) -> ApiResult<(StatusCode, Json<ObliterateResponse>)> {
    let done = state.operations.obliterate(&admin, body.key.as_ref(), &body.value).await?;
    Ok((StatusCode::CREATED, Json(done)))
}

/// List what was obliterated, newest first. Readers. Additive.
#[utoipa::path(get, path = "/repos/{repo}/-/obliterations", tag = "repos",
    params(("repo" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent"),
        ("after" = Option<String>, Query, description = "The id of the last one seen")),
    responses((status = 200, body = ObliterationList), Ordinary, InRepo))]
pub(crate) async fn list_obliterations(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Json<ObliterationList>> {
    let obliterations = state.operations.list_obliterations(&reader, params.cursor()?, params.limit()?).await?;
    Ok(Json(ObliterationList { obliterations }))
}

/// Show what obliterating a content would touch: every change of a file that has it. Admins. Additive.
#[utoipa::path(get, path = "/repos/{repo}/-/obliterations/preview", tag = "repos",
    params(("repo" = String, Path),
        ("content_hash" = Option<String>, Query, description = "SHA-256 of the bytes, lower-case hex"),
        ("path" = Option<String>, Query, description = "Or the file that has the content"),
        ("branch" = Option<String>, Query, description = "The branch of the file; `main` when absent"),
        ("at" = Option<String>, Query, description = "A sequence or the name of a release; the head when absent"),
        ("limit" = Option<i64>, Query, description = "At most so many changes; 100 when absent"),
        ("after" = Option<String>, Query, description = "Only those behind this one: `next_after` of the page before")),
    responses((status = 200, body = ObliterationPreview), Ordinary, InRepo))]
pub(crate) async fn preview_obliteration(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin<ADMIN>,
    params: Params,
) -> ApiResult<Json<ObliterationPreview>> {
    let reader: Reader = Access::clone(&admin).try_into()?;
    let point = point(&state, &reader, &params).await?;
    let target = ObliterationTarget::parse(params.text("content_hash"), params.text("path"), point)?;
    let after = PlaceCursor::parse(params.text("after"))?;
    Ok(Json(state.operations.preview_obliteration(&admin, &target, &after, params.limit()?).await?))
}
