use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::InvalidName;

/// The longest identity in bytes: the longest e-mail address that SMTP can carry (RFC 3696 erratum 1690) fits.
pub const MAX_IDENTITY_BYTES: usize = 320;

/// Who somebody is: an e-mail address, `ci-job:<id>`, or the name of a system actor. Compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct Identity(String);

impl Identity {
    /// Accepts any text that can be shown and stored.
    ///
    /// # Errors
    /// When the text is empty, too long, or holds control characters.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidName::new("identity", "is empty"));
        }
        if text.len() > MAX_IDENTITY_BYTES {
            return Err(InvalidName::new("identity", "is longer than 320 bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidName::new("identity", "holds a control character"));
        }
        Ok(Self(text))
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Identity {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.0
    }
}
