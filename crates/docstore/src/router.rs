//! All routes of the server, grouped by who calls them.

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri, Version, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use docstore_service::RequestFacts;
use tower::{ServiceExt, service_fn};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, Predicate, predicate::SizeAbove},
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{Api, describe_responses},
    handlers::{
        agents, branches, checks, commits, contents, discovery, events, files, issue_comments, issues, login, merge,
        obliterations, org_members, orgs, policies, proposals, releases, repos, reviews, roles, secrets, sessions,
        subscriptions, tokens, tree, whoami,
    },
    paths::{Canonical, canonical, without_secrets},
    state::AppState,
};

/// Every route, with its documentation.
fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Api::openapi())
        // Anybody.
        .routes(routes!(discovery::healthz))
        .routes(routes!(discovery::readyz))
        .routes(routes!(discovery::metrics))
        .routes(routes!(discovery::ds_config))
        .routes(routes!(discovery::openapi))
        .routes(routes!(login::login))
        .routes(routes!(login::callback))
        .routes(routes!(login::logout))
        // Anybody who is somebody.
        .routes(routes!(whoami::whoami))
        .routes(routes!(whoami::list_rights))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(agents::list_agents, agents::create_agent))
        .routes(routes!(agents::revoke_agent))
        .routes(routes!(sessions::end_sessions))
        .routes(routes!(orgs::list_orgs, orgs::create_org))
        .routes(routes!(orgs::get_org, orgs::delete_org))
        .routes(routes!(orgs::list_org_repos))
        .routes(routes!(org_members::accept_invite))
        .routes(routes!(policies::list_org_policies))
        .routes(routes!(policies::set_org_policy, policies::delete_org_policy))
        .routes(routes!(repos::list_repos, repos::create_repo))
        .routes(routes!(repos::get_repo, repos::delete_repo))
        // Members of an org; owners change who they are.
        .routes(routes!(org_members::list_members))
        .routes(routes!(org_members::set_member, org_members::delete_member))
        .routes(routes!(org_members::list_invites, org_members::create_invite))
        .routes(routes!(org_members::delete_invite))
        // Readers of a repo.
        .routes(routes!(tree::tree))
        .routes(routes!(tree::archive, tree::archive_paths))
        .routes(routes!(tree::presign_archive))
        .routes(routes!(files::file))
        .routes(routes!(files::file_history))
        .routes(routes!(commits::get_commit))
        .routes(routes!(commits::list_commits))
        .routes(routes!(commits::chain))
        .routes(routes!(commits::diff))
        .routes(routes!(branches::list_branches))
        .routes(routes!(issues::list_commit_issues))
        .routes(routes!(proposals::list_proposal_issues))
        .routes(routes!(reviews::list_reviews))
        .routes(routes!(reviews::list_comments))
        .routes(routes!(checks::list_checks))
        .routes(routes!(policies::merge_status))
        .routes(routes!(policies::agent_context))
        .routes(routes!(policies::why))
        .routes(routes!(policies::list_verdicts))
        .routes(routes!(events::repo_events))
        .routes(routes!(events::repo_event_log))
        // Writers; on main, maintainers.
        .routes(routes!(commits::commit))
        .routes(routes!(contents::missing_contents))
        .routes(routes!(contents::upload_content))
        .routes(routes!(branches::enable_auto_merge, branches::disable_auto_merge))
        // Writers; what somebody else wrote, maintainers. Readers read.
        .routes(routes!(proposals::list_proposals, proposals::create_proposal))
        .routes(routes!(proposals::get_proposal, proposals::update_proposal))
        .routes(routes!(proposals::close_proposal))
        .routes(routes!(proposals::reopen_proposal))
        .routes(routes!(issues::list_issues, issues::create_issue))
        .routes(routes!(issues::get_issue, issues::update_issue))
        .routes(routes!(issues::close_issue))
        .routes(routes!(issues::reopen_issue))
        .routes(routes!(issue_comments::list_issue_comments, issue_comments::create_issue_comment))
        .routes(routes!(issue_comments::update_issue_comment, issue_comments::delete_issue_comment))
        .routes(routes!(issue_comments::list_issue_refs, issue_comments::create_issue_ref))
        .routes(routes!(reviews::create_review))
        .routes(routes!(reviews::create_comment))
        .routes(routes!(reviews::update_comment, reviews::delete_comment))
        // Writers, and CI jobs.
        .routes(routes!(checks::report_check))
        // Maintainers; single branches and releases are read by readers.
        .routes(routes!(branches::create_branch))
        .routes(routes!(branches::get_branch, branches::update_branch, branches::delete_branch))
        .routes(routes!(merge::merge))
        .routes(routes!(merge::rebase))
        .routes(routes!(checks::retry_checks))
        .routes(routes!(checks::list_required_checks, checks::require_check, checks::delete_required_check))
        .routes(routes!(policies::replay_policies))
        .routes(routes!(releases::list_releases, releases::create_release))
        .routes(routes!(releases::get_release, releases::delete_release))
        // Admins.
        .routes(routes!(roles::list_roles))
        .routes(routes!(roles::set_role, roles::delete_role))
        .routes(routes!(secrets::list_secrets))
        .routes(routes!(secrets::set_secret, secrets::delete_secret))
        .routes(routes!(secrets::reveal_secrets))
        .routes(routes!(secrets::rewrap_secrets))
        .routes(routes!(repos::purge))
        .routes(routes!(obliterations::list_obliterations, obliterations::obliterate))
        .routes(routes!(obliterations::preview_obliteration))
        .routes(routes!(whoami::repo_audit))
        .routes(routes!(commits::import))
        // Whoever created a subscription, and the global admin.
        .routes(routes!(subscriptions::list_subscriptions, subscriptions::create_subscription))
        .routes(routes!(
            subscriptions::get_subscription,
            subscriptions::update_subscription,
            subscriptions::delete_subscription
        ))
        .routes(routes!(subscriptions::resume_subscription))
        .routes(routes!(subscriptions::ping_subscription))
        .routes(routes!(subscriptions::list_deliveries))
        .routes(routes!(subscriptions::get_delivery))
        .routes(routes!(subscriptions::redeliver))
        // The global admin.
        .routes(routes!(events::all_events))
        .routes(routes!(whoami::audit))
        .routes(routes!(events::event_log))
}

/// The description of all routes.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    describe_responses(&mut document);
    document
}

/// The router that a server serves.
pub(crate) fn router(state: AppState) -> Router {
    let (router, mut document) = routes().split_for_parts();
    describe_responses(&mut document);
    let docs = utoipa_swagger_ui::SwaggerUi::new("/docs").url("/docs/openapi.json", document);
    let inner = router
        .route("/", get(discovery::index))
        .merge(docs)
        .fallback(discovery::not_found)
        .method_not_allowed_fallback(discovery::method_not_allowed)
        .route_layer(middleware::from_fn(note_route))
        .with_state(state);
    // What is sent compressed is another representation: its tag may only be compared weakly (RFC 9110 §8.8.1).
    let inner = inner.layer(compression()).layer(middleware::map_response(weaken_tag));
    let rewriting = service_fn(move |request: Request| {
        let inner = inner.clone();
        async move {
            match rewritten(request) {
                Ok(request) => inner.oneshot(request).await,
                Err(response) => Ok(*response),
            }
        }
    });
    Router::new().fallback_service(rewriting)
}

/// Below so many bytes compressing costs more than it saves.
const COMPRESS_BYTES_MIN: u64 = 1024;

/// Marks an answer whose bytes somebody compares with a checksum.
#[derive(Clone, Copy)]
pub(crate) struct SentAsIs;

/// Compresses JSON and archives. Files as they are stay as they are: their length is known and ranges of them are, and
/// events must not wait for a block to fill.
fn compression() -> CompressionLayer<impl Predicate> {
    let worth_it = |_: StatusCode, _: Version, headers: &HeaderMap, extensions: &Extensions| {
        let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        matches!(content_type, Some(b"application/json" | b"application/x-tar"))
            && extensions.get::<SentAsIs>().is_none()
    };
    CompressionLayer::new()
        .gzip(true)
        .zstd(true)
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESS_BYTES_MIN).and(worth_it))
}

/// Brings the path into the form of the route table, or answers at once.
fn rewritten(mut request: Request) -> Result<Request, Box<Response>> {
    let uri = request.uri();
    if let (Some(facts), Some(shown)) = (RequestFacts::current(), without_secrets(uri.path())) {
        facts.set_shown_path(shown);
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = match canonical(request.method(), uri.path()) {
        Canonical::Path(path) => path,
        Canonical::Redirect(clean) => return Err(Box::new(discovery::clean_redirect(&format!("{clean}{query}")))),
        Canonical::Malformed => return Err(Box::new(discovery::malformed_path())),
    };
    if path != uri.path() {
        let mut parts = uri.clone().into_parts();
        let Ok(path_and_query) = format!("{path}{query}").parse() else {
            return Err(Box::new(discovery::malformed_path()));
        };
        parts.path_and_query = Some(path_and_query);
        match Uri::from_parts(parts) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return Err(Box::new(discovery::malformed_path())),
        }
    }
    Ok(request)
}

/// Notes the template of the route for logs and metrics.
async fn note_route(request: Request, next: Next) -> Response {
    if let (Some(facts), Some(path)) = (RequestFacts::current(), request.extensions().get::<MatchedPath>()) {
        facts.set_route(path.as_str().to_owned());
    }
    next.run(request).await
}

/// Marks the tag of a compressed answer as weak.
async fn weaken_tag(mut response: Response) -> Response {
    if response.headers().contains_key(header::CONTENT_ENCODING)
        && let Some(tag) = response.headers().get(header::ETAG)
        && !tag.as_bytes().starts_with(b"W/")
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        response.headers_mut().insert(header::ETAG, weak);
    }
    response.into_response()
}
