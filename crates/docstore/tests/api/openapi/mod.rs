//! The OpenAPI document is true: every answer that it lists for an operation is produced here, and nothing else.
//!
//! For each operation the driver asks in all the ways that can go wrong, and compares every answer, whatever it was meant
//! to be, with the document. In the end each status, header and media type that the document lists must have been seen.

mod coverage;
mod dependencies;
mod logins;
mod requests;

use coverage::Coverage;

use crate::support::truth::document;

#[tokio::test]
async fn the_openapi_document_is_true() {
    let mut coverage = Coverage::default();
    requests::drive(&mut coverage).await;
    coverage.crippled = true;
    logins::drive(&mut coverage).await;
    dependencies::drive(&mut coverage).await;
    coverage.finish();
}

#[test]
fn the_document_is_complete() {
    for operation in &document().operations {
        let id = &operation.id;
        assert!(operation.value["summary"].as_str().is_some_and(|text| !text.is_empty()), "{id} has no summary");
        assert!(operation.value["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{id} has no tag");
        for (status, response) in operation.responses() {
            let described = response["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described, "{id} {status} has no description");
        }
        // Whoever needs no credential says so; all others can be told that theirs is none.
        let public = operation.value["security"] == serde_json::json!([{}]);
        assert_eq!(public, !operation.responses().contains_key(&401) || id == "callback", "{id}: security and 401");
    }
}
