//! One request to the bucket, with its credentials, retries and end.

use std::time::Duration;

use google_cloud_auth::credentials::{CacheableResource, Credentials};
use http::{Extensions, HeaderMap, StatusCode};
use reqwest::{Client, RequestBuilder, Response};

use crate::errors::BoxError;

use super::{BACKOFF_FIRST, RETRIES_MAX};

/// How much of a refusal is kept for the log.
const REFUSAL_BYTES_MAX: usize = 1024;

/// Who calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) http: Client,
    pub(super) credentials: Credentials,
    /// How long one call may take, with its retries.
    pub(super) deadline: Duration,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("there is no such object")]
    NotFound,
    #[error("Google Cloud Storage refused with {status}: {reason}")]
    Refused { status: StatusCode, reason: String },
    #[error("Google Cloud Storage did not answer")]
    Http(#[source] reqwest::Error),
    #[error("Google Cloud Storage answered wrongly: {0}")]
    Answer(&'static str),
    #[error("no credentials could be had")]
    Credentials(#[source] BoxError),
    #[error("no answer within {} s, retries included", deadline.as_secs())]
    Late { deadline: Duration },
    #[error("the task of an upload was lost")]
    Lost(#[from] tokio::task::JoinError),
}

impl From<reqwest::Error> for Failure {
    /// Without the URL, because that of an upload lets everybody write to it.
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

impl Failure {
    /// Whether trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Http(error) => !error.is_builder(),
            Self::Refused { status, .. } => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            _ => false,
        }
    }
}

impl Caller {
    /// Bounds a whole call.
    pub(super) async fn within<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let late = |_| Failure::Late { deadline: self.deadline };
        tokio::time::timeout(self.deadline, call).await.map_err(late)?
    }

    /// Sends a request until it succeeds or is refused for good. A status that is `accepted` is no refusal.
    pub(super) async fn send(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        accepted: impl Fn(StatusCode) -> bool,
    ) -> Result<Response, Failure> {
        let mut attempt = 0;
        loop {
            match self.send_once(request(&self.http), &accepted).await {
                Err(failure) if failure.is_passing() && attempt < RETRIES_MAX => {
                    note(&failure, "a request to the bucket failed and is sent again");
                    back_off(attempt).await;
                }
                result => return result,
            }
            attempt += 1;
        }
    }

    pub(super) async fn send_once(
        &self,
        request: RequestBuilder,
        accepted: impl Fn(StatusCode) -> bool,
    ) -> Result<Response, Failure> {
        let mut response = request.headers(self.authorization().await?).send().await?;
        let status = response.status();
        if status.is_success() || accepted(status) {
            return Ok(response);
        }
        let mut reason = response.chunk().await.ok().flatten().unwrap_or_default();
        reason.truncate(REFUSAL_BYTES_MAX);
        Err(Failure::Refused { status, reason: String::from_utf8_lossy(&reason).into_owned() })
    }

    async fn authorization(&self) -> Result<HeaderMap, Failure> {
        match self.credentials.headers(Extensions::new()).await {
            Ok(CacheableResource::New { data, .. }) => Ok(data),
            // Only answered to those who say what they have.
            Ok(CacheableResource::NotModified) => Ok(HeaderMap::new()),
            Err(error) => Err(Failure::Credentials(error.into())),
        }
    }
}

/// Leaves a trace of a failure that was overcome.
pub(super) fn note(failure: &Failure, what: &'static str) {
    tracing::info!(error = failure as &dyn std::error::Error, "{what}");
}

/// Waits before an attempt is repeated, so long that a bucket in trouble is left alone and not so regularly that all
/// servers come back at once.
pub(super) async fn back_off(attempt: u32) {
    let longest = BACKOFF_FIRST * 2_u32.saturating_pow(attempt);
    tokio::time::sleep(longest.mul_f64(rand::random_range(0.5..=1.0))).await;
}
