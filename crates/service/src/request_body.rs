//! Reading request bodies within limits.

use std::{error::Error, time::Duration};

use axum::{
    BoxError,
    body::{Body, HttpBody},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use docstore_models::ErrorCode;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use zeroize::Zeroize;

use crate::{error_response, limit_reached};

/// Why a request body could not be read. As an answer it is 413, 408 or 400 and closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the endpoint takes.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// What the endpoint takes, in bytes.
        limit: u64,
    },
    /// The client stopped sending, or sends too slowly.
    #[error("the request body did not arrive in time")]
    TimedOut,
    /// The client went away or broke the framing.
    #[error("the request body is broken off or malformed")]
    Broken,
}

impl BodyError {
    /// What an error of a body's stream means, for those who read a body piece by piece.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<std::io::Error>() {
                // Made by the connection's byte stream when a body makes no progress.
                if error.kind() == std::io::ErrorKind::TimedOut {
                    return Self::TimedOut;
                }
            }
            cause = error.source();
        }
        Self::Broken
    }

    /// A body that went over the limit of those who count for themselves. It is counted.
    #[must_use]
    pub fn too_large(limit: u64) -> Self {
        limit_reached("body_bytes");
        Self::TooLarge { limit }
    }

    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::PayloadTooLarge,
            Self::TimedOut => ErrorCode::RequestTimeout,
            Self::Broken => ErrorCode::BadRequest,
        }
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let mut response = error_response(self.code(), &self.to_string(), None);
        // The rest of the body is not wanted, and without it there is no next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// Refuses a body by its declared length, before any of it is read.
///
/// # Errors
/// When `Content-Length` is above the limit, in bytes.
pub fn check_declared_length(headers: &HeaderMap, limit: u64) -> Result<(), BodyError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(length) if length > limit => Err(BodyError::too_large(limit)),
        _ => Ok(()),
    }
}

/// Wipes a body that may have held a secret, where nobody else has hold of its memory. The connection's own buffer is out
/// of reach until its next bytes arrive.
pub fn wipe_body(body: Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
}

/// A whole body of at most `limit` bytes, all of it within the time given: whoever sends a byte now and then makes progress,
/// and would otherwise keep memory, and the rights that were looked at before, for as long as they like.
///
/// # Errors
/// When it is larger, too slow, or broken.
pub async fn read_body(body: Body, limit: usize, within: Duration) -> Result<Bytes, BodyError> {
    match tokio::time::timeout(within, put_together(Limited::new(body, limit), limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::too_large(limit as u64)),
        Ok(Err(error)) => Err(BodyError::of(&*error)),
        Err(_) => {
            limit_reached("body_deadline");
            Err(BodyError::TimedOut)
        }
    }
}

/// The bytes of a body. One that comes in one piece stays that piece; any other goes, piece by piece, to memory that is as
/// large as the body says it is: pieces that are kept and joined at the end would be there twice.
async fn put_together(mut body: Limited<Body>, limit: usize) -> Result<Bytes, BoxError> {
    let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let Some(first) = next_piece(&mut body).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(length.unwrap_or(0).min(limit));
    whole.extend_from_slice(&first);
    drop(first);
    while let Some(piece) = next_piece(&mut body).await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The next bytes of a body, if there are more.
async fn next_piece(body: &mut Limited<Body>) -> Result<Option<Bytes>, BoxError> {
    while let Some(frame) = body.frame().await.transpose()? {
        // What is no data are trailers, which nobody asked for.
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use http_body::{Frame, SizeHint};

    use super::*;

    /// A body in pieces, which says how long it is.
    struct Pieces(VecDeque<Bytes>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
        }
    }

    #[tokio::test]
    async fn a_body_in_pieces_takes_its_length_once() {
        let pieces: VecDeque<Bytes> = (0..100_u8).map(|piece| Bytes::from(vec![piece; 1000])).collect();
        let expected: Vec<u8> = pieces.iter().flatten().copied().collect();
        let body = read_body(Body::new(Pieces(pieces)), 1 << 20, Duration::from_secs(1)).await.unwrap();
        assert_eq!(body, expected);
        assert_eq!(body.try_into_mut().unwrap().capacity(), expected.len());
    }

    #[tokio::test]
    async fn a_body_within_the_limit_is_read() {
        let within = Duration::from_secs(1);
        assert_eq!(read_body(Body::from("12345"), 5, within).await, Ok(Bytes::from("12345")));
        assert_eq!(read_body(Body::from("123456"), 5, within).await, Err(BodyError::TooLarge { limit: 5 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_only_trickles_is_given_up() {
        let trickle = |bytes: u64| {
            Body::from_stream(futures::stream::unfold(0, move |sent| async move {
                tokio::time::advance(Duration::from_secs(1)).await;
                (sent < bytes).then_some((Ok::<_, std::io::Error>("x"), sent + 1))
            }))
        };
        let within = Duration::from_secs(10);
        assert_eq!(read_body(trickle(8), 100, within).await, Ok(Bytes::from("xxxxxxxx")));
        let start = tokio::time::Instant::now();
        assert_eq!(read_body(trickle(u64::MAX), usize::MAX, within).await, Err(BodyError::TimedOut));
        assert!(start.elapsed() <= within + Duration::from_secs(1), "{:?}", start.elapsed());
    }

    #[test]
    fn a_declared_length_above_the_limit_is_refused() {
        let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from_static("6"))]);
        assert_eq!(check_declared_length(&headers, 5), Err(BodyError::TooLarge { limit: 5 }));
        assert_eq!(check_declared_length(&headers, 6), Ok(()));
        assert_eq!(check_declared_length(&HeaderMap::new(), 0), Ok(()));
    }

    #[tokio::test]
    async fn the_connection_is_closed_after_a_refused_body() {
        let response = BodyError::TooLarge { limit: 5 }.into_response();
        assert_eq!((response.status().as_u16(), &response.headers()["connection"]), (413, &"close".parse().unwrap()));
    }
}
