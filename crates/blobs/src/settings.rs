//! Which store is used, and its limits.

use std::{path::PathBuf, time::Duration};

use docstore_settings::{Environment, Invalid, Variable};
use url::Url;

const STORE: &str = "DOCSTORE_BLOB_STORE";
const BUCKET: &str = "DOCSTORE_BLOB_BUCKET";
const THRESHOLD: &str = "DOCSTORE_BLOB_THRESHOLD_BYTES";
const LOCAL_DIR: &str = "DOCSTORE_BLOB_LOCAL_DIR";
const ENDPOINT: &str = "DOCSTORE_BLOB_ENDPOINT";
const TIMEOUT: &str = "DOCSTORE_BLOB_TIMEOUT_SECONDS";
const UPLOADS_MAX: &str = "DOCSTORE_BLOB_UPLOADS_MAX";
const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// The variables of this crate.
pub const VARIABLES: &[Variable] = &[
    Variable::new(STORE, "local", "Where content above the threshold goes: `local` or `gcs`."),
    Variable::new(BUCKET, "", "The Google Cloud Storage bucket. Required with `gcs`."),
    Variable::new(
        THRESHOLD,
        "1048576",
        "Content strictly larger than this many bytes goes to the blob store, other content into PostgreSQL. `0` or \
         negative: all content goes into PostgreSQL.",
    ),
    Variable::new(
        LOCAL_DIR,
        "/tmp/docstore-blobs",
        "The directory of the `local` store, created with mode 0755 if it is absent. Several servers may share it.",
    ),
    Variable::new(
        ENDPOINT,
        "",
        "Base URL of the Google Cloud Storage API, for an emulator or a private endpoint. With it no credentials are \
         sent, unless `GOOGLE_APPLICATION_CREDENTIALS` is set too.",
    ),
    Variable::new(
        TIMEOUT,
        "30",
        "Seconds within which Google Cloud Storage has to answer a request, and to send the next piece of a download. A \
         call with its at most 3 retries takes at most twice as long.",
    ),
    Variable::new(
        UPLOADS_MAX,
        "16",
        "Uploads to the blob store at a time per process; others wait 10 s for a place and are then told to come back. \
         One takes up to 9 MiB of memory with `gcs`, 1 MiB with `local`.",
    ),
    Variable::new(
        CREDENTIALS,
        "",
        "File of the credentials for Google Cloud Storage. Without it the other places of Application Default \
         Credentials are asked: the file of `gcloud`, then the metadata server.",
    ),
];

const THRESHOLD_BYTES_DEFAULT: i64 = 1024 * 1024;
const LOCAL_DIR_DEFAULT: &str = "/tmp/docstore-blobs";
/// Long enough for a part of 4 MiB over 2 Mbit/s, short enough that a request ends before its client gives up.
const TIMEOUT_SECONDS_DEFAULT: u64 = 30;
/// With the 9 MiB that an upload to Google takes at most, 16 stay under 150 MiB.
const UPLOADS_MAX_DEFAULT: u64 = 16;

/// The store that is used, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where blobs are.
    pub store: Store,
    /// Content strictly larger than this many bytes belongs into the blob store; `None` keeps all of it out.
    pub threshold_bytes: Option<u64>,
    /// Within what time Google Cloud Storage has to answer a request, and to send the next piece of a download.
    pub timeout: Duration,
    /// How many uploads run at a time.
    pub uploads_max: u32,
}

/// Where blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// On a local disk.
    Local(Local),
    /// In Google Cloud Storage.
    Gcs(Gcs),
}

/// A local directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The directory; created if absent.
    pub directory: PathBuf,
}

/// A bucket in Google Cloud Storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gcs {
    /// The name of the bucket.
    pub bucket: String,
    /// Base URL without a slash at its end; Google's own if `None`.
    pub endpoint: Option<String>,
    /// Whether no credentials are sent, as an emulator wants it. Otherwise they are Google's Application Default
    /// Credentials.
    pub anonymous: bool,
}

impl Settings {
    /// Reads [`VARIABLES`].
    ///
    /// # Errors
    /// Names the first variable that cannot be used.
    pub fn from_environment(environment: &Environment) -> Result<Self, Invalid> {
        let endpoint = endpoint(environment)?;
        let store = match environment.text(STORE) {
            None | Some("local") => {
                Store::Local(Local { directory: environment.text(LOCAL_DIR).unwrap_or(LOCAL_DIR_DEFAULT).into() })
            }
            Some("gcs") => {
                let bucket = environment
                    .text(BUCKET)
                    .ok_or_else(|| Invalid::new(BUCKET, format!("is required with {STORE}=gcs")))?;
                let anonymous = endpoint.is_some() && environment.text(CREDENTIALS).is_none();
                if !is_bucket_name(bucket) {
                    return Err(Invalid::new(BUCKET, format!("'{bucket}' is not the name of a bucket")));
                }
                if let Some(endpoint) = &endpoint
                    && !anonymous
                    && endpoint.scheme() == "http"
                    && !is_loopback(endpoint)
                {
                    return Err(Invalid::new(ENDPOINT, "would send credentials over plain http; use https"));
                }
                Store::Gcs(Gcs {
                    bucket: bucket.to_owned(),
                    endpoint: endpoint.map(|url| url.as_str().trim_end_matches('/').to_owned()),
                    anonymous,
                })
            }
            Some(other) => return Err(Invalid::new(STORE, format!("'{other}' is neither local nor gcs"))),
        };
        let threshold = environment.parsed_or(THRESHOLD, THRESHOLD_BYTES_DEFAULT)?;
        let uploads_max = environment.number_or(UPLOADS_MAX, UPLOADS_MAX_DEFAULT, 1..=256)?;
        Ok(Self {
            store,
            threshold_bytes: u64::try_from(threshold).ok().filter(|threshold| *threshold > 0),
            timeout: environment.seconds_or(TIMEOUT, TIMEOUT_SECONDS_DEFAULT, 1..=600)?,
            uploads_max: u32::try_from(uploads_max).map_err(|why| Invalid::new(UPLOADS_MAX, why))?,
        })
    }

    /// Whether content of this size belongs into the blob store.
    #[must_use]
    pub fn is_external(&self, size: u64) -> bool {
        self.threshold_bytes.is_some_and(|threshold| size > threshold)
    }
}

fn endpoint(environment: &Environment) -> Result<Option<Url>, Invalid> {
    let Some(url) = environment.parsed::<Url>(ENDPOINT)? else { return Ok(None) };
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        Ok(Some(url))
    } else {
        Err(Invalid::new(ENDPOINT, "is not an http or https URL of a host, without user, query or fragment"))
    }
}

/// The characters that Google allows; the name becomes a part of URLs.
fn is_bucket_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (3..=222).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Gcs, Local, Settings, Store, VARIABLES};
    use docstore_settings::Environment;
    use std::time::Duration;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let environment = Environment::from_iter(pairs.iter().copied());
        Settings::from_environment(&environment).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_contract_and_of_the_list() {
        let defaults = read(&[]).unwrap();
        assert_eq!(
            defaults,
            Settings {
                store: Store::Local(Local { directory: "/tmp/docstore-blobs".into() }),
                threshold_bytes: Some(1_048_576),
                timeout: Duration::from_secs(30),
                uploads_max: 16,
            }
        );
        let listed: Vec<_> = VARIABLES.iter().map(|variable| (variable.name, variable.default)).collect();
        assert_eq!(read(&listed), Ok(defaults));
    }

    #[test]
    fn a_bucket_with_and_without_an_endpoint() {
        let gcs = |pairs: &[(&str, &str)]| {
            let all = [&[("DOCSTORE_BLOB_STORE", "gcs"), ("DOCSTORE_BLOB_BUCKET", "our-bucket")], pairs].concat();
            read(&all).map(|settings| settings.store)
        };
        let expected = Gcs { bucket: "our-bucket".to_owned(), endpoint: None, anonymous: false };
        assert_eq!(gcs(&[]), Ok(Store::Gcs(expected.clone())));
        assert_eq!(
            gcs(&[("DOCSTORE_BLOB_ENDPOINT", "http://emulator:4443")]),
            Ok(Store::Gcs(Gcs {
                endpoint: Some("http://emulator:4443".to_owned()),
                anonymous: true,
                ..expected.clone()
            }))
        );
        assert_eq!(
            gcs(&[("DOCSTORE_BLOB_ENDPOINT", "http://127.0.0.1:4443/"), ("GOOGLE_APPLICATION_CREDENTIALS", "/key")]),
            Ok(Store::Gcs(Gcs { endpoint: Some("http://127.0.0.1:4443".to_owned()), ..expected }))
        );
        assert_eq!(
            gcs(&[("DOCSTORE_BLOB_ENDPOINT", "http://store.example"), ("GOOGLE_APPLICATION_CREDENTIALS", "/key")]),
            Err("DOCSTORE_BLOB_ENDPOINT: would send credentials over plain http; use https".to_owned())
        );
    }

    #[test]
    fn a_bad_value_is_refused_by_name() {
        let refusals = [
            [("DOCSTORE_BLOB_STORE", "s3")].as_slice(),
            &[("DOCSTORE_BLOB_STORE", "gcs")],
            &[("DOCSTORE_BLOB_STORE", "gcs"), ("DOCSTORE_BLOB_BUCKET", "a/b?c")],
            &[("DOCSTORE_BLOB_THRESHOLD_BYTES", "1MiB")],
            &[("DOCSTORE_BLOB_ENDPOINT", "127.0.0.1:4443")],
            &[("DOCSTORE_BLOB_ENDPOINT", "ftp://127.0.0.1")],
            &[("DOCSTORE_BLOB_TIMEOUT_SECONDS", "0")],
            &[("DOCSTORE_BLOB_UPLOADS_MAX", "0")],
        ]
        .map(|pairs| read(pairs).unwrap_err());
        assert_eq!(
            refusals,
            [
                "DOCSTORE_BLOB_STORE: 's3' is neither local nor gcs",
                "DOCSTORE_BLOB_BUCKET: is required with DOCSTORE_BLOB_STORE=gcs",
                "DOCSTORE_BLOB_BUCKET: 'a/b?c' is not the name of a bucket",
                "DOCSTORE_BLOB_THRESHOLD_BYTES: '1MiB' cannot be used: invalid digit found in string",
                "DOCSTORE_BLOB_ENDPOINT: '127.0.0.1:4443' cannot be used: relative URL without a base",
                "DOCSTORE_BLOB_ENDPOINT: is not an http or https URL of a host, without user, query or fragment",
                "DOCSTORE_BLOB_TIMEOUT_SECONDS: 0 is not between 1 and 600",
                "DOCSTORE_BLOB_UPLOADS_MAX: 0 is not between 1 and 256",
            ]
        );
    }

    #[test]
    fn the_threshold_itself_stays_inside_and_zero_switches_off() {
        let threshold = |text| read(&[("DOCSTORE_BLOB_THRESHOLD_BYTES", text)]).unwrap();
        assert!(!threshold("10").is_external(10));
        assert!(threshold("10").is_external(11));
        assert!(!threshold("0").is_external(u64::MAX));
        assert!(!threshold("-1").is_external(u64::MAX));
    }
}
