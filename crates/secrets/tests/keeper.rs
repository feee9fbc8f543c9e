//! Sealing and opening, with key files and with a stand-in that speaks the protocol of Cloud KMS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use docstore_secrets::{Binding, CannotOpen, Keeper, KeyPlace, Layout, Sealed, Settings};
use serde_json::{Value, json};
use uuid::Uuid;

const HERE: Binding<'_> = Binding::RepoSecret { repo_id: 7, name: "TOKEN" };
const SIGNING: Binding<'_> = Binding::SigningSecret { subscription_id: Uuid::from_u128(7), id: Uuid::from_u128(8) };
const KMS_KEY: &str = "projects/p/locations/global/keyRings/r/cryptoKeys/k";

fn file(path: &Path, create: bool) -> KeyPlace {
    KeyPlace::File { path: path.to_owned(), create }
}

fn settings(current: KeyPlace, old: Vec<KeyPlace>) -> Settings {
    Settings { current: Some(current), old, endpoint: None, anonymous: true }
}

async fn keeper(settings: &Settings) -> Keeper {
    Keeper::open(settings).await.unwrap().unwrap()
}

async fn local(folder: &Path, name: &str) -> Keeper {
    keeper(&settings(file(&folder.join(name), true), Vec::new())).await
}

#[tokio::test]
async fn what_signs_webhooks_opens_for_its_subscription_and_row() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = local(folder.path(), "key").await;
    let sealed = keeper.seal(SIGNING, b"s3cret").await.unwrap();
    assert_eq!(keeper.unseal(SIGNING, &sealed).await.unwrap().as_slice(), b"s3cret");
    let (one, other) = (Uuid::from_u128(7), Uuid::from_u128(8));
    for elsewhere in [
        Binding::SigningSecret { subscription_id: other, id: other },
        Binding::SigningSecret { subscription_id: one, id: one },
        HERE,
    ] {
        assert!(matches!(keeper.unseal(elsewhere, &sealed).await, Err(CannotOpen::Wrong)));
    }
    // The unbound layout never was in such a place.
    let unbound = Sealed { layout: Layout::Unbound, ..sealed };
    assert!(matches!(keeper.unseal(SIGNING, &unbound).await, Err(CannotOpen::Wrong)));
}

#[tokio::test]
async fn a_value_opens_in_its_place_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = local(folder.path(), "key").await;
    let sealed = keeper.seal(HERE, b"s3cret").await.unwrap();
    assert_eq!(keeper.unseal(HERE, &sealed).await.unwrap().as_slice(), b"s3cret");
    assert_eq!((sealed.ciphertext.len(), sealed.nonce.len(), sealed.encrypted_data_key.len()), (6 + 16, 12, 60));
    assert_eq!(sealed.key_name, "local:key");
    for elsewhere in
        [Binding::RepoSecret { repo_id: 8, name: "TOKEN" }, Binding::RepoSecret { repo_id: 7, name: "OTHER" }, SIGNING]
    {
        assert!(matches!(keeper.unseal(elsewhere, &sealed).await, Err(CannotOpen::Wrong)));
    }
    // Saying that it is of the old layout does not unbind it.
    let unbound = Sealed { layout: Layout::Unbound, ..sealed.clone() };
    assert!(matches!(keeper.unseal(HERE, &unbound).await, Err(CannotOpen::Wrong)));
    for part in 0..3 {
        let mut changed = sealed.clone();
        let bytes = match part {
            0 => &mut changed.ciphertext,
            1 => &mut changed.nonce,
            _ => &mut changed.encrypted_data_key,
        };
        bytes[3] ^= 1;
        assert!(matches!(keeper.unseal(HERE, &changed).await, Err(CannotOpen::Wrong)), "part {part}");
        let shortened = Sealed { nonce: Vec::new(), encrypted_data_key: vec![1], ..sealed.clone() };
        assert!(matches!(keeper.unseal(HERE, &shortened).await, Err(CannotOpen::Wrong)));
    }
    let again = keeper.seal(HERE, b"s3cret").await.unwrap();
    assert_ne!(again.ciphertext, sealed.ciphertext, "each write has a key and a nonce of its own");
}

/// A row of the old layout, made with another implementation of AES-256-GCM (Python's `cryptography`): the key file is 32
/// bytes of 0x11, the data key of 0x22, nonces of 0x33 and 0x44.
#[tokio::test]
async fn the_old_layout_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev-encryption-key");
    std::fs::write(&path, [0x11; 32]).unwrap();
    let keeper = keeper(&settings(file(&path, false), Vec::new())).await;
    let old = Sealed {
        layout: Layout::Unbound,
        ciphertext: STANDARD.decode("Ga+iygNNGh1tFLrvSbE8AMVD/fcxHUNKEg==").unwrap(),
        nonce: vec![0x33; 12],
        encrypted_data_key: STANDARD
            .decode("RERERERERERERERE7mdqTGgaBhXLsr2/CshVzrro7hmaLx319XHDQR7pCP5pInzC4uP74q07YVfYt692")
            .unwrap(),
        key_name: "local:dev-encryption-key".to_owned(),
    };
    assert_eq!(keeper.unseal(HERE, &old).await.unwrap().as_slice(), b"old value");
    assert!(!keeper.is_current(&old));
}

#[tokio::test]
async fn old_keys_open_and_the_new_one_seals() {
    let folder = tempfile::tempdir().unwrap();
    let old = local(folder.path(), "one").await.seal(HERE, b"x").await.unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let alone = local(folder.path(), "two").await;
    assert!(matches!(alone.unseal(HERE, &old).await, Err(CannotOpen::UnknownKey(name)) if name == "local:one"));
    let both = keeper(&settings(file(&two, false), vec![file(&one, false)])).await;
    let value = both.unseal(HERE, &old).await.unwrap();
    assert!(!both.is_current(&old));
    let new = both.seal(HERE, &value).await.unwrap();
    assert!(both.is_current(&new));
    assert_eq!(alone.unseal(HERE, &new).await.unwrap().as_slice(), b"x");
}

#[tokio::test]
async fn a_key_file_is_private_and_of_the_right_length() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/key");
    let missing = Keeper::open(&settings(file(&path, false), Vec::new())).await.unwrap_err();
    assert!(missing.to_string().contains("No such file"), "{missing}");
    keeper(&settings(file(&path, true), Vec::new())).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    for length in [31, 33] {
        std::fs::write(&path, vec![0; length]).unwrap();
        let refused = Keeper::open(&settings(file(&path, true), Vec::new())).await.unwrap_err();
        assert!(refused.to_string().ends_with("must hold exactly 32 bytes"), "{refused}");
    }
}

/// A stand-in for Cloud KMS: its REST interface, with a table in place of a key.
#[derive(Clone, Default)]
struct KmsStandIn(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    wrapped: HashMap<String, (String, String)>,
    requests: usize,
    damage: bool,
    down: bool,
}

fn crc(bytes: &[u8]) -> String {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    (!crc).to_string()
}

fn text<'a>(body: &'a Value, key: &str) -> &'a str {
    body[key].as_str().unwrap_or_default()
}

async fn answer(
    State(kms): State<KmsStandIn>,
    axum::extract::Path(path): axum::extract::Path<String>,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut state = kms.0.lock().unwrap();
    state.requests += 1;
    let refusal = |status: StatusCode, word: &str| {
        (status, Json(json!({"error": {"code": status.as_u16(), "message": word, "status": word}})))
    };
    if state.down {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");
    }
    let (name, verb) = path.rsplit_once(':').unwrap();
    assert_eq!(name, KMS_KEY);
    let associated = text(&body, "additionalAuthenticatedData").to_owned();
    assert_eq!(text(&body, "additionalAuthenticatedDataCrc32c"), crc(&STANDARD.decode(&associated).unwrap()));
    match verb {
        "encrypt" => {
            let plain = text(&body, "plaintext").to_owned();
            assert_eq!(text(&body, "plaintextCrc32c"), crc(&STANDARD.decode(&plain).unwrap()));
            let wrapped = format!("wrapped {}", state.wrapped.len());
            let encoded = STANDARD.encode(&wrapped);
            state.wrapped.insert(encoded.clone(), (plain, associated));
            let answer = json!({"name": format!("{KMS_KEY}/cryptoKeyVersions/1"), "ciphertext": encoded,
                "ciphertextCrc32c": crc(wrapped.as_bytes()), "verifiedPlaintextCrc32c": !state.damage,
                "verifiedAdditionalAuthenticatedDataCrc32c": true});
            (StatusCode::OK, Json(answer))
        }
        "decrypt" => match state.wrapped.get(text(&body, "ciphertext")) {
            Some((plain, bound)) if *bound == associated => {
                let sum = if state.damage { "1".to_owned() } else { crc(&STANDARD.decode(plain).unwrap()) };
                (StatusCode::OK, Json(json!({"plaintext": plain, "plaintextCrc32c": sum})))
            }
            _ => refusal(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
        },
        other => panic!("KMS has no {other}"),
    }
}

#[tokio::test]
async fn cloud_kms_wraps_the_data_keys() {
    let kms = KmsStandIn::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/{*path}", post(answer)).with_state(kms.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let settings = Settings {
        current: Some(KeyPlace::Kms(KMS_KEY.to_owned())),
        old: Vec::new(),
        endpoint: Some(endpoint),
        anonymous: true,
    };
    let keeper = keeper(&settings).await;
    let sealed = keeper.seal(HERE, b"s3cret").await.unwrap();
    assert_eq!(sealed.key_name, KMS_KEY);
    assert_eq!(keeper.unseal(HERE, &sealed).await.unwrap().as_slice(), b"s3cret");
    assert_eq!(kms.0.lock().unwrap().requests, 2, "one call for each");
    let elsewhere = Binding::RepoSecret { repo_id: 8, name: "TOKEN" };
    assert!(matches!(keeper.unseal(elsewhere, &sealed).await, Err(CannotOpen::Wrong)));
    let foreign = Sealed { key_name: "projects/other".to_owned(), ..sealed.clone() };
    let before = kms.0.lock().unwrap().requests;
    assert!(matches!(keeper.unseal(HERE, &foreign).await, Err(CannotOpen::UnknownKey(_))));
    assert_eq!(kms.0.lock().unwrap().requests, before, "KMS is not asked about other keys");
    kms.0.lock().unwrap().damage = true;
    assert!(keeper.seal(HERE, b"s3cret").await.is_err());
    assert!(matches!(keeper.unseal(HERE, &sealed).await, Err(CannotOpen::Unavailable(_))));
    kms.0.lock().unwrap().down = true;
    assert!(matches!(keeper.unseal(HERE, &sealed).await, Err(CannotOpen::Unavailable(_))));
}
