use std::sync::{Arc, OnceLock};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use docstore_models::{MissingContentsRequest, MissingContentsResponse, StoredContent};
use docstore_operations::Upload;
use docstore_service::{BodyError, Json, check_declared_length};
use futures::{Stream, StreamExt};

use crate::{
    api::refusals::{InRepo, OfBody, OfChange, Ordinary},
    error::{ApiResult, unreadable},
    extract::{JsonBody, PathName, RepoWriter, needs::CONTENTS},
    state::AppState,
};

/// Ask which contents the repo does not have. Writers. Additive.
#[utoipa::path(post, path = "/repos/{repo}/-/contents/missing", tag = "files", request_body = MissingContentsRequest,
    params(("repo" = String, Path)),
    responses((status = 200, body = MissingContentsResponse), Ordinary, InRepo, OfBody))]
pub(crate) async fn missing_contents(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<CONTENTS>,
    body: JsonBody<MissingContentsRequest>,
) -> ApiResult<Json<MissingContentsResponse>> {
    let missing = state.operations.missing_contents(&writer, &body.value.hashes).await?;
    Ok(Json(MissingContentsResponse { missing }))
}

/// Upload a content, to be committed by its hash within a day. The body is the bytes. Sending it again changes nothing.
/// Writers. Additive.
#[utoipa::path(put, path = "/repos/{repo}/-/contents/{hash}", tag = "files",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(("repo" = String, Path), ("hash" = String, Path, description = "SHA-256, lower-case hex")),
    responses((status = 200, body = StoredContent, description = "The repo had it"),
        (status = 201, body = StoredContent), Ordinary, InRepo, OfBody, OfChange))]
pub(crate) async fn upload_content(
    State(state): State<AppState>,
    RepoWriter(writer): RepoWriter<CONTENTS>,
    headers: HeaderMap,
    PathName(hash): PathName,
    body: Body,
) -> ApiResult<(StatusCode, Json<StoredContent>)> {
    check_declared_length(&headers, state.operations.limits().content_bytes_max).map_err(unreadable)?;
    // What ends the body has a status of its own, which an operation that knows no HTTP cannot tell.
    let ended = Arc::new(OnceLock::new());
    let why = Arc::clone(&ended);
    let mut stream = body.into_data_stream().map(move |chunk| {
        chunk.map_err(|error| {
            let error = BodyError::of(&error);
            let _ = why.set(error);
            error
        })
    });
    let stored = state.operations.upload_content(&writer, Upload { hash, stream: &mut stream }).await;
    let (stored, new) = match (stored, ended.get()) {
        (Err(_), Some(error)) => return Err(unreadable(*error)),
        (stored, _) => stored?,
    };
    if !new && !headers.contains_key(header::EXPECT) {
        discard(stream, state.operations.limits().content_bytes_max).await.map_err(unreadable)?;
    }
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(stored)))
}

/// Reads the rest of a body that nobody needs. A client that is still sending would not see an answer that comes before:
/// what it sends into a closed connection makes its system drop what it has received. Clients that ask with `Expect`
/// whether to send need not be waited for.
async fn discard(
    mut stream: impl Stream<Item = Result<Bytes, BodyError>> + Unpin,
    bytes_max: u64,
) -> Result<(), BodyError> {
    let mut bytes = 0;
    while let Some(chunk) = stream.next().await {
        bytes += chunk?.len() as u64;
        if bytes > bytes_max {
            return Err(BodyError::too_large(bytes_max));
        }
    }
    Ok(())
}
