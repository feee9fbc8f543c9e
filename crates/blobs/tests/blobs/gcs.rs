//! What is special about a bucket: requests that fail, get lost or never end, and credentials.

use std::{iter::repeat_n, process::Command, time::Duration};

use docstore_blobs::{
    BlobStore, Gcs, GetError, Settings, Store,
    testing::{ACCESS_TOKEN, BUCKET, Fault, GcsStandIn, local_settings},
};

use crate::fixtures::{FRAME, Fixture, NO_LIMIT, Place, noise, portions, put_outcome, read};

const MIB: usize = 1024 * 1024;

fn stand_in(fixture: &Fixture) -> &GcsStandIn {
    let Place::StandIn(stand_in) = &fixture.place else { panic!("not a stand-in") };
    stand_in
}

#[tokio::test]
async fn short_content_is_one_request_and_long_content_is_parts() {
    let fixture = Fixture::stand_in().await;
    let (key, stored) = fixture.put(&noise(1, 3 * MIB)).await;
    read(&fixture.store, &key, &stored, None).await.1.unwrap();
    fixture.put(&noise(2, 12 * MIB)).await;
    assert_eq!(
        stand_in(&fixture).requests(),
        [
            "POST media",
            "GET media bytes=-512",
            "GET media bytes=0-3145727",
            "POST resumable",
            "PUT bytes 0-4194303/*",
            "PUT bytes 4194304-8388607/*",
            "PUT bytes 8388608-12582911/*",
            "PUT bytes 12582912-12584719/12584720",
        ]
    );
    assert!(stand_in(&fixture).authorizations().iter().all(Option::is_none));
}

#[tokio::test]
async fn a_range_costs_the_frames_that_it_touches() {
    let fixture = Fixture::stand_in().await;
    let (key, stored) = fixture.put(&noise(3, 4 * FRAME)).await;
    read(&fixture.store, &key, &stored, Some(300_000..300_001)).await.1.unwrap();
    assert_eq!(stand_in(&fixture).requests()[1..], ["GET media bytes=-224", "GET media bytes=262144-524287"]);
}

/// Puts and reads 12 MiB, which are seven requests, once for each request that meets the faults.
async fn every_request_meets(faults: &[Fault]) {
    let content = noise(4, 12 * MIB);
    for request in 0..7 {
        let fixture = Fixture::stand_in().await;
        stand_in(&fixture).inject(repeat_n(Fault::None, request).chain(faults.iter().copied()));
        let (key, stored) = fixture.put(&content).await;
        let (bytes, end) = read(&fixture.store, &key, &stored, None).await;
        end.unwrap();
        assert!(bytes == content, "request {request} meets {faults:?}");
        assert!(stand_in(&fixture).requests().len() > 7, "request {request} did not meet {faults:?}");
        assert_eq!(stand_in(&fixture).objects(), [key.as_str()]);
    }
}

#[tokio::test]
async fn a_request_that_fails_for_now_is_sent_again() {
    every_request_meets(&[Fault::Status(503)]).await;
    every_request_meets(&[Fault::Status(500), Fault::Status(429)]).await;
}

#[tokio::test]
async fn a_lost_answer_does_no_harm() {
    every_request_meets(&[Fault::LostAnswer]).await;
    let fixture = Fixture::stand_in().await;
    stand_in(&fixture).inject([Fault::LostAnswer, Fault::None, Fault::LostAnswer]);
    let (key, _) = fixture.put(&noise(5, 10)).await;
    fixture.store.delete(&key).await.unwrap();
    assert_eq!(stand_in(&fixture).requests(), ["POST media", "POST media", "DELETE", "DELETE"]);
}

#[tokio::test]
async fn a_part_of_which_little_is_kept_is_continued() {
    let fixture = Fixture::stand_in().await;
    let content = noise(6, 6 * MIB);
    let kept = Fault::Partial(MIB as u64);
    stand_in(&fixture).inject([Fault::None, kept, kept, Fault::Partial(0), Fault::None, kept]);
    let (key, stored) = fixture.put(&content).await;
    assert!(read(&fixture.store, &key, &stored, None).await.0 == content);
    assert_eq!(
        stand_in(&fixture).requests()[..8],
        [
            "POST resumable",
            "PUT bytes 0-4194303/*",
            "PUT bytes 1048576-4194303/*",
            "PUT bytes 2097152-4194303/*",
            "PUT bytes 2097152-4194303/*",
            "PUT bytes 4194304-6292399/6292400",
            "PUT bytes 5242880-6292399/6292400",
            "GET media bytes=-944",
        ]
    );
    // But not for ever.
    stand_in(&fixture).inject([Fault::None].into_iter().chain([Fault::Partial(0); 4]));
    let result = fixture.store.put(&fixture.store.new_key(1), portions(&content, FRAME), NO_LIMIT, None).await;
    assert_eq!(put_outcome(&result), "unavailable");
}

#[tokio::test]
async fn a_download_that_breaks_off_is_continued() {
    let fixture = Fixture::stand_in().await;
    let content = noise(7, 8 * FRAME);
    let (key, stored) = fixture.put(&content).await;
    stand_in(&fixture).inject([Fault::None, Fault::BrokenBody(10_000)].into_iter().chain([Fault::BrokenBody(0); 2]));
    let (bytes, end) = read(&fixture.store, &key, &stored, None).await;
    end.unwrap();
    assert!(bytes == content);
    // But not for ever.
    stand_in(&fixture).inject([Fault::None, Fault::BrokenBody(10_000)].into_iter().chain([Fault::BrokenBody(0); 3]));
    let (bytes, end) = read(&fixture.store, &key, &stored, None).await;
    assert!(matches!(end, Err(GetError::Unavailable(_))), "{end:?}");
    assert!(bytes.is_empty());
}

#[tokio::test]
async fn retries_end() {
    let fixture = Fixture::stand_in().await;
    let (key, stored) = fixture.put(&noise(8, FRAME)).await;
    stand_in(&fixture).inject([Fault::Status(503); 4]);
    let (bytes, end) = read(&fixture.store, &key, &stored, None).await;
    assert!(bytes.is_empty());
    assert!(matches!(end, Err(GetError::Unavailable(_))), "{end:?}");
    assert_eq!(stand_in(&fixture).requests()[1..], ["GET media bytes=-116"; 4]);
}

#[tokio::test]
async fn an_upload_that_is_refused_is_not_repeated_and_leaves_nothing() {
    let content = noise(9, 12 * MIB);
    for request in 0..5 {
        let fixture = Fixture::stand_in().await;
        stand_in(&fixture).inject(repeat_n(Fault::None, request).chain([Fault::Status(403)]));
        let key = fixture.store.new_key(1);
        let result = fixture.store.put(&key, portions(&content, FRAME), NO_LIMIT, None).await;
        let error = std::error::Error::source(&result.unwrap_err()).unwrap().to_string();
        assert_eq!(error, "Google Cloud Storage refused with 403 Forbidden: injected", "request {request}");
        assert!(fixture.everything().await.is_empty(), "request {request}");
    }
}

#[tokio::test]
async fn a_bucket_that_never_answers_is_given_up() {
    let fixture = Fixture::stand_in().await;
    let settings = Settings { timeout: Duration::from_millis(20), ..stand_in(&fixture).settings() };
    let store = BlobStore::open(settings).await.unwrap();
    let (key, stored) = fixture.put(&noise(10, 10)).await;
    stand_in(&fixture).inject([Fault::Silence; 100]);
    let (_, end) = read(&store, &key, &stored, None).await;
    assert!(matches!(end, Err(GetError::Unavailable(_))), "{end:?}");
    let result = store.put(&store.new_key(1), portions(&noise(10, 10), 10), NO_LIMIT, None).await;
    assert_eq!(put_outcome(&result), "unavailable");
    store.delete(&key).await.unwrap_err();
    store.check().await.unwrap_err();
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_not_ready() {
    let fixture = Fixture::stand_in().await;
    let store = Gcs { bucket: "other".to_owned(), endpoint: Some(stand_in(&fixture).endpoint()), anonymous: true };
    let store = BlobStore::open(Settings { store: Store::Gcs(store), ..local_settings("") }).await.unwrap();
    let error = store.check().await.unwrap_err();
    assert_eq!(error.to_string(), "the blob store failed asking the bucket");
    // Written once, asked for ever after.
    fixture.store.check().await.unwrap();
    fixture.store.check().await.unwrap();
    assert_eq!(stand_in(&fixture).requests(), ["GET", "POST media", "GET", "POST media", "GET"]);
}

const CHILD_ENDPOINT: &str = "DOCSTORE_BLOBS_TEST_CHILD_ENDPOINT";

/// Only does something when a test below starts it in a process of its own, because credentials come from the environment.
#[tokio::test]
async fn a_process_with_credentials() {
    let Ok(endpoint) = std::env::var(CHILD_ENDPOINT) else { return };
    let store = Gcs { bucket: BUCKET.to_owned(), endpoint: Some(endpoint), anonymous: false };
    let store = BlobStore::open(Settings { store: Store::Gcs(store), ..local_settings("") }).await.unwrap();
    store.check().await.unwrap();
}

async fn process_with_credentials(stand_in: &GcsStandIn, credentials: std::path::PathBuf) -> std::process::Output {
    let endpoint = stand_in.endpoint();
    let child = move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "gcs::a_process_with_credentials", "--nocapture"])
            .env(CHILD_ENDPOINT, endpoint)
            .env("GOOGLE_APPLICATION_CREDENTIALS", credentials)
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(child).await.unwrap()
}

#[tokio::test]
async fn application_default_credentials_are_sent() {
    let stand_in = GcsStandIn::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials.json");
    let credentials = serde_json::json!({
        "type": "authorized_user",
        "client_id": "id",
        "client_secret": "secret",
        "refresh_token": "refresh",
        "token_uri": format!("{}/token", stand_in.endpoint()),
    });
    std::fs::write(&file, credentials.to_string()).unwrap();
    let child = process_with_credentials(&stand_in, file).await;
    assert!(child.status.success(), "{child:?}");
    let bearer = Some(format!("Bearer {ACCESS_TOKEN}"));
    assert_eq!(stand_in.authorizations(), [bearer.clone(), bearer]);
}

#[tokio::test]
async fn credentials_that_cannot_be_read_are_refused_at_once() {
    let stand_in = GcsStandIn::start().await;
    let child = process_with_credentials(&stand_in, "/nonexistent/credentials.json".into()).await;
    assert!(!child.status.success());
    assert!(String::from_utf8_lossy(&child.stderr).contains("Client("), "{child:?}");
    assert!(stand_in.requests().is_empty());
}
