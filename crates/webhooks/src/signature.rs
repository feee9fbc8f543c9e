use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// What stands before the hexadecimal digits in `X-DocStore-Signature`.
pub const HEADER_PREFIX: &str = "sha256=";

/// What a secret begins with that is base64 in the signatures of Standard Webhooks.
const STANDARD_PREFIX: &str = "whsec_";

/// The signatures of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// `X-DocStore-Signature`.
    pub wire: Option<String>,
    /// `X-DocStore-Signature-Previous`.
    pub wire_previous: Option<String>,
    /// `webhook-signature`.
    pub standard: Option<String>,
}

impl Signatures {
    /// Signs a body with the secret of a subscription, and with the one before it during a rotation.
    #[must_use]
    pub fn of(secrets: &[SecretString], id: &str, timestamp: i64, body: &[u8]) -> Self {
        let standard: Vec<String> =
            secrets.iter().map(|secret| standard_signature(secret, id, timestamp, body)).collect();
        Self {
            wire: secrets.first().map(|secret| wire_signature(secret, body)),
            wire_previous: secrets.get(1).map(|secret| wire_signature(secret, body)),
            standard: (!standard.is_empty()).then(|| standard.join(" ")),
        }
    }
}

/// The value of `X-DocStore-Signature`.
#[must_use]
pub fn wire_signature(secret: &SecretString, body: &[u8]) -> String {
    format!("{HEADER_PREFIX}{}", hex::encode(mac(secret.expose_secret().as_bytes(), &[body])))
}

fn standard_signature(secret: &SecretString, id: &str, timestamp: i64, body: &[u8]) -> String {
    let text = secret.expose_secret();
    let decoded = text.strip_prefix(STANDARD_PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
    let key = decoded.as_deref().unwrap_or(text.as_bytes());
    let before = format!("{id}.{timestamp}.");
    format!("v1,{}", STANDARD.encode(mac(key, &[before.as_bytes(), body])))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_specifications() {
        // The example of Standard Webhooks' own libraries.
        let secret = SecretString::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signatures = Signatures::of(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signatures.standard.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        // RFC 4231, test case 2.
        let wire = wire_signature(&SecretString::from("Jefe"), b"what do ya want for nothing?");
        assert_eq!(wire, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn two_secrets_make_two_signatures_the_new_one_first() {
        let [new, old] = ["new", "old"].map(SecretString::from);
        let both = Signatures::of(&[new.clone(), old.clone()], "id", 7, b"body");
        let alone = |secret: &SecretString| Signatures::of(std::slice::from_ref(secret), "id", 7, b"body");
        assert_eq!(both.wire, alone(&new).wire);
        assert_eq!(both.wire_previous, alone(&old).wire);
        let expected = format!("{} {}", alone(&new).standard.unwrap(), alone(&old).standard.unwrap());
        assert_eq!(both.standard, Some(expected));
        assert_eq!(Signatures::of(&[], "id", 7, b"body"), Signatures::default(), "nothing to sign with");
    }
}
