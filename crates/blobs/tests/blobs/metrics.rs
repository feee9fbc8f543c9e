//! What an operator sees.

use docstore_blobs::{Stored, describe_metrics};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::fixtures::{FRAME, Fixture, noise, portions, text};

#[test]
fn operations_are_counted_by_outcome() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        describe_metrics();
        runtime.block_on(async {
            let fixture = Fixture::local().await;
            let content = noise(1, 2 * FRAME);
            let (key, stored) = fixture.put(&content).await;
            let _ = fixture.store.put(&fixture.store.new_key(1), portions(&text(10), 10), 5, None).await;
            fixture.store.get(&key, &stored, None).await.unwrap().collect_bytes().await.unwrap();
            drop(fixture.store.get(&key, &stored, None).await.unwrap());
            let _ = fixture.store.get(&key, &Stored { size: 1, ..stored }, None).await;
            fixture.store.delete(&key).await.unwrap();
            let _ = fixture.store.get(&key, &stored, None).await;
            fixture.store.check().await.unwrap();
        });
    });
    let rendered = recorder.handle().render();
    let mut lines: Vec<_> = rendered
        .lines()
        .filter(|line| {
            !line.is_empty() && !line.starts_with('#') && !line.contains("seconds") && !line.contains("quantile")
        })
        .collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            r#"docstore_blob_bytes_total{store="local",kind="in"} 524288"#,
            r#"docstore_blob_bytes_total{store="local",kind="out"} 524288"#,
            r#"docstore_blob_bytes_total{store="local",kind="written"} 524440"#,
            r#"docstore_blob_operations_total{store="local",operation="check",outcome="ok"} 1"#,
            r#"docstore_blob_operations_total{store="local",operation="delete",outcome="ok"} 1"#,
            r#"docstore_blob_operations_total{store="local",operation="get",outcome="abandoned"} 1"#,
            r#"docstore_blob_operations_total{store="local",operation="get",outcome="corrupt"} 1"#,
            r#"docstore_blob_operations_total{store="local",operation="get",outcome="not_found"} 1"#,
            r#"docstore_blob_operations_total{store="local",operation="get",outcome="ok"} 1"#,
            r#"docstore_blob_operations_total{store="local",operation="put",outcome="ok"} 1"#,
            r#"docstore_blob_operations_total{store="local",operation="put",outcome="too_large"} 1"#,
            r#"docstore_blob_size_bytes_count{store="local"} 1"#,
            r#"docstore_blob_size_bytes_sum{store="local"} 524288"#,
            r#"docstore_blob_uploads{store="local"} 0"#,
        ]
    );
}
