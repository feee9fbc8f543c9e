//! A typed client of the DocStore API.
//!
//! A [`Client`] talks to one server; [`Client::repo`] narrows it to one repo. Every method is one endpoint, with the
//! request and response types of `docstore-models`; one that lists asks as often as it takes.
//!
//! ```no_run
//! # async fn run() -> Result<(), docstore_client::Error> {
//! let client = docstore_client::Client::builder("https://docstore.dev").user_agent("example/1.0").build()?;
//! let repo = client.repo("acme/app");
//! for entry in repo.tree(&docstore_client::TreeQuery::of_branch("main")).await? {
//!     println!("{}  {}", entry.content_hash, entry.path);
//! }
//! # Ok(()) }
//! ```
//!
//! What a caller may rely on:
//!
//! * **No doubled write.** Every write carries an `Idempotency-Key` that stays the same when the request is sent again.
//!   A request is sent again only when that is safe: nothing had left this machine, it reads, or the server is known
//!   to honour keys. Otherwise the answer is [`Error::OutcomeUnknown`], never a guess.
//! * **No silent damage.** Uploads and downloads of contents are hashed on the way and fail on a mismatch.
//! * **Bounded waits.** Connecting, waiting for an answer and waiting for the next bytes each have a limit, see
//!   [`Limits`]; the number of attempts has one too, see [`RetryPolicy`].
//! * **No list that ends early.** What lists reads page after page, up to the limit that it is given.
//! * **Bounded memory.** Contents and archives are streams. Only JSON answers are kept whole, up to
//!   [`MAX_JSON_ANSWER_BYTES`].
//! * **Old servers.** Additive endpoints answer with an error for which [`Error::is_missing_endpoint`] is true, so that
//!   a caller can take the way of the original contract.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")
)]

mod archive;
mod branches;
mod builder;
mod checks;
mod commits;
mod contents;
mod discovery;
mod download;
mod error;
mod events;
mod files;
mod import;
mod issues;
mod merge;
mod obliterations;
mod org_members;
mod orgs;
mod pages;
mod paths;
mod policies;
mod proposals;
mod releases;
mod repos;
mod reviews;
mod roles;
mod secrets;
mod subscriptions;
mod token;
mod tokens;
mod transport;

pub use branches::BranchQuery;
pub use builder::{Attempt, ClientBuilder, Limits, RetryPolicy};
pub use checks::CheckQuery;
pub use contents::ContentBody;
pub use discovery::{AuthConfig, DsConfig};
pub use download::Download;
pub use error::{Error, ErrorClass, Refusal};
pub use events::{EventQuery, EventStream, ReceivedEvent};
pub use files::{At, TREE_PAGE_ENTRIES_MAX, TreeQuery};
pub use issues::IssueQuery;
pub use obliterations::PreviewQuery;
pub use policies::VerdictQuery;
pub use proposals::ProposalQuery;
pub use subscriptions::{DeliveryQuery, EventPageQuery};
pub use token::{StaticToken, TokenError, TokenProvider};
pub use transport::{Client, MAX_JSON_ANSWER_BYTES, RepoClient};

/// The wire types, so that a user of this crate needs no second dependency.
pub use docstore_models as models;
