//! Answers: JSON, tags, ranges, streams.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use docstore_operations::List;
use docstore_service::wire_json;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{ApiError, ApiResult};

/// How a cache may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// For ever: it is of a sequence that the branch has passed. In the caller's own cache only, since access is checked.
    Settled,
    /// Ask again each time.
    Revalidate,
}

impl Caching {
    pub(crate) fn of(settled: bool) -> Self {
        if settled { Self::Settled } else { Self::Revalidate }
    }

    fn header(self) -> HeaderValue {
        match self {
            Self::Settled => HeaderValue::from_static("private, max-age=31536000, immutable"),
            Self::Revalidate => HeaderValue::from_static("private, no-cache"),
        }
    }
}

/// Adds `ETag` and `Cache-Control`.
pub(crate) fn tag(response: &mut Response, etag: &str, caching: Caching) {
    if let Ok(value) = HeaderValue::try_from(format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, caching.header());
}

/// 304, if the client has what it asks for (RFC 9110 §13.1.2; tags are compared weakly).
pub(crate) fn not_modified(headers: &HeaderMap, etag: &str, caching: Caching) -> Option<Response> {
    let asked = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    let quoted = format!("\"{etag}\"");
    let matches = asked
        .split(',')
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == quoted);
    matches.then(|| {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        tag(&mut response, etag, caching);
        response
    })
}

/// JSON whose tag is the hash of its bytes.
pub(crate) fn tagged_json<T: Serialize>(headers: &HeaderMap, value: &T, caching: Caching) -> ApiResult<Response> {
    let body = wire_json(value).map_err(|error| docstore_operations::Error::Internal(Box::new(error)))?;
    let etag = hex::encode(&Sha256::digest(&body)[..16]);
    if let Some(response) = not_modified(headers, &etag, caching) {
        return Ok(response);
    }
    let mut response = json_body(Body::from(body));
    tag(&mut response, &etag, caching);
    Ok(response)
}

/// A JSON answer with a body made elsewhere.
pub(crate) fn json_body(body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// A JSON array whose elements are a stream: memory does not grow with it.
pub(crate) async fn json_array<T: Serialize + Send + 'static>(
    stream: impl Stream<Item = docstore_operations::Result<T>> + Send + 'static,
) -> ApiResult<Response> {
    json_elements("[", "]\n", stream).await
}

/// A JSON object with one key, whose value is such an array.
pub(crate) async fn json_list<T: Serialize + Send + 'static>(key: &str, list: List<T>) -> ApiResult<Response> {
    json_elements(&format!("{{\"{key}\":["), "]}\n", list.rows()).await
}

/// Elements between an opening and a closing. The first element is awaited, so that what fails at once is a proper refusal.
async fn json_elements<T: Serialize + Send + 'static>(
    opening: &str,
    closing: &'static str,
    stream: impl Stream<Item = docstore_operations::Result<T>> + Send + 'static,
) -> ApiResult<Response> {
    /// Elements are sent together up to about so many bytes.
    const CHUNK_BYTES: usize = 32 * 1024;
    let mut stream = Box::pin(stream);
    let first = stream.try_next().await.map_err(ApiError)?;
    let elements = futures::stream::iter(first.map(Ok)).chain(stream);
    let mut start = true;
    let pieces = elements.map_ok(move |element| {
        let mut piece = Vec::new();
        if !std::mem::take(&mut start) {
            piece.push(b',');
        }
        let json = wire_json(&element).unwrap_or_else(|_| Bytes::from_static(b"null"));
        piece.extend_from_slice(json.strip_suffix(b"\n").unwrap_or(&json));
        piece
    });
    // What is not sent yet, and the elements as long as there are any.
    let begun = (opening.as_bytes().to_vec(), Some(Box::pin(pieces)));
    let chunks = futures::stream::try_unfold(begun, move |(mut chunk, pieces)| async move {
        let Some(mut pieces) = pieces else { return Ok(None) };
        while chunk.len() < CHUNK_BYTES {
            let Some(piece) = pieces.try_next().await? else {
                chunk.extend_from_slice(closing.as_bytes());
                return Ok(Some((Bytes::from(chunk), (Vec::new(), None))));
            };
            chunk.extend_from_slice(&piece);
        }
        Ok::<_, docstore_operations::Error>(Some((Bytes::from(chunk), (Vec::new(), Some(pieces)))))
    });
    Ok(json_body(Body::from_stream(chunks)))
}

/// The one range of bytes that a `Range` header asks for: `None` when there is no usable one, or when `If-Range` names
/// other bytes than those with this tag; an error when it lies outside (RFC 9110 §13.1.5, §14).
pub(crate) fn byte_range(headers: &HeaderMap, etag: &str, size: u64) -> Option<Result<std::ops::Range<u64>, ()>> {
    if headers.get(header::IF_RANGE).is_some_and(|tag| tag.as_bytes() != format!("\"{etag}\"").as_bytes()) {
        return None;
    }
    let text = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    // Several ranges at once may be answered with the whole.
    let (from, to) = text.split_once('-').filter(|(_, to)| !to.contains(','))?;
    let range = match (from.trim(), to.trim()) {
        ("", "") => return None,
        ("", last) => size.saturating_sub(last.parse().ok()?)..size,
        (from, "") => from.parse().ok()?..size,
        (from, to) => {
            let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
            if to < from {
                return None;
            }
            from..to.saturating_add(1).min(size)
        }
    };
    Some(if range.start < size && range.start < range.end { Ok(range) } else { Err(()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Option<Result<std::ops::Range<u64>, ()>> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, text.parse().unwrap());
        byte_range(&headers, "t", 10)
    }

    #[test]
    fn ranges_of_rfc_9110() {
        assert_eq!(range("bytes=0-3"), Some(Ok(0..4)));
        assert_eq!(range("bytes=4-"), Some(Ok(4..10)));
        assert_eq!(range("bytes=-3"), Some(Ok(7..10)));
        assert_eq!(range("bytes=-30"), Some(Ok(0..10)));
        assert_eq!(range("bytes=5-50"), Some(Ok(5..10)));
        assert_eq!(range("bytes=10-"), Some(Err(())));
        assert_eq!(range("bytes=-0"), Some(Err(())));
        for unusable in ["bytes=", "bytes=-", "bytes=3-2", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b"] {
            assert_eq!(range(unusable), None, "{unusable}");
        }
    }

    #[test]
    fn a_range_of_other_bytes_is_not_wanted() {
        for (tag, wanted) in
            [("\"t\"", true), ("\"u\"", false), ("W/\"t\"", false), ("Wed, 21 Oct 2015 07:28:00 GMT", false)]
        {
            let headers = HeaderMap::from_iter([
                (header::RANGE, HeaderValue::from_static("bytes=0-3")),
                (header::IF_RANGE, HeaderValue::from_static(tag)),
            ]);
            assert_eq!(byte_range(&headers, "t", 10).is_some(), wanted, "{tag}");
        }
    }

    #[tokio::test]
    async fn an_array_is_streamed() {
        for (items, text) in [(vec![], "[]\n"), (vec![1, 2], "[1,2]\n")] {
            let stream = futures::stream::iter(items.into_iter().map(Ok));
            let response = json_array::<i32>(stream).await.unwrap();
            let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(body, text);
        }
    }
}
