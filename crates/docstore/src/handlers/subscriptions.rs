use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use docstore_auth::Caller;
use docstore_models::{
    CreateSubscriptionRequest, DeliveryDetail, DeliveryList, DeliveryState, ErrorCode, PingResult, RedeliverRequest,
    RedeliverResult, Subscription, SubscriptionList, UpdateSubscriptionRequest,
};
use docstore_operations::SubscriptionOwner;
use docstore_service::Json;
use uuid::Uuid;

use crate::{
    api::refusals::{Forbidden, NotFound, OfBody, OfChange, Ordinary, TooMany},
    error::{ApiError, ApiResult},
    extract::{
        HoldsSecret, JsonBody, NoBody, Params, RepoCaller, SecretJsonBody,
        needs::{READ, WEBHOOKS},
    },
    state::AppState,
};

impl HoldsSecret for CreateSubscriptionRequest {
    fn without_secret(&self) -> Self {
        let mut request = self.clone();
        if let Some(config) = request.config.as_mut().and_then(serde_json::Value::as_object_mut) {
            config.retain(|name, _| !name.eq_ignore_ascii_case("secret"));
        }
        request
    }
}

impl HoldsSecret for UpdateSubscriptionRequest {
    fn without_secret(&self) -> Self {
        Self { secret: None, ..self.clone() }
    }
}

/// The subscription of the path, if the caller may look after it. What is no id is none of a subscription.
async fn owner(state: &AppState, caller: &Caller, id: &str) -> ApiResult<SubscriptionOwner> {
    Ok(state.operations.subscription_owner(caller, subscription_id(id)?).await?)
}

fn subscription_id(id: &str) -> ApiResult<Uuid> {
    id.parse().map_err(|_| ApiError::new(ErrorCode::SubscriptionNotFound, "subscription not found"))
}

fn cursor(params: &Params) -> ApiResult<Option<Uuid>> {
    let parsed = params.text("after").map(str::parse).transpose();
    parsed.map_err(|_| ApiError::bad_request("invalid pagination cursor"))
}

/// Have events sent to a URL. Whoever has a role in the repo; the global admin, also for all events.
#[utoipa::path(post, path = "/subscriptions", tag = "subscriptions", request_body = CreateSubscriptionRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 201, body = Subscription), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn create_subscription(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<WEBHOOKS>,
    body: SecretJsonBody<CreateSubscriptionRequest>,
) -> ApiResult<(StatusCode, Json<Subscription>)> {
    let created = state.operations.create_subscription(&caller, body.key.as_ref(), body.value).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the own subscriptions, oldest first; for the global admin, all.
#[utoipa::path(get, path = "/subscriptions", tag = "subscriptions",
    params(("limit" = Option<i64>, Query, description = "At most so many; all when absent"),
        ("after" = Option<String>, Query, description = "The id of the last subscription seen")),
    responses((status = 200, body = SubscriptionList), Ordinary, Forbidden))]
pub(crate) async fn list_subscriptions(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<READ>,
    params: Params,
) -> ApiResult<Json<SubscriptionList>> {
    let (after, limit) = (cursor(&params)?, params.limit()?);
    Ok(Json(SubscriptionList { subscriptions: state.operations.list_subscriptions(&caller, after, limit).await? }))
}

/// Get a subscription. Its creator, and the global admin.
#[utoipa::path(get, path = "/subscriptions/{id}", tag = "subscriptions", params(("id" = String, Path)),
    responses((status = 200, body = Subscription), Ordinary, Forbidden, NotFound))]
pub(crate) async fn get_subscription(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<READ>,
    Path(id): Path<String>,
) -> ApiResult<Json<Subscription>> {
    Ok(Json(owner(&state, &caller, &id).await?.subscription().clone()))
}

/// Change a subscription, or give it a new secret. Its creator, and the global admin.
#[utoipa::path(patch, path = "/subscriptions/{id}", tag = "subscriptions", request_body = UpdateSubscriptionRequest,
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = Subscription), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn update_subscription(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<WEBHOOKS>,
    Path(id): Path<String>,
    body: SecretJsonBody<UpdateSubscriptionRequest>,
) -> ApiResult<Json<Subscription>> {
    let owner = owner(&state, &caller, &id).await?;
    Ok(Json(state.operations.update_subscription(&owner, body.key.as_ref(), &body.value).await?))
}

/// Delete a subscription with everything that waits for it. Its creator, admins of its repo, and the global admin.
#[utoipa::path(delete, path = "/subscriptions/{id}", tag = "subscriptions",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn delete_subscription(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<WEBHOOKS>,
    Path(id): Path<String>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    if state.operations.was_done(&caller, body.key.as_ref()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let id = subscription_id(&id)?;
    let remover = state.operations.subscription_remover(&caller, id).await?;
    state.operations.delete_subscription(&remover, body.key.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a suspended subscription go on. Its creator, and the global admin.
#[utoipa::path(post, path = "/subscriptions/{id}/resume", tag = "subscriptions",
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 204), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn resume_subscription(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<WEBHOOKS>,
    Path(id): Path<String>,
    body: NoBody,
) -> ApiResult<StatusCode> {
    let owner = owner(&state, &caller, &id).await?;
    state.operations.resume_subscription(&owner, body.key.as_ref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send an event to the receiver at once and tell what it answered. The subscription's creator, and the global admin.
#[utoipa::path(post, path = "/subscriptions/{id}/ping", tag = "subscriptions", params(("id" = String, Path)),
    responses((status = 200, body = PingResult), Ordinary, Forbidden, NotFound, OfBody, TooMany))]
pub(crate) async fn ping_subscription(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<WEBHOOKS>,
    Path(id): Path<String>,
    _body: NoBody,
) -> ApiResult<Json<PingResult>> {
    let owner = owner(&state, &caller, &id).await?;
    Ok(Json(state.operations.ping_subscription(&owner).await?))
}

/// List what became of a subscription's deliveries, newest first. Its creator, and the global admin.
#[utoipa::path(get, path = "/subscriptions/{id}/deliveries", tag = "subscriptions",
    params(("id" = String, Path),
        ("state" = Option<String>, Query, description = "Only those that are `pending`, `delivered` or `dead`"),
        ("limit" = Option<i64>, Query, description = "At most so many; 100 when absent"),
        ("after" = Option<String>, Query, description = "The id of the last delivery seen")),
    responses((status = 200, body = DeliveryList), Ordinary, Forbidden, NotFound))]
pub(crate) async fn list_deliveries(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<READ>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult<Json<DeliveryList>> {
    let wanted = match params.text("state") {
        None => None,
        Some("pending") => Some(DeliveryState::Pending),
        Some("delivered") => Some(DeliveryState::Delivered),
        Some("dead") => Some(DeliveryState::Dead),
        Some(_) => return Err(ApiError::bad_request("invalid 'state' parameter: must be pending, delivered or dead")),
    };
    let (after, limit) = (cursor(&params)?, params.limit()?);
    let owner = owner(&state, &caller, &id).await?;
    Ok(Json(DeliveryList { deliveries: state.operations.list_deliveries(&owner, wanted, after, limit).await? }))
}

/// Get a delivery with its attempts and its event. The subscription's creator, and the global admin.
#[utoipa::path(get, path = "/subscriptions/{id}/deliveries/{delivery}", tag = "subscriptions",
    params(("id" = String, Path), ("delivery" = String, Path)),
    responses((status = 200, body = DeliveryDetail), Ordinary, Forbidden, NotFound))]
pub(crate) async fn get_delivery(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<READ>,
    Path((id, delivery)): Path<(String, String)>,
) -> ApiResult<Json<DeliveryDetail>> {
    let owner = owner(&state, &caller, &id).await?;
    let delivery = delivery.parse().map_err(|_| ApiError::new(ErrorCode::NotFound, "delivery not found"))?;
    Ok(Json(state.operations.delivery(&owner, delivery).await?))
}

/// Queue one delivery again, or every event since a time. The subscription's creator, and the global admin.
#[utoipa::path(post, path = "/subscriptions/{id}/redeliver", tag = "subscriptions", request_body = RedeliverRequest,
    params(("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again, the same request has one effect")),
    responses((status = 200, body = RedeliverResult), Ordinary, Forbidden, NotFound, OfBody, OfChange))]
pub(crate) async fn redeliver(
    State(state): State<AppState>,
    RepoCaller(caller): RepoCaller<WEBHOOKS>,
    Path(id): Path<String>,
    body: JsonBody<RedeliverRequest>,
) -> ApiResult<Json<RedeliverResult>> {
    let owner = owner(&state, &caller, &id).await?;
    Ok(Json(state.operations.redeliver(&owner, body.key.as_ref(), &body.value).await?))
}
