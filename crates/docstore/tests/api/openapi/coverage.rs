use std::collections::BTreeSet;

use http::header;

use crate::support::{
    fixture::Got,
    truth::{Operation, document, judge},
};

/// What was seen of the document so far.
#[derive(Default)]
pub(super) struct Coverage {
    statuses: BTreeSet<(String, u16)>,
    headers: BTreeSet<(String, u16, String)>,
    media: BTreeSet<(String, u16, String)>,
    lies: BTreeSet<String>,
    /// Something that the server needs is broken or away, so that it may fail.
    pub(super) crippled: bool,
}

impl Coverage {
    /// Compares an answer with the document and remembers it.
    pub(super) fn record(&mut self, operation: &Operation, how: &str, got: &Got) {
        let (id, status) = (operation.id.clone(), got.status.as_u16());
        if status >= 500 && !self.crippled {
            self.lies.insert(format!("{id} {status} ({how}): nothing is broken"));
        }
        if let Err(why) = judge(operation, status, &got.headers, &got.body) {
            let body: String = String::from_utf8_lossy(&got.body).chars().take(200).collect();
            self.lies.insert(format!("{id} {status} ({how}): {why}: {}", body.trim_end()));
            return;
        }
        for name in got.headers.keys() {
            self.headers.insert((id.clone(), status, name.as_str().to_owned()));
        }
        if let Some(content_type) = got.headers.get(header::CONTENT_TYPE) {
            let essence = content_type.to_str().unwrap().split(';').next().unwrap_or_default().trim().to_owned();
            self.media.insert((id.clone(), status, essence));
        }
        self.statuses.insert((id, status));
    }

    /// Fails unless everything that the document lists was seen.
    pub(super) fn finish(mut self) {
        for operation in &document().operations {
            let id = &operation.id;
            for (status, response) in operation.responses() {
                if !self.statuses.contains(&(id.clone(), status)) {
                    self.lies.insert(format!("{id} {status}: documented and never seen"));
                    continue;
                }
                for name in response["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
                    if !self.headers.contains(&(id.clone(), status, name.to_ascii_lowercase())) {
                        self.lies.insert(format!("{id} {status}: the header {name} is documented and was never seen"));
                    }
                }
                let documented: Vec<&String> =
                    response["content"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
                for media in &documented {
                    let seen = self.media.iter().any(|(of, with, essence)| {
                        let any = *media == "*/*" && !documented.iter().any(|other| **other == *essence);
                        of == id && *with == status && (essence == *media || any)
                    });
                    if !seen {
                        self.lies.insert(format!("{id} {status}: {media} is documented and was never seen"));
                    }
                }
            }
        }
        let lies: Vec<String> = self.lies.into_iter().collect();
        assert!(lies.is_empty(), "{} lies in the document:\n{}", lies.len(), lies.join("\n"));
    }
}
