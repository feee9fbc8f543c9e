use clap::Args;
use docstore_client::EventQuery;

use crate::{Failure, output::printable, session::Session};

/// Show what happens in the repo as it happens. Ends with Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Begin after this position; 0 is the beginning.
    #[arg(long, value_name = "POSITION")]
    since: Option<i64>,
    /// Only these types, such as commit.created.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// End after so many.
    #[arg(short = 'n', long)]
    limit: Option<u64>,
    /// Print one JSON envelope per line.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let prefix = docstore_models::EVENT_TYPE_PREFIX;
    let full = |name: &String| if name.starts_with(prefix) { name.clone() } else { format!("{prefix}{name}") };
    let types = arguments.types.iter().map(full).collect();
    let mut events = repo.events(EventQuery { types, since_seq: arguments.since, repo: None });
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    while left > 0 && !session.output_is_closed() {
        let received = events.next().await?;
        let event = received.event;
        if arguments.json {
            let line = serde_json::to_string(&event).map_err(|error| Failure::new(error.to_string()))?;
            session.print(line);
        } else {
            let name = event.r#type.strip_prefix(prefix).unwrap_or(&event.r#type);
            session.print(format!(
                "{:>6}  {}  {}  {}",
                received.position,
                printable(&event.time),
                printable(name),
                printable(event.data.get())
            ));
        }
        session.flush();
        left -= 1;
    }
    Ok(())
}
