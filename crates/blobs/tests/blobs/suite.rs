//! What every backend must do, run on each of them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use docstore_blobs::{GetError, PutError, Stored};
use futures::{StreamExt, future, stream};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::fixtures::{FRAME, Fixture, NO_LIMIT, noise, portions, put_outcome, read, text};

macro_rules! on_every_backend {
    ($($case:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Fixture::local().await).await;
            })*
        }

        mod stand_in {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&super::Fixture::stand_in().await).await;
            })*
        }

        /// Does nothing unless the environment names an emulator.
        mod emulator {
            $(#[tokio::test]
            async fn $case() {
                if let Some(fixture) = super::Fixture::emulator().await {
                    super::$case(&fixture).await;
                }
            })*
        }
    };
}

on_every_backend!(
    content_of_any_size_comes_back_as_it_went_in,
    what_pays_is_compressed_and_what_does_not_is_not,
    a_long_upload_comes_back,
    any_range_can_be_read,
    what_is_not_there_is_not_found,
    deleting_twice_is_deleting_once,
    content_above_the_limit_leaves_nothing,
    content_with_another_hash_leaves_nothing,
    a_stream_that_fails_leaves_nothing,
    an_upload_that_is_given_up_leaves_nothing,
    a_flipped_byte_is_never_answered,
    a_flipped_byte_in_a_compressed_blob_is_never_answered,
    a_blob_of_another_length_is_never_answered,
    another_blob_under_the_key_is_never_answered,
    a_forged_blob_is_never_a_complete_answer,
    many_at_once_do_not_mix,
    a_usable_store_is_ready,
);

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

async fn content_of_any_size_comes_back_as_it_went_in(fixture: &Fixture) {
    for size in [0, 1, 2, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, 3 * FRAME + 17] {
        for content in [noise(size as u64, size), text(size)] {
            for portion in [1_000, FRAME, 700_000] {
                let key = fixture.store.new_key(7);
                let stored = fixture
                    .store
                    .put(&key, portions(&content, portion), NO_LIMIT, Some(sha256(&content)))
                    .await
                    .unwrap();
                assert_eq!(stored, Stored { sha256: sha256(&content), size: size as u64 });
                let (bytes, end) = read(&fixture.store, &key, &stored, None).await;
                end.unwrap();
                assert!(bytes == content, "{size} bytes in portions of {portion}");
                let collected = fixture.store.get(&key, &stored, None).await.unwrap().collect_bytes().await.unwrap();
                assert!(collected == content, "{size} bytes at once");
            }
        }
    }
}

async fn what_pays_is_compressed_and_what_does_not_is_not(fixture: &Fixture) {
    let size = 4 * FRAME;
    let overhead = 4 * 36 + 80;
    let (key, _) = fixture.put(&noise(1, size)).await;
    assert_eq!(fixture.raw(&key).await.len(), size + overhead);
    let (key, _) = fixture.put(&text(size)).await;
    assert!(fixture.raw(&key).await.len() < size / 4);
    // Decided on the first frame; a later one that does not become shorter stays as it is.
    let mixed = Bytes::from([text(FRAME), noise(2, 2 * FRAME), text(FRAME)].concat());
    let (key, stored) = fixture.put(&mixed).await;
    let raw = fixture.raw(&key).await.len();
    assert!((2 * FRAME..2 * FRAME + FRAME / 2).contains(&raw), "{raw}");
    assert_eq!(read(&fixture.store, &key, &stored, None).await.0, mixed);
}

async fn a_long_upload_comes_back(fixture: &Fixture) {
    // Two whole parts and a rest, where uploads have parts.
    let content = noise(3, 12 * 1024 * 1024 + 5);
    let (key, stored) = fixture.put(&content).await;
    let (bytes, end) = read(&fixture.store, &key, &stored, None).await;
    end.unwrap();
    assert!(bytes == content);
    assert_eq!(fixture.everything().await, [key.as_str()]);
}

async fn any_range_can_be_read(fixture: &Fixture) {
    let size = 3 * FRAME + 100;
    for content in [noise(4, size), text(size)] {
        let (key, stored) = fixture.put(&content).await;
        let positions = [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, size - 1, size, size + 10, usize::MAX];
        for start in positions {
            for end in positions {
                let expected = &content[start.min(end).min(size)..end.min(size)];
                let (bytes, outcome) = read(&fixture.store, &key, &stored, Some(start as u64..end as u64)).await;
                outcome.unwrap();
                assert!(bytes == expected, "{start}..{end}");
            }
        }
    }
}

async fn what_is_not_there_is_not_found(fixture: &Fixture) {
    let stored = Stored { sha256: sha256(b"x"), size: 1 };
    let (bytes, end) = read(&fixture.store, &fixture.store.new_key(1), &stored, None).await;
    assert!(bytes.is_empty());
    assert!(matches!(end, Err(GetError::NotFound)), "{end:?}");
}

async fn deleting_twice_is_deleting_once(fixture: &Fixture) {
    let (key, stored) = fixture.put(&text(10)).await;
    let (other, other_stored) = fixture.put(&text(10)).await;
    fixture.store.delete(&key).await.unwrap();
    fixture.store.delete(&key).await.unwrap();
    fixture.store.delete(&fixture.store.new_key(99)).await.unwrap();
    assert!(matches!(fixture.store.get(&key, &stored, None).await, Err(GetError::NotFound)));
    // The same content under another key is another blob.
    assert_eq!(read(&fixture.store, &other, &other_stored, None).await.0, text(10));
    assert_eq!(fixture.everything().await, [other.as_str()]);
}

async fn content_above_the_limit_leaves_nothing(fixture: &Fixture) {
    for size in [10, 2 * FRAME, 12 * 1024 * 1024] {
        let content = noise(5, size);
        let key = fixture.store.new_key(1);
        let limit = size as u64 - 1;
        let refused = fixture.store.put(&key, portions(&content, 100_000), limit, None).await;
        assert!(matches!(refused, Err(PutError::TooLarge { limit_bytes }) if limit_bytes == limit), "{refused:?}");
        assert!(fixture.everything().await.is_empty());
    }
    let content = noise(5, 2 * FRAME);
    let key = fixture.store.new_key(1);
    fixture.store.put(&key, portions(&content, 100_000), content.len() as u64, None).await.unwrap();
}

async fn content_with_another_hash_leaves_nothing(fixture: &Fixture) {
    for size in [0, 10, 2 * FRAME, 12 * 1024 * 1024] {
        let content = noise(6, size);
        let key = fixture.store.new_key(1);
        let refused = fixture.store.put(&key, portions(&content, 100_000), NO_LIMIT, Some([7; 32])).await;
        let expected = sha256(&content);
        assert!(matches!(refused, Err(PutError::HashMismatch { actual }) if actual == expected), "{refused:?}");
        assert!(fixture.everything().await.is_empty());
    }
}

async fn a_stream_that_fails_leaves_nothing(fixture: &Fixture) {
    for size in [0, 10, 2 * FRAME, 12 * 1024 * 1024] {
        let sent = portions(&noise(7, size), 100_000).map(|portion| portion.map_err(|never| match never {}));
        let broken = sent.chain(stream::iter([Err(io::Error::from(io::ErrorKind::ConnectionReset))]));
        let result = fixture.store.put(&fixture.store.new_key(1), broken, NO_LIMIT, None).await;
        let Err(PutError::Source(cause)) = result else { panic!("{result:?}") };
        assert_eq!(cause.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::ConnectionReset);
        assert!(fixture.everything().await.is_empty());
    }
}

async fn an_upload_that_is_given_up_leaves_nothing(fixture: &Fixture) {
    for size in [0, 2 * FRAME, 12 * 1024 * 1024] {
        let stuck = Arc::new(Notify::new());
        let reached = Arc::clone(&stuck);
        let silence = stream::once(async move {
            reached.notify_one();
            future::pending().await
        });
        let key = fixture.store.new_key(1);
        let content = noise(8, size);
        let upload = fixture.store.put(&key, portions(&content, 100_000).chain(silence), NO_LIMIT, None);
        tokio::select! {
            result = upload => panic!("{}", put_outcome(&result)),
            () = stuck.notified() => {}
        }
        assert!(fixture.everything().await.is_empty());
    }
}

/// Flips one bit at many places and reads the blob each time.
async fn flip_everywhere(fixture: &Fixture, content: &Bytes) {
    let (key, stored) = fixture.put(content).await;
    let raw = fixture.raw(&key).await;
    let trailer = raw.len() - 80 - content.len().div_ceil(FRAME) * 36;
    // All of the footer and an entry, and some of the frames, with both ends.
    let places = (0..trailer).step_by(trailer / 7).chain(trailer - 1..trailer + 40).chain(raw.len() - 80..raw.len());
    for place in places {
        let mut damaged = raw.clone();
        damaged[place] ^= 0x10;
        fixture.replace(&key, &damaged).await;
        let (bytes, end) = read(&fixture.store, &key, &stored, None).await;
        assert!(matches!(end, Err(GetError::Corrupt(_))), "byte {place}: {end:?}");
        assert!(content.starts_with(&bytes), "byte {place}");
        if place >= trailer {
            assert!(bytes.is_empty(), "byte {place}: the trailer is checked before anything is given");
        }
    }
    fixture.replace(&key, &raw).await;
    read(&fixture.store, &key, &stored, None).await.1.unwrap();
}

async fn a_flipped_byte_is_never_answered(fixture: &Fixture) {
    flip_everywhere(fixture, &noise(9, 3 * FRAME + 9)).await;
    // Content of one frame: the error comes before the answer has begun.
    let (key, stored) = fixture.put(&noise(10, 1_000)).await;
    let mut damaged = fixture.raw(&key).await;
    damaged[999] ^= 1;
    fixture.replace(&key, &damaged).await;
    assert!(matches!(fixture.store.get(&key, &stored, None).await, Err(GetError::Corrupt(_))));
    // Ranges are verified too, and only the frames that they touch.
    let content = noise(11, 3 * FRAME);
    let (key, stored) = fixture.put(&content).await;
    let mut damaged = fixture.raw(&key).await;
    damaged[FRAME + 5] ^= 1;
    fixture.replace(&key, &damaged).await;
    let frame = FRAME as u64;
    let (bytes, end) = read(&fixture.store, &key, &stored, Some(frame + 100..frame + 200)).await;
    assert!(bytes.is_empty());
    assert!(matches!(end, Err(GetError::Corrupt(_))), "{end:?}");
    let (bytes, end) = read(&fixture.store, &key, &stored, Some(2 * frame..3 * frame)).await;
    end.unwrap();
    assert!(bytes == content[2 * FRAME..]);
}

async fn a_flipped_byte_in_a_compressed_blob_is_never_answered(fixture: &Fixture) {
    flip_everywhere(fixture, &text(3 * FRAME + 9)).await;
}

async fn a_blob_of_another_length_is_never_answered(fixture: &Fixture) {
    let content = noise(12, 2 * FRAME);
    let (key, stored) = fixture.put(&content).await;
    let raw = fixture.raw(&key).await;
    let shorter = [0, 1, 7, 79, 80, 81, 100, FRAME, raw.len() - 1].map(|length| raw[..length].to_vec());
    // Without its first byte or frame it still ends with its footer.
    let beheaded = [raw[1..].to_vec(), raw[FRAME..].to_vec(), raw[2 * FRAME..].to_vec()];
    let longer = [[raw.as_slice(), b"\n"].concat(), [b"x", raw.as_slice()].concat()];
    for damaged in shorter.into_iter().chain(beheaded).chain(longer) {
        fixture.replace(&key, &damaged).await;
        for range in [None, Some(0..1)] {
            // The length is known before the answer begins.
            let result = fixture.store.get(&key, &stored, range).await;
            assert!(matches!(result, Err(GetError::Corrupt(_))), "{} bytes: {result:?}", damaged.len());
        }
    }
}

async fn another_blob_under_the_key_is_never_answered(fixture: &Fixture) {
    let (key, stored) = fixture.put(&noise(13, FRAME + 1)).await;
    let (other, _) = fixture.put(&noise(14, FRAME + 1)).await;
    fixture.replace(&key, &fixture.raw(&other).await).await;
    for range in [None, Some(0..1), Some(0..0)] {
        assert!(matches!(fixture.store.get(&key, &stored, range).await, Err(GetError::Corrupt(_))));
    }
}

async fn a_forged_blob_is_never_a_complete_answer(fixture: &Fixture) {
    for size in [10, FRAME, 3 * FRAME + 1] {
        let (key, stored) = fixture.put(&noise(15, size)).await;
        let (other, _) = fixture.put(&noise(16, size)).await;
        // Other frames with their own index, under the hash of the expected content and a checksum that fits.
        let mut forged = fixture.raw(&other).await;
        let (trailer, footer) = (size, forged.len() - 80);
        forged[footer..footer + 32].copy_from_slice(&stored.sha256);
        let checksum = sha256(&forged[trailer..footer + 40]);
        forged[footer + 40..footer + 72].copy_from_slice(&checksum);
        fixture.replace(&key, &forged).await;
        let (bytes, end) = read(&fixture.store, &key, &stored, None).await;
        assert_eq!(end.unwrap_err().to_string(), "the stored blob is damaged: the content does not match its hash");
        assert_eq!(bytes.len(), (size - 1) / FRAME * FRAME, "all but the last frame, which is held back");
        // A range is not proof against a forger; the crate says so.
        read(&fixture.store, &key, &stored, Some(0..1)).await.1.unwrap();
    }
}

async fn many_at_once_do_not_mix(fixture: &Fixture) {
    let under_way = AtomicUsize::new(0);
    let uploads = (0..24_i64).map(|number| {
        let under_way = &under_way;
        async move {
            let content = noise(number.cast_unsigned(), 300_000 + 1_000 * usize::try_from(number).unwrap());
            let key = fixture.store.new_key(number % 3);
            under_way.fetch_add(1, Ordering::Relaxed);
            let stored = fixture.store.put(&key, portions(&content, 10_000), NO_LIMIT, None).await.unwrap();
            (key, stored, content)
        }
    });
    let blobs = future::join_all(uploads).await;
    assert_eq!(under_way.into_inner(), 24);
    let reads = blobs.iter().map(|(key, stored, content)| async move {
        let (bytes, end) = read(&fixture.store, key, stored, None).await;
        end.unwrap();
        assert!(bytes == *content);
    });
    future::join_all(reads).await;
    assert_eq!(fixture.everything().await.len(), 24);
}

async fn a_usable_store_is_ready(fixture: &Fixture) {
    fixture.store.check().await.unwrap();
    fixture.store.check().await.unwrap();
}
