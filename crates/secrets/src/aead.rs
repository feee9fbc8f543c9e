use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The length of every key.
pub(crate) const KEY_BYTES: usize = 32;

/// The place of a value: it opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding<'a> {
    /// A secret of a repo.
    RepoSecret {
        /// The repo inside.
        repo_id: i64,
        /// The name of the secret.
        name: &'a str,
    },
    /// What signs the webhooks of a subscription.
    SigningSecret {
        /// The subscription.
        subscription_id: Uuid,
        /// The secret's own id: one that was replaced cannot come back in the place of the one of now.
        id: Uuid,
    },
}

/// How a value was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The contract's: bound to nothing.
    Unbound,
    /// Bound to its place.
    Bound,
}

impl Layout {
    /// The number in the database.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Unbound => 1,
            Self::Bound => 2,
        }
    }

    /// The layout of a number.
    #[must_use]
    pub fn of_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Unbound),
            2 => Some(Self::Bound),
            _ => None,
        }
    }

    /// The associated data: no two places have the same, since a name holds no NUL. None for a layout that was never used
    /// in such a place.
    pub(crate) fn associated_data(self, binding: Binding<'_>) -> Option<Vec<u8>> {
        match (self, binding) {
            (Self::Unbound, Binding::RepoSecret { .. }) => Some(Vec::new()),
            (Self::Unbound, Binding::SigningSecret { .. }) => None,
            (Self::Bound, Binding::RepoSecret { repo_id, name }) => {
                Some(format!("docstore secret v2\0{repo_id}\0{name}").into_bytes())
            }
            (Self::Bound, Binding::SigningSecret { subscription_id, id }) => {
                Some(format!("docstore signing secret v2\0{subscription_id}\0{id}").into_bytes())
            }
        }
    }
}

/// A key of 32 random bytes.
pub(crate) fn random_key() -> Result<Zeroizing<[u8; KEY_BYTES]>, Unspecified> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    aws_lc_rs::rand::fill(key.as_mut())?;
    Ok(key)
}

/// Seals with a random nonce; answers it and the sealed bytes with their tag.
pub(crate) fn seal(key: &[u8], associated: &[u8], plain: &[u8]) -> Result<([u8; NONCE_LEN], Vec<u8>), Unspecified> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key)?;
    // Room for the tag at once: a buffer that grows would leave its old self behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM.tag_len()));
    bytes.extend_from_slice(plain);
    let nonce = key.seal_in_place_append_tag(Aad::from(associated), &mut *bytes)?;
    Ok((*nonce.as_ref(), std::mem::take(&mut *bytes)))
}

/// Opens what [`seal`] made.
pub(crate) fn open(
    key: &[u8],
    nonce: &[u8],
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce)?;
    let mut bytes = Zeroizing::new(sealed.to_vec());
    let length = key.open_in_place(nonce, Aad::from(associated), &mut bytes)?.len();
    bytes.truncate(length);
    Ok(bytes)
}
