//! Signing in with a browser: the authorisation code flow with a loopback redirect (RFC 8252) and PKCE (RFC 7636).

use std::{borrow::Cow, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use docstore_client::AuthConfig;
use rand::Rng;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use url::Url;

use super::{
    Credential, CredentialStore,
    credentials::email_of,
    tokens::{GOOGLE_TOKEN_ENDPOINT, ask_issuer},
};
use crate::{Exit, Failure, failure::About, session::Session};

const GOOGLE_AUTHORIZATION_ENDPOINT: &str = "https://accounts.google.com/o/oauth2/v2/auth";
/// How long a person may take in the browser.
const SIGN_IN_TIME_MAX: Duration = Duration::from_secs(5 * 60);
/// How long the browser may take to send the request of a redirect.
const CALLBACK_TIME_MAX: Duration = Duration::from_secs(10);
/// The head of the redirect's request; codes are short.
const CALLBACK_BYTES_MAX: usize = 16 * 1024;
/// The client to fall back to when a server's discovery does not answer.
const DEFAULT_CLIENT_ID: Option<&str> = option_env!("DS_DEFAULT_CLIENT_ID");
const DEFAULT_CLIENT_SECRET: Option<&str> = option_env!("DS_DEFAULT_CLIENT_SECRET");

/// Signs in and stores what came of it.
pub(crate) async fn login(session: &mut Session<'_>, server: &str, browser: bool) -> Result<(), Failure> {
    let client = session.client(server, None)?;
    let default_id = DEFAULT_CLIENT_ID.unwrap_or_default();
    let auth = match client.discovery().await {
        Ok(config) => config.auth,
        Err(error) if !default_id.is_empty() => {
            session.detail(format!("{server} does not say how to sign in: {error}"));
            AuthConfig { r#type: "oauth".to_owned(), ..AuthConfig::default() }
        }
        Err(error) => {
            let mut failure = Failure::from(error);
            failure.rename(format!("{server} does not say how to sign in: {}", failure.message()));
            return Err(failure);
        }
    };
    if auth.r#type.is_empty() || auth.r#type == "none" {
        session.say(format!("{server} does not require authentication"));
        return Ok(());
    }
    let or_default = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let client_id = or_default(&auth.client_id, default_id);
    if client_id.is_empty() {
        return Err(Failure::new(format!("could not determine the OAuth client ID of {server}")).exit(Exit::Auth));
    }
    let client_secret = or_default(&auth.client_secret, DEFAULT_CLIENT_SECRET.unwrap_or_default());
    let authorization_endpoint = or_default(&auth.authorization_endpoint, GOOGLE_AUTHORIZATION_ENDPOINT);
    let token_endpoint = or_default(&auth.token_endpoint, GOOGLE_TOKEN_ENDPOINT);
    let store = CredentialStore::of(session.context)
        .ok_or_else(|| Failure::new("there is no configuration folder to store the sign-in in: HOME is not set"))?;

    let loopback = Loopback::listen().await?;
    let (state, nonce, verifier) = (random_text(), random_text(), random_text());
    let mut address = Url::parse(&authorization_endpoint)
        .map_err(|error| Failure::new(format!("the sign-in address of {server} makes no sense: {error}")))?;
    address.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &client_id),
        ("redirect_uri", &loopback.redirect_uri),
        ("scope", "openid email"),
        ("access_type", "offline"),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier))),
        ("code_challenge_method", "S256"),
    ]);
    session.print("Open this address to sign in:");
    session.print(&address);
    session.flush();
    if browser && let Err(error) = (session.context.open_browser)(address.as_str()) {
        session.detail(format!("cannot open a browser: {error}"));
    }

    let code = timeout(SIGN_IN_TIME_MAX, loopback.wait_for_code(&state))
        .await
        .map_err(|_| Failure::new("nobody signed in within five minutes").exit(Exit::Auth))??;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &loopback.redirect_uri),
        ("client_id", &client_id),
        ("client_secret", &client_secret),
        ("code_verifier", &verifier),
    ];
    let answer = ask_issuer(&token_endpoint, &form)
        .await
        .map_err(|error| Failure::new(error.message).exit(Exit::Network))?
        .ok_or_else(|| Failure::new("the sign-in was refused").exit(Exit::Auth))?;
    if !answer.id_token.is_empty() && claim(&answer.id_token, "nonce").is_some_and(|claimed| claimed != nonce) {
        return Err(Failure::new("the sign-in was answered with a token for another one").exit(Exit::Auth));
    }
    let email = email_of(&answer.id_token);
    let blank = Credential { client_id, client_secret, ..Credential::default() };
    let stored_endpoint = if token_endpoint == GOOGLE_TOKEN_ENDPOINT { String::new() } else { token_endpoint };
    let credential = Credential { token_endpoint: stored_endpoint, ..blank.renewed(answer, (session.context.now)()) };
    store.set(server, Some(credential))?;
    session.say(match email {
        Some(email) => format!("Logged in as {email}"),
        None => "Logged in successfully".to_owned(),
    });
    Ok(())
}

/// 256 random bits: unguessable as state and nonce, and as long as a PKCE verifier should be.
fn random_text() -> String {
    let mut bytes = [0_u8; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn claim(token: &str, name: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get(name).and_then(serde_json::Value::as_str).map(str::to_owned)
}

/// A listener on this machine that the browser is sent back to.
struct Loopback {
    listeners: Vec<TcpListener>,
    redirect_uri: String,
}

impl Loopback {
    async fn listen() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("cannot listen on this machine: {error}"));
        let first = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let port = first.local_addr().map_err(failed)?.port();
        let mut listeners = vec![first];
        // `localhost` may mean either to the browser.
        listeners.extend(TcpListener::bind(("::1", port)).await);
        Ok(Self { listeners, redirect_uri: format!("http://localhost:{port}/callback") })
    }

    async fn wait_for_code(&self, state: &str) -> Result<String, Failure> {
        loop {
            let accepts = self.listeners.iter().map(|listener| Box::pin(listener.accept()));
            let (accepted, _, _) = futures::future::select_all(accepts).await;
            let Ok((mut stream, _)) = accepted else { continue };
            // A connection that says nothing, as browsers open them in advance, must not keep others waiting for long.
            let Ok(Some(target)) = timeout(CALLBACK_TIME_MAX, read_target(&mut stream)).await else { continue };
            let (status, text, outcome) = answer_callback(&target, state);
            let _ = respond(&mut stream, status, text).await;
            match outcome {
                Some(Ok(code)) => return Ok(code),
                Some(Err(message)) => return Err(Failure::new(message).exit(Exit::Auth)),
                None => {}
            }
        }
    }
}

type CallbackAnswer = (&'static str, &'static str, Option<Result<String, String>>);

fn answer_callback(target: &str, state: &str) -> CallbackAnswer {
    let Ok(url) = Url::parse("http://localhost").and_then(|base| base.join(target)) else {
        return ("400 Bad Request", "bad request", None);
    };
    if url.path() != "/callback" {
        return ("404 Not Found", "not found", None);
    }
    let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
    if parameter("state") != Some(Cow::Borrowed(state)) {
        let message = "the answer belongs to another sign-in (wrong state)".to_owned();
        return ("400 Bad Request", "wrong state", Some(Err(message)));
    }
    match parameter("code") {
        Some(code) if !code.is_empty() => {
            ("200 OK", "Signed in. You can close this window.", Some(Ok(code.into_owned())))
        }
        _ => {
            let reason = parameter("error").map(|error| format!(": {}", crate::output::printable(&error)));
            let message = format!("the sign-in was not completed{}", reason.unwrap_or_default());
            ("400 Bad Request", "missing code", Some(Err(message)))
        }
    }
}

/// The target of the request, such as `/callback?code=…`.
async fn read_target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await.ok()?;
        if count == 0 || head.len() + count > CALLBACK_BYTES_MAX {
            return None;
        }
        head.extend_from_slice(&buffer[..count]);
    }
    let line = String::from_utf8_lossy(&head);
    let mut words = line.lines().next()?.split(' ');
    (words.next()? == "GET").then(|| words.next().map(str::to_owned))?
}

async fn respond(stream: &mut TcpStream, status: &str, text: &str) -> Result<(), Failure> {
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(response.as_bytes()).await.about("answer", std::path::Path::new("the browser"))?;
    stream.shutdown().await.about("answer", std::path::Path::new("the browser"))
}

#[cfg(test)]
mod tests {
    use super::answer_callback;

    #[test]
    fn only_the_answer_to_this_sign_in_counts() {
        let outcome = |target: &str| answer_callback(target, "s");
        assert_eq!(outcome("/callback?state=s&code=a%2Fb").2, Some(Ok("a/b".to_owned())));
        assert!(matches!(outcome("/callback?state=t&code=x"), ("400 Bad Request", _, Some(Err(_)))));
        assert!(matches!(outcome("/callback?state=s"), ("400 Bad Request", _, Some(Err(_)))));
        assert!(outcome("/callback?state=s&error=access_denied").2.unwrap().unwrap_err().contains("access_denied"));
        assert!(matches!(outcome("/favicon.ico"), ("404 Not Found", _, None)));
    }
}
