//! The door: what is let in as a policy.

use std::{fmt, sync::Arc};

use regorus::{Engine, languages::rego::compiler::Compiler, rvm::program::Program};
use serde::{Deserialize, Serialize};

use crate::{
    SHADOW_DIRECTORY,
    check::{Checked, check_module},
    guard,
    library::{LIBRARY, LIBRARY_FILE, LIBRARY_PACKAGE},
};

/// How long a policy may be. The longest that people write by hand have a few hundred lines.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// The rules that a decision is made of; `allow` must be there.
pub(crate) const ENTRY_RULES: [&str; 5] = ["allow", "reason", "requirements", "allow_override", "shadow"];

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct CompileError {
    /// The file.
    pub file: String,
    /// The line, from 1, if the error has one.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// A policy, ready to decide. Cheap to share between threads.
#[derive(Clone)]
pub struct Policy {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) package: String,
    pub(crate) shadow: bool,
    pub(crate) reads_time: bool,
    pub(crate) rules: Vec<&'static str>,
    pub(crate) program: Arc<Program>,
    pub(crate) compiled: regorus::CompiledPolicy,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("name", &self.name).field("file", &self.file).finish_non_exhaustive()
    }
}

impl Policy {
    /// Compiles one file.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn compile(file: &str, source: &str) -> Result<Self, CompileError> {
        let at = |line: Option<u32>, message: String| CompileError { file: file.to_owned(), line, message };
        if source.len() > POLICY_BYTES_MAX {
            return Err(at(None, format!("a policy may have at most {POLICY_BYTES_MAX} bytes")));
        }
        let engine_error = |error: String| told_by_engine(file, &error);
        let mut engine = Engine::new();
        let package =
            engine.add_policy(file.to_owned(), source.to_owned()).map_err(|error| engine_error(error.to_string()))?;
        let module = engine.get_modules().first().cloned().ok_or_else(|| at(None, "it is empty".to_owned()))?;
        let name = package_name(&package).ok_or_else(|| {
            at(
                Some(module.package.span.line),
                format!(
                    "the package must be `docstore.<name>`, not `{}`",
                    package.strip_prefix("data.").unwrap_or(&package)
                ),
            )
        })?;
        let Checked { defined, uses_library, reads_time, library_names } =
            check_module(&module, &package).map_err(|(line, message)| at(Some(line), message))?;
        if !defined.contains("allow") {
            return Err(at(None, "a policy needs a rule `allow`".to_owned()));
        }
        if uses_library {
            // The engine follows an import to a function, but not to a value: so the library's names are spelled out.
            let mut spelled_out = source.to_owned();
            for (start, end) in library_names.iter().rev() {
                spelled_out.replace_range(*start as usize..*end as usize, LIBRARY_PACKAGE);
            }
            engine = Engine::new();
            for (path, text) in [(file, spelled_out.as_str()), (LIBRARY_FILE, LIBRARY)] {
                engine.add_policy(path.to_owned(), text.to_owned()).map_err(|error| engine_error(error.to_string()))?;
            }
        }
        let rules: Vec<&'static str> = ENTRY_RULES.into_iter().filter(|rule| defined.contains(*rule)).collect();
        let paths: Vec<String> = rules.iter().map(|rule| format!("{package}.{rule}")).collect();
        let entry_points: Vec<&str> = paths.iter().map(String::as_str).collect();
        let compiled = engine
            .compile_with_entrypoint(&format!("{package}.allow").into())
            .map_err(|error| engine_error(error.to_string()))?;
        // A policy's own function goes before a built-in of the same name.
        let guarded: Vec<(&str, usize)> = guard::guarded().filter(|(name, _)| !defined.contains(*name)).collect();
        let program = Compiler::compile_from_policy_with_host_await(&compiled, &entry_points, &guarded)
            .map_err(|error| engine_error(error.to_string()))?;
        Ok(Self {
            name,
            file: file.to_owned(),
            shadow: file.starts_with(SHADOW_DIRECTORY),
            reads_time,
            package,
            rules,
            program,
            compiled,
        })
    }

    /// The last segment of the package: the name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its place says that it is only tried out.
    #[must_use]
    pub fn is_in_shadow(&self) -> bool {
        self.shadow
    }

    /// Whether it asks for the time: the same document may be judged otherwise later.
    #[must_use]
    pub fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// The file that it was compiled from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// The name of a package `data.docstore.<name>`.
fn package_name(package: &str) -> Option<String> {
    let segments: Vec<&str> = package.strip_prefix("data.docstore.")?.split('.').collect();
    let plain = |segment: &&str| {
        segment.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && segment.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    if !segments.iter().all(plain) || package == LIBRARY_PACKAGE || package.starts_with("data.docstore.lib.") {
        return None;
    }
    segments.last().map(|&last| last.to_owned())
}

/// The engine's messages quote the line below `--> file:line:column` and end in `error: what`.
fn told_by_engine(file: &str, text: &str) -> CompileError {
    let line = text.split("--> ").nth(1).and_then(|rest| {
        let place = rest.lines().next()?;
        place.strip_prefix(file)?.strip_prefix(':')?.split(':').next()?.parse().ok()
    });
    let message = text.rsplit_once("error: ").map_or(text, |(_, message)| message);
    let message = message.replace(" yet supported in the RVM compiler", " supported");
    let message =
        message.replace(" yet supported by the RVM compiler", " supported").replace(" by the compiler yet", "");
    CompileError { file: file.to_owned(), line, message: message.trim().to_owned() }
}
