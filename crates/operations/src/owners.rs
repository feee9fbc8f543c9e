//! OWNERS files and other short texts of `main`, read as far as they are bounded.
//!
//! Sizes come first, bytes after: what is too long is never fetched. One decision reads so many bytes of OWNERS files and
//! puts so many bytes of owners into its document; beyond that there is no decision, since fewer owners than there are could
//! let something through.
//!
//! A file that cannot be read refuses whatever changes below it. The door keeps such files away from `main`; one that is
//! there all the same (from before the door) is replaced as a policy is mended, by an admin's override. For that commit alone
//! it counts as if it were not there, as the directory above decides for one without identities.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use docstore_database::{
    Transaction,
    contents::{ContentHash, StoredBytes, content_bytes},
    policies::{self, MainFile},
};
use docstore_policy::{CompileError, OWNERS_FILE, OwnersTree, owners_candidates, parse_owners};
use futures::TryStreamExt;

use crate::{Error, Operations, Result, limits::reached, reads::checked};

/// The longest OWNERS file; one identity takes 320 bytes at most.
const OWNERS_BYTES_MAX: i64 = 256 * 1024;
/// The most bytes of OWNERS files that one decision reads, or one change brings to `main`: the files of the largest public
/// repos have a few MiB together, and every decision under way may hold so much.
const OWNERS_READ_BYTES_MAX: i64 = 8 << 20;
/// The most bytes of owners in one document: each changed path has its own list of them. A change of 10,000 paths with ten
/// owners each has about 9 MB by this count.
const OWNERS_DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// What an identity takes beside its text, in this process and in the engine: two words of three and some for each.
const OWNER_OVERHEAD_BYTES: usize = 64;

/// Why a content is no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    line: Option<u32>,
    message: String,
}

impl Unreadable {
    pub(crate) fn obliterated() -> Self {
        Self { line: None, message: "its content was obliterated".to_owned() }
    }

    pub(crate) fn of_file(self, file: String) -> CompileError {
        CompileError { file, line: self.line, message: self.message }
    }
}

/// The owners of paths.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    pub(crate) by_path: BTreeMap<String, Option<Vec<String>>>,
    /// The OWNERS files that cannot be read; those above them decide in their place.
    pub(crate) unreadable: Vec<CompileError>,
}

/// Reads bytes as text, and tells the line where they are none.
fn text_of(bytes: Vec<u8>) -> Result<String, Unreadable> {
    String::from_utf8(bytes).map_err(|error| {
        let readable = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let newlines = readable.iter().filter(|&&byte| byte == b'\n').count();
        Unreadable { line: u32::try_from(newlines + 1).ok(), message: "it is not text in UTF-8".to_owned() }
    })
}

/// The bytes of files together, each content once; those too long to be read do not count.
fn bytes_to_read(files: &[MainFile], bytes_max: i64) -> i64 {
    let contents: BTreeMap<i64, i64> =
        files.iter().filter(|file| file.size <= bytes_max).map(|file| (file.content_id, file.size)).collect();
    contents.values().sum()
}

impl Operations {
    /// What is wrong with OWNERS files that are about to be on `main`.
    pub(crate) async fn check_owners_files(
        &self,
        transaction: &mut Transaction,
        files: Vec<MainFile>,
    ) -> Result<Vec<CompileError>> {
        if bytes_to_read(&files, OWNERS_BYTES_MAX) > OWNERS_READ_BYTES_MAX {
            reached("owners_read_bytes");
            let message = format!("the OWNERS files of one change may have {OWNERS_READ_BYTES_MAX} bytes together");
            return Ok(vec![CompileError { file: OWNERS_FILE.to_owned(), line: None, message }]);
        }
        let texts = self.texts(transaction, &files, OWNERS_BYTES_MAX).await?;
        let wrong = |file: MainFile| {
            let unreadable = texts.get(&file.content_id)?.as_ref().err()?.clone();
            Some(unreadable.of_file(file.path))
        };
        Ok(files.into_iter().filter_map(wrong).collect())
    }

    /// The owners of paths, by the OWNERS files on `main`.
    ///
    /// # Errors
    /// [`Error::PolicyFailed`] when the files, or what they say about the paths, are too much.
    pub(crate) async fn owners(&self, transaction: &mut Transaction, main_id: i64, paths: &[&str]) -> Result<Owners> {
        let candidates: Vec<String> = owners_candidates(paths.iter().copied()).into_iter().collect();
        let files = policies::files_of_main(&mut **transaction, main_id, &candidates).await?;
        if bytes_to_read(&files, OWNERS_BYTES_MAX) > OWNERS_READ_BYTES_MAX {
            reached("owners_read_bytes");
            return Err(Error::PolicyFailed(format!(
                "the OWNERS files above the changed paths have more than {OWNERS_READ_BYTES_MAX} bytes together"
            )));
        }
        // Many directories may share one content: it is kept once.
        let parse = |text: Result<String, Unreadable>| text.map(|text| Arc::<[String]>::from(parse_owners(&text)));
        let texts = self.texts(transaction, &files, OWNERS_BYTES_MAX).await?;
        let parsed: BTreeMap<i64, _> = texts.into_iter().map(|(id, text)| (id, parse(text))).collect();
        let (mut tree, mut unreadable) = (OwnersTree::default(), Vec::new());
        for file in files {
            match parsed.get(&file.content_id) {
                Some(Ok(owners)) => tree.insert(&file.path, owners.clone()),
                Some(Err(error)) => unreadable.push(error.clone().of_file(file.path)),
                None => {}
            }
        }
        check_document(&tree, paths)?;
        let owners = |path: &str| tree.owners_of(path).map(<[String]>::to_vec);
        let by_path = paths.iter().map(|path| ((*path).to_owned(), owners(path))).collect();
        Ok(Owners { by_path, unreadable })
    }

    /// The texts of files, by the id of their content, or why they are none. Whoever asks has bounded their number or their
    /// sum.
    pub(crate) async fn texts(
        &self,
        transaction: &mut Transaction,
        files: &[MainFile],
        bytes_max: i64,
    ) -> Result<BTreeMap<i64, Result<String, Unreadable>>> {
        let too_long = || Unreadable { line: None, message: format!("it has more than {bytes_max} bytes") };
        let (short, long): (Vec<&MainFile>, Vec<_>) = files.iter().partition(|file| file.size <= bytes_max);
        let mut texts: BTreeMap<i64, _> = long.into_iter().map(|file| (file.content_id, Err(too_long()))).collect();
        let ids: Vec<i64> =
            short.into_iter().map(|file| file.content_id).collect::<BTreeSet<_>>().into_iter().collect();
        if ids.is_empty() {
            return Ok(texts);
        }
        for content in content_bytes(&mut **transaction, &ids).await? {
            let text = match self.small_bytes(content.hash, content.size, content.bytes).await? {
                Some(bytes) => text_of(bytes),
                None => Err(Unreadable::obliterated()),
            };
            texts.insert(content.id, text);
        }
        Ok(texts)
    }

    /// The bytes of a short content; none when they were obliterated.
    async fn small_bytes(&self, hash: ContentHash, size: i64, bytes: StoredBytes) -> Result<Option<Vec<u8>>> {
        match bytes {
            StoredBytes::Obliterated => Ok(None),
            StoredBytes::Inline(bytes) => Ok(Some(checked(bytes, &hash)?.into())),
            StoredBytes::Blob(key) => {
                let stream = self.blob(&key, hash, u64::try_from(size).unwrap_or_default(), None).await?;
                let all = stream.try_fold(Vec::new(), |mut all, chunk| async move {
                    all.extend_from_slice(&chunk);
                    Ok(all)
                });
                all.await.map(Some)
            }
        }
    }
}

/// Refuses when the owners of all paths would make too large a document.
fn check_document(tree: &OwnersTree, paths: &[&str]) -> Result<()> {
    let owners = paths.iter().filter_map(|path| tree.owners_of(path)).flatten();
    let mut bytes = 0;
    for owner in owners {
        bytes += owner.len() + OWNER_OVERHEAD_BYTES;
        if bytes > OWNERS_DOCUMENT_BYTES_MAX {
            reached("owners_document_bytes");
            return Err(Error::PolicyFailed(format!(
                "the owners of all changed paths have more than {OWNERS_DOCUMENT_BYTES_MAX} bytes together; \
                 shorter OWNERS files or a smaller change help"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_with_its_line() {
        assert_eq!(text_of(b"a\nb\n".to_vec()).unwrap(), "a\nb\n");
        let unreadable = text_of(b"a\n\nb\xff\n".to_vec()).unwrap_err();
        assert_eq!(unreadable.of_file("src/OWNERS".to_owned()).to_string(), "src/OWNERS:3: it is not text in UTF-8");
    }

    #[test]
    fn contents_are_counted_once_and_what_is_not_read_not_at_all() {
        let file =
            |content_id, size| MainFile { path: String::new(), content_id, hash: [0; 32], size, obliterated: false };
        assert_eq!(bytes_to_read(&[file(1, 7), file(1, 7), file(2, 10), file(3, 11)], 10), 17);
    }

    #[test]
    fn a_document_has_room_for_so_many_owners() {
        let mut tree = OwnersTree::default();
        let identity = "x".repeat(64 * 1024 - OWNER_OVERHEAD_BYTES);
        tree.insert("OWNERS", Arc::from(vec![identity; 4]));
        let paths = vec!["a"; 65];
        check_document(&tree, &paths[1..]).unwrap();
        assert!(matches!(check_document(&tree, &paths).unwrap_err(), Error::PolicyFailed(_)));
    }
}
