//! The library that policies import.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regorus::Engine;

use crate::check::arguments_of;

/// What messages call it.
pub(crate) const LIBRARY_FILE: &str = "docstore/lib.rego";
/// Its text.
pub(crate) const LIBRARY: &str = include_str!("lib.rego");
/// Its package.
pub(crate) const LIBRARY_PACKAGE: &str = "data.docstore.lib";

static RULES: LazyLock<BTreeMap<String, BTreeSet<usize>>> = LazyLock::new(|| {
    let mut engine = Engine::new();
    // A library that does not parse has no rules; then no policy that uses one compiles.
    if engine.add_policy(LIBRARY_FILE.to_owned(), LIBRARY.to_owned()).is_err() {
        return BTreeMap::new();
    }
    engine.get_modules().first().map(|module| arguments_of(module)).unwrap_or_default()
});

/// Its rules by name, with how many arguments they take.
pub(crate) fn rules() -> &'static BTreeMap<String, BTreeSet<usize>> {
    &RULES
}
