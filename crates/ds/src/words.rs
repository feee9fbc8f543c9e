//! Text that somebody writes for others to read: from a file, from standard input, or in an editor.

use std::{fs, io::Read, path::Path};

use clap::Args;

use crate::{Failure, failure::About, session::Session, workspace::Workspace};

/// A text of several lines, for commands that take one.
#[derive(Debug, Args)]
pub(crate) struct BodyOptions {
    /// The text, in Markdown.
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    body: Option<String>,
    /// Read the text from a file, or from standard input with -.
    #[arg(short = 'F', long, value_name = "FILE")]
    file: Option<String>,
}

impl BodyOptions {
    /// The text, if there is one.
    pub(crate) fn given(self, session: &mut Session<'_>) -> Result<Option<String>, Failure> {
        match self.file {
            Some(file) => read(session, &file).map(Some),
            None => Ok(self.body),
        }
    }

    /// The text; without an option an editor opens for it, where there is a terminal.
    pub(crate) fn written(
        self,
        session: &mut Session<'_>,
        workspace: &Workspace,
        before: &str,
    ) -> Result<String, Failure> {
        let text = match self.given(session)? {
            Some(text) => text,
            None => revised(session, workspace, before)?.unwrap_or_default(),
        };
        if text.trim().is_empty() {
            return Err(Failure::usage("there is no text").hint("give it with --body, or in a file with -F"));
        }
        Ok(text)
    }
}

/// A text as the user leaves it in an editor, or nothing where there is no terminal for one.
pub(crate) fn revised(
    session: &mut Session<'_>,
    workspace: &Workspace,
    before: &str,
) -> Result<Option<String>, Failure> {
    if !session.context.terminals.stdin {
        return Ok(None);
    }
    Ok(Some(edit(session, &workspace.metadata().join("TEXT"), before)?.trim().to_owned()))
}

/// What a file holds, or with `-` what comes on standard input, without the white space at its end.
pub(crate) fn read(session: &mut Session<'_>, file: &str) -> Result<String, Failure> {
    let mut text = String::new();
    if file == "-" {
        session.context.stdin.read_to_string(&mut text).about("read", Path::new("standard input"))?;
    } else {
        let path = session.directory().join(file);
        text = fs::read_to_string(&path).about("read", &path)?;
    }
    Ok(text.trim_end().to_owned())
}

/// Lets the user write in an editor, beginning with a text that is there already.
pub(crate) fn edit(session: &mut Session<'_>, path: &Path, before: &str) -> Result<String, Failure> {
    fs::write(path, before).about("write", path)?;
    let editor = ["DS_EDITOR", "VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| session.context.variable(name))
        .unwrap_or("vi")
        .to_owned();
    (session.context.edit)(&editor, path).map_err(|error| Failure::new(format!("cannot edit the text: {error}")))?;
    let text = fs::read_to_string(path).about("read", path)?;
    fs::remove_file(path).about("remove", path)?;
    Ok(text)
}
