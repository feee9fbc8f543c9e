//! The policies that `ds policy init` starts a repo with.

/// A file of the starter set.
#[derive(Clone, Copy, Debug)]
pub struct StarterFile {
    /// Where it goes, relative to the repo.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! starter {
    ($($name:literal),*) => {
        &[$(StarterFile {
            path: concat!(".docstore/policy/", $name),
            text: include_str!(concat!("../starter/", $name)),
        }),*]
    };
}

/// A second person, the owners, the checks; with test cases beside each.
pub const STARTER: &[StarterFile] = starter!(
    "review.rego",
    "review.cases.json",
    "owners.rego",
    "owners.cases.json",
    "checks.rego",
    "checks.cases.json"
);
