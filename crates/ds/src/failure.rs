use std::{fmt, io, path::Path};

use docstore_client::{Error, ErrorClass};

use crate::Exit;

/// Why a command failed: what happened, what to do about it, and what to exit with.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hints: Vec<String>,
    exit: Exit,
    /// Whether it was refused for want of a sign-in or of a right.
    pub(crate) denied: Option<Denied>,
}

/// A refusal for want of a sign-in or of a right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Denied {
    /// 401 or 403, or a redirect to where people sign in.
    pub(crate) status: u16,
    /// Whether the server itself said so, and hence knew who asked. What stands in front of it refuses in other words.
    pub(crate) by_server: bool,
}

impl Failure {
    /// A failure without a number of its own.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hints: Vec::new(), exit: Exit::Failure, denied: None }
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(message).exit(Exit::Usage)
    }

    /// The state does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(message).exit(Exit::Conflict)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Sets what to exit with.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Says in other words what happened.
    pub(crate) fn rename(&mut self, message: String) {
        self.message = message;
    }

    /// What happened.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// What to exit with.
    #[must_use]
    pub fn exit_code(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let class = error.class();
        let mut failure = Self::new(error.to_string()).exit(class.into());
        if class == ErrorClass::Auth {
            failure.denied =
                error.refusal().map(|refusal| Denied { status: refusal.status, by_server: refusal.code.is_some() });
        }
        if let Some(refusal) = error.refusal() {
            if refusal.code == Some(docstore_models::ErrorCode::HeadMoved) {
                failure = failure.hint("somebody else was faster: run `ds pull`, then try again");
            }
            if refusal.status >= 500
                && let Some(id) = &refusal.request_id
            {
                failure = failure.hint(format!("the server's log has more under request id {id}"));
            }
        }
        match class {
            ErrorClass::Network => {
                failure.hint("nothing was changed; check the address and the connection, then try again")
            }
            ErrorClass::OutcomeUnknown => failure.hint("look with `ds log` before you try again"),
            _ => failure,
        }
    }
}

/// Says which file an I/O error is about.
pub(crate) trait About<T> {
    /// `doing` is a verb such as `read`.
    fn about(self, doing: &str, path: &Path) -> Result<T, Failure>;
}

impl<T> About<T> for io::Result<T> {
    fn about(self, doing: &str, path: &Path) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("cannot {doing} {}: {error}", path.display())))
    }
}
