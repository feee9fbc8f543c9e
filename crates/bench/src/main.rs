//! Measures any server that speaks the wire, each figure beside the floor that the same machine gives in the same run.
//!
//! For the server the floor is the bare SQL for the same rows (`floor`), for the client it is git on the same files.
//! `scripts/bench` starts everything that this needs.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod arguments;
mod bench;
mod floor;
mod git_server;
mod lines;
mod machine;
mod measure;
mod receiver;
mod report;
mod wire;
mod workload;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

pub(crate) use crate::arguments::{Arguments, Size};
use crate::bench::Bench;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docstore-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<()> {
    let (markdown, json) = (arguments.markdown.clone(), arguments.json.clone());
    let mut bench = Bench::new(arguments)?;
    let done = bench.run().await;
    // What was measured before something failed is of use.
    if let Some(path) = markdown {
        fs::write(&path, bench.report.to_markdown()).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = json {
        fs::write(&path, serde_json::to_vec_pretty(&bench.report)?).with_context(|| path.display().to_string())?;
    }
    done
}
