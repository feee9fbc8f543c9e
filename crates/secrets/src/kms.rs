//! A key in Cloud KMS.

use std::time::Duration;

use bytes::Bytes;
use crc::{CRC_32_ISCSI, Crc};
use google_cloud_auth::credentials::{self, Credentials};
use google_cloud_kms_v1::client::KeyManagementService;
use zeroize::{Zeroize, Zeroizing};

/// How long KMS may take to answer, tries of its client included.
const KMS_TIMEOUT: Duration = Duration::from_secs(10);

/// CRC32C, with which KMS and we find out whether bytes were damaged on the way.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Why KMS could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// It did not answer, or refused.
    #[error("Cloud KMS does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered that this cannot be opened: not with this key, or not in this place.
    #[error("Cloud KMS does not open it")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did not answer in time.
    #[error("Cloud KMS did not answer within {} s", KMS_TIMEOUT.as_secs())]
    Silent,
    /// What came is not what was sent.
    #[error("what Cloud KMS received or sent was damaged on the way")]
    Damaged,
}

/// A client of KMS.
#[derive(Clone, Debug)]
pub(crate) struct Kms(KeyManagementService);

impl Kms {
    pub(crate) async fn open(endpoint: Option<&str>, anonymous: bool) -> Result<Self, KmsError> {
        let credentials: Credentials = if anonymous {
            credentials::anonymous::Builder::new().build()
        } else {
            credentials::Builder::default().build().map_err(|error| KmsError::Unavailable(Box::new(error)))?
        };
        let mut builder = KeyManagementService::builder().with_credentials(credentials);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder.build().await.map(Self).map_err(|error| KmsError::Unavailable(Box::new(error)))
    }

    pub(crate) async fn wrap(&self, key: &str, data_key: &[u8], associated: &[u8]) -> Result<Vec<u8>, KmsError> {
        let request = self
            .0
            .encrypt()
            .set_name(key)
            .set_plaintext(Bytes::from_owner(Zeroizing::new(data_key.to_vec())))
            .set_plaintext_crc32c(checksum(data_key))
            .set_additional_authenticated_data(Bytes::copy_from_slice(associated))
            .set_additional_authenticated_data_crc32c(checksum(associated));
        let answer = bounded(request.send()).await?;
        let verified = answer.verified_plaintext_crc32c
            && answer.verified_additional_authenticated_data_crc32c
            && answer.ciphertext_crc32c == Some(checksum(&answer.ciphertext));
        if verified { Ok(answer.ciphertext.to_vec()) } else { Err(KmsError::Damaged) }
    }

    pub(crate) async fn unwrap(
        &self,
        key: &str,
        wrapped: &[u8],
        associated: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let request = self
            .0
            .decrypt()
            .set_name(key)
            .set_ciphertext(Bytes::copy_from_slice(wrapped))
            .set_ciphertext_crc32c(checksum(wrapped))
            .set_additional_authenticated_data(Bytes::copy_from_slice(associated))
            .set_additional_authenticated_data_crc32c(checksum(associated));
        let answer = bounded(request.send()).await?;
        let plain = taken(answer.plaintext);
        if answer.plaintext_crc32c == Some(checksum(&plain)) { Ok(plain) } else { Err(KmsError::Damaged) }
    }
}

/// The bytes, and nothing of them left where they were. Copies that the client made on its way here are out of reach.
fn taken(bytes: Bytes) -> Zeroizing<Vec<u8>> {
    let taken = Zeroizing::new(bytes.to_vec());
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.zeroize();
    }
    taken
}

fn checksum(bytes: &[u8]) -> i64 {
    i64::from(CRC32C.checksum(bytes))
}

async fn bounded<T>(answer: impl Future<Output = Result<T, google_cloud_kms_v1::Error>>) -> Result<T, KmsError> {
    match tokio::time::timeout(KMS_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        // KMS answers 400 to what a key does not open.
        Ok(Err(error)) if error.http_status_code() == Some(400) => Err(KmsError::Refused(Box::new(error))),
        Ok(Err(error)) => Err(KmsError::Unavailable(Box::new(error))),
        Err(_) => Err(KmsError::Silent),
    }
}
