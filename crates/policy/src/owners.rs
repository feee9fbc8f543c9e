//! OWNERS files: who answers for which paths.
//!
//! One identity per line; blank lines and lines that start with `#` do not count. A file owns everything below its
//! directory, except what a deeper OWNERS file owns: the deepest one decides alone. A file without identities is as if it
//! were not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The name of an OWNERS file.
pub const OWNERS_FILE: &str = "OWNERS";

/// Whether a path is one of an OWNERS file.
#[must_use]
pub fn is_owners_file(path: &str) -> bool {
    path.strip_suffix(OWNERS_FILE).is_some_and(|directory| directory.is_empty() || directory.ends_with('/'))
}

/// The identities of an OWNERS file, in its order.
#[must_use]
pub fn parse_owners(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The directories above a path, deepest first; the last is the root, `""`.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let here = rest?;
        let directory = here.rsplit_once('/').map_or("", |(directory, _)| directory);
        rest = if here.contains('/') { Some(directory) } else { None };
        Some(directory)
    })
}

/// The OWNERS files that can decide about some paths: one per directory above them. They are few however many there
/// are elsewhere, so that the cost of a merge is that of its change.
#[must_use]
pub fn owners_candidates<'a>(paths: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let mut directories_seen = BTreeSet::new();
    for path in paths {
        for directory in directories(path) {
            // What is above it was seen with it.
            if !directories_seen.insert(directory) {
                break;
            }
        }
    }
    directories_seen
        .into_iter()
        .map(|directory| match directory {
            "" => OWNERS_FILE.to_owned(),
            directory => format!("{directory}/{OWNERS_FILE}"),
        })
        .collect()
}

/// Who owns what, by directory.
#[derive(Clone, Debug, Default)]
pub struct OwnersTree {
    by_directory: BTreeMap<String, Arc<[String]>>,
}

impl OwnersTree {
    /// Takes in the identities of an OWNERS file by its path. One without any is as if it were not there.
    pub fn insert(&mut self, path: &str, owners: Arc<[String]>) {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        if !owners.is_empty() {
            self.by_directory.insert(directory.to_owned(), owners);
        }
    }

    /// The owners of a path; none when nobody owns it.
    #[must_use]
    pub fn owners_of(&self, path: &str) -> Option<&[String]> {
        directories(path).find_map(|directory| self.by_directory.get(directory)).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::{OwnersTree, is_owners_file, owners_candidates, parse_owners};

    fn tree(files: &[(&str, &str)]) -> OwnersTree {
        let mut tree = OwnersTree::default();
        for (path, text) in files {
            tree.insert(path, parse_owners(text).into());
        }
        tree
    }

    #[test]
    fn lines_are_trimmed_and_comments_skipped() {
        assert_eq!(
            parse_owners("# who\n\n  alice@example.com \r\n#bob@example.com\n\tcarol@example.com"),
            ["alice@example.com", "carol@example.com"]
        );
        assert_eq!(parse_owners("# nobody\n\n"), Vec::<String>::new());
        assert_eq!(parse_owners(""), Vec::<String>::new());
    }

    #[test]
    fn the_deepest_directory_decides_alone() {
        let tree = tree(&[("OWNERS", "root"), ("src/OWNERS", "src"), ("src/api/OWNERS", "api1\napi2")]);
        assert_eq!(tree.owners_of("README.md").unwrap(), ["root"]);
        assert_eq!(tree.owners_of("src/main.rs").unwrap(), ["src"]);
        assert_eq!(tree.owners_of("src/api/v1/users.rs").unwrap(), ["api1", "api2"]);
        // A prefix of the name is not a directory above it.
        assert_eq!(tree.owners_of("srcery/main.rs").unwrap(), ["root"]);
        assert_eq!(tree.owners_of("src").unwrap(), ["root"]);
        // An OWNERS file belongs to whom it names.
        assert_eq!(tree.owners_of("src/OWNERS").unwrap(), ["src"]);
    }

    #[test]
    fn without_a_root_some_paths_have_no_owner() {
        let tree = tree(&[("docs/OWNERS", "writer"), ("src/OWNERS", "# moved away\n")]);
        assert_eq!(tree.owners_of("README.md"), None);
        assert_eq!(tree.owners_of("src/main.rs"), None);
        assert_eq!(tree.owners_of("docs/a/b.md").unwrap(), ["writer"]);
    }

    #[test]
    fn an_empty_file_falls_back_to_the_one_above() {
        let tree = tree(&[("OWNERS", "root"), ("src/OWNERS", "\n# none\n")]);
        assert_eq!(tree.owners_of("src/main.rs").unwrap(), ["root"]);
    }

    #[test]
    fn owners_files_are_known_by_their_last_segment() {
        for path in ["OWNERS", "src/OWNERS"] {
            assert!(is_owners_file(path), "{path}");
        }
        for path in ["owners", "CODEOWNERS", "src/CODEOWNERS", "OWNERS/a", "OWNERS.md", ""] {
            assert!(!is_owners_file(path), "{path}");
        }
    }

    #[test]
    fn candidates_are_the_directories_above() {
        let found: Vec<String> = owners_candidates(["src/api/a.rs", "src/b.rs", "c"]).into_iter().collect();
        assert_eq!(found, ["OWNERS", "src/OWNERS", "src/api/OWNERS"]);
        assert!(owners_candidates([]).is_empty());
    }
}
