//! Lists whose rows may be long, for whoever asks for all of them.
//!
//! A body of an issue may have a megabyte, and a list without a limit is the whole list, as in the contract. So such a list
//! is read and sent a page at a time: what is in memory is one page, and a slow reader holds no connection. Each page is of
//! another moment, as when a client pages; what is deleted or added meanwhile may be missing or there, and no row comes twice.

use std::{future::Future, sync::Arc};

use docstore_database::lists::PageBounds;
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use crate::Result;

/// How many rows are read at once: their short parts take about 2 KiB each.
const LIST_PAGE_ROWS: i64 = 500;
/// How many bytes of long texts are read at once, apart from one row that may go beyond.
pub(crate) const LIST_PAGE_BYTES: i64 = 4 << 20;

/// A list that is read in pages.
pub struct List<T>(BoxStream<'static, Result<Vec<T>>>);

impl<T: Send + 'static> List<T> {
    /// The rows, as they are read.
    pub fn rows(self) -> impl Stream<Item = Result<T>> + Send + 'static {
        self.0.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten()
    }

    /// The first page alone, for an answer that is made of several lists.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn first_page(mut self) -> Result<Vec<T>> {
        Ok(self.0.try_next().await?.unwrap_or_default())
    }
}

/// How a list is read: from where, how much, and how its pages follow one another.
pub(crate) struct Paging<T, Place> {
    /// Behind which row it begins.
    pub(crate) after: Option<Place>,
    /// At most so many rows; all when absent.
    pub(crate) limit: Option<i64>,
    /// At most so many rows at once; as many as short rows allow when absent.
    pub(crate) page_rows: Option<i64>,
    /// Where the list goes on behind a row.
    pub(crate) place: fn(&T) -> Place,
    /// How many bytes the query counts for a row.
    pub(crate) bytes: fn(&T) -> usize,
}

impl<T: Send + 'static, Place: Send + 'static> Paging<T, Place> {
    /// Reads with a query that answers the rows behind a place, within the bounds of a page.
    pub(crate) fn read<Query, Page>(self, query: Query) -> List<T>
    where
        Query: Fn(Option<Place>, PageBounds) -> Page + Send + Sync + 'static,
        Page: Future<Output = Result<Vec<T>>> + Send + 'static,
    {
        let Self { after, limit, page_rows, place, bytes } = self;
        let query = Arc::new(query);
        let most = page_rows.unwrap_or(LIST_PAGE_ROWS);
        let start = Some((after, limit.unwrap_or(i64::MAX)));
        let pages = stream::try_unfold(start, move |state| {
            let query = Arc::clone(&query);
            async move {
                let Some((after, left)) = state else { return Ok(None) };
                let bounds = PageBounds { rows: left.min(most), bytes: LIST_PAGE_BYTES };
                let page = query(after, bounds).await?;
                let count = i64::try_from(page.len()).unwrap_or(bounds.rows);
                let weight: usize = page.iter().map(bytes).sum();
                // A page that is short although it is light is the last one.
                let is_full = count == bounds.rows || i64::try_from(weight).is_ok_and(|weight| weight >= bounds.bytes);
                let next = page.last().filter(|_| is_full && left > count).map(|row| (Some(place(row)), left - count));
                Ok(Some((page, next)))
            }
        });
        List(pages.boxed())
    }
}

/// The bytes of a text that may be absent.
pub(crate) fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Reads numbers up to 1,200 that have so many bytes each, and tells how many each query answered.
    async fn read(after: Option<i64>, limit: Option<i64>, size: i64) -> (Vec<i64>, Vec<usize>) {
        static SIZE: Mutex<i64> = Mutex::new(0);
        *SIZE.lock().unwrap() = size;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&seen);
        let bytes = |_: &i64| usize::try_from(*SIZE.lock().unwrap()).unwrap();
        let paging = Paging { after, limit, page_rows: None, place: |number| *number, bytes };
        let list = paging.read(move |after, bounds| {
            let first = after.unwrap_or(0) + 1;
            let rows: Vec<i64> = (first..=1200)
                .take(usize::try_from(bounds.rows).unwrap())
                .enumerate()
                .take_while(|(before, _)| i64::try_from(*before).unwrap() * size < bounds.bytes)
                .map(|(_, number)| number)
                .collect();
            asked.lock().unwrap().push(rows.len());
            async move { Ok(rows) }
        });
        let rows = list.rows().try_collect().await.unwrap();
        let seen = seen.lock().unwrap().clone();
        (rows, seen)
    }

    #[tokio::test]
    async fn every_row_comes_once_whatever_cuts_the_pages() {
        let all: Vec<i64> = (1..=1200).collect();
        assert_eq!(read(None, None, 0).await, (all.clone(), vec![500, 500, 200]));
        let (rows, pages) = read(None, None, 1 << 20).await;
        assert_eq!((rows, pages.len(), pages[0]), (all.clone(), 301, 4));
        assert_eq!(read(Some(1190), None, 10 << 20).await, (all[1190..].to_vec(), [vec![1; 10], vec![0]].concat()));
        assert_eq!(read(Some(100), Some(3), 1).await, (vec![101, 102, 103], vec![3]));
        assert_eq!(read(None, Some(501), 1).await.1, [500, 1]);
        assert_eq!(read(Some(1200), None, 1).await, (vec![], vec![0]));
    }
}
