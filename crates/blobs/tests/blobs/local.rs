//! What is special about a disk: crashes, shared directories and directories that cannot be used.

use std::{convert::Infallible, process::Command};

use bytes::Bytes;
use docstore_blobs::{BlobStore, OpenError, testing::local_settings};
use futures::{StreamExt, channel::mpsc, future, stream};

use crate::fixtures::{FRAME, Fixture, NO_LIMIT, Place, files_below, noise, portions, put_outcome, read};

const CHILD_DIRECTORY: &str = "DOCSTORE_BLOBS_TEST_CHILD_DIRECTORY";

/// Only does something when the test below starts it in a process of its own: uploads and dies in the middle.
#[tokio::test]
async fn a_process_that_dies_while_it_uploads() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else { return };
    let store = BlobStore::open(local_settings(directory)).await.unwrap();
    let key = store.new_key(1);
    let death = stream::once(async { std::process::abort() });
    let _ = store.put(&key, portions(&noise(1, 8 * FRAME), FRAME).chain(death), NO_LIMIT, None).await;
}

#[tokio::test]
async fn what_a_killed_process_left_is_removed_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local::a_process_that_dies_while_it_uploads"])
        .env(CHILD_DIRECTORY, directory.path())
        .output()
        .unwrap();
    assert!(!child.status.success(), "{child:?}");
    let left = files_below(&directory);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with(".uploads/"), "{left:?}");

    BlobStore::open(local_settings(directory.path())).await.unwrap();
    assert!(files_below(&directory).is_empty());
}

#[tokio::test]
async fn a_second_server_leaves_the_uploads_of_the_first_alone() {
    let fixture = Fixture::local().await;
    let Place::Disk(directory) = &fixture.place else { panic!("not on disk") };
    let content = noise(2, 3 * FRAME);
    let (mut client, body) = mpsc::channel(0);
    let key = fixture.store.new_key(1);
    let upload = fixture.store.put(&key, body, NO_LIMIT, None);
    let second_server = async {
        let mut sent = portions(&content, FRAME);
        let mut send = async |portion: Result<Bytes, Infallible>| {
            future::poll_fn(|context| client.poll_ready(context)).await.and_then(|()| client.start_send(portion))
        };
        send(sent.next().await.unwrap()).await.unwrap();
        send(sent.next().await.unwrap()).await.unwrap();
        assert_eq!(files_below(directory).len(), 1);
        let second = BlobStore::open(local_settings(directory.path())).await.unwrap();
        assert_eq!(files_below(directory).len(), 1);
        send(sent.next().await.unwrap()).await.unwrap();
        client.close_channel();
        second
    };
    let (stored, second) = future::join(upload, second_server).await;
    let (bytes, end) = read(&second, &key, &stored.unwrap(), None).await;
    end.unwrap();
    assert!(bytes == content);
}

#[tokio::test]
async fn a_blob_that_is_deleted_while_it_is_read_is_read_to_its_end() {
    let fixture = Fixture::local().await;
    let content = noise(3, 4 * FRAME);
    let (key, stored) = fixture.put(&content).await;
    let stream = fixture.store.get(&key, &stored, None).await.unwrap();
    fixture.store.delete(&key).await.unwrap();
    assert!(stream.collect_bytes().await.unwrap() == content);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = BlobStore::open(local_settings(file.join("below"))).await.unwrap_err();
    assert!(matches!(&error, OpenError::Directory { path, .. } if *path == file.join("below")), "{error:?}");
}

#[tokio::test]
async fn a_directory_that_is_gone_is_not_ready_and_takes_nothing() {
    let fixture = Fixture::local().await;
    let Place::Disk(directory) = &fixture.place else { panic!("not on disk") };
    std::fs::remove_dir_all(directory.path()).unwrap();
    let unavailable = fixture.store.check().await.unwrap_err();
    assert_eq!(unavailable.to_string(), "the blob store failed writing to the blob directory");
    let result = fixture.store.put(&fixture.store.new_key(1), portions(&noise(5, 10), 10), NO_LIMIT, None).await;
    assert_eq!(put_outcome(&result), "unavailable");
}

#[tokio::test(start_paused = true)]
async fn an_upload_waits_for_a_place_but_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let settings = docstore_blobs::Settings { uploads_max: 1, ..local_settings(directory.path()) };
    let store = BlobStore::open(settings).await.unwrap();
    let (first, second) = (store.new_key(1), store.new_key(1));
    let silent = stream::pending::<Result<Bytes, Infallible>>();
    let mut silent = Box::pin(store.put(&first, silent, NO_LIMIT, None));
    let content = noise(6, 10);
    tokio::select! {
        // The silent one takes the place.
        biased;
        result = &mut silent => panic!("{}", put_outcome(&result)),
        result = store.put(&second, portions(&content, 10), NO_LIMIT, None) => {
            assert_eq!(
                result.unwrap_err().to_string(),
                "the blob store failed waiting for a place among the uploads"
            );
        }
    }
    // Whoever gives up gives the place back.
    drop(silent);
    store.put(&second, portions(&content, 10), NO_LIMIT, None).await.unwrap();
}
