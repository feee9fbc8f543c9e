use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use docstore_auth::{LoginFailure, Origin, Redirect, Via};

use crate::{extract::Params, state::AppState};

/// The answer of a login step: 302 with cookies that no cache may keep.
fn redirect(redirect: Redirect) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, redirect.location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in redirect.cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// A failure, in plain text as the contract has it (server §2.3).
fn failure(failure: LoginFailure) -> Response {
    (failure.status(), [("x-content-type-options", "nosniff")], format!("{failure}\n")).into_response()
}

fn not_recorded(error: &docstore_operations::Error, what: &str) -> Response {
    tracing::error!(error = error as &(dyn std::error::Error + 'static), "a {what} was not noted");
    let text = format!("the {what} cannot be recorded; try again\n");
    (StatusCode::SERVICE_UNAVAILABLE, [("x-content-type-options", "nosniff")], text).into_response()
}

fn answer(result: Result<Redirect, LoginFailure>) -> Response {
    result.map_or_else(failure, redirect)
}

fn origin(request: &Request) -> Result<Origin, LoginFailure> {
    Origin::of(request.headers(), request.uri().authority(), false)
}

/// Begin a browser login.
#[utoipa::path(get, path = "/auth/login", tag = "login", security(()),
    params(("redirect" = Option<String>, Query, description = "Where to go afterwards: a path on this server")),
    responses((status = 302, description = "To the identity provider",
            headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 400, content((String = "text/plain"), (docstore_models::ErrorBody = "application/json"))),
        (status = 503, content_type = "text/plain", body = String, description = "Logging in is not configured")))]
pub(crate) async fn login(State(state): State<AppState>, params: Params, request: Request) -> Response {
    match origin(&request) {
        Err(why) => failure(why),
        Ok(origin) => answer(state.authenticator.login().start(params.text("redirect"), &origin).await),
    }
}

/// Come back from the identity provider.
#[utoipa::path(get, path = "/auth/callback", tag = "login", security(()),
    params(("state" = String, Query), ("code" = String, Query)),
    responses((status = 302, description = "With the session cookie",
            headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 400, content_type = "text/plain", body = String), (status = 401, content_type = "text/plain", body = String),
        (status = 500, content_type = "text/plain", body = String), (status = 503, content_type = "text/plain", body = String)))]
pub(crate) async fn callback(State(state): State<AppState>, request: Request) -> Response {
    match origin(&request) {
        Err(why) => failure(why),
        Ok(origin) => {
            let login = state.authenticator.login();
            match login.callback(request.uri().query(), request.headers(), &origin).await {
                Err(why) => failure(why),
                // Nobody gets a session that the audit trail does not know of.
                Ok(done) => match state.operations.note_login(&done.identity, Via::Session).await {
                    Ok(()) => redirect(done.redirect),
                    Err(error) => not_recorded(&error, "login"),
                },
            }
        }
    }
}

/// End the session: the cookie is taken away, and good for nothing wherever else it is kept.
#[utoipa::path(get, path = "/auth/logout", tag = "login", security(()),
    responses((status = 302, description = "To the start page",
            headers(("Location" = String), ("Set-Cookie" = String))), (status = 400, content_type = "text/plain", body = String),
        (status = 503, content_type = "text/plain", body = String)))]
pub(crate) async fn logout(State(state): State<AppState>, request: Request) -> Response {
    match origin(&request) {
        Err(why) => failure(why),
        Ok(origin) => {
            for session in state.authenticator.sessions(request.headers()) {
                // The browser keeps its cookie, so that it can be tried again.
                if let Err(error) = state.operations.end_session(&session).await {
                    return not_recorded(&error, "logout");
                }
            }
            redirect(state.authenticator.login().logout(&origin))
        }
    }
}
