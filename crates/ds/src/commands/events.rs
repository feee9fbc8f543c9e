use clap::Args;
use docstore_client::{Client, EventPageQuery, EventQuery, EventStream, RepoClient};
use docstore_models::{EVENT_TYPE_PREFIX, PositionedEvent};

use crate::{Failure, output::printable, session::Session};

/// Events of the log asked for at once.
const PAGE: u32 = 500;

/// Show what happens in the repo as it happens, or what has happened.
///
/// Follows until Ctrl-C; with --log it shows what the log has and ends.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Show what has happened, oldest first, and end.
    #[arg(long)]
    log: bool,
    /// Of the whole server, for the global admin.
    #[arg(long)]
    server: bool,
    /// Begin after this position; 0 is the beginning, and where --log begins.
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    since: Option<i64>,
    /// Only these types, such as commit.created.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// End after so many.
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    /// Print one JSON object per line: the position and the event.
    #[arg(long)]
    json: bool,
}

/// Whose events.
enum Source {
    Repo(RepoClient),
    Server(Client),
}

impl Source {
    fn stream(&self, query: EventQuery) -> EventStream {
        match self {
            Self::Repo(repo) => repo.events(query),
            Self::Server(client) => client.events(query),
        }
    }
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let source = if arguments.server {
        Source::Server(session.server()?)
    } else {
        let workspace = session.workspace()?;
        Source::Repo(session.repo(&workspace)?)
    };
    let full = |name: &String| {
        if name.starts_with(EVENT_TYPE_PREFIX) { name.clone() } else { format!("{EVENT_TYPE_PREFIX}{name}") }
    };
    let types = arguments.types.iter().map(full).collect();
    if arguments.log {
        log(session, &source, types, &arguments).await
    } else {
        follow(session, &source, types, &arguments).await
    }
}

async fn follow(
    session: &mut Session<'_>,
    source: &Source,
    types: Vec<String>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let mut events = source.stream(EventQuery { types, since_seq: arguments.since, repo: None });
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 && !session.output_is_closed() {
        let received = events.next().await?;
        show(session, &PositionedEvent { position: received.position, event: received.event }, arguments.json)?;
        session.flush();
        left -= 1;
    }
    Ok(())
}

async fn log(
    session: &mut Session<'_>,
    source: &Source,
    types: Vec<String>,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let mut query = EventPageQuery { after: arguments.since.unwrap_or_default(), limit: None, types };
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 && !session.output_is_closed() {
        query.limit = Some(u32::try_from(left).unwrap_or(PAGE).min(PAGE));
        let page = match source {
            Source::Repo(repo) => repo.event_page(&query).await?,
            Source::Server(client) => client.event_page(None, &query).await?,
        };
        for event in &page.events {
            show(session, event, arguments.json)?;
        }
        left = left.saturating_sub(page.events.len() as u64);
        // A page may be empty although there is more behind it.
        if !page.more {
            break;
        }
        query.after = page.next_after;
    }
    Ok(())
}

fn show(session: &mut Session<'_>, positioned: &PositionedEvent, json: bool) -> Result<(), Failure> {
    if json {
        let line = serde_json::to_string(positioned).map_err(|error| Failure::new(error.to_string()))?;
        session.print(line);
        return Ok(());
    }
    let PositionedEvent { position, event } = positioned;
    let name = event.r#type.strip_prefix(EVENT_TYPE_PREFIX).unwrap_or(&event.r#type);
    let (time, name, data) = (printable(&event.time), printable(name), printable(event.data.get()));
    session.print(format!("{position:>6}  {time}  {name}  {data}"));
    Ok(())
}
