use docstore_models::{ObliterateRequest, ObliterateResponse, Obliteration, ObliterationList, ObliterationPreview};

use crate::{Error, RepoClient, transport::Call};

/// Which content to obliterate, and which page of its places to show.
#[derive(Clone, Debug, Default)]
pub struct PreviewQuery {
    /// SHA-256 of the bytes, lower-case hex.
    pub content_hash: Option<String>,
    /// Or the file that has the content.
    pub path: Option<String>,
    /// The branch of the file; `main` when absent.
    pub branch: Option<String>,
    /// The sequence at which the file had the content; the head when absent.
    pub at: Option<i64>,
    /// At most so many places.
    pub limit: Option<u32>,
    /// Only those behind this one: `next_after` of the page before.
    pub after: Option<String>,
}

impl RepoClient {
    /// What obliterating a content would touch.
    ///
    /// # Errors
    /// 404 when the repo does not have it; otherwise as every call.
    pub async fn preview_obliteration(&self, query: &PreviewQuery) -> Result<ObliterationPreview, Error> {
        let call = Call::get(self.path("obliterations/preview"))
            .query_some("content_hash", query.content_hash.as_deref())
            .query_some("path", query.path.as_deref())
            .query_some("branch", query.branch.as_deref())
            .query_some("at", query.at)
            .query_some("limit", query.limit)
            .query_some("after", query.after.as_deref());
        self.client.fetch(call).await
    }

    /// Takes the bytes of a content out of the repo for good.
    ///
    /// # Errors
    /// 404 when the repo does not have it, 409 when they are gone already; otherwise as every call.
    pub async fn obliterate(&self, request: &ObliterateRequest) -> Result<ObliterateResponse, Error> {
        self.client.fetch(Call::post(self.path("obliterations")).json(request)?).await
    }

    /// What was obliterated, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn obliterations(&self) -> Result<Vec<Obliteration>, Error> {
        let call = Call::get(self.path("obliterations"));
        self.client.pages(call, None, None, |list: ObliterationList| list.obliterations, |one| one.id).await
    }
}
