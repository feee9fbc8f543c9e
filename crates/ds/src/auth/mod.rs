//! Signing in, and the tokens that come of it.

mod credentials;
pub(crate) mod login;
mod tokens;

pub(crate) use credentials::{Credential, CredentialStore};
pub(crate) use tokens::{TOKEN_VARIABLE, Tokens};

use crate::Context;

/// Who is signed in to a server: the e-mail address in the id token, which nobody has verified here.
pub(crate) fn signed_in_as(context: &Context, server: &str) -> Option<String> {
    if let Some(token) = context.variable(TOKEN_VARIABLE) {
        return credentials::email_of(token).or_else(|| Some(format!("whoever {TOKEN_VARIABLE} belongs to")));
    }
    let store = CredentialStore::of(context)?;
    let credential = store.get(server).ok()??;
    credentials::email_of(&credential.id_token)
}
