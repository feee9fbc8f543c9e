//! Presigned archives: a URL that anyone may fetch until it expires (contract, server §7).

use docstore_auth::Caller;
use docstore_database::{archives, jobs, obliterations::count_obliterations, repos::hold_repo};
use docstore_models::{ErrorCode, PresignResponse};
use docstore_settings::{Environment, Invalid, Variable};
use futures::TryStreamExt;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

use crate::{Error, Operations, ReadPoint, Result};

/// The variables that [`ArchiveSigner`] reads.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "ARCHIVE_HMAC_SECRET",
        "",
        "Standard base64 of the key that signs archive URLs. Without it there are no presigned archives.",
    ),
    Variable::new(
        "ARCHIVE_BASE_URL",
        "",
        "What presigned archive URLs begin with: `http` or `https` and a host. Without it they are relative.",
    ),
];

/// How long a presigned URL lives, in seconds.
const PRESIGNED_SECONDS: i64 = 3600;

/// Signs and verifies archive URLs.
#[derive(Clone)]
pub struct ArchiveSigner {
    key: SecretSlice<u8>,
    base_url: String,
}

/// What a presigned URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedArchive<'a> {
    /// The full name of the repo.
    pub repo: &'a str,
    /// The branch.
    pub branch: &'a str,
    /// The sequence.
    pub sequence: i64,
    /// Until when, in Unix seconds.
    pub expires: i64,
}

impl ArchiveSigner {
    /// Reads [`VARIABLES`]; nothing when presigned archives are off.
    ///
    /// # Errors
    /// Names the variable that cannot be used.
    pub fn from_environment(environment: &Environment) -> Result<Option<Self>, Invalid> {
        let base_url = environment.text("ARCHIVE_BASE_URL").unwrap_or_default().trim_end_matches('/').to_owned();
        let rest = base_url.strip_prefix("https://").or_else(|| base_url.strip_prefix("http://"));
        let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']));
        if !base_url.is_empty() && !has_host {
            return Err(Invalid::new("ARCHIVE_BASE_URL", "must be an http or https URL with a host"));
        }
        Ok(environment.secret_key("ARCHIVE_HMAC_SECRET")?.map(|key| Self { key, base_url }))
    }

    fn mac(&self, archive: &SignedArchive<'_>) -> Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose_secret())
            .map_err(|error| Error::Internal(error.to_string().into()))?;
        let SignedArchive { repo, branch, sequence, expires } = archive;
        mac.update(format!("{repo}\n{branch}\n{sequence}\n{expires}").as_bytes());
        Ok(mac)
    }

    /// The signature in lower-case hex.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn sign(&self, archive: &SignedArchive<'_>) -> Result<String> {
        Ok(hex::encode(self.mac(archive)?.finalize().into_bytes()))
    }

    /// Whether a signature is that of the archive; compares in constant time. Hex in either case.
    #[must_use]
    pub fn verify(&self, archive: &SignedArchive<'_>, signature: &str) -> bool {
        let Ok(signature) = hex::decode(signature) else { return false };
        self.mac(archive).is_ok_and(|mac| mac.verify_slice(&signature).is_ok())
    }

    /// The URL of a presigned archive.
    fn url(&self, archive: &SignedArchive<'_>) -> Result<String> {
        let signature = self.sign(archive)?;
        let SignedArchive { repo, branch, sequence, expires } = archive;
        let branch: String = form_encoded(branch);
        let base = &self.base_url;
        Ok(format!("{base}/repos/{repo}/-/archive?branch={branch}&at={sequence}&expires={expires}&sig={signature}"))
    }
}

/// Escapes a query value: everything but letters, digits and `-_.~`, as Go's `url.QueryEscape`.
fn form_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// What is stored of a request token (contract, server §2.6).
pub(crate) fn hash_of_token(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(Sha256::digest(token.as_bytes()))
}

impl Operations {
    /// Presigns the archive that a claimed CI job runs on, for the holder of its request token (contract, server §2.6).
    ///
    /// # Errors
    /// `UNAUTHORIZED` when the token opens nothing, or nothing in this repo.
    pub async fn presign_for_job(&self, signer: &ArchiveSigner, repo: &str, token: &str) -> Result<PresignResponse> {
        let hash = hash_of_token(token);
        let job = jobs::job_of_request_token(self.pool(), &hash).await?;
        let Some(job) = job.filter(|job| job.repo == repo) else {
            return Err(Error::refused(ErrorCode::Unauthorized, "unauthorized"));
        };
        self.presign(signer, job.repo_id, &job.repo, &job.branch, job.sequence).await
    }

    /// Presigns the archive of a branch for somebody who may read the repo.
    ///
    /// # Errors
    /// `BRANCH_NOT_FOUND`.
    pub async fn presign_for_reader(
        &self,
        signer: &ArchiveSigner,
        reader: &crate::Reader,
        point: &ReadPoint,
    ) -> Result<PresignResponse> {
        let branch = self.branch(reader, &point.branch).await?;
        let sequence = point.at.unwrap_or(branch.head_sequence).min(branch.head_sequence);
        self.presign(signer, reader.repo_id(), reader.repo(), &point.branch, sequence).await
    }

    async fn presign(
        &self,
        signer: &ArchiveSigner,
        repo_id: i64,
        repo: &str,
        branch: &str,
        sequence: i64,
    ) -> Result<PresignResponse> {
        let checksum = match archives::archive_checksum(self.pool(), repo_id, branch, sequence).await? {
            Some(known) => known,
            None => {
                let obliterations = count_obliterations(self.pool(), repo_id).await?;
                let point = ReadPoint { branch: branch.to_owned(), at: Some(sequence) };
                let hasher = self
                    .archive(self.pin_in(repo_id, &point).await?)
                    .try_fold(Sha256::new(), async |mut hasher, chunk| {
                        hasher.update(&chunk);
                        Ok(hasher)
                    })
                    .await?;
                let checksum = hasher.finalize().to_vec();
                // Kept only if nothing was obliterated while it was made: it would be that of another archive.
                let mut transaction = docstore_database::begin(self.pool()).await?;
                hold_repo(&mut *transaction, repo_id).await?;
                if count_obliterations(&mut *transaction, repo_id).await? == obliterations {
                    archives::store_archive_checksum(&mut *transaction, repo_id, branch, sequence, &checksum).await?;
                }
                docstore_database::commit(transaction).await?;
                checksum
            }
        };
        let archive = SignedArchive { repo, branch, sequence, expires: self.now().timestamp() + PRESIGNED_SECONDS };
        Ok(PresignResponse { checksum: format!("sha256:{}", hex::encode(checksum)), url: signer.url(&archive)? })
    }

    /// Whether a presigned URL has ended.
    #[must_use]
    pub fn is_expired(&self, archive: &SignedArchive<'_>) -> bool {
        self.now().timestamp() > archive.expires
    }

    /// The archive that a valid presigned URL names, and how many files it leaves out. Who verified the signature need not be
    /// anybody.
    ///
    /// # Errors
    /// `REPO_NOT_FOUND` or `BRANCH_NOT_FOUND`.
    pub async fn presigned_archive(
        &self,
        archive: &SignedArchive<'_>,
    ) -> Result<(impl futures::Stream<Item = Result<bytes::Bytes>> + Send + 'static, i64)> {
        let system = Caller::system("presigned").map_err(|error| Error::Internal(Box::new(error)))?;
        let facts = docstore_database::access::repo_facts(self.pool(), archive.repo, system.identity().as_str())
            .await?
            .ok_or_else(|| Error::refused(ErrorCode::RepoNotFound, "repo not found"))?;
        let point = ReadPoint { branch: archive.branch.to_owned(), at: Some(archive.sequence) };
        let tree = self.pin_in(facts.repo_id, &point).await?;
        let left_out = tree.left_out;
        Ok((self.archive(tree), left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(base_url: &str) -> ArchiveSigner {
        let environment = Environment::from_iter([("ARCHIVE_HMAC_SECRET", "c2VjcmV0"), ("ARCHIVE_BASE_URL", base_url)]);
        ArchiveSigner::from_environment(&environment).unwrap().unwrap()
    }

    #[test]
    fn a_signature_opens_one_archive_only() {
        let archive = SignedArchive { repo: "acme/app", branch: "feature/x", sequence: 7, expires: 1_700_000_000 };
        let signer = signer("https://docs.example.com/");
        let signature = signer.sign(&archive).unwrap();
        assert!(signer.verify(&archive, &signature));
        assert!(signer.verify(&archive, &signature.to_uppercase()));
        for other in [
            SignedArchive { repo: "acme/app2", ..archive.clone() },
            SignedArchive { branch: "feature", ..archive.clone() },
            SignedArchive { sequence: 8, ..archive.clone() },
            SignedArchive { expires: 1_700_000_001, ..archive.clone() },
        ] {
            assert!(!signer.verify(&other, &signature), "{other:?}");
        }
        assert!(!signer.verify(&archive, "not hex"));
        assert_eq!(
            signer.url(&archive).unwrap(),
            format!(
                "https://docs.example.com/repos/acme/app/-/archive?branch=feature%2Fx&at=7&expires=1700000000&sig={signature}"
            )
        );
    }

    #[test]
    fn a_base_url_without_a_host_is_refused() {
        for bad in ["ftp://x", "https://", "/path", "http:///x"] {
            let environment = Environment::from_iter([("ARCHIVE_BASE_URL", bad)]);
            assert!(ArchiveSigner::from_environment(&environment).is_err(), "{bad}");
        }
    }
}
