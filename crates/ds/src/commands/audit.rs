use clap::Args;

use crate::{Failure, cli::JsonOption, output::Table, session::Session};

/// Show who came in and who was given what: the audit trail, newest first.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// That of the whole server, for the global admin.
    #[arg(long)]
    server: bool,
    /// At most so many events.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let events = if arguments.server {
        session.server()?.audit(Some(arguments.limit), None).await?
    } else {
        let workspace = session.workspace()?;
        session.repo(&workspace)?.audit(Some(arguments.limit), None).await?
    };
    if arguments.json.json {
        return session.print_json(&events);
    }
    let mut table = Table::new("  ", &[("TIME", 19), ("WHAT", 20), ("WHERE", 30), ("DETAILS", 0)]);
    for entry in events {
        let event = entry.event;
        let time = event.time.get(..19).unwrap_or(&event.time).replace('T', " ");
        let kind = event.r#type.trim_start_matches(docstore_models::EVENT_TYPE_PREFIX);
        table.row(&[&time, kind, &event.source, event.data.get()]);
    }
    session.print_table(&table);
    Ok(())
}
