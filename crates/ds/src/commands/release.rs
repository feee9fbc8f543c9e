use clap::{Args, Subcommand};
use docstore_client::{Error, RepoClient, TreeQuery};
use docstore_models::{CreateReleaseRequest, Release, TreeEntry};
use serde::Serialize;

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::{Table, printable, printable_lines},
    remote::instead_of_status,
    session::Session,
};

/// Name a sequence, and list such names.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Name a sequence; the head of main by default.
    Create {
        /// The name, such as v1.2.3.
        name: String,
        /// The sequence to name; 0 is the head of main.
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
        sequence: Option<i64>,
        /// What there is to say about it.
        #[arg(long, value_name = "TEXT")]
        notes: Option<String>,
    },
    /// List releases, newest first.
    List(JsonOption),
    /// Show a release and its files.
    Show {
        /// The name.
        name: String,
        #[command(flatten)]
        json: JsonOption,
    },
    /// Free a name.
    Delete {
        /// The name.
        name: String,
        #[command(flatten)]
        yes: YesOption,
    },
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    match arguments.action {
        Action::Create { name, sequence, notes } => {
            let request = CreateReleaseRequest { name, sequence: sequence.filter(|number| *number > 0), body: notes };
            let release = repo.create_release(&request).await?;
            session.say(format!("Created release '{}' at sequence {}", release.name, release.sequence));
        }
        Action::List(json) => {
            let releases = repo.releases().await?;
            if json.json {
                return session.print_json(&releases);
            }
            let columns = [("NAME", 20), ("SEQUENCE", 10), ("CREATED BY", 20), ("CREATED AT", 0)];
            let mut table = Table::new("  ", &columns);
            for release in releases {
                let date = release.created_at.to_utc().format("%Y-%m-%d").to_string();
                table.row(&[&release.name, &release.sequence.to_string(), &release.created_by, &date]);
            }
            session.print_table(&table);
        }
        Action::Show { name, json } => {
            let release = repo.release(&name).await.map_err(|error| not_found(error, &name))?;
            let tree = tree(&repo, &release).await?;
            if json.json {
                return session.print_json(&Detail { release: &release, tree: &tree });
            }
            show(session, &release, &tree);
        }
        Action::Delete { name, yes } => {
            session.confirm(&format!("Delete release '{name}' of {}?", repo.name()), yes.yes)?;
            repo.delete_release(&name).await.map_err(|error| not_found(error, &name))?;
            session.say(format!("Deleted release '{name}'"));
        }
    }
    Ok(())
}

fn not_found(error: Error, name: &str) -> Failure {
    instead_of_status(error, 404, || format!("release '{name}' not found"))
}

/// A release with its files, as JSON.
#[derive(Serialize)]
struct Detail<'a> {
    #[serde(flatten)]
    release: &'a Release,
    tree: &'a [TreeEntry],
}

/// The files of a release.
async fn tree(repo: &RepoClient, release: &Release) -> Result<Vec<TreeEntry>, Failure> {
    if release.sequence == 0 {
        return Ok(Vec::new());
    }
    let commit = repo.commit_detail(release.sequence).await;
    // A release may name a commit of another branch; one that is gone is shown as main.
    let branch = commit.map_or_else(|_| docstore_models::MAIN_BRANCH.to_owned(), |commit| commit.branch);
    Ok(repo.tree(&TreeQuery::of_branch(branch).at_sequence(release.sequence)).await?)
}

fn show(session: &mut Session<'_>, release: &Release, tree: &[TreeEntry]) {
    session.print(format!("Name:       {}", printable(&release.name)));
    session.print(format!("Sequence:   {}", release.sequence));
    session.print(format!("Created by: {}", printable(&release.created_by)));
    session.print(format!("Created at: {}", release.created_at.to_utc().format("%Y-%m-%d %H:%M:%S")));
    if let Some(notes) = release.body.as_deref().filter(|notes| !notes.is_empty()) {
        session.print("Notes:");
        for line in printable_lines(notes).lines() {
            session.print(format!("  {line}"));
        }
    }
    session.print(format!("Tree at sequence {}:", release.sequence));
    for entry in tree {
        session.print(format!("  {}", printable(&entry.path)));
    }
}
