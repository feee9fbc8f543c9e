use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Stdio},
    thread,
};

use chrono::{DateTime, Utc};
use docstore_models::{MAX_IDENTITY_BYTES, Timestamp};

use super::Repository;
use crate::Failure;

/// The fields of a commit, each ended by a NUL, which none of them can hold.
const FORMAT: &str = "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%B";
const FIELDS: usize = 7;

/// What a git commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitCommit {
    /// The object id.
    pub(crate) id: String,
    /// The object id of the tree.
    pub(crate) tree: String,
    /// Whether it has several parents.
    pub(crate) merge: bool,
    pub(crate) name: String,
    pub(crate) email: String,
    /// When it was authored; `None` for a date that is not one.
    pub(crate) authored_at: Option<Timestamp>,
    /// The whole message, without the newlines at its end.
    pub(crate) message: String,
}

impl GitCommit {
    /// The author as one text: `Name <email>`, or what fits of it.
    pub(crate) fn author(&self) -> String {
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
        let (name, email) = (clean(&self.name), clean(&self.email));
        let both = match (name.is_empty(), email.is_empty()) {
            (false, false) => format!("{name} <{email}>"),
            (false, true) => name,
            (true, false) => email.clone(),
            (true, true) => "unknown".to_owned(),
        };
        match [both, email].into_iter().find(|text| !text.is_empty() && text.len() <= MAX_IDENTITY_BYTES) {
            Some(author) => author,
            None => "unknown".to_owned(),
        }
    }

    /// The first line of the message.
    pub(crate) fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    /// The first seven characters of the id, as people write it.
    pub(crate) fn short_id(&self) -> &str {
        self.id.get(..7).unwrap_or(&self.id)
    }
}

/// Lets one git process print all commits.
pub(super) fn read_commits(
    repository: &Repository,
    ids: Vec<String>,
) -> Result<impl Iterator<Item = Result<GitCommit, Failure>> + use<>, Failure> {
    let mut child = repository
        .command(&["log", "--no-walk=unsorted", "--stdin", "-z", "--encoding=UTF-8", "--no-show-signature", FORMAT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::new(format!("cannot run git: {error}")))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Failure::new("git has no pipes"));
    };
    // git reads all ids before it prints, but a pipe holds only so much.
    let count = ids.len();
    let feeder = thread::spawn(move || {
        let mut lines = ids.join("\n");
        lines.push('\n');
        stdin.write_all(lines.as_bytes())
    });
    Ok(Commits { child, stdout: BufReader::new(stdout), left: count, feeder: Some(feeder) })
}

struct Commits {
    child: Child,
    stdout: BufReader<ChildStdout>,
    left: usize,
    feeder: Option<thread::JoinHandle<std::io::Result<()>>>,
}

impl Iterator for Commits {
    type Item = Result<GitCommit, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(self.read_one())
    }
}

impl Commits {
    fn read_one(&mut self) -> Result<GitCommit, Failure> {
        let mut fields = Vec::with_capacity(FIELDS);
        for _ in 0..FIELDS {
            let mut field = Vec::new();
            self.stdout
                .read_until(0, &mut field)
                .map_err(|error| Failure::new(format!("cannot read from git: {error}")))?;
            if field.pop() != Some(0) {
                return Err(Failure::new("git stopped in the middle of a commit"));
            }
            fields.push(String::from_utf8_lossy(&field).into_owned());
        }
        parse(fields).ok_or_else(|| Failure::new("git printed a commit with too few fields"))
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        // Whoever gives up early must not wait for git to print the rest.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(feeder) = self.feeder.take() {
            let _ = feeder.join();
        }
    }
}

fn parse(fields: Vec<String>) -> Option<GitCommit> {
    let [id, tree, parents, name, email, date, message]: [String; FIELDS] = fields.try_into().ok()?;
    let authored_at = DateTime::parse_from_rfc3339(&date).ok().map(|date| Timestamp::from(date.with_timezone(&Utc)));
    // NUL cannot be stored; the rest of the message is as it was written.
    let message = message.trim_end_matches(['\n', '\r']).replace('\0', "");
    Some(GitCommit { id, tree, merge: parents.contains(' '), name, email, authored_at, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(name: &str, email: &str) -> GitCommit {
        let fields = ["1".repeat(40), "2".repeat(40), "a b".into(), name.into(), email.into()];
        let rest = ["2014-03-04T23:28:29+11:00".to_owned(), "Subject\n\nBody\n".to_owned()];
        parse(fields.into_iter().chain(rest).collect()).unwrap()
    }

    #[test]
    fn authors_are_names_and_addresses() {
        assert_eq!(commit("Zoë", "z@example.org").author(), "Zoë <z@example.org>");
        assert_eq!(commit("", "z@example.org").author(), "z@example.org");
        assert_eq!(commit("Zoë\u{7}", "").author(), "Zoë");
        assert_eq!(commit(&"x".repeat(400), "z@example.org").author(), "z@example.org");
        let commit = commit("a", "b");
        assert_eq!(commit.authored_at.unwrap().to_string(), "2014-03-04T12:28:29Z");
        assert_eq!((commit.message.as_str(), commit.subject(), commit.merge), ("Subject\n\nBody", "Subject", true));
        assert_eq!(commit.short_id(), "1111111");
    }
}
