//! Any content in any portions, read in any range, against a plain vector.

use bytes::Bytes;
use docstore_blobs::{BlobStore, testing::local_settings};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use tokio::runtime::Runtime;

use crate::fixtures::{FRAME, NO_LIMIT, noise, portions, read, text};

/// Stretches of noise and text, whose ends lie anywhere about the ends of frames.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let stretch = (any::<bool>(), any::<u64>(), prop_oneof![0..2_000_usize, FRAME - 3..FRAME + 3, 0..3 * FRAME])
        .prop_map(|(compressible, seed, length)| if compressible { text(length) } else { noise(seed, length) });
    vec(stretch, 0..4).prop_map(|stretches| stretches.concat())
}

#[test]
fn any_range_of_any_content_is_that_of_a_vector() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = runtime.block_on(BlobStore::open(local_settings(directory.path()))).unwrap();
    let cut = 0..=4 * FRAME;
    let case = (content(), 1..2 * FRAME, vec((cut.clone(), cut), 1..6));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() });
    runner
        .run(&case, |(content, portion, ranges)| {
            let content = Bytes::from(content);
            runtime.block_on(async {
                let key = store.new_key(1);
                let stored = store.put(&key, portions(&content, portion), NO_LIMIT, None).await.unwrap();
                prop_assert_eq!(stored.size, content.len() as u64);
                let (all, end) = read(&store, &key, &stored, None).await;
                end.unwrap();
                prop_assert!(all == content, "the whole");
                for (start, end) in ranges {
                    let to = end.min(content.len());
                    let expected = &content[start.min(to)..to];
                    let (bytes, outcome) = read(&store, &key, &stored, Some(start as u64..end as u64)).await;
                    outcome.unwrap();
                    prop_assert!(bytes == expected, "{start}..{end}");
                }
                store.delete(&key).await.unwrap();
                Ok(())
            })
        })
        .unwrap();
}
