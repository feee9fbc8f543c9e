//! People at terminals: `ds` against the server of a test.

use std::ffi::OsString;

use docstore_test_support::TestApp;
use ds::{Context, Exit};
use tempfile::TempDir;

/// What several people typed and saw, for snapshots. Ids and times are replaced by names that are the same for equal values.
pub(crate) struct Terminals<'a> {
    app: &'a TestApp,
    folder: TempDir,
    text: String,
    ids: Vec<String>,
}

impl<'a> Terminals<'a> {
    pub(crate) fn of(app: &'a TestApp) -> Self {
        Self { app, folder: tempfile::tempdir().unwrap(), text: String::new(), ids: Vec::new() }
    }

    /// Gives somebody a workspace of the default repo.
    pub(crate) async fn workspace(&self, person: &str) {
        let remote = format!("{}/repos/default/default/-/", self.app.base_url());
        let (exit, seen) = self.run(person, &["init", &remote, "--author", person], |_| {}).await;
        assert_eq!(exit, Exit::Success, "{seen}");
    }

    /// Types a line, whose words are separated by single spaces; quotes keep words together.
    pub(crate) async fn types(&mut self, person: &str, line: &str) -> String {
        self.types_with(person, line, |_| {}).await
    }

    /// The same at a terminal that was prepared in some way.
    pub(crate) async fn types_with(&mut self, person: &str, line: &str, prepare: impl FnOnce(&mut Context)) -> String {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (exit, seen) = self.run(person, &words, prepare).await;
        let code = if exit == Exit::Success { String::new() } else { format!("[exit {}]\n", exit.code()) };
        let who = person.split('@').next().unwrap();
        // Whoever answers a question ends the line.
        let ended = if seen.is_empty() { "" } else { "\n" };
        let shown = self.stable(&format!("{who}$ ds {line}\n{}{ended}{code}", seen.trim_end()));
        self.text.push_str(&shown);
        seen
    }

    async fn run(&self, person: &str, words: &[&str], prepare: impl FnOnce(&mut Context)) -> (Exit, String) {
        let folder = self.folder.path().join(person);
        std::fs::create_dir_all(&folder).unwrap();
        let (mut context, captured) = Context::for_test(&folder, &self.folder.path().join("home"));
        context.environment.insert("USER".to_owned(), person.to_owned());
        prepare(&mut context);
        let line = std::iter::once("ds").chain(words.iter().copied()).map(OsString::from);
        let exit = ds::run(&mut context, line).await;
        (exit, format!("{}{}", captured.stdout(), captured.stderr()))
    }

    /// A line that is not typed.
    pub(crate) fn say(&mut self, line: &str) {
        self.text.push_str(&format!("# {line}\n"));
    }

    /// Everything that was typed and seen.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn stable(&mut self, text: &str) -> String {
        let text = text.replace(self.app.base_url(), "http://SERVER");
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-:.".contains(c);
        let mut out = String::new();
        let mut word = String::new();
        for c in text.chars().chain(['\0']) {
            if is_part(c) {
                word.push(c);
                continue;
            }
            out.push_str(&self.name(&word));
            word.clear();
            if c != '\0' {
                out.push(c);
            }
        }
        out
    }

    /// A name for an id, a token or a time.
    fn name(&mut self, word: &str) -> String {
        if let Some(word) = word.strip_suffix(':') {
            return format!("{}:", self.name(word));
        }
        let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let is_time = word.starts_with("20") && word.len() >= 20 && word.contains('T') && word.ends_with('Z');
        let is_date = word.len() == 10 && word.starts_with("20") && word.matches('-').count() == 2;
        let mut digits = word.split(':').map(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()));
        if word.contains(':') && digits.all(|two| two) {
            return "CLOCK".to_owned();
        }
        if is_time || is_date {
            return if is_date { "DATE" } else { "TIME" }.to_owned();
        }
        if !is_hex || !matches!(word.len(), 16 | 36 | 64 | 72) {
            return word.to_owned();
        }
        let at = self.ids.iter().position(|id| id == word).unwrap_or_else(|| {
            self.ids.push(word.to_owned());
            self.ids.len() - 1
        });
        format!("ID-{}", at + 1)
    }
}

/// Words of a line, as a shell takes it apart: quotes of both kinds around those that hold spaces, a backslash before what
/// would mean something.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            c if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            '\\' if quote.is_none() => words.last_mut().unwrap().extend(characters.next()),
            ' ' if quote.is_none() => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}
