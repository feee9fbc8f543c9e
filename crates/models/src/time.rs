use std::{fmt, str::FromStr};

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC with microsecond precision, the precision PostgreSQL keeps.
///
/// It prints as RFC 3339 with the trailing zeros of the fraction removed and the suffix `Z`, which is also the
/// text that enters the commit hash: a client recomputes the hash from the JSON, so both must be the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The moment itself.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    /// Drops what is finer than a microsecond, since the database would.
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment.trunc_subsecs(6))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_rfc3339_opts(SecondsFormat::Micros, true);
        let digits = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
        // Whole seconds end in zeros of their own, so only a fraction may be shortened.
        let digits = if self.0.timestamp_subsec_micros() == 0 { &text[..19] } else { digits };
        write!(f, "{digits}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DateTime::parse_from_rfc3339(text).map(|moment| Self(moment.with_timezone(&Utc)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| de::Error::custom("expected an RFC 3339 timestamp"))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn prints_the_shortest_fraction() {
        for text in [
            "2024-01-15T12:00:00Z",
            "2024-01-15T12:00:00.12Z",
            "2026-11-20T10:36:36.80681Z",
            "2026-11-20T10:36:30.000001Z",
            "2020-10-10T10:10:10Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().expect("valid").to_string(), text);
        }
    }

    #[test]
    fn an_offset_is_turned_into_utc() {
        let moment: Timestamp = "2024-01-15T13:00:00.500+01:00".parse().expect("valid");
        assert_eq!(moment.to_string(), "2024-01-15T12:00:00.5Z");
    }
}
