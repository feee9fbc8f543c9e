use std::{sync::Arc, time::Duration};

use url::{Host, Url};
use uuid::Uuid;

use crate::{
    Client, Error, TokenProvider,
    transport::{Inner, KeySource},
};

/// Redirects followed before giving up. The server sends one, to a cleaned path; a proxy may add one to HTTPS.
const MAX_REDIRECTS: usize = 5;

/// How long to wait for what. Every wait has a limit, and each counts only while nothing happens.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the end of sending until the answer begins. Sending itself gets time by its size, see `upload_rate_min`.
    pub answer: Duration,
    /// Between two pieces of an answer or of an upload.
    pub idle: Duration,
    /// The slowest upload that is waited for, in bytes per second.
    pub upload_rate_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // A purge or a large import may keep the server busy for a while; nothing else comes near.
            answer: Duration::from_secs(120),
            // Event streams send a keep-alive every 15 s, so twice that is silence.
            idle: Duration::from_secs(30),
            // 16 KiB/s, a bad mobile connection.
            upload_rate_min: 16 * 1024,
        }
    }
}

/// How often to try and how long to wait in between.
///
/// The wait doubles from `delay_first` up to `delay_max`; a `Retry-After` of the server counts if it is longer. The
/// defaults ride out a server that restarts, about six seconds, and then say so.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts in all, at least one.
    pub attempts_max: u32,
    /// The wait before the second attempt.
    pub delay_first: Duration,
    /// The longest wait between two attempts, also when the server asks for a longer one: then the call fails.
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 6, delay_first: Duration::from_millis(200), delay_max: Duration::from_secs(10) }
    }
}

/// Settings of a [`Client`].
#[must_use]
pub struct ClientBuilder {
    url: String,
    user_agent: String,
    identity: Option<String>,
    tokens: Option<Arc<dyn TokenProvider>>,
    limits: Limits,
    retries: RetryPolicy,
    keys: KeySource,
    observer: Option<Observer>,
}

/// One attempt at a request, for whoever wants to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// The method.
    pub method: &'a str,
    /// The path below the server's address, as it is sent.
    pub path: &'a str,
    /// The first attempt is 1.
    pub number: u32,
    /// The status of the answer, or why there was none.
    pub outcome: Result<u16, &'a str>,
}

/// Told of every attempt.
pub(crate) type Observer = Arc<dyn Fn(&Attempt<'_>) + Send + Sync>;

impl ClientBuilder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            user_agent: concat!("docstore-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            identity: None,
            tokens: None,
            limits: Limits::default(),
            retries: RetryPolicy::default(),
            keys: Arc::new(Uuid::new_v4),
            observer: None,
        }
    }

    /// The `User-Agent`, such as `ds/1.2.3`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// Sent as `X-DocStore-Identity` with requests to a repo. Only a development server reads it.
    pub fn identity(mut self, identity: impl Into<String>) -> Self {
        let identity = identity.into();
        self.identity = (!identity.is_empty()).then_some(identity);
        self
    }

    /// Where bearer tokens come from.
    pub fn tokens(mut self, tokens: Arc<dyn TokenProvider>) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// How long to wait for what.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How often to try.
    pub fn retries(mut self, retries: RetryPolicy) -> Self {
        self.retries = retries;
        self
    }

    /// Where idempotency keys come from; random ones unless a test says otherwise.
    pub fn idempotency_keys(mut self, keys: impl Fn() -> Uuid + Send + Sync + 'static) -> Self {
        self.keys = Arc::new(keys);
        self
    }

    /// Tells of every attempt at every request.
    pub fn observer(mut self, observer: impl Fn(&Attempt<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Makes the client. Connects to nothing yet.
    ///
    /// Proxies come from the usual variables of the process (`HTTPS_PROXY` and so on), except for a server on this
    /// machine, which is also spoken to without compression: there the network is faster than any compressor.
    ///
    /// # Errors
    /// When the address is not an `http` or `https` URL, or HTTP cannot be set up.
    pub fn build(self) -> Result<Client, Error> {
        let base = parse_base(&self.url)?;
        let local = is_loopback(&base);
        let mut http = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(self.limits.connect)
            .redirect(same_host_redirects());
        if local {
            http = http.no_proxy().no_gzip().no_zstd();
        }
        let http = http.build().map_err(|error| Error::Setup(crate::transport::one_line(&error)))?;
        Ok(Client::from_inner(Inner {
            http,
            base: base.as_str().trim_end_matches('/').to_owned(),
            identity: self.identity,
            tokens: self.tokens,
            limits: self.limits,
            retries: self.retries,
            keys: self.keys,
            observer: self.observer,
            honours_keys: std::sync::OnceLock::new(),
        }))
    }
}

fn parse_base(text: &str) -> Result<Url, Error> {
    let invalid = |reason: String| Error::InvalidUrl { url: text.to_owned(), reason };
    let mut url = Url::parse(text).map_err(|error| invalid(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("expected http:// or https://".to_owned()));
    }
    if url.host().is_none() {
        return Err(invalid("it names no host".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("credentials do not belong into an address; sign in instead".to_owned()));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A token must not follow a redirect to somebody else, nor out of TLS.
fn same_host_redirects() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let Some(first) = attempt.previous().first() else { return attempt.stop() };
        let same_host = first.host_str() == attempt.url().host_str();
        let keeps_tls = first.scheme() != "https" || attempt.url().scheme() == "https";
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if same_host && keeps_tls {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked() {
        for good in ["http://localhost:1234", "https://docstore.dev/", "https://host/prefix/"] {
            assert!(parse_base(good).is_ok(), "{good}");
        }
        for bad in ["docstore.dev", "ftp://host", "https://", "https://me:secret@host"] {
            assert!(parse_base(bad).is_err(), "{bad}");
        }
        assert!(is_loopback(&Url::parse("http://127.0.0.1:1").unwrap()));
        assert!(is_loopback(&Url::parse("http://[::1]:1").unwrap()));
        assert!(!is_loopback(&Url::parse("http://10.0.0.1").unwrap()));
    }
}
