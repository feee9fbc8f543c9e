use std::path::Path;

use clap::Args;
use docstore_models::MAIN_BRANCH;

use crate::{
    Context, Failure,
    failure::About,
    remote::find_branch,
    session::Session,
    sync::{self, SyncOptions},
    workspace::{Config, DEFAULT_REPO, METADATA_DIRECTORY, Workspace},
};

/// Make this directory a workspace of a repo and download its files.
///
/// Nothing is written when that fails. Local files with other content than the repo's stop it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server, as https://host or with the repo as https://host/repos/OWNER/NAME.
    remote_url: Option<String>,
    /// The repo, as OWNER/NAME; default/default when neither this nor the URL names one.
    #[arg(long, value_name = "OWNER/NAME")]
    repo: Option<String>,
    /// Your name on a development server; your user name by default.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Replace local files that differ; copies are kept in .ds/backup.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    let url = arguments
        .remote_url
        .or_else(|| session.options.remote.clone())
        .or_else(|| session.context.default_remote.clone())
        .ok_or_else(|| Failure::usage("no server given").hint("ds init https://host --repo OWNER/NAME"))?;
    let (remote, repo_in_url) = split_remote(&url);
    let repo_name = arguments.repo.or(repo_in_url).unwrap_or_else(|| DEFAULT_REPO.to_owned());
    let author =
        arguments.author.filter(|author| !author.is_empty()).unwrap_or_else(|| default_author(session.context));
    let config = Config::new(remote.clone(), repo_name.clone(), MAIN_BRANCH.to_owned(), author.clone());

    let root = session.directory();
    let metadata = root.join(METADATA_DIRECTORY);
    let existed = metadata.exists();
    let made = make(session, &root, config, arguments.force).await;
    if made.is_err() && !existed && metadata.exists() {
        // A workspace that never was leaves nothing behind.
        std::fs::remove_dir_all(&metadata).about("remove", &metadata)?;
    }
    let (files, sequence) = made?;
    session.say(format!("Initialized docstore workspace ({files} files, sequence {sequence})"));
    session.say(format!("Remote: {remote}"));
    session.say(format!("Author: {author}"));
    Ok(())
}

async fn make(session: &mut Session<'_>, root: &Path, config: Config, force: bool) -> Result<(usize, i64), Failure> {
    let mut workspace = Workspace::create(root, config.clone())?;
    if let Some(note) = sync::finish_interrupted(&mut workspace, (session.context.now)())? {
        session.warn(note);
    }
    let repo = session.repo(&workspace)?;
    let branch = find_branch(&repo, MAIN_BRANCH).await?;
    let target = sync::read_tree(&repo, MAIN_BRANCH, branch.head_sequence).await?;
    let scan = super::scan(session, &workspace)?;
    let options = SyncOptions { force, ..SyncOptions::default() };
    let report = sync::sync(session, &mut workspace, &repo, config, target, &scan, options).await?;
    session.say(report.line(MAIN_BRANCH));
    Ok((workspace.state().files.len(), workspace.state().sequence))
}

/// Takes the repo off an address: `https://host/repos/<repo>[/-][/]`.
fn split_remote(url: &str) -> (String, Option<String>) {
    let url = url.trim_end_matches('/');
    match url.split_once("/repos/") {
        Some((remote, repo)) => {
            let repo = repo.strip_suffix("/-").unwrap_or(repo).trim_matches('/');
            (remote.trim_end_matches('/').to_owned(), (!repo.is_empty()).then(|| repo.to_owned()))
        }
        None => (url.to_owned(), None),
    }
}

/// The name of the user who runs this.
pub(crate) fn default_author(context: &Context) -> String {
    ["USER", "LOGNAME", "USERNAME"]
        .into_iter()
        .find_map(|name| context.variable(name))
        .map(str::to_owned)
        .or_else(user_of_this_process)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// What the user database calls the owner of this process, for containers that set no `USER`.
fn user_of_this_process() -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let id = std::fs::metadata("/proc/self").ok()?.uid().to_string();
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        let line = users.lines().find(|line| line.split(':').nth(2) == Some(&id))?;
        line.split(':').next().filter(|name| !name.is_empty()).map(str::to_owned)
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use super::split_remote;

    #[test]
    fn every_form_of_address_is_taken_apart() {
        let repo = |name: &str| ("https://h/p".to_owned(), Some(name.to_owned()));
        assert_eq!(split_remote("https://h/p/"), ("https://h/p".to_owned(), None));
        assert_eq!(split_remote("https://h/p/repos/a/b"), repo("a/b"));
        assert_eq!(split_remote("https://h/p/repos/a/b/"), repo("a/b"));
        assert_eq!(split_remote("https://h/p/repos/a/b/-"), repo("a/b"));
        assert_eq!(split_remote("https://h/p/repos/a/b/c/-/"), repo("a/b/c"));
    }
}
