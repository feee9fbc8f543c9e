use clap::Args;

use crate::{
    Failure,
    cli::JsonOption,
    output::{Table, first_line},
    remote::find_branch,
    session::Session,
};

/// List the reviews of a branch, newest first.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Another branch than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let name = arguments.branch.as_deref().unwrap_or(workspace.branch());
    let branch = find_branch(&repo, name).await?;
    let reviews = repo.reviews(&branch.name, None).await?;
    if arguments.json.json {
        return session.print_json(&reviews);
    }
    if reviews.is_empty() {
        session.say(format!("No reviews for branch '{}'", branch.name));
        return Ok(());
    }
    let columns = [("ID", 36), ("REVIEWER", 30), ("SEQ", 4), ("STATUS", 10), ("BODY", 0)];
    let mut table = Table::new("  ", &columns);
    for review in reviews {
        let stale = if review.sequence < branch.head_sequence { "  [stale]" } else { "" };
        table.row(&[
            &review.id.to_string(),
            &review.reviewer,
            &review.sequence.to_string(),
            review.status.as_str(),
            &format!("{}{stale}", first_line(review.body.as_deref().unwrap_or_default())),
        ]);
    }
    session.print_table(&table);
    Ok(())
}
