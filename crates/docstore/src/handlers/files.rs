use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use docstore_models::{ErrorCode, FileContent, FileMode};
use docstore_operations::{ContentStream, FileBytes, FileRead, Reader};
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};

use crate::{
    api::{
        refusals::{Gone, InRepo, Ordinary},
        shapes::FileHistoryAnswer,
    },
    error::{ApiError, ApiResult},
    extract::{Params, PathName, RepoCaller, RepoName, RepoReader, needs::READ},
    handlers::tree::point,
    respond::{Caching, byte_range, json_body, not_modified, tag, tagged_json},
    sdk::{is_go_sdk, list_for, varied},
    state::AppState,
};

/// Get a file: as JSON with base64, or with `format=raw` as it is. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/file/{path}", tag = "files",
    params(("repo" = String, Path), ("path" = String, Path, description = "Slashes may be sent as they are"),
        ("branch" = Option<String>, Query, description = "The branch; `main` when absent"),
        ("at" = Option<String>, Query, description = "A sequence or the name of a release; the head when absent"),
        ("format" = Option<String>, Query, description = "`raw`: the bytes, with the type stored"),
        ("Range" = Option<String>, Header, description = "With `format=raw`: one range of bytes"),
        ("If-None-Match" = Option<String>, Header, description = "304 when the file is the one with this tag")),
    responses((status = 200, content((FileContent = "application/json"), (Vec<u8> = "*/*")),
            headers(("ETag" = String), ("Accept-Ranges" = String, description = "With `format=raw`"))),
        (status = 206, content_type = "*/*", body = Vec<u8>, description = "The range of bytes asked for",
            headers(("ETag" = String), ("Accept-Ranges" = String), ("Content-Range" = String))),
        (status = 304, headers(("ETag" = String))),
        (status = 416, body = docstore_models::ErrorBody, headers(("Content-Range" = String))), Ordinary, InRepo, Gone))]
pub(crate) async fn file(
    State(state): State<AppState>,
    RepoName(repo): RepoName,
    RepoCaller(caller): RepoCaller<READ>,
    headers: HeaderMap,
    params: Params,
    PathName(path): PathName,
) -> ApiResult<Response> {
    let file = if params.text("at").is_none() {
        state.operations.file_at_head(&caller, &repo, &params.branch(), &path).await?
    } else {
        let reader: Reader = state.operations.access(&caller, &repo).await?.try_into()?;
        let point = point(&state, &reader, &params).await?;
        state.operations.file(&reader, &point, &path).await?
    };
    serve_file(&state, &headers, &params, file, &path).await
}

async fn serve_file(
    state: &AppState,
    headers: &HeaderMap,
    params: &Params,
    file: FileRead,
    path: &str,
) -> ApiResult<Response> {
    let caching = Caching::of(file.settled);
    if params.text("format") == Some("raw") {
        return raw(state, headers, path, file, caching).await;
    }
    let etag = format!("{}-json{}", file_tag(&file), mode_suffix(file.mode));
    if let Some(response) = not_modified(headers, &etag, caching) {
        return Ok(response);
    }
    let mut content = FileContent {
        path: path.to_owned(),
        version_id: file.version_id,
        content_hash: file.content_hash.clone(),
        content: String::new(),
        content_type: file.content_type.clone(),
        mode: file.mode,
    };
    let mut response = match state.operations.file_bytes(file, None).await? {
        FileBytes::Whole(bytes) => {
            content.content = STANDARD.encode(&bytes);
            docstore_service::Json(content).into_response()
        }
        FileBytes::Stream(bytes) => large_json(&content, bytes)?,
    };
    tag(&mut response, &etag, caching);
    Ok(response)
}

/// The tag of a file: its bytes and its type, since an answer carries both.
fn file_tag(file: &FileRead) -> String {
    match &file.content_type {
        None => file.content_hash.clone(),
        Some(content_type) => {
            format!("{}-{}", file.content_hash, hex::encode(&Sha256::digest(content_type.as_bytes())[..4]))
        }
    }
}

fn mode_suffix(mode: FileMode) -> &'static str {
    match mode {
        FileMode::Regular => "",
        FileMode::Executable => "-x",
        FileMode::Symlink => "-l",
    }
}

/// The JSON of a file whose base64 is made on the way, so that memory does not grow with the file.
fn large_json(content: &FileContent, bytes: ContentStream) -> ApiResult<Response> {
    let internal = |error: serde_json::Error| docstore_operations::Error::Internal(Box::new(error));
    let json = serde_json::to_string(content).map_err(internal)?;
    let mark = "\"content\":\"";
    let split = json.find(mark).map_or(json.len(), |at| at + mark.len());
    let (before, after) = (Bytes::copy_from_slice(&json.as_bytes()[..split]), format!("{}\n", &json[split..]));
    // Base64 takes three bytes at a time; what is left over waits for the next chunk.
    let encoded = stream::try_unfold((bytes, BytesMut::new(), false), |(mut bytes, mut rest, done)| async move {
        if done {
            return Ok(None);
        }
        match bytes.next().await {
            Some(Err(error)) => Err(error),
            Some(Ok(chunk)) => {
                rest.extend_from_slice(&chunk);
                let whole = rest.split_to(rest.len() / 3 * 3);
                Ok(Some((Bytes::from(STANDARD.encode(whole)), (bytes, rest, false))))
            }
            None => Ok(Some((Bytes::from(STANDARD.encode(&rest)), (bytes, BytesMut::new(), true)))),
        }
    });
    let body = stream::iter([Ok(before)]).chain(encoded).chain(stream::iter([Ok(Bytes::from(after))]));
    Ok(json_body(Body::from_stream(body)))
}

/// Types that a browser shows without running anything in them.
const SHOWN: [&str; 6] = ["text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];

/// The bytes as they are, inert: a browser neither guesses a type, nor runs anything, nor shows what could be a page.
async fn raw(
    state: &AppState,
    headers: &HeaderMap,
    path: &str,
    file: FileRead,
    caching: Caching,
) -> ApiResult<Response> {
    let etag = file_tag(&file);
    if let Some(response) = not_modified(headers, &etag, caching) {
        return Ok(response);
    }
    let size = file.size;
    let content_type = file
        .content_type
        .as_deref()
        .and_then(|text| HeaderValue::from_str(text).ok())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let range = match byte_range(headers, &etag, size) {
        None => None,
        Some(Ok(range)) => Some(range),
        Some(Err(())) => {
            let mut response =
                ApiError::new(ErrorCode::RangeNotSatisfiable, "the range lies outside the file").into_response();
            response.headers_mut().insert(header::CONTENT_RANGE, content_range(&format!("*/{size}")));
            return Ok(response);
        }
    };
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    let body = match state.operations.file_bytes(file, range.clone()).await? {
        FileBytes::Whole(bytes) => Body::from(bytes),
        FileBytes::Stream(bytes) => Body::from_stream(bytes),
    };
    let mut response = body.into_response();
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("{}-{}/{size}", range.start, range.end.saturating_sub(1));
        response.headers_mut().insert(header::CONTENT_RANGE, content_range(&text));
    }
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let disposition = if SHOWN.contains(&essence) { "inline" } else { "attachment" };
    let fields: [(HeaderName, HeaderValue); 6] = [
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")),
        (header::CONTENT_DISPOSITION, content_disposition(disposition, path)),
        (header::CONTENT_TYPE, content_type),
    ];
    response.headers_mut().extend(fields);
    tag(&mut response, &etag, caching);
    Ok(response)
}

fn content_range(text: &str) -> HeaderValue {
    HeaderValue::try_from(format!("bytes {text}")).unwrap_or(HeaderValue::from_static("bytes */0"))
}

/// `Content-Disposition` with the file's name, any name (RFC 6266, RFC 8187).
fn content_disposition(disposition: &'static str, path: &str) -> HeaderValue {
    let name = path.rsplit('/').next().unwrap_or_default();
    let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    HeaderValue::try_from(format!("{disposition}; filename*=UTF-8''{encoded}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

/// List the changes of a file, newest first. Readers.
///
/// When there never was a file of this path, but one named `history` below it, that file is the answer.
#[utoipa::path(get, path = "/repos/{repo}/-/file/{path}/history", tag = "files",
    params(("repo" = String, Path), ("path" = String, Path),
        ("branch" = Option<String>, Query, description = "The branch; `main` when absent"),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent. Fewer when messages are long: the \
         list ends with an empty page"),
        ("after" = Option<i64>, Query, description = "The sequence of the last change seen")),
    responses((status = 200, content((FileHistoryAnswer = "application/json"), (Vec<u8> = "*/*")),
            headers(("ETag" = String), ("Accept-Ranges" = String, description = "Of a raw file named `history`"))),
        (status = 206, content_type = "*/*", body = Vec<u8>, description = "A range of a raw file named `history`",
            headers(("ETag" = String), ("Accept-Ranges" = String), ("Content-Range" = String))),
        (status = 304, headers(("ETag" = String))),
        (status = 416, body = docstore_models::ErrorBody, headers(("Content-Range" = String))), Ordinary, InRepo, Gone))]
pub(crate) async fn file_history(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    headers: HeaderMap,
    params: Params,
    PathName(path): PathName,
) -> ApiResult<Response> {
    let limit = params.limit()?;
    let branch = params.branch();
    let before = params.integer("after")?;
    let entries = state.operations.file_history(&reader, &branch, &path, before, limit).await?;
    if entries.is_empty() && before.is_none() {
        let point = point(&state, &reader, &params).await?;
        let below = format!("{path}/history");
        match state.operations.file(&reader, &point, &below).await {
            Ok(file) => return serve_file(&state, &headers, &params, file, &below).await,
            Err(error) if error.code() == ErrorCode::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    if is_go_sdk(&headers) {
        return Ok(list_for(true, "entries", entries));
    }
    tagged_json(&headers, &entries, Caching::Revalidate).map(varied)
}
