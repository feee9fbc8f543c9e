//! Memory does not grow with the content. In a binary of its own, because it counts what the whole process allocates.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

use std::convert::Infallible;

use bytes::Bytes;
use docstore_blobs::{
    BlobStore,
    testing::{GcsStandIn, local_settings},
};
use futures::{TryStreamExt, stream};
use peak_alloc::PeakAlloc;
use sha2::{Digest, Sha256};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const PORTION: usize = 64 * 1024;
const PORTIONS: usize = 3_200;
/// 200 MiB.
const SIZE: u64 = (PORTION * PORTIONS) as u64;

/// Bytes that compress by nearly half, so that both the compressor and the parts of uploads have to work.
fn portion(number: usize) -> Vec<u8> {
    let mut state = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(PORTION);
    while bytes.len() < PORTION {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(b"same");
        bytes.extend_from_slice(b"same");
    }
    bytes
}

/// How far the memory in use rose above where it was, in bytes.
async fn growth<T>(work: impl Future<Output = T>) -> (T, usize) {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let result = work.await;
    (result, ALLOCATED.peak_usage().saturating_sub(before))
}

async fn in_and_out(store: &BlobStore) -> (usize, usize) {
    let key = store.new_key(1);
    let content = stream::iter((0..PORTIONS).map(|number| Ok::<_, Infallible>(Bytes::from(portion(number)))));
    let (stored, growth_in) = growth(store.put(&key, content, SIZE, None)).await;
    let stored = stored.unwrap();
    assert_eq!(stored.size, SIZE);
    let (sha256, growth_out) = growth(async {
        let mut hasher = Sha256::new();
        let mut content = store.get(&key, &stored, None).await.unwrap();
        while let Some(portion) = content.try_next().await.unwrap() {
            hasher.update(&portion);
        }
        <[u8; 32]>::from(hasher.finalize())
    })
    .await;
    assert_eq!(sha256, stored.sha256);
    (growth_in, growth_out)
}

#[tokio::test]
async fn content_of_200_mib_passes_through_little_memory() {
    const MIB: usize = 1024 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let stand_in = GcsStandIn::start().await;
    let on_disk = BlobStore::open(local_settings(directory.path())).await.unwrap();
    let (local_in, local_out) = in_and_out(&on_disk).await;
    // Measured with what the stand-in itself needs.
    let (gcs_in, gcs_out) = in_and_out(&BlobStore::open(stand_in.settings()).await.unwrap()).await;
    println!("local {local_in} in, {local_out} out; gcs {gcs_in} in, {gcs_out} out");
    assert!(local_in < 4 * MIB, "{local_in} bytes for an upload to disk");
    assert!(local_out < 2 * MIB, "{local_out} bytes for a download from disk");
    assert!(gcs_in < 12 * MIB, "{gcs_in} bytes for an upload to a bucket");
    assert!(gcs_out < 4 * MIB, "{gcs_out} bytes for a download from a bucket");
}
