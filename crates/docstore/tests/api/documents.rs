//! The documents that are made from the code.

use crate::support::generated;

#[test]
fn generated_openapi() {
    generated::check("docs/openapi.json", &format!("{}\n", docstore::openapi_json()));
}
