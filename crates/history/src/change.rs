//! What a branch changes, as one value, and who has a part in it.

use sha2::{Digest, Sha256};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedFile<'a> {
    /// The path.
    pub path: &'a str,
    /// The mode as a number; of no account for a deletion.
    pub mode: i32,
    /// The SHA-256 of the content; none when the file is deleted.
    pub hash: Option<&'a [u8]>,
}

/// The digest of a change, each path once and in any order: equal digests, equal results on every path.
///
/// SHA-256 over a line that names the layout and then, in bytewise order of the paths, the length of the path as 8 bytes,
/// the path, and either a zero byte for a deletion or a one, the mode as 4 bytes and the hash. Numbers are big-endian.
/// The length keeps two paths from posing as one, whatever characters they have.
#[must_use]
pub fn change_digest<'a>(files: impl IntoIterator<Item = ChangedFile<'a>>) -> [u8; 32] {
    let mut files: Vec<ChangedFile<'a>> = files.into_iter().collect();
    files.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update(b"docstore change 1\n");
    for file in files {
        hasher.update((file.path.len() as u64).to_be_bytes());
        hasher.update(file.path);
        match file.hash {
            None => hasher.update([0]),
            Some(hash) => {
                hasher.update([1]);
                hasher.update(file.mode.to_be_bytes());
                hasher.update(hash);
            }
        }
    }
    hasher.finalize().into()
}

/// The trailer that names a co-author, as Git has it; written in any case.
const CO_AUTHORED_BY: &str = "co-authored-by:";

/// The identities that a message names as co-authors, in its order: the address of `Co-authored-by: Name <address>`, or
/// the whole text where there are no angle brackets. Any line counts, not only those at the end: whoever is named
/// anywhere had a part in it.
pub fn co_authors(message: &str) -> impl Iterator<Item = &str> {
    message.lines().filter_map(|line| {
        let line = line.trim();
        let text = line.get(CO_AUTHORED_BY.len()..)?.trim();
        if !line.get(..CO_AUTHORED_BY.len())?.eq_ignore_ascii_case(CO_AUTHORED_BY) {
            return None;
        }
        let address = match text.rsplit_once('<') {
            Some((_, rest)) => rest.split_once('>').map_or(rest, |(address, _)| address).trim(),
            None => text,
        };
        (!address.is_empty()).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file<'a>(path: &'a str, mode: i32, hash: Option<&'a [u8]>) -> ChangedFile<'a> {
        ChangedFile { path, mode, hash }
    }

    #[test]
    fn everything_that_matters_counts() {
        let base = change_digest([file("a", 0, Some(&[1; 32]))]);
        for other in [
            file("b", 0, Some(&[1; 32])),
            file("a", 1, Some(&[1; 32])),
            file("a", 0, Some(&[2; 32])),
            file("a", 0, None),
        ] {
            assert_ne!(change_digest([other]), base, "{other:?}");
        }
        assert_ne!(change_digest([]), base);
        assert_eq!(change_digest([file("a", 0, None)]), change_digest([file("a", 5, None)]));
    }

    #[test]
    fn the_layout_does_not_change() {
        // Stored with every review: another layout would make all of them look at something else.
        let digest = change_digest([file("a.txt", 0, Some(&[7; 32])), file("b", 0, None)]);
        assert_eq!(hex::encode(digest), "52fe442fcfe3ef73aa1ce9aae6908a71986bcdc1aa97e3ef4247bc8011f8bc87");
    }

    #[test]
    fn co_authors_are_found_wherever_they_are() {
        let message = "subject\n\nCo-authored-by: Bob B. <bob@example.com>\r\nmore\n  \
            co-AUTHORED-by:carol@example.com\nCo-authored-by:\nNot co-authored-by: x\nCo-authored-by: D <d@example.com";
        assert_eq!(co_authors(message).collect::<Vec<_>>(), ["bob@example.com", "carol@example.com", "d@example.com"]);
        assert_eq!(co_authors("Cö-authored-by: é").count(), 0);
    }

    proptest! {
        #[test]
        fn equal_digests_are_equal_changes(
            one in proptest::collection::btree_map("[ab/\n]{1,3}", proptest::option::of((0i32..2, 0u8..2)), 0..4),
            other in proptest::collection::btree_map("[ab/\n]{1,3}", proptest::option::of((0i32..2, 0u8..2)), 0..4),
        ) {
            let hashes = [[0u8; 32], [1u8; 32]];
            let digest = |change: &std::collections::BTreeMap<String, Option<(i32, u8)>>, backwards: bool| {
                let mut files: Vec<ChangedFile<'_>> = change
                    .iter()
                    .map(|(path, what)| match what {
                        None => file(path, 0, None),
                        Some((mode, hash)) => file(path, *mode, Some(&hashes[usize::from(*hash)])),
                    })
                    .collect();
                if backwards {
                    files.reverse();
                }
                change_digest(files)
            };
            prop_assert_eq!(digest(&one, false) == digest(&other, true), one == other);
        }

        #[test]
        fn no_message_makes_it_panic(message in "(?s).{0,200}") {
            let _ = co_authors(&message).count();
        }
    }
}
