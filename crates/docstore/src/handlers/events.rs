use axum::{
    body::Body,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use docstore_auth::{Caller, Need};
use docstore_events::{Filter, SSE_HEADERS, Scope, parse_start, parse_types, sse_body};
use docstore_models::{Action, CloudEvent, ErrorCode, EventPage};
use docstore_operations::EventPageQuery;
use docstore_service::Json;
use futures::StreamExt;

use crate::{
    api::refusals::{Forbidden, InRepo, OfStream, Ordinary, TooMany},
    error::{ApiError, ApiResult, refused},
    extract::{Authenticated, Params, RepoReader, needs::READ},
    state::AppState,
    streams::StreamedRepo,
};

/// Follow the events of a repo as server-sent events. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/events", tag = "events",
    params(("repo" = String, Path),
        ("since_seq" = Option<i64>, Query, description = "Begin behind this position; only new events when absent"),
        ("types" = Option<String>, Query, description = "A comma list of full event types"),
        ("Last-Event-ID" = Option<i64>, Header, description = "What a client sends that reconnects; wins over since_seq")),
    responses((status = 200, content_type = "text/event-stream", body = CloudEvent,
        description = "Frames `id: <position>` and `data: <event>`; a comment every 15 s of silence"),
        Ordinary, InRepo, TooMany))]
pub(crate) async fn repo_events(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    headers: HeaderMap,
    params: Params,
) -> ApiResult<Response> {
    let repo = StreamedRepo { id: reader.repo_id(), name: reader.repo().to_owned() };
    stream(&state, reader.caller(), Some(repo), Scope::Repo(reader.repo_id()), &headers, &params).await
}

/// Follow all events, or those of one subject, as server-sent events. The global admin.
#[utoipa::path(get, path = "/events", tag = "events",
    params(("repo" = Option<String>, Query, description = "Only this repo, by its full name; or `/orgs/<org>`"),
        ("since_seq" = Option<i64>, Query, description = "Begin behind this position; only new events when absent"),
        ("types" = Option<String>, Query, description = "A comma list of full event types"),
        ("Last-Event-ID" = Option<i64>, Header, description = "What a client sends that reconnects; wins over since_seq")),
    responses((status = 200, content_type = "text/event-stream", body = CloudEvent),
        OfStream, Forbidden, TooMany))]
pub(crate) async fn all_events(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    headers: HeaderMap,
    params: Params,
) -> ApiResult<Response> {
    let admin = state.operations.global_admin(&caller)?;
    let scope = params.text("repo").map_or(Scope::All, |subject| Scope::Subject(subject.into()));
    stream(&state, admin.caller(), None, scope, &headers, &params).await
}

/// Read the events of a repo in pages, to catch up. Readers.
#[utoipa::path(get, path = "/repos/{repo}/-/events/log", tag = "events",
    params(("repo" = String, Path),
        ("after" = Option<i64>, Query, description = "Only events behind this position; from the oldest when absent"),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent, never more than 1000"),
        ("types" = Option<String>, Query, description = "A comma list of full event types")),
    responses((status = 200, body = EventPage), Ordinary, InRepo))]
pub(crate) async fn repo_event_log(
    State(state): State<AppState>,
    RepoReader(reader): RepoReader<READ>,
    params: Params,
) -> ApiResult<Json<EventPage>> {
    Ok(Json(state.operations.repo_event_page(&reader, &page_query(&params)?).await?))
}

/// Read all events in pages, or those of one subject, to catch up. The global admin.
#[utoipa::path(get, path = "/events/log", tag = "events",
    params(("repo" = Option<String>, Query, description = "Only this repo, by its full name; or `/orgs/<org>`"),
        ("after" = Option<i64>, Query, description = "Only events behind this position; from the oldest when absent"),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent, never more than 1000"),
        ("types" = Option<String>, Query, description = "A comma list of full event types")),
    responses((status = 200, body = EventPage), Ordinary, Forbidden))]
pub(crate) async fn event_log(
    State(state): State<AppState>,
    Authenticated(caller): Authenticated<READ>,
    params: Params,
) -> ApiResult<Json<EventPage>> {
    let admin = state.operations.global_admin(&caller)?;
    Ok(Json(state.operations.event_page(&admin, params.text("repo"), &page_query(&params)?).await?))
}

fn page_query(params: &Params) -> ApiResult<EventPageQuery> {
    Ok(EventPageQuery {
        after: params.integer("after")?.unwrap_or_default().max(0),
        limit: params.limit()?,
        types: params.text("types").map(parse_types).unwrap_or_default(),
    })
}

async fn stream(
    state: &AppState,
    caller: &Caller,
    repo: Option<StreamedRepo>,
    scope: Scope,
    headers: &HeaderMap,
    params: &Params,
) -> ApiResult<Response> {
    let last_event_id = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let start = parse_start(last_event_id, params.text("since_seq"))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let types = params.text("types").map(parse_types).unwrap_or_default();
    let open = state.streams.open(caller, repo.clone(), state.limits.streams_per_caller_max).ok_or_else(|| {
        ApiError::new(ErrorCode::TooManyRequests, "too many event streams are open for this caller; close some")
    })?;
    // From here on what takes the right away ends the stream. It may have been taken since it was looked at.
    let caller = state.authenticator.authenticate(headers, Need::Action(Action::Read)).await.map_err(refused)?;
    if let Some(repo) = &repo
        && state.operations.still_reads(&caller, &repo.name, repo.id).await? != Some(true)
    {
        return Err(docstore_operations::Error::forbidden().into());
    }
    let (ended, shutdown) = (open.ended(state.authenticator.time_left(&caller)), state.shutdown.wait_owned());
    let over = async move {
        tokio::select! {
            () = ended => {}
            () = shutdown => {}
        }
    };
    let events = state.hub.subscribe(Filter { scope, types }, start).await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot open an event stream");
        ApiError::new(ErrorCode::ServiceUnavailable, "event streaming temporarily unavailable")
    })?;
    // The count ends with the body.
    let body = sse_body(events, over).map(move |frame| {
        let _counted = &open;
        frame
    });
    Ok((SSE_HEADERS, Body::from_stream(body)).into_response())
}
