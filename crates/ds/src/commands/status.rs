use clap::Args;
use serde::Serialize;

use crate::{
    Failure,
    cli::JsonOption,
    output::{Paint, printable},
    remote::find_branch,
    session::Session,
    workspace::{Workspace, rebase::PendingRebase},
};

/// Show what changed here since the last sync.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Also ask the server where the branch is.
    #[arg(long)]
    server: bool,
    #[command(flatten)]
    json: JsonOption,
}

#[derive(Serialize)]
struct Status<'a> {
    branch: &'a str,
    sequence: i64,
    new: &'a [String],
    modified: &'a [String],
    deleted: &'a [String],
    unresolved: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_sequence: Option<i64>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let (workspace, scan) = super::open_and_scan(session)?;
    let changes = workspace.changes(&scan);
    let head = if arguments.server {
        let repo = session.repo(&workspace)?;
        Some(find_branch(&repo, workspace.branch()).await?)
    } else {
        None
    };
    let unresolved: Vec<String> = PendingRebase::read(&workspace.metadata())?
        .map(|pending| pending.open_paths().into_iter().map(str::to_owned).collect())
        .unwrap_or_default();
    if arguments.json.json {
        return session.print_json(&Status {
            branch: workspace.branch(),
            sequence: workspace.state().sequence,
            new: &changes.new,
            modified: &changes.modified,
            deleted: &changes.deleted,
            unresolved,
            head_sequence: head.map(|branch| branch.head_sequence),
        });
    }
    session.print(format!("On branch {}", workspace.branch()));
    if let Some(branch) = head {
        let draft = if branch.draft { ", draft" } else { "" };
        let place = match branch.head_sequence - workspace.state().sequence {
            0 => "the workspace is up to date".to_owned(),
            _ => format!("the workspace is at sequence {}: run `ds pull`", workspace.state().sequence),
        };
        session.print(format!(
            "Server: sequence {} ({}{draft}); {place}",
            branch.head_sequence,
            branch.status.as_str()
        ));
    }
    if changes.is_empty() {
        session.print("No changes");
    } else {
        session.print("");
        session.print("Changes:");
        let colour = session.has_colour();
        for (label, paint, paths) in [
            ("new:", Paint::Green, &changes.new),
            ("modified:", Paint::Yellow, &changes.modified),
            ("deleted:", Paint::Red, &changes.deleted),
        ] {
            for path in paths {
                session.print(format!("  {}{}", paint.on(colour, format_args!("{label:<10}")), printable(path)));
            }
        }
    }
    note_rebase(session, &workspace, &unresolved);
    // The process ends here; freeing the memory of every single file would be time for nothing.
    std::mem::forget((workspace, scan));
    Ok(())
}

fn note_rebase(session: &mut Session<'_>, workspace: &Workspace, unresolved: &[String]) {
    if !unresolved.is_empty() {
        session.warn(format!(
            "the rebase of '{}' waits for {}: edit, then `ds resolve <path>`; or `ds rebase --abort`",
            workspace.branch(),
            unresolved.join(", ")
        ));
    }
    if workspace.anchors().fault.is_some() {
        session.warn("the server's history did not verify: see `ds verify`");
    }
}
