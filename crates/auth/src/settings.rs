use std::time::Duration;

use docstore_models::Identity;
use docstore_settings::{Environment, Invalid, Variable};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use url::Url;

use crate::{
    CacheLimits,
    discovery::{DsConfig, DsConfigAuth},
    fetch::is_safe_way,
};

/// Google's two spellings of its issuer; its tokens carry either.
const GOOGLE_ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
const GOOGLE_JWKS_URL: &str = "https://www.googleapis.com/oauth2/v3/certs";
const GOOGLE_AUTHORIZATION_URL: &str = "https://accounts.google.com/o/oauth2/v2/auth";
const GOOGLE_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

const IAP_ISSUER: &str = "https://cloud.google.com/iap";
const IAP_JWKS_URL: &str = "https://www.gstatic.com/iap/verify/public_key-jwk";

const JOB_ISSUER: &str = "https://oidc.docstore.dev";
const JOB_AUDIENCE: &str = "docstore";

/// Shorter cookie keys could be found by trying.
const SESSION_KEY_BYTES_MIN: usize = 16;

/// The variables that this crate reads.
pub const VARIABLES: &[Variable] = &[
    Variable::new(
        "DEV_IDENTITY",
        "",
        "Development only: every request is this identity and no credential is looked at. A request may name another \
         with the header X-DocStore-Identity, if its value looks like an e-mail address.",
    ),
    Variable::new(
        "OAUTH_CLIENT_ID",
        "",
        "The client id of the OpenID provider: the audience that id tokens must have. Empty: no id token is accepted.",
    ),
    Variable::new("OAUTH_CLIENT_SECRET", "", "The secret of that client, for the browser login. Never published."),
    Variable::new(
        "OAUTH_CLI_CLIENT_ID",
        "the value of OAUTH_CLIENT_ID",
        "A further accepted audience, published to `ds login` in place of OAUTH_CLIENT_ID: Google wants a desktop client \
         there and a web client for the browser.",
    ),
    Variable::new(
        "SESSION_SECRET",
        "",
        "Standard base64 of the key (at least 16 bytes) that session cookies are signed with. Empty: no browser \
         sessions. A new key ends all sessions.",
    ),
    Variable::new("DOCSTORE_SESSION_SECONDS", "86400", "How long a browser session lasts, in seconds."),
    Variable::new(
        "OIDC_LOGIN_ISSUER",
        "https://accounts.google.com",
        "The OpenID provider whose id tokens are accepted and that the browser login uses.",
    ),
    Variable::new("OIDC_LOGIN_JWKS_URL", "Google's, else discovered", "Where the provider publishes its keys."),
    Variable::new("OIDC_LOGIN_AUTHORIZATION_URL", "Google's, else discovered", "Where browsers are sent to log in."),
    Variable::new("OIDC_LOGIN_TOKEN_URL", "Google's, else discovered", "Where the browser login exchanges its code."),
    Variable::new(
        "IAP_CLIENT_ID",
        "",
        "Turns on Identity-Aware Proxy (IAP) assertions; published to `ds login`, which must log in to the proxy.",
    ),
    Variable::new(
        "IAP_CLIENT_SECRET",
        "",
        "The secret of that desktop client. It is published, as desktop clients' secrets are no secrets; never put a web \
         client's secret here.",
    ),
    Variable::new(
        "IAP_AUDIENCE",
        "",
        "Turns on IAP assertions; the audience they must have, such as \
         /projects/<number>/global/backendServices/<id>. Several are separated by commas.",
    ),
    Variable::new(
        "IAP_ALLOW_ANY_AUDIENCE",
        "false",
        "Turns on IAP assertions for any audience. Every project behind IAP, anybody's, can then mint them.",
    ),
    Variable::new("IAP_ISSUER", IAP_ISSUER, "The issuer of IAP assertions."),
    Variable::new("IAP_JWKS_URL", IAP_JWKS_URL, "Where the keys of IAP assertions are published."),
    Variable::new("OIDC_JWKS_URL", "", "Where the issuer of job tokens publishes its keys. Empty: no job tokens."),
    Variable::new("OIDC_AUDIENCE", JOB_AUDIENCE, "The audience that job tokens must have."),
    Variable::new("OIDC_ISSUER", JOB_ISSUER, "The issuer of job tokens."),
    Variable::new(
        "DOCSTORE_AUTH_LEEWAY_SECONDS",
        "30",
        "The difference between the issuers' clocks and ours that is put up with, in seconds.",
    ),
    Variable::new(
        "DOCSTORE_AUTH_CREDENTIAL_BYTES_MAX",
        "16384",
        "The largest token, and the largest sum of cookies, that is looked at.",
    ),
    Variable::new(
        "DOCSTORE_AUTH_KEYS_FRESH_SECONDS",
        "3600",
        "How long an issuer's keys serve before they are fetched again.",
    ),
    Variable::new(
        "DOCSTORE_AUTH_KEYS_STALE_SECONDS",
        "86400",
        "How long an issuer's last good keys serve while it cannot be reached.",
    ),
    Variable::new(
        "DOCSTORE_AUTH_KEYS_INTERVAL_SECONDS",
        "10",
        "The least time between two fetches of an issuer's keys, whatever tokens arrive.",
    ),
    Variable::new("DOCSTORE_AUTH_FETCH_TIMEOUT_SECONDS", "5", "How long one call to an issuer may take."),
    Variable::new(
        "DOCSTORE_AUTH_PLAIN_HTTP",
        "false",
        "Allows issuers' addresses with http beyond loopback. Whoever can change that traffic can be anybody.",
    ),
];

/// Who may come in, and how that is verified.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everybody's identity; no credential is looked at.
    pub(crate) development: Option<Identity>,
    pub(crate) login: Option<LoginProvider>,
    pub(crate) session_key: Option<SecretSlice<u8>>,
    pub(crate) session_life: Duration,
    pub(crate) iap: Option<IapIssuer>,
    pub(crate) job: JobIssuer,
    pub(crate) published: DsConfig,
    pub(crate) leeway: Duration,
    pub(crate) credential_bytes_max: usize,
    pub(crate) keys: CacheLimits,
    pub(crate) fetch_timeout: Duration,
}

/// The OpenID provider that people log in with. Addresses that are absent are discovered.
#[derive(Clone, Debug)]
pub(crate) struct LoginProvider {
    pub(crate) issuer: String,
    /// The spellings of the issuer that its tokens may carry.
    pub(crate) issuers: Vec<String>,
    pub(crate) jwks_url: Option<Url>,
    pub(crate) authorization_url: Option<Url>,
    pub(crate) token_url: Option<Url>,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<SecretString>,
    /// The audiences that bearers may have.
    pub(crate) audiences: Vec<String>,
    pub(crate) plain_http: bool,
}

/// Identity-Aware Proxy.
#[derive(Clone, Debug)]
pub(crate) struct IapIssuer {
    pub(crate) issuers: Vec<String>,
    /// `None` takes any, by explicit switch only.
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) jwks_url: Url,
}

/// The issuer of job tokens. It is recognised always, so that its tokens are never tried with other keys.
#[derive(Clone, Debug)]
pub(crate) struct JobIssuer {
    pub(crate) issuer: String,
}

impl Settings {
    /// Reads the settings, with Google and IAP as presets.
    ///
    /// # Errors
    /// Names the first variable that cannot be used: among others when IAP is on without an audience, when an address
    /// is not `https`, and when two issuers are the same.
    pub fn from_environment(environment: &Environment) -> Result<Self, Invalid> {
        environment.refuse_unknown("OIDC_LOGIN_", &VARIABLES.iter().collect::<Vec<_>>())?;
        let plain_http = environment.switch_or("DOCSTORE_AUTH_PLAIN_HTTP", false)?;
        let login = login_provider(environment, plain_http)?;
        let iap = iap(environment, plain_http)?;
        let job = job_issuer(environment, plain_http, login.as_ref(), iap.as_ref())?;
        let development = environment
            .text("DEV_IDENTITY")
            .map(|text| Identity::parse(text).map_err(|why| Invalid::new("DEV_IDENTITY", why)))
            .transpose()?;
        let session_key = environment.secret_key("SESSION_SECRET")?;
        if session_key.as_ref().is_some_and(|key| key.expose_secret().len() < SESSION_KEY_BYTES_MIN) {
            let reason = format!("is shorter than {SESSION_KEY_BYTES_MIN} bytes; try `openssl rand -base64 32`");
            return Err(Invalid::new("SESSION_SECRET", reason));
        }
        let keys = CacheLimits {
            fresh: environment.seconds_or("DOCSTORE_AUTH_KEYS_FRESH_SECONDS", 3600, 1..=86_400)?,
            stale: environment.seconds_or("DOCSTORE_AUTH_KEYS_STALE_SECONDS", 86_400, 1..=604_800)?,
            interval: environment.seconds_or("DOCSTORE_AUTH_KEYS_INTERVAL_SECONDS", 10, 1..=3600)?,
        };
        let bytes = environment.number_or("DOCSTORE_AUTH_CREDENTIAL_BYTES_MAX", 16_384, 1024..=65_536)?;
        Ok(Self {
            development,
            published: published(environment, login.as_ref()),
            login,
            session_key,
            session_life: environment.seconds_or("DOCSTORE_SESSION_SECONDS", 86_400, 60..=2_592_000)?,
            iap,
            job,
            leeway: environment.seconds_or("DOCSTORE_AUTH_LEEWAY_SECONDS", 30, 0..=300)?,
            credential_bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
            keys,
            fetch_timeout: environment.seconds_or("DOCSTORE_AUTH_FETCH_TIMEOUT_SECONDS", 5, 1..=60)?,
        })
    }

    /// The settings in which everybody is this identity.
    ///
    /// # Errors
    /// Never by itself; the presets are read as any other setting is.
    pub fn development(identity: Identity) -> Result<Self, Invalid> {
        let settings = Self::from_environment(&Environment::default())?;
        Ok(Self { development: Some(identity), ..settings })
    }

    /// Whether everybody is the development identity.
    #[must_use]
    pub fn is_development(&self) -> bool {
        self.development.is_some()
    }
}

fn login_provider(environment: &Environment, plain_http: bool) -> Result<Option<LoginProvider>, Invalid> {
    let issuer = environment.text("OIDC_LOGIN_ISSUER").unwrap_or(GOOGLE_ISSUERS[0]);
    let google = GOOGLE_ISSUERS.contains(&issuer);
    if !google {
        let url = address("OIDC_LOGIN_ISSUER", issuer, plain_http)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Invalid::new("OIDC_LOGIN_ISSUER", "an issuer has neither query nor fragment"));
        }
    }
    let endpoint = |name: &str, preset: &str| match environment.text(name).or(google.then_some(preset)) {
        Some(text) => address(name, text, plain_http).map(Some),
        None => Ok(None),
    };
    let jwks_url = endpoint("OIDC_LOGIN_JWKS_URL", GOOGLE_JWKS_URL)?;
    let authorization_url = endpoint("OIDC_LOGIN_AUTHORIZATION_URL", GOOGLE_AUTHORIZATION_URL)?;
    let token_url = endpoint("OIDC_LOGIN_TOKEN_URL", GOOGLE_TOKEN_URL)?;
    let Some(client_id) = environment.text("OAUTH_CLIENT_ID") else {
        let dangling = ["OAUTH_CLIENT_SECRET", "OAUTH_CLI_CLIENT_ID", "OIDC_LOGIN_ISSUER"];
        // A provider without a client id would verify nobody, which is not what was meant.
        return match dangling.into_iter().find(|name| environment.text(name).is_some()) {
            Some(name) => Err(Invalid::new("OAUTH_CLIENT_ID", format!("is required, since {name} is set"))),
            None => Ok(None),
        };
    };
    let mut audiences = vec![client_id.to_owned()];
    audiences.extend(environment.text("OAUTH_CLI_CLIENT_ID").map(str::to_owned));
    let issuers = if google { GOOGLE_ISSUERS.map(str::to_owned).to_vec() } else { vec![issuer.to_owned()] };
    Ok(Some(LoginProvider {
        issuer: issuer.to_owned(),
        issuers,
        jwks_url,
        authorization_url,
        token_url,
        client_id: client_id.to_owned(),
        client_secret: environment.secret("OAUTH_CLIENT_SECRET"),
        audiences,
        plain_http,
    }))
}

fn iap(environment: &Environment, plain_http: bool) -> Result<Option<IapIssuer>, Invalid> {
    let any_audience = environment.switch_or("IAP_ALLOW_ANY_AUDIENCE", false)?;
    let text = environment.text("IAP_JWKS_URL").unwrap_or(IAP_JWKS_URL);
    let jwks_url = address("IAP_JWKS_URL", text, plain_http)?;
    let issuer = environment.text("IAP_ISSUER").unwrap_or(IAP_ISSUER).to_owned();
    let audiences: Vec<String> = environment
        .text("IAP_AUDIENCE")
        .into_iter()
        .flat_map(|text| text.split(','))
        .map(|audience| audience.trim().to_owned())
        .filter(|audience| !audience.is_empty())
        .collect();
    match (audiences.is_empty(), any_audience) {
        (false, true) => Err(Invalid::new("IAP_ALLOW_ANY_AUDIENCE", "contradicts IAP_AUDIENCE; set only one of them")),
        (false, false) => Ok(Some(IapIssuer { issuers: vec![issuer], audiences: Some(audiences), jwks_url })),
        (true, true) => Ok(Some(IapIssuer { issuers: vec![issuer], audiences: None, jwks_url })),
        (true, false) if environment.text("IAP_CLIENT_ID").is_some() => Err(Invalid::new(
            "IAP_AUDIENCE",
            "is required, since IAP_CLIENT_ID turns on IAP: without it every project behind IAP, anybody's, could mint \
             assertions for this server; IAP_ALLOW_ANY_AUDIENCE=true accepts that",
        )),
        (true, false) => Ok(None),
    }
}

fn job_issuer(
    environment: &Environment,
    plain_http: bool,
    login: Option<&LoginProvider>,
    iap: Option<&IapIssuer>,
) -> Result<JobIssuer, Invalid> {
    if let Some(text) = environment.text("OIDC_JWKS_URL") {
        address("OIDC_JWKS_URL", text, plain_http)?;
    }
    let issuer = environment.text("OIDC_ISSUER").unwrap_or(JOB_ISSUER).to_owned();
    let others = login.into_iter().flat_map(|login| &login.issuers).chain(iap.into_iter().flat_map(|iap| &iap.issuers));
    if others.into_iter().any(|other| *other == issuer) {
        return Err(Invalid::new("OIDC_ISSUER", "is also an issuer of people's tokens; jobs need one of their own"));
    }
    Ok(JobIssuer { issuer })
}

/// What `ds login` is told (contract, server §4.3). A proxy in front of everything comes first, since nobody gets to the
/// server without logging in to it.
fn published(environment: &Environment, login: Option<&LoginProvider>) -> DsConfig {
    let auth = if let Some(client_id) = environment.text("IAP_CLIENT_ID") {
        DsConfigAuth::iap(client_id, environment.text("IAP_CLIENT_SECRET"))
    } else if let Some(login) = login {
        let client_id = environment.text("OAUTH_CLI_CLIENT_ID").unwrap_or(&login.client_id);
        let issuer = (!GOOGLE_ISSUERS.contains(&login.issuer.as_str())).then_some(login.issuer.as_str());
        DsConfigAuth::oauth(client_id, issuer)
    } else {
        DsConfigAuth::none()
    };
    DsConfig { auth }
}

fn address(name: &str, text: &str, plain_http: bool) -> Result<Url, Invalid> {
    let url = Url::parse(text.trim()).map_err(|why| Invalid::new(name, format!("'{text}' is no address: {why}")))?;
    if is_safe_way(&url, plain_http) {
        Ok(url)
    } else {
        Err(Invalid::new(name, format!("'{text}' must start with https:// (http only on loopback)")))
    }
}
