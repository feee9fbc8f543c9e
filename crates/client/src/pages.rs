//! Lists, page by page.
//!
//! A list has no end that anybody could promise, so none is asked for in one request. That serves the server, which holds
//! a page in memory and not a list, and the caller, whom no limit on the size of an answer takes by surprise.

use docstore_models::PAGE_ROWS_LEAST;
use serde::de::DeserializeOwned;

use crate::{Client, Error, transport::Call};

/// How many rows are asked for at once. Most lists are shorter, and an answer of so many is far from every limit.
const PAGE_ROWS: u32 = 1000;

impl Client {
    /// Reads the first `most` rows of a list behind the row `after`; all of them, from the first on, without either.
    ///
    /// `list` takes an answer apart, `cursor` says what stands for a row as `after`.
    pub(crate) async fn pages<A: DeserializeOwned, T, C: PartialEq + ToString>(
        &self,
        call: Call,
        most: Option<u32>,
        after: Option<C>,
        list: impl Fn(A) -> Vec<T>,
        cursor: impl Fn(&T) -> C,
    ) -> Result<Vec<T>, Error> {
        let most = most.map_or(usize::MAX, |most| most as usize);
        let mut rows: Vec<T> = Vec::new();
        let mut after = after;
        while rows.len() < most {
            let asked = (most - rows.len()).min(PAGE_ROWS as usize);
            let page = list(self.fetch(call.page(asked, after.as_ref())).await?);
            // Servers of the original contract know no pages: they answer with everything, however often they are asked.
            if let (Some(begun), Some(first)) = (rows.first(), page.first())
                && cursor(begun) == cursor(first)
            {
                break;
            }
            let got = page.len();
            rows.extend(page);
            after = rows.last().map(&cursor);
            // A server may give fewer rows than it is asked for, but never fewer than these before the last.
            if got > asked || got < asked.min(PAGE_ROWS_LEAST) {
                break;
            }
        }
        rows.truncate(most);
        Ok(rows)
    }
}
