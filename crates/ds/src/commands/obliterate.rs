use clap::Args;
use docstore_client::{PreviewQuery, RepoClient};
use docstore_models::{ObliterateRequest, ObliterationPreview};

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::{Table, counted, printable},
    session::Session,
};

/// Changes asked for at once.
const PAGE: u32 = 100;

/// Take the bytes of a leaked file out of the repo for good.
///
/// They go wherever in the history of the repo they are, and cannot come back; hashes, commits and chains stay. Copies that
/// others have downloaded are not reached: what was leaked has to be replaced.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file, or the SHA-256 of its bytes.
    #[arg(value_name = "PATH|HASH", required_unless_present = "list")]
    target: Option<String>,
    /// Why. Whoever asks for the file is told.
    #[arg(long, required_unless_present_any = ["preview", "list"])]
    reason: Option<String>,
    /// Another branch of the file than the one checked out.
    #[arg(long)]
    branch: Option<String>,
    /// The sequence at which the file had the bytes; the head by default.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    at: Option<i64>,
    /// Only show what would be touched.
    #[arg(long, conflicts_with = "yes")]
    preview: bool,
    /// List what was obliterated, newest first.
    #[arg(long, conflicts_with_all = ["target", "reason", "branch", "at", "preview", "yes"])]
    list: bool,
    #[command(flatten)]
    yes: YesOption,
    #[command(flatten)]
    json: JsonOption,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let workspace = session.workspace()?;
    let repo = session.repo(&workspace)?;
    let Some(target) = arguments.target else { return list(session, &repo, arguments.json).await };
    let query = if is_hash(&target) {
        PreviewQuery { content_hash: Some(target), ..PreviewQuery::default() }
    } else {
        PreviewQuery {
            path: Some(session.workspace_path(&workspace, &target)?),
            branch: Some(arguments.branch.unwrap_or_else(|| workspace.branch().to_owned())),
            at: arguments.at,
            ..PreviewQuery::default()
        }
    };
    let preview = preview(&repo, query).await?;
    if arguments.preview && arguments.json.json {
        return session.print_json(&preview);
    }
    if !arguments.json.json {
        show(session, &preview);
    }
    let Some(reason) = arguments.reason.filter(|_| !arguments.preview) else { return Ok(()) };
    // Unlike elsewhere, no terminal is no consent: nothing brings the bytes back.
    if !arguments.yes.yes && !session.can_ask() {
        return Err(Failure::usage("obliterating takes --yes where nobody can be asked"));
    }
    session.confirm("Take these bytes out of the repo for good?", arguments.yes.yes)?;
    // By hash: what was shown goes, whatever the file has become meanwhile.
    let request =
        ObliterateRequest { content_hash: Some(preview.content_hash), reason, ..ObliterateRequest::default() };
    let done = repo.obliterate(&request).await?;
    if arguments.json.json {
        return session.print_json(&done);
    }
    session.say(format!(
        "Obliterated {} with the hash {}",
        counted(done.obliteration.size, "byte", "bytes"),
        done.obliteration.content_hash
    ));
    session.say("Copies outside of the server are not reached: replace what was leaked");
    Ok(())
}

async fn list(session: &mut Session<'_>, repo: &RepoClient, json: JsonOption) -> Result<(), Failure> {
    let obliterations = repo.obliterations().await?;
    if json.json {
        return session.print_json(&obliterations);
    }
    if obliterations.is_empty() {
        session.say("Nothing was obliterated");
        return Ok(());
    }
    let mut table = Table::new("  ", &[("CONTENT", 64), ("BYTES", 8), ("WHEN", 10), ("WHO", 24), ("WHY", 0)]);
    for mark in obliterations {
        let date = mark.obliterated_at.to_utc().format("%Y-%m-%d").to_string();
        table.row(&[&mark.content_hash, &mark.size.to_string(), &date, &mark.obliterated_by, &mark.reason]);
    }
    session.print_table(&table);
    Ok(())
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The preview with all its places.
async fn preview(repo: &RepoClient, query: PreviewQuery) -> Result<ObliterationPreview, Failure> {
    let query = PreviewQuery { limit: Some(PAGE), ..query };
    let mut preview = repo.preview_obliteration(&query).await?;
    while let Some(after) = preview.next_after.take() {
        // The file may become another one between two pages; the hash does not.
        let next = PreviewQuery {
            content_hash: Some(preview.content_hash.clone()),
            limit: query.limit,
            after: Some(after),
            ..PreviewQuery::default()
        };
        let page = repo.preview_obliteration(&next).await?;
        preview.places.extend(page.places);
        preview.next_after = page.next_after;
    }
    Ok(preview)
}

fn show(session: &mut Session<'_>, preview: &ObliterationPreview) {
    session.print(format!("Content: {} ({})", preview.content_hash, counted(preview.size, "byte", "bytes")));
    if let Some(mark) = &preview.obliterated {
        let date = mark.obliterated_at.to_utc().format("%Y-%m-%d");
        let (who, why) = (printable(&mark.obliterated_by), printable(&mark.reason));
        session.print(format!("Obliterated on {date} by {who}: {why}"));
    }
    session.print(format!(
        "In {}, on {} and {}:",
        counted(preview.changes, "change", "changes"),
        counted(preview.paths, "path", "paths"),
        counted(preview.branches, "branch", "branches")
    ));
    let mut table = Table::new("  ", &[("SEQUENCE", 8), ("BRANCH", 20), ("STATUS", 9), ("AT HEAD", 7), ("PATH", 0)]);
    for place in &preview.places {
        let at_head = if place.at_head { "yes" } else { "no" };
        table.row(&[&place.sequence.to_string(), &place.branch, place.branch_status.as_str(), at_head, &place.path]);
    }
    session.print_table(&table);
}
