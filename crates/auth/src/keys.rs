use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// More keys than any issuer publishes; the rest of a longer list is not looked at.
const KEYS_MAX: usize = 64;

/// The longest key id that is remembered or looked up.
pub(crate) const KEY_ID_BYTES_MAX: usize = 256;

/// RSA moduli from 2048 to 8192 bits: below is forgeable, above costs the server more than the caller.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// The longest RSA exponent; everybody's is 65537.
const RSA_EXPONENT_BYTES_MAX: usize = 8;

/// The bytes of one coordinate on P-256.
const P256_COORDINATE_BYTES: usize = 32;

/// A public key with the one algorithm that it may verify.
#[derive(Clone, Debug)]
pub(crate) struct VerifyingKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl VerifyingKey {
    /// The name of the algorithm as a token's header spells it.
    pub(crate) fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::ES256 => "ES256",
            _ => "RS256",
        }
    }

    /// Whether the signature (base64url) is this key's over the message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm).unwrap_or(false)
    }
}

/// The keys of one issuer (RFC 7517 §5) by key id.
#[derive(Debug, Default)]
pub(crate) struct KeySet(HashMap<String, VerifyingKey>);

/// One key as published. What is not listed here is not looked at.
#[derive(Deserialize)]
struct PublishedKey {
    kid: String,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct PublishedKeys {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a published set. Entries that cannot verify a token here (other types, curves, purposes, or sizes, or
    /// no key id) are skipped; of two with one id the first counts.
    ///
    /// # Errors
    /// When it is no key set, or not one entry can be used: such an answer must not replace a good set.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let published: PublishedKeys = serde_json::from_slice(json).map_err(|why| format!("no key set: {why}"))?;
        let mut keys = HashMap::new();
        for entry in published.keys.into_iter().take(KEYS_MAX) {
            let Ok(key) = serde_json::from_value::<PublishedKey>(entry) else { continue };
            if let Some(usable) = usable(&key) {
                keys.entry(key.kid).or_insert(usable);
            }
        }
        if keys.is_empty() { Err("the key set holds no key that can be used".to_owned()) } else { Ok(Self(keys)) }
    }

    /// The key with this id.
    pub(crate) fn find(&self, kid: &str) -> Option<VerifyingKey> {
        self.0.get(kid).cloned()
    }
}

/// Binds a key to its algorithm: this is the only place where an algorithm is chosen.
fn usable(key: &PublishedKey) -> Option<VerifyingKey> {
    let for_signing = key.usage.as_deref().is_none_or(|usage| usage == "sig");
    if !for_signing || key.kid.is_empty() || key.kid.len() > KEY_ID_BYTES_MAX {
        return None;
    }
    let agrees = |name: &str| key.alg.as_deref().is_none_or(|alg| alg == name);
    match key.kty.as_str() {
        "RSA" if agrees("RS256") => {
            let modulus = decoded(key.n.as_deref())?;
            let exponent = decoded(key.e.as_deref())?;
            let sound =
                RSA_MODULUS_BYTES.contains(&modulus.len()) && (1..=RSA_EXPONENT_BYTES_MAX).contains(&exponent.len());
            sound.then(|| VerifyingKey {
                algorithm: Algorithm::RS256,
                key: DecodingKey::from_rsa_raw_components(&modulus, &exponent),
            })
        }
        "EC" if agrees("ES256") && key.crv.as_deref() == Some("P-256") => {
            let (x, y) = (decoded(key.x.as_deref())?, decoded(key.y.as_deref())?);
            let sound = x.len() == P256_COORDINATE_BYTES && y.len() == P256_COORDINATE_BYTES;
            // The uncompressed point of SEC 1 §2.3.3; verification refuses one that is not on the curve.
            let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
            sound.then(|| VerifyingKey { algorithm: Algorithm::ES256, key: DecodingKey::from_ec_der(&point) })
        }
        _ => None,
    }
}

fn decoded(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}
