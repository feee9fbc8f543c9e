use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use docstore_client::{Client, DeliveryQuery, Error};
use docstore_models::{
    CreateSubscriptionRequest, Delivery, DeliveryState, RedeliverRequest, Subscription, Timestamp,
    UpdateSubscriptionRequest,
};
use uuid::Uuid;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::{Table, counted, printable},
    remote::instead_of_status,
    session::Session,
};

/// Deliveries shown unless more are asked for.
const DELIVERIES_SHOWN: u32 = 20;

/// The longest secret that is read, in bytes; the server takes no longer one.
const SECRET_BYTES_MAX: u64 = 8192;

/// Have events sent to a URL, and look after that.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List your subscriptions; global admins see all.
    List(JsonOption),
    /// Have events sent to a URL.
    Create {
        /// Where to send them.
        #[arg(long)]
        url: String,
        #[command(flatten)]
        secret: SecretSource,
        /// Only events of this repo, such as acme/app; global admins may leave it out.
        #[arg(long, value_name = "REPO")]
        repo: Option<String>,
        /// Only these types, separated by commas.
        #[arg(long, value_name = "TYPES", value_delimiter = ',')]
        event_types: Vec<String>,
    },
    /// Show one subscription.
    Show {
        /// The id.
        id: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Delete a subscription with everything that waits for it.
    Delete {
        /// The id.
        id: String,
        #[command(flatten)]
        yes: YesOption,
    },
    /// Let a suspended subscription go on.
    Resume {
        /// The id.
        id: String,
    },
    /// Send a test event at once and show what the receiver answers.
    Ping {
        /// The id.
        id: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Show what became of deliveries, newest first, or of one.
    Deliveries {
        /// The id of the subscription.
        id: String,
        /// The id of one delivery, to see each attempt.
        delivery: Option<String>,
        /// Only those in this state.
        #[arg(long, value_enum)]
        state: Option<State>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = DELIVERIES_SHOWN, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        /// Only those behind this one, the last of what was shown before.
        #[arg(long, value_name = "DELIVERY", conflicts_with = "delivery")]
        after: Option<Uuid>,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Send one delivery again, or everything since a time, also what happened while it was suspended.
    Redeliver {
        /// The id of the subscription.
        id: String,
        /// The id of the delivery.
        #[arg(required_unless_present = "since")]
        delivery: Option<Uuid>,
        /// Everything since this time, such as 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME", conflicts_with = "delivery")]
        since: Option<Timestamp>,
    },
    /// Give a subscription a new secret; the old one signs as well for a while.
    Rotate {
        /// The id.
        id: String,
        #[command(flatten)]
        secret: SecretSource,
        /// For how many hours the old secret signs as well.
        #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(i64).range(0..=720))]
        overlap_hours: i64,
    },
}

/// Where a secret comes from. What is on a command line, everybody on the machine can read.
#[derive(Debug, Args)]
struct SecretSource {
    /// The secret that signs. Others on this machine can read it; better use one of the following.
    #[arg(long, group = "secret_source")]
    secret: Option<String>,
    /// Read the secret from a file; `-` is standard input. One line break at its end is dropped.
    #[arg(long, value_name = "FILE", group = "secret_source")]
    secret_file: Option<PathBuf>,
    /// Read the secret from this environment variable.
    #[arg(long, value_name = "NAME", group = "secret_source")]
    secret_env: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Pending,
    Delivered,
    Dead,
}

impl From<State> for DeliveryState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Delivered => Self::Delivered,
            State::Dead => Self::Dead,
        }
    }
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let client = session.server()?;
    match arguments.action.unwrap_or(Action::List(arguments.json)) {
        Action::List(json) => {
            let subscriptions = client.subscriptions().await?;
            if json.json {
                return session.print_json(&subscriptions);
            }
            list(session, &subscriptions);
        }
        Action::Create { url, secret, repo, event_types } => {
            let secret = read_secret(session, secret)?;
            if secret.is_none() {
                session.warn("without a secret the receiver cannot tell who sends");
            }
            let mut config = BTreeMap::from([("url", url)]);
            config.extend(secret.map(|secret| ("secret", secret)));
            let request = CreateSubscriptionRequest {
                repo,
                event_types: (!event_types.is_empty()).then_some(event_types),
                backend: "webhook".to_owned(),
                config: Some(serde_json::to_value(config).map_err(|error| Failure::new(error.to_string()))?),
            };
            let created = client.create_subscription(&request).await?;
            session.say(format!("Created subscription '{}'", created.id));
        }
        Action::Show { id, json } => {
            let subscription = client.subscription(&id).await.map_err(|error| not_found(error, &id))?;
            if json.json {
                return session.print_json(&subscription);
            }
            show(session, &subscription);
        }
        Action::Delete { id, yes } => {
            session.confirm(&format!("Delete subscription '{id}' and what waits for it?"), yes.yes)?;
            client.delete_subscription(&id).await.map_err(|error| not_found(error, &id))?;
            session.say(format!("Deleted subscription '{id}'"));
        }
        Action::Resume { id } => {
            client.resume_subscription(&id).await.map_err(|error| not_found(error, &id))?;
            session.say(format!("Resumed subscription '{id}'"));
        }
        Action::Ping { id, json } => ping(session, &client, &id, json).await?,
        Action::Deliveries { id, delivery: Some(delivery), json, .. } => {
            detail(session, &client, &id, &delivery, json).await?;
        }
        Action::Deliveries { id, delivery: None, state, limit, after, json } => {
            let query = DeliveryQuery { state: state.map(Into::into), limit: Some(limit), after };
            let deliveries = client.deliveries(&id, &query).await.map_err(|error| not_found(error, &id))?;
            if json.json {
                return session.print_json(&deliveries);
            }
            list_deliveries(session, &deliveries);
        }
        Action::Redeliver { id, delivery, since } => {
            let request = RedeliverRequest { delivery, since };
            let result = client.redeliver(&id, &request).await.map_err(|error| not_found(error, &id))?;
            session.say(format!("Queued {}", counted(result.queued, "delivery", "deliveries")));
            if result.more {
                session.warn("there is more: once these are delivered, ask again from the time of the last one");
            }
        }
        Action::Rotate { id, secret, overlap_hours } => {
            let secret = read_secret(session, secret)?
                .ok_or_else(|| Failure::usage("a new secret is needed: --secret-file, --secret-env or --secret"))?;
            let request = UpdateSubscriptionRequest {
                secret: Some(secret.into()),
                previous_secret_seconds: Some(overlap_hours * 3600),
                ..UpdateSubscriptionRequest::default()
            };
            let changed = client.update_subscription(&id, &request).await.map_err(|error| not_found(error, &id))?;
            session.say(format!("Rotated the secret of subscription '{id}'"));
            if let Some(until) = changed.previous_secret_until {
                session.say(format!("The old secret signs as well until {until}"));
            }
        }
    }
    Ok(())
}

fn not_found(error: Error, id: &str) -> Failure {
    instead_of_status(error, 404, || format!("subscription '{id}' or what was asked of it is not there"))
}

fn list(session: &mut Session<'_>, subscriptions: &[Subscription]) {
    let mut table = Table::new("  ", &[("ID", 36), ("REPO", 20), ("BACKEND", 10), ("SUSPENDED", 10), ("URL", 0)]);
    for subscription in subscriptions {
        let suspended =
            subscription.suspended_at.map_or_else(|| "no".to_owned(), |at| at.to_utc().format("%Y-%m-%d").to_string());
        table.row(&[
            &subscription.id.to_string(),
            subscription.repo.as_deref().unwrap_or("(all)"),
            &subscription.backend,
            &suspended,
            subscription.config.get("url").map_or("", String::as_str),
        ]);
    }
    session.print_table(&table);
}

fn show(session: &mut Session<'_>, subscription: &Subscription) {
    let types = subscription.event_types.as_ref().map_or_else(|| "(all)".to_owned(), |types| types.join(", "));
    let mut lines = vec![
        ("ID", subscription.id.to_string()),
        ("Repo", subscription.repo.clone().unwrap_or_else(|| "(all)".to_owned())),
        ("Event types", types),
        ("URL", subscription.config.get("url").cloned().unwrap_or_default()),
        ("Secret", if subscription.config.contains_key("secret") { "set" } else { "none" }.to_owned()),
        ("Created by", subscription.created_by.clone()),
        ("Created at", subscription.created_at.to_string()),
    ];
    if let Some(until) = subscription.previous_secret_until {
        lines.push(("Old secret until", until.to_string()));
    }
    if let Some(at) = subscription.suspended_at {
        lines.push(("Suspended", at.to_string()));
        lines.push(("Reason", subscription.suspended_reason.clone().unwrap_or_default()));
    }
    for (name, value) in lines {
        session.print(format!("{:<18}{}", format!("{name}:"), printable(&value)));
    }
}

async fn ping(session: &mut Session<'_>, client: &Client, id: &str, json: JsonOption) -> Result<(), Failure> {
    let result = client.ping_subscription(id).await.map_err(|error| not_found(error, id))?;
    if json.json {
        return session.print_json(&result);
    }
    match (&result.error, result.status) {
        (None, status) => {
            let status = status.map(|status| format!(" with status {status}")).unwrap_or_default();
            session.say(format!("The receiver took it{status} after {} ms", result.duration_ms));
            Ok(())
        }
        (Some(error), _) => Err(Failure::new(format!("the receiver did not take it: {}", printable(error)))),
    }
}

fn list_deliveries(session: &mut Session<'_>, deliveries: &[Delivery]) {
    let columns = [("ID", 36), ("POSITION", 8), ("STATE", 9), ("TRIES", 5), ("TYPE", 32), ("ERROR", 0)];
    let mut table = Table::new("  ", &columns);
    for delivery in deliveries {
        table.row(&[
            &delivery.id.to_string(),
            &delivery.position.map_or_else(|| "-".to_owned(), |position| position.to_string()),
            state_word(delivery.state),
            &delivery.attempts.to_string(),
            delivery.event_type.strip_prefix(docstore_models::EVENT_TYPE_PREFIX).unwrap_or(&delivery.event_type),
            delivery.last_error.as_deref().unwrap_or_default(),
        ]);
    }
    session.print_table(&table);
}

async fn detail(
    session: &mut Session<'_>,
    client: &Client,
    id: &str,
    delivery: &str,
    json: JsonOption,
) -> Result<(), Failure> {
    let detail = client.delivery(id, delivery).await.map_err(|error| not_found(error, id))?;
    if json.json {
        return session.print_json(&detail);
    }
    session.print(format!("{} of {}: {}", detail.event.r#type, detail.event.source, state_word(detail.delivery.state)));
    let mut table = Table::new("  ", &[("STARTED", 27), ("MS", 6), ("STATUS", 6), ("ERROR", 0)]);
    for attempt in &detail.history {
        table.row(&[
            &attempt.started_at.to_string(),
            &attempt.duration_ms.to_string(),
            &attempt.status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            attempt.error.as_deref().unwrap_or_default(),
        ]);
    }
    session.print_table(&table);
    Ok(())
}

fn state_word(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Dead => "dead",
    }
}

/// The secret, if one was given; an empty one is none.
fn read_secret(session: &mut Session<'_>, source: SecretSource) -> Result<Option<String>, Failure> {
    let secret = match source {
        SecretSource { secret: Some(secret), .. } => {
            session.warn("a secret on the command line can be read by others on this machine; use --secret-file");
            secret
        }
        SecretSource { secret_file: Some(file), .. } => read_file(session, &file)?,
        SecretSource { secret_env: Some(name), .. } => session
            .context
            .variable(&name)
            .map(str::to_owned)
            .ok_or_else(|| Failure::usage(format!("the environment has no {name}")))?,
        SecretSource { .. } => return Ok(None),
    };
    Ok((!secret.is_empty()).then_some(secret))
}

fn read_file(session: &mut Session<'_>, file: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        (&mut session.context.stdin).take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        let path = session.directory().join(file);
        fs::File::open(path).and_then(|opened| opened.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::new(format!("cannot read the secret from {}: {error}", file.display())))?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(Failure::usage(format!("the secret is longer than {SECRET_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage("the secret is not text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
