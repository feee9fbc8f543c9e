use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What kind of file a row of the tree is. Values are the octal modes that git uses.
///
/// Additive to the wire: absent means a regular file, so clients that know no modes see what they always saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum FileMode {
    /// A regular file.
    #[default]
    #[serde(rename = "100644")]
    Regular,
    /// A regular file that may be executed.
    #[serde(rename = "100755")]
    Executable,
    /// A symbolic link; the content is its target.
    #[serde(rename = "120000")]
    Symlink,
}

impl FileMode {
    /// Whether this is the mode that the wire leaves out.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        *self == Self::Regular
    }

    /// The octal text, such as `100755`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }

    /// The number that the database keeps.
    #[must_use]
    pub fn to_i32(self) -> i32 {
        match self {
            Self::Regular => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
        }
    }

    /// The mode that [`FileMode::to_i32`] made; an unknown number reads as a regular file.
    #[must_use]
    pub fn from_i32(number: i32) -> Self {
        match number {
            0o100_755 => Self::Executable,
            0o120_000 => Self::Symlink,
            _ => Self::Regular,
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "100644" => Ok(Self::Regular),
            "100755" => Ok(Self::Executable),
            "120000" => Ok(Self::Symlink),
            other => Err(format!("mode '{other}' is none of 100644, 100755, 120000")),
        }
    }
}
