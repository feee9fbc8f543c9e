use std::{fs, io::Read, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use docstore_models::{BranchPattern, SecretMetadata, SetSecretRequest};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    Failure,
    cli::{JsonOption, YesOption},
    output::{Table, counted, printable},
    remote::instead_of_status,
    session::Session,
};

/// The longest value, in bytes, as the server has it.
const SECRET_BYTES_MAX: usize = 32_768;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What the server keeps for itself.
const RESERVED_PREFIX: &str = "DOCSTORE_";

/// Set secrets that jobs of the repo may use. Nobody can read them back.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List secrets, without their values.
    List(JsonOption),
    /// Set a secret, or replace it.
    Set(SetArguments),
    /// Delete a secret.
    Unset {
        /// The name.
        name: String,
        #[command(flatten)]
        yes: YesOption,
    },
    /// Encrypt the secrets of all repos, and what signs webhooks, anew, with the key that the server has now. For global admins.
    Rewrap,
}

#[derive(Debug, Args)]
struct SetArguments {
    /// The name: capital letters, digits and underscores.
    name: String,
    /// `-` reads the value from standard input.
    #[arg(value_name = "-", value_parser = ["-"])]
    stdin: Option<String>,
    /// Read the value from a file, as it is.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Only for jobs of these branches, separated by commas; `*` stands for anything.
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    branches: Vec<String>,
    /// Only for these checks, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    checks: Vec<String>,
    /// Refused: others on this machine could read it.
    #[arg(long, hide = true, num_args = 0..=1)]
    value: Option<Option<String>>,
}

pub(crate) async fn run(session: &mut Session<'_>, arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::List(json) => {
            let workspace = session.workspace()?;
            let secrets = session.repo(&workspace)?.secrets().await?;
            if json.json {
                return session.print_json(&secrets);
            }
            list(session, &secrets);
        }
        Action::Set(arguments) => set(session, arguments).await?,
        Action::Unset { name, yes } => {
            check_name(&name)?;
            let workspace = session.workspace()?;
            let repo = session.repo(&workspace)?;
            session.confirm(&format!("Delete secret {name} of {}?", repo.name()), yes.yes)?;
            repo.delete_secret(&name)
                .await
                .map_err(|error| instead_of_status(error, 404, || format!("secret {name} not found")))?;
            session.say(format!("Unset {name}"));
        }
        Action::Rewrap => rewrap(session).await?,
    }
    Ok(())
}

async fn set(session: &mut Session<'_>, arguments: SetArguments) -> Result<(), Failure> {
    if arguments.value.is_some() {
        return Err(Failure::usage("--value is not accepted: others on this machine could read the value")
            .hint("write it to a file and use --from-file, or pipe it in and use -"));
    }
    check_name(&arguments.name)?;
    let value = read_value(session, arguments.stdin.is_some(), arguments.from_file)?;
    if value.is_empty() {
        return Err(Failure::usage("secret value is empty"));
    }
    if value.len() > SECRET_BYTES_MAX {
        return Err(Failure::usage(format!("secret value exceeds maximum size of {SECRET_BYTES_MAX} bytes")));
    }
    if value.ends_with(b"\n") {
        session.warn("the value ends with a line break, which is kept");
    }
    let mut request = SetSecretRequest::default();
    match std::str::from_utf8(&value) {
        Ok(text) => request.value = text.to_owned().into(),
        Err(_) => request.value_base64 = Some(STANDARD.encode(&*value).into()),
    }
    request.description = arguments.description.filter(|text| !text.is_empty());
    request.branches = (!arguments.branches.is_empty()).then_some(arguments.branches);
    request.checks = (!arguments.checks.is_empty()).then_some(arguments.checks);
    let workspace = session.workspace()?;
    session.repo(&workspace)?.set_secret(&arguments.name, &request).await?;
    session.say(format!("Set {} ({} bytes)", arguments.name, value.len()));
    Ok(())
}

/// Checks what the server would, before the value leaves this machine.
fn check_name(name: &str) -> Result<(), Failure> {
    let fits = name.len() <= NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|first| first.is_ascii_uppercase())
        && name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
    if !fits {
        return Err(Failure::usage(format!("secret name '{}' must match ^[A-Z][A-Z0-9_]{{0,63}}$", printable(name))));
    }
    if name.starts_with(RESERVED_PREFIX) {
        return Err(Failure::usage(format!("secret name '{name}' uses the reserved prefix {RESERVED_PREFIX}")));
    }
    Ok(())
}

fn read_value(session: &mut Session<'_>, stdin: bool, file: Option<PathBuf>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room for everything at once: a buffer that grows would leave its old self behind.
    let mut value = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 2));
    let limit = SECRET_BYTES_MAX as u64 + 1;
    let (read, from) = match (stdin, file) {
        (true, None) => ((&mut session.context.stdin).take(limit).read_to_end(&mut value), "standard input".to_owned()),
        (false, Some(file)) => {
            let opened = fs::File::open(session.directory().join(&file));
            (opened.and_then(|opened| opened.take(limit).read_to_end(&mut value)), file.display().to_string())
        }
        _ => return Err(Failure::usage("give the value either by - on standard input or by --from-file")),
    };
    match read {
        Ok(_) => Ok(value),
        Err(error) => {
            value.zeroize();
            Err(Failure::new(format!("cannot read the value from {from}: {error}")))
        }
    }
}

fn list(session: &mut Session<'_>, secrets: &[SecretMetadata]) {
    let mut columns = vec![("NAME", 24), ("SIZE", 6), ("UPDATED", 27), ("LAST_USED", 27)];
    // Most secrets are for all jobs; the columns of the original are kept for them.
    let bound = secrets.iter().any(|secret| secret.branches.is_some() || secret.checks.is_some());
    if bound {
        columns.extend([("BRANCHES", 20), ("CHECKS", 20)]);
    }
    columns.push(("DESCRIPTION", 0));
    let mut table = Table::new("  ", &columns);
    for secret in secrets {
        let mut row = vec![
            secret.name.clone(),
            secret.size_bytes.to_string(),
            secret.updated_at.unwrap_or(secret.created_at).to_string(),
            secret.last_used_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
        ];
        if bound {
            let branches =
                secret.branches.as_ref().map(|all| all.iter().map(BranchPattern::as_str).collect::<Vec<_>>());
            let everything = || "*".to_owned();
            row.push(branches.map_or_else(everything, |all| all.join(",")));
            row.push(secret.checks.as_ref().map_or_else(everything, |all| all.join(",")));
        }
        row.push(secret.description.clone());
        table.row(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    session.print_table(&table);
}

async fn rewrap(session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.server()?;
    let (mut after, mut rewrapped, mut failed) = (None, 0, Vec::new());
    loop {
        let step = client.rewrap_secrets(after).await?;
        rewrapped += step.rewrapped;
        failed.extend(step.failed);
        after = step.next_after;
        if after.is_none() {
            break;
        }
    }
    session.say(format!("Encrypted {} anew", counted(rewrapped, "secret", "secrets")));
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("no key decrypts {} of them: {}", failed.len(), printable(&failed.join(", ")))).hint(
        "configure their keys with DOCSTORE_SECRETS_OLD_KMS_KEYS or DOCSTORE_SECRETS_OLD_KEY_FILES, or set them again",
    ))
}
