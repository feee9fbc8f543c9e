//! Receives webhooks and says of each whether it is genuine: all that a receiver has to do, to be copied.
//!
//! ```sh
//! SECRET=… cargo run -p docstore-webhooks --example receiver
//! ```
//!
//! It listens on a free port of this machine and prints one line per webhook: `verified`, its id and its body, or
//! `refused` and the reason. `scripts/demo` runs it.
//!
//! Either signature is enough for a receiver of one's own: that of DocStore over the body, or that of
//! [Standard Webhooks](https://www.standardwebhooks.com), for which there are libraries and which also stops an old
//! delivery from being sent again. This one insists on both, which shows how each is checked.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Events are smaller by far.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Request line and headers of a webhook take less than 2 KiB.
const HEAD_BYTES_MAX: u64 = 16 * 1024;

/// How far the clocks of sender and receiver may differ; what is older is somebody sending it again.
const AGE_SECONDS_MAX: u64 = 5 * 60;

/// How long a sender may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let secret = std::env::var("SECRET").map_err(|_| "SECRET must hold the secret of the subscription")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening http://{}/", listener.local_addr()?);
    // A webhook may come twice: when our answer was lost, for one. A real receiver keeps the ids where it keeps the rest.
    let mut seen = HashSet::new();
    for stream in listener.incoming() {
        if let Err(error) = answer(&stream?, &secret, &mut seen) {
            println!("refused {error}");
        }
    }
    Ok(())
}

/// Takes one webhook and answers it: 204 when it is genuine, else 401.
fn answer(mut stream: &TcpStream, secret: &str, seen: &mut HashSet<String>) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let webhook = Webhook::read(stream)?;
    let verified = webhook.verify(secret.as_bytes());
    let status = if verified.is_ok() { "204 No Content" } else { "401 Unauthorized\r\nContent-Length: 0" };
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n\r\n")?;
    let id = verified?;
    let again = if seen.insert(id.to_owned()) { "" } else { " again" };
    println!("verified{again} {id} {}", String::from_utf8_lossy(&webhook.body));
    Ok(())
}

/// What came, byte for byte: the signatures are over the bytes, not over what they mean.
struct Webhook {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Webhook {
    fn read(stream: &TcpStream) -> Result<Self, Box<dyn Error>> {
        let mut reader = BufReader::new(stream);
        let mut head = (&mut reader).take(HEAD_BYTES_MAX);
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if head.read_line(&mut line)? == 0 {
                return Err("the request has no end".into());
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
                None if line.trim_end().is_empty() => break,
                // The request line.
                None => None,
            };
        }
        let length: usize = headers.get("content-length").ok_or("the request says no length")?.parse()?;
        if length > BODY_BYTES_MAX {
            return Err("the body is too long".into());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(Self { headers, body })
    }

    fn header(&self, name: &str) -> Result<&str, String> {
        self.headers.get(name).map(String::as_str).ok_or_else(|| format!("there is no header {name}"))
    }

    /// Checks both signatures, and gives the id.
    fn verify(&self, secret: &[u8]) -> Result<&str, Box<dyn Error>> {
        // DocStore's own: HMAC-SHA256 of the body, in hexadecimal.
        let signature = self.header("x-docstore-signature")?.strip_prefix("sha256=").ok_or("an unknown signature")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
        mac.update(&self.body);
        // Compares in a time that tells nothing.
        mac.verify_slice(&hex::decode(signature)?).map_err(|_| "X-DocStore-Signature is of other bytes")?;

        // Standard Webhooks: of id, time and body, in base64; several ones while a secret is exchanged.
        let (id, timestamp) = (self.header("webhook-id")?, self.header("webhook-timestamp")?);
        #[expect(clippy::disallowed_methods, reason = "a program of its own, which has no clock handed in")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        if now.abs_diff(timestamp.parse()?) > AGE_SECONDS_MAX {
            return Err("it was sent long ago".into());
        }
        let key = match std::str::from_utf8(secret)?.strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded)?,
            None => secret.to_vec(),
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(&key)?;
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(&self.body);
        let genuine = |signature: &str| {
            let signature = signature.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
            signature.is_some_and(|signature| mac.clone().verify_slice(&signature).is_ok())
        };
        if self.header("webhook-signature")?.split(' ').any(genuine) {
            Ok(id)
        } else {
            Err("webhook-signature is of other bytes".into())
        }
    }
}
