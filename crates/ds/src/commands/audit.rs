use clap::Args;

use crate::{Failure, cli::JsonOption, output::Table, session::Session};

/// Show who came in and who was given what: the audit trail, newest first.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// That of the whole server, for the global admin.
    #[arg(long)]
    server: bool,
    /// At most so many events.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Only those before this position, the last of what was shown before.
    #[arg(long, value_name = "POSITION")]
    after: Option<i64>,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let events = if arguments.server {
        session.server()?.audit(Some(arguments.limit), arguments.after).await?
    } else {
        let workspace = session.workspace()?;
        session.repo(&workspace)?.audit(Some(arguments.limit), arguments.after).await?
    };
    if arguments.json.json {
        return session.print_json(&events);
    }
    let columns = [("POSITION", 8), ("TIME", 19), ("WHAT", 20), ("WHERE", 30), ("DETAILS", 0)];
    let mut table = Table::new("  ", &columns);
    for entry in events {
        let event = entry.event;
        let time = event.time.get(..19).unwrap_or(&event.time).replace('T', " ");
        let kind = event.r#type.trim_start_matches(docstore_models::EVENT_TYPE_PREFIX);
        table.row(&[&entry.position.to_string(), &time, kind, &event.source, event.data.get()]);
    }
    session.print_table(&table);
    Ok(())
}
