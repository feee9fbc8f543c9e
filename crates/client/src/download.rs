use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use reqwest::{
    Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG},
};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::{
    Error,
    transport::{header_text, one_line},
};

/// A body on its way here, piece by piece.
pub struct Download {
    response: Response,
    what: String,
    server: String,
    idle: Duration,
    check: Option<(Sha256, String)>,
}

impl Download {
    pub(crate) fn new(response: Response, what: String, server: String, idle: Duration) -> Self {
        Self { response, what, server, idle, check: None }
    }

    /// Fails at the end unless the SHA-256 of the bytes is this one (lower-case hex).
    #[must_use]
    pub fn verifying(mut self, hash: impl Into<String>) -> Self {
        self.check = Some((Sha256::new(), hash.into()));
        self
    }

    /// The media type, as the server says it.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        header_text(self.response.headers(), CONTENT_TYPE.as_str())
    }

    /// The length in bytes, if the server says it.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        header_text(self.response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok())
    }

    /// How many files of an archive are left out because their bytes were obliterated, if any are. Additive.
    #[must_use]
    pub fn left_out(&self) -> Option<u64> {
        header_text(self.response.headers(), "x-docstore-left-out").and_then(|text| text.parse().ok())
    }

    /// The entity tag, if the server sends one.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        header_text(self.response.headers(), ETAG.as_str())
    }

    /// The next piece; `None` at the end, after the check of the hash.
    ///
    /// # Errors
    /// [`Error::Network`] when the body breaks off, [`Error::ContentMismatch`] at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let lost = |reason: String| Error::Network { server: self.server.clone(), reason };
        match timeout(self.idle, self.response.chunk()).await {
            Err(_) => Err(lost(format!("{} stopped for {} s", self.what, self.idle.as_secs()))),
            Ok(Err(error)) => Err(lost(format!("{} broke off: {}", self.what, one_line(&error)))),
            Ok(Ok(Some(chunk))) => {
                if let Some((hasher, _)) = &mut self.check {
                    hasher.update(&chunk);
                }
                Ok(Some(chunk))
            }
            Ok(Ok(None)) => match self.check.take() {
                Some((hasher, expected)) => {
                    let actual = hex::encode(hasher.finalize());
                    if actual == expected {
                        Ok(None)
                    } else {
                        Err(Error::ContentMismatch { what: self.what.clone(), expected, actual })
                    }
                }
                None => Ok(None),
            },
        }
    }

    /// The whole body, when it is known to be small.
    ///
    /// # Errors
    /// As [`Download::chunk`], and when the body is longer than `bytes_max`.
    pub async fn bytes(mut self, bytes_max: usize) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > bytes_max {
                let reason = format!("it is longer than {bytes_max} bytes");
                return Err(Error::UnexpectedAnswer { what: self.what, reason });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The pieces as a stream, which ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
        stream::unfold(Some(self), |download| async {
            let mut download = download?;
            match download.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(download))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}
