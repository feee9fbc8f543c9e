use docstore_models::{
    CreateSubscriptionRequest, Delivery, DeliveryDetail, DeliveryList, DeliveryState, EventPage, PingResult,
    RedeliverRequest, RedeliverResult, Subscription, SubscriptionList, UpdateSubscriptionRequest,
};
use serde_json::json;
use uuid::Uuid;

use crate::{Client, Error, RepoClient, paths::segment, transport::Call};

/// Which deliveries to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// Only those in this state.
    pub state: Option<DeliveryState>,
    /// At most so many; all when absent.
    pub limit: Option<u32>,
    /// Only those behind this one.
    pub after: Option<Uuid>,
}

/// Which events of the log to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPageQuery {
    /// Only events behind this position.
    pub after: i64,
    /// The most of one page.
    pub limit: Option<u32>,
    /// Full type names; empty for all.
    pub types: Vec<String>,
}

impl EventPageQuery {
    fn on(&self, call: Call) -> Call {
        let types = (!self.types.is_empty()).then(|| self.types.join(","));
        call.query("after", self.after.to_string()).query_some("limit", self.limit).query_some("types", types)
    }
}

fn path(id: &str, rest: &str) -> String {
    format!("/subscriptions/{}{rest}", segment(id))
}

impl Client {
    /// Subscriptions, oldest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, Error> {
        let call = Call::get("/subscriptions".to_owned());
        self.pages(call, None, None, |list: SubscriptionList| list.subscriptions, |one| one.id).await
    }

    /// Has events sent to a URL.
    ///
    /// # Errors
    /// 403 without a role in the repo; otherwise as every call.
    pub async fn create_subscription(&self, request: &CreateSubscriptionRequest) -> Result<Subscription, Error> {
        self.fetch(Call::post("/subscriptions".to_owned()).json(request)?).await
    }

    /// One subscription. Additive.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn subscription(&self, id: &str) -> Result<Subscription, Error> {
        self.fetch(Call::get(path(id, ""))).await
    }

    /// Changes a subscription. Additive.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn update_subscription(
        &self,
        id: &str,
        request: &UpdateSubscriptionRequest,
    ) -> Result<Subscription, Error> {
        self.fetch(Call::patch(path(id, "")).json(request)?).await
    }

    /// Deletes a subscription.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn delete_subscription(&self, id: &str) -> Result<(), Error> {
        self.run(Call::delete(path(id, ""))).await
    }

    /// Lets a suspended subscription go on.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn resume_subscription(&self, id: &str) -> Result<(), Error> {
        self.run(Call::post(path(id, "/resume")).json(&json!({}))?).await
    }

    /// Sends an event to the receiver at once and tells what it answered. Additive.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn ping_subscription(&self, id: &str) -> Result<PingResult, Error> {
        self.fetch(Call::post(path(id, "/ping")).json(&json!({}))?).await
    }

    /// The deliveries of a subscription, newest first. Additive.
    ///
    /// # Errors
    /// 404 when there is no such subscription; otherwise as every call.
    pub async fn deliveries(&self, id: &str, query: &DeliveryQuery) -> Result<Vec<Delivery>, Error> {
        let state = query.state.map(|state| match state {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
        });
        let call = Call::get(path(id, "/deliveries")).query_some("state", state);
        let list = |list: DeliveryList| list.deliveries;
        self.pages(call, query.limit, query.after, list, |delivery| delivery.id).await
    }

    /// One delivery with its attempts and its event. Additive.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn delivery(&self, id: &str, delivery: &str) -> Result<DeliveryDetail, Error> {
        self.fetch(Call::get(path(id, &format!("/deliveries/{}", segment(delivery))))).await
    }

    /// Queues one delivery again, or everything since a time. Additive.
    ///
    /// # Errors
    /// 404 when there is none; otherwise as every call.
    pub async fn redeliver(&self, id: &str, request: &RedeliverRequest) -> Result<RedeliverResult, Error> {
        self.fetch(Call::post(path(id, "/redeliver")).json(request)?).await
    }

    /// One page of the log of the whole server, or of one repo by name. For global admins. Additive.
    ///
    /// # Errors
    /// As every call.
    pub async fn event_page(&self, repo: Option<&str>, query: &EventPageQuery) -> Result<EventPage, Error> {
        self.fetch(query.on(Call::get("/events/log".to_owned()).query_some("repo", repo))).await
    }
}

impl RepoClient {
    /// One page of the repo's log, oldest first. Additive.
    ///
    /// # Errors
    /// As every call.
    pub async fn event_page(&self, query: &EventPageQuery) -> Result<EventPage, Error> {
        self.client.fetch(query.on(Call::get(self.path("events/log")))).await
    }
}
