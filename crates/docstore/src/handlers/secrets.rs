use axum::{
    extract::{FromRequest, Request, State},
    http::{StatusCode, header},
};
use docstore_models::{
    ErrorCode, RevealRequest, RevealResponse, RewrapRequest, RewrapResult, SecretList, SecretMetadata, SetSecretRequest,
};
use docstore_service::{Json, SecretJson};

use crate::{
    api::refusals::{Forbidden, InRepo, OfBody, OfChange, Ordinary},
    error::{ApiError, ApiResult},
    extract::{
        Authenticated, JsonBody, NoBody, Params, PathName, RepoAdmin, RepoName, RepoReader,
        needs::{READ, SECRETS},
    },
    state::AppState,
};

/// List the secrets of a repo, without their values. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/secrets", tag = "secrets",
    params(("repo" = String, Path),
        ("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "Only names behind this one")),
    responses((status = 200, body = SecretList), Ordinary, InRepo))]
pub(crate) async fn list_secrets(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Json<SecretList>> {
    let after = params.text("after").unwrap_or_default();
    Ok(Json(SecretList { secrets: state.operations.list_secrets(&reader, after, params.limit()?).await? }))
}

/// Set a secret. Sent again, it does the same. Nobody can read it back but a job. Admins.
#[utoipa::path(put, path = "/repos/{repo}/-/secrets/{name}", tag = "secrets", request_body = SetSecretRequest,
    params(("repo" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = SecretMetadata), Ordinary, InRepo, OfBody))]
pub(crate) async fn set_secret(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin<SECRETS>,
    PathName(name): PathName,
    body: JsonBody<SetSecretRequest>,
) -> ApiResult<Json<SecretMetadata>> {
    Ok(Json(state.operations.set_secret(&admin, &name, &body.value).await?))
}

/// Delete a secret. Admins.
#[utoipa::path(delete, path = "/repos/{repo}/-/secrets/{name}", tag = "secrets",
    params(("repo" = String, Path), ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn delete_secret(
    State(state): State<AppState>,
    RepoAdmin(admin): RepoAdmin<SECRETS>,
    PathName(name): PathName,
    body: NoBody,
) -> ApiResult<StatusCode> {
    state.operations.delete_secret(&admin, body.key.as_ref(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a job the secrets that its checks use. The request token of a CI job of the repo.
#[utoipa::path(post, path = "/repos/{repo}/-/secrets/reveal", tag = "secrets", request_body = RevealRequest,
    params(("repo" = String, Path)), security(("request_token" = [])),
    responses((status = 200, body = RevealResponse), Ordinary, InRepo, OfBody))]
pub(crate) async fn reveal_secrets(
    State(state): State<AppState>,
    RepoName(repo): RepoName,
    request: Request,
) -> ApiResult<SecretJson<RevealResponse>> {
    let bearer = request.headers().get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = bearer.ok_or_else(|| ApiError::new(ErrorCode::Unauthorized, "unauthorized"))?;
    // Nothing is read for whom the token does not let in.
    let job = state.operations.job_for_reveal(&repo, token).await?;
    let body = JsonBody::<RevealRequest>::from_request(request, &state).await?;
    Ok(SecretJson(state.operations.reveal_secrets(&job, &body.value).await?))
}

/// Encrypt some secrets of all repos and webhooks anew, with the key of now. To be repeated until there is no `next_after`.
/// The global admin.
#[utoipa::path(post, path = "/secrets/rewrap", tag = "secrets", request_body = RewrapRequest,
    responses((status = 200, body = RewrapResult), Ordinary, Forbidden, OfBody))]
pub(crate) async fn rewrap_secrets(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<SECRETS>,
    body: JsonBody<RewrapRequest>,
) -> ApiResult<Json<RewrapResult>> {
    let admin = state.operations.global_admin(&caller)?;
    Ok(Json(state.operations.rewrap_secrets(&admin, body.value.after).await?))
}
