use std::sync::Arc;

use futures::future::BoxFuture;
use secrecy::SecretString;

/// Why no token could be had; prints as a sentence for people, such as `sign-in expired`.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    /// What happened.
    pub message: String,
}

/// Where the bearer token of a request comes from. Asked once per attempt, so that a token may be renewed between
/// two attempts.
pub trait TokenProvider: Send + Sync {
    /// The token to send, or `None` to send none.
    ///
    /// # Errors
    /// When there should be a token but cannot be one; the request is then not sent.
    fn token(&self) -> BoxFuture<'_, Result<Option<SecretString>, TokenError>>;
}

/// A token that never changes, such as one from a CI system's environment.
#[derive(Clone, Debug)]
pub struct StaticToken(SecretString);

impl StaticToken {
    /// Wraps the token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(SecretString::from(token.into()))
    }
}

impl TokenProvider for StaticToken {
    fn token(&self) -> BoxFuture<'_, Result<Option<SecretString>, TokenError>> {
        Box::pin(std::future::ready(Ok(Some(self.0.clone()))))
    }
}

impl<T: TokenProvider + ?Sized> TokenProvider for Arc<T> {
    fn token(&self) -> BoxFuture<'_, Result<Option<SecretString>, TokenError>> {
        self.as_ref().token()
    }
}
