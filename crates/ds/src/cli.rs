use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    agent, archive, audit, auto_merge, branches, check, checkout, checks, clean, comment, comments, commit,
    completions, config, context, diff, events, import_git, init, issues, log, login, logout, man, merge, obliterate,
    orgs, policy, proposal, pull, purge, ready, rebase, release, repos, resolve, restore, retry, review, reviews,
    roles, secrets, show, status, subscriptions, token, verify, whoami, why,
};

/// The command line of DocStore, version control on a server.
///
/// Exit codes: 0 success, 1 failure, 2 usage, 3 conflict, 4 sign-in or permission, 5 network, 6 policy, 7 outcome unknown.
#[derive(Debug, Parser)]
#[command(name = "ds", version, arg_required_else_help = true, max_term_width = 100, infer_subcommands = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command has.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GlobalOptions {
    /// Run as if started in this directory.
    #[arg(short = 'C', value_name = "DIR", global = true, help_heading = "Global options")]
    pub(crate) directory: Option<PathBuf>,
    /// The server, for commands outside of a workspace.
    #[arg(long, value_name = "URL", global = true, help_heading = "Global options")]
    pub(crate) remote: Option<String>,
    /// Print data and errors only.
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Print more about what happens.
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

/// For commands that list: the same as JSON, for programs.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct JsonOption {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// For commands that delete.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct YesOption {
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

// Deferred: what a command takes is told to the parser only when it is the one that was typed, which spares every run a
// millisecond. So `ds --help` has the lines below, and the help of a command what its `Arguments` say.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Make this directory a workspace of a repo and download its files.
    Init(init::Arguments),
    /// Show what changed here since the last sync. Asks no server.
    Status(status::Arguments),
    /// Send changes to the branch as one commit.
    Commit(commit::Arguments),
    /// Switch to a branch, or create one with -b.
    Checkout(checkout::Arguments),
    /// Bring the workspace to the head of its branch.
    Pull(pull::Arguments),
    /// Merge the branch into main and switch to main.
    Merge(merge::Arguments),
    /// Show why a branch cannot be merged, and what to do about it.
    Why(why::Arguments),
    /// Print everything about a branch at once, as JSON.
    Context(context::Arguments),
    /// Replay the branch onto the head of main.
    Rebase(rebase::Arguments),
    /// Say that a conflicting file is as it shall be.
    Resolve(resolve::Arguments),
    /// Put files back as they were at the last sync.
    #[command(alias = "discard")]
    Restore(restore::Arguments),
    /// Show what the branch changed, or what changed here.
    Diff(diff::Arguments),
    /// Show the commits of the branch, or of one file.
    Log(log::Arguments),
    /// Show one commit, or a file as it was at one.
    Show(show::Arguments),
    /// Recompute the hash chain of the branch.
    Verify(verify::Arguments),
    /// Take the draft mark off the branch.
    Ready(ready::Arguments),
    /// List the reviews of a branch, newest first.
    Reviews(reviews::Arguments),
    /// Say yes or no to a branch.
    Review(review::Arguments),
    /// List the comments on a branch, thread by thread.
    Comments(comments::Arguments),
    /// Comment on a file of a branch, reply, or end a thread.
    Comment(comment::Arguments),
    /// Show how the checks of a branch stand, or say which are required.
    Checks(checks::Arguments),
    /// Say how a check of a commit stands.
    Check(check::Arguments),
    /// Try checks again that failed.
    Retry(retry::Arguments),
    /// Let a branch merge by itself as soon as it may.
    AutoMerge(auto_merge::Arguments),
    /// List branches, or delete one.
    #[command(alias = "branch")]
    Branches(branches::Arguments),
    /// Remove old merged and abandoned branches for good.
    Purge(purge::Arguments),
    /// Take the bytes of a leaked file out of the repo for good.
    Obliterate(obliterate::Arguments),
    /// Propose to merge a branch, and list such proposals.
    #[command(alias = "proposals")]
    Proposal(proposal::Arguments),
    /// List, open and close issues, and comment on them.
    #[command(alias = "issue")]
    Issues(issues::Arguments),
    /// List, create and delete orgs, and say who is in them.
    #[command(alias = "org")]
    Orgs(orgs::Arguments),
    /// List, create and delete repos.
    #[command(alias = "repo")]
    Repos(repos::Arguments),
    /// Show and change who may do what in the repo.
    #[command(alias = "role")]
    Roles(roles::Arguments),
    /// Say what may reach main, test it, and try it on what happened.
    #[command(alias = "policies")]
    Policy(policy::Arguments),
    /// Name a sequence, and list such names.
    #[command(alias = "releases")]
    Release(release::Arguments),
    /// Set secrets that jobs of the repo may use.
    #[command(alias = "secret")]
    Secrets(secrets::Arguments),
    /// Have events sent to a URL, and look after that.
    #[command(alias = "subscription")]
    Subscriptions(subscriptions::Arguments),
    /// Import the history of a git repository.
    ImportGit(import_git::Arguments),
    /// Sign in to a server.
    Login(login::Arguments),
    /// Forget the sign-in to a server.
    Logout(logout::Arguments),
    /// Show who you are to the server.
    Whoami(whoami::Arguments),
    /// Make, list and revoke API tokens.
    #[command(alias = "tokens")]
    Token(token::Arguments),
    /// Make, list and revoke agents that act on your behalf.
    #[command(alias = "agents")]
    Agent(agent::Arguments),
    /// Show the audit trail of the repo or the server.
    Audit(audit::Arguments),
    /// Show what happens on the server as it happens.
    Events(events::Arguments),
    /// Write a tree of the server to a tar file.
    Archive(archive::Arguments),
    /// Move files that are not versioned out of the way.
    Clean(clean::Arguments),
    /// Show or change the settings of the workspace.
    Config(config::Arguments),
    /// Print a completion script for a shell.
    Completions(completions::Arguments),
    /// Write manual pages into a folder.
    Man(man::Arguments),
}

impl Command {
    /// Whether the output is for reading and may be long.
    pub(crate) fn is_worth_paging(&self) -> bool {
        matches!(self, Self::Diff(_) | Self::Log(_) | Self::Show(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_parser_makes_sense() {
        Cli::command().debug_assert();
    }
}
