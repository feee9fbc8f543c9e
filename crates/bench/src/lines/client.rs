//! The client: `ds` beside git on the same files, and the import of a real history.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use crate::{
    bench::Bench,
    git_server::GitServer,
    lines::{Pair, prepare::create_repo},
    measure::Sample,
    report::{Aim, Line},
};

/// The longest that one command may take; the import of a large history is the slowest.
const COMMAND_SECONDS_MAX: Duration = Duration::from_secs(900);

/// Both tools distrust what they know of a file that changed in the same moment as their notes did, and read it again.
const SETTLE: Duration = Duration::from_millis(1500);

/// A folder that goes away, and the commands that run in it, free of the user's own settings.
struct Workshop {
    folder: PathBuf,
}

impl Workshop {
    fn new() -> Result<Self> {
        // Beside the database, not in a file system in memory: BENCH_DIR of scripts/bench arrives as TMPDIR.
        let folder = std::env::temp_dir().join(format!("docstore-bench-client-{}", std::process::id()));
        fs::create_dir_all(folder.join("home")).with_context(|| folder.display().to_string())?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "bench")
            .env("GIT_AUTHOR_EMAIL", "bench@example.com")
            .env("GIT_COMMITTER_NAME", "bench")
            .env("GIT_COMMITTER_EMAIL", "bench@example.com")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end, and says how long that took.
    async fn run(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path, arguments: &[&str]) -> Result<Duration> {
        let begin = Instant::now();
        let mut command = self.command(program, folder);
        let output = timeout(COMMAND_SECONDS_MAX, command.args(arguments).output()).await??;
        let took = begin.elapsed();
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(took)
    }

    /// Runs git for its output.
    async fn git_output(&self, folder: &Path, arguments: &[&str]) -> Result<String> {
        let output = timeout(COMMAND_SECONDS_MAX, self.command("git", folder).args(arguments).output()).await??;
        ensure!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn server_url(bench: &Bench) -> String {
    bench.arguments.url.as_str().trim_end_matches('/').to_owned()
}

/// One duration as a sample.
fn one(duration: Duration) -> Sample {
    Sample::new(vec![duration], duration)
}

/// First sync and status. The git repository holds the same files in one commit, so that a clone brings no history.
pub(crate) async fn sync_and_status(bench: &mut Bench) -> Result<()> {
    let Some(ds) = bench.arguments.ds.clone() else { return Ok(()) };
    if !bench.arguments.wants("client-init") && !bench.arguments.wants("client-status") {
        return Ok(());
    }
    let shop = Workshop::new()?;
    let (url, repo) = (server_url(bench), bench.repo.clone());
    let init = ["init", url.as_str(), "--repo", repo.as_str(), "--author", "bench@example.com", "--quiet"];

    // The same files, by way of a first sync that does not count.
    let source = shop.path("source");
    fs::create_dir(&source)?;
    shop.run(&ds, &source, &init).await?;
    fs::remove_dir_all(source.join(".ds"))?;
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message=all"],
        &["clone", "--quiet", "--bare", ".", "../files.git"],
        &["-C", "../files.git", "repack", "-adq"],
    ] {
        shop.run("git", &source, arguments).await?;
    }
    let files: usize = shop.git_output(&source, &["ls-files"]).await?.lines().count();
    ensure!(files == bench.files, "the workspace has {files} files");
    let server = GitServer::start(&shop.folder).await?;
    let git_url = server.url("files.git");

    let rounds = bench.scaled(10).max(2);
    let (mut first, mut status) = (Pair::default(), Pair::default());
    // The first round warms up and does not count.
    for round in 0..=rounds {
        let (ours, theirs) = (shop.path(&format!("ds-{round}")), shop.path(&format!("git-{round}")));
        fs::create_dir(&ours)?;
        let took_ds = shop.run(&ds, &ours, &init).await?;
        let clone = ["clone", "--quiet", git_url.as_str(), theirs.to_str().context("the folder is not text")?];
        let took_git = shop.run("git", &shop.folder, &clone).await?;
        if round > 0 {
            first.add_server(one(took_ds));
            first.add_floor(one(took_git));
        }
        if round < rounds {
            fs::remove_dir_all(ours)?;
            fs::remove_dir_all(theirs)?;
        }
    }
    sleep(SETTLE).await;
    let (ours, theirs) = (shop.path(&format!("ds-{rounds}")), shop.path(&format!("git-{rounds}")));
    for round in 0..=rounds * 2 {
        let took_ds = shop.run(&ds, &ours, &["status"]).await?;
        let took_git = shop.run("git", &theirs, &["status"]).await?;
        // The first one may write down what it learned.
        if round > 0 {
            status.add_server(one(took_ds));
            status.add_floor(one(took_git));
        }
    }
    let aim = Aim::part(first.part_of_speed(), 1.0);
    let work = format!("first sync of {files} files: ds init, beside git clone over local HTTP");
    let line = first.time_line("client-init", work, "", aim);
    bench.report.add(line);
    let aim = Aim::part(status.part_of_speed(), 1.0);
    let work = format!("ds status in {files} files, beside git status");
    let line = status.time_line("client-status", work, "", aim);
    bench.report.add(line);
    Ok(())
}

/// The import of a git history with its authors, dates and trees.
pub(crate) async fn import(bench: &mut Bench) -> Result<()> {
    let (Some(ds), Some(source)) = (bench.arguments.ds.clone(), bench.arguments.import.clone()) else { return Ok(()) };
    if !bench.arguments.wants("client-import") {
        return Ok(());
    }
    let shop = Workshop::new()?;
    let source = source.to_str().context("the path of the import is not text")?;
    shop.run("git", &shop.folder, &["clone", "--quiet", "--bare", source, "history.git"]).await?;
    let history = shop.path("history.git");
    // A bundle may name branches without saying which is the current one.
    let mut revision = "HEAD".to_owned();
    if shop.git_output(&history, &["rev-parse", "--verify", "--quiet", "HEAD"]).await.is_err() {
        revision =
            shop.git_output(&history, &["for-each-ref", "--count=1", "--format=%(refname)", "refs/heads"]).await?;
    }
    let count: f64 = shop.git_output(&history, &["rev-list", "--count", &revision]).await?.parse()?;
    let files = shop.git_output(&history, &["ls-tree", "-r", "--name-only", &revision]).await?.lines().count();
    let repo = create_repo(bench, "import").await?;
    let workspace = shop.path("workspace");
    fs::create_dir(&workspace)?;
    let url = server_url(bench);
    shop.run(&ds, &workspace, &["init", &url, "--repo", &repo, "--author", "bench@example.com", "--quiet"]).await?;
    let took = shop.run(&ds, &workspace, &["import-git", "../history.git", "--rev", &revision, "--quiet"]).await?;
    let rate = count / took.as_secs_f64();
    bench.report.add(Line {
        name: "client-import".to_owned(),
        work: format!("ds import-git of {count} commits with {files} files at head"),
        history: String::new(),
        measured: format!("{rate:.0} commits/s"),
        floor: None,
        part_of_floor: None,
        aim: Aim::at_least(rate, 200.0, "commits/s"),
    });
    Ok(())
}
