//! Contents ahead of a commit: which are missing, and taking them in as streams.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use docstore_blobs::BoxError;
use docstore_database::{
    contents::{ContentHash, NewBytes, NewContent, find_contents, note_upload, store_contents},
    repos::hold_repo,
};
use docstore_models::{ErrorCode, StoredContent};
use futures::{Stream, StreamExt, stream};
use sha2::{Digest, Sha256};

use crate::{Error, Operations, Result, Writer, changes::parse_hash, limits::reached, write::Begun};

/// A content on its way in.
pub struct Upload<S> {
    /// The announced SHA-256, lower-case hex.
    pub hash: String,
    /// The bytes.
    pub stream: S,
}

impl Operations {
    /// Those of the hashes that the repo does not have, each once, in the order given.
    ///
    /// # Errors
    /// Text that is no hash, or too many.
    pub async fn missing_contents(&self, writer: &Writer, hashes: &[String]) -> Result<Vec<String>> {
        if hashes.len() > self.limits().hashes_max {
            reached("hashes");
            return Err(Error::refused(
                ErrorCode::PayloadTooLarge,
                format!("at most {} hashes may be asked about at once", self.limits().hashes_max),
            ));
        }
        let asked: Vec<ContentHash> = hashes.iter().map(|text| parse_hash(text)).collect::<Result<_>>()?;
        let known: HashSet<ContentHash> = {
            // Of what was obliterated the commit says so, with its reason; nobody shall send it again.
            let found = find_contents(self.pool(), writer.repo_id(), &asked).await?;
            found.known.into_iter().map(|row| row.hash).chain(found.obliterated).collect()
        };
        let mut answered = HashSet::new();
        Ok(asked.into_iter().filter(|hash| !known.contains(hash) && answered.insert(*hash)).map(hex::encode).collect())
    }

    /// Takes in a content. It can be committed by its hash for a day; sending it again changes nothing. Memory does not
    /// grow with the content. Answers whether it is new.
    ///
    /// # Errors
    /// A hash that is none or not that of the bytes; `PAYLOAD_TOO_LARGE`; `CONTENT_REFUSED` for what was obliterated.
    pub async fn upload_content<S, E>(&self, writer: &Writer, upload: Upload<S>) -> Result<(StoredContent, bool)>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<BoxError> + Send,
    {
        let hash = parse_hash(&upload.hash)?;
        let repo_id = writer.repo_id();
        let found = find_contents(self.pool(), repo_id, &[hash]).await?;
        if !found.obliterated.is_empty() {
            return Err(self.content_refused(repo_id, &found.obliterated, Vec::new()).await);
        }
        if let Some(known) = found.known.first()
            // Renews the day that it has until a commit takes it up.
            && note_upload(self.pool(), known.id).await?
        {
            let stored = StoredContent { content_hash: upload.hash, size: known.size, version_id: known.version_id };
            return Ok((stored, false));
        }
        let (bytes, size) = self.receive(repo_id, hash, upload.stream).await?;
        let mut write = match self.begin::<()>(writer.caller(), None).await? {
            Begun::Now(write) => write,
            Begun::Before(()) => return Err(Error::bad_request("an upload takes no idempotency key")),
        };
        hold_repo(&mut *write.transaction, repo_id).await?;
        let content = [NewContent { hash, size, bytes, created_by: writer.identity().to_owned() }];
        let rows = store_contents(&mut write.transaction, repo_id, &content).await?;
        let Some(row) = rows.first().copied() else {
            // It was obliterated while it was sent.
            write.transaction.roll_back();
            return Err(self.refuse_new(repo_id, &content, Vec::new()).await);
        };
        note_upload(&mut *write.transaction, row.id).await?;
        self.finish(write, ()).await?;
        Ok((StoredContent { content_hash: upload.hash, size: row.size, version_id: row.version_id }, true))
    }

    /// Takes small bytes into memory and large ones to the blob store.
    async fn receive<S, E>(&self, repo_id: i64, hash: ContentHash, mut stream: S) -> Result<(NewBytes, i64)>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
        E: Into<BoxError> + Send,
    {
        let mut start = BytesMut::new();
        while !self.blobs().is_external(start.len() as u64) {
            // With an unlimited threshold everything belongs in the database, but a row has its own bound.
            if start.len() as u64 > self.limits().content_bytes_max.min(INLINE_BYTES_MAX) {
                reached("content_bytes");
                return Err(Error::refused(ErrorCode::PayloadTooLarge, "the content is too long"));
            }
            match stream.next().await {
                Some(Ok(chunk)) => start.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    return Err(Error::bad_request(format!("the content could not be received: {}", error.into())));
                }
                None => {
                    let actual: ContentHash = Sha256::digest(&start).into();
                    if actual != hash {
                        return Err(docstore_blobs::PutError::HashMismatch { actual }.into());
                    }
                    let size = i64::try_from(start.len()).unwrap_or(i64::MAX);
                    return Ok((NewBytes::Inline(start.into()), size));
                }
            }
        }
        let key = self.scheduled_key(repo_id).await?;
        let start = stream::iter([Ok(start.freeze())]);
        let whole = start.chain(stream.map(|chunk| chunk.map_err(Into::into)));
        let stored = self.blobs().put(&key, whole, self.limits().content_bytes_max, Some(hash)).await?;
        Ok((NewBytes::Blob(key.as_str().to_owned()), i64::try_from(stored.size).unwrap_or(i64::MAX)))
    }
}

/// The longest content in a database row: half of the 1 GiB that PostgreSQL takes in one field, as text of a query.
const INLINE_BYTES_MAX: u64 = 256 * 1024 * 1024;
