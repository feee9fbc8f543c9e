//! When two sides may be brought together.
//!
//! Each side is the set of paths it changed since the common base, with the result. A path that both changed is a
//! conflict unless both came to the same result. A file on one side where the other side needs a directory is a
//! conflict too, since no workspace could hold both.

use std::collections::BTreeMap;

/// What became of a path: `None` is a deletion, otherwise the content (any id that equals for equal bytes) and mode.
pub type Change<C> = Option<(C, i32)>;

/// A path and what became of it.
pub type ChangedPath<C> = (String, Change<C>);

/// The paths that both sides changed to different results, in bytewise order.
#[must_use]
pub fn conflicts_between<C: PartialEq>(
    ours: &BTreeMap<String, Change<C>>,
    theirs: &BTreeMap<String, Change<C>>,
) -> Vec<String> {
    // Walk the smaller side: the cost is that of the change, never that of the tree.
    let (small, large) = if ours.len() <= theirs.len() { (ours, theirs) } else { (theirs, ours) };
    small
        .iter()
        .filter(|(path, change)| large.get(*path).is_some_and(|other| other != *change))
        .map(|(path, _)| path.clone())
        .collect()
}

/// Among the paths given, those that are a proper directory prefix of another one: `a` beside `a/b`.
///
/// The paths must be sorted bytewise. Answers pairs of file and the first path below it.
#[must_use]
pub fn clashing_paths<'a>(paths: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut clashes = Vec::new();
    for (index, file) in paths.iter().enumerate() {
        // Everything below `a` sorts behind `a/`, perhaps with `a.b` and `a-b` in between.
        let below = format!("{file}/");
        let start = index + paths[index..].partition_point(|path| *path < below.as_str());
        if let Some(first) = paths.get(start).filter(|path| path.starts_with(&below)) {
            clashes.push((*file, *first));
        }
    }
    clashes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn side(changes: &[(&str, Change<u8>)]) -> BTreeMap<String, Change<u8>> {
        changes.iter().map(|(path, change)| ((*path).to_owned(), *change)).collect()
    }

    #[test]
    fn only_different_results_conflict() {
        let ours = side(&[("a", Some((1, 0))), ("b", None), ("c", Some((2, 0))), ("d", Some((3, 1)))]);
        let theirs = side(&[("a", Some((1, 0))), ("b", None), ("c", None), ("d", Some((3, 0))), ("e", None)]);
        assert_eq!(conflicts_between(&ours, &theirs), ["c", "d"]);
    }

    #[test]
    fn a_file_clashes_with_what_would_be_below_it() {
        assert_eq!(clashing_paths(&["a", "a.b", "a/b", "a/b/c", "b"]), [("a", "a/b"), ("a/b", "a/b/c")]);
        assert!(clashing_paths(&["a", "a-b", "ab/c"]).is_empty());
    }

    proptest! {
        #[test]
        fn clashes_agree_with_the_definition(mut paths in proptest::collection::vec("[ab./-]{1,4}", 0..12)) {
            paths.sort();
            paths.dedup();
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let found: Vec<&str> = clashing_paths(&paths).into_iter().map(|(file, _)| file).collect();
            let expected: Vec<&str> = paths
                .iter()
                .copied()
                .filter(|file| paths.iter().any(|other| other.starts_with(&format!("{file}/"))))
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn conflicts_are_symmetric(
            ours in proptest::collection::btree_map("[a-c]", proptest::option::of((0u8..3, 0i32..2)), 0..4),
            theirs in proptest::collection::btree_map("[a-c]", proptest::option::of((0u8..3, 0i32..2)), 0..4),
        ) {
            prop_assert_eq!(conflicts_between(&ours, &theirs), conflicts_between(&theirs, &ours));
        }
    }
}
