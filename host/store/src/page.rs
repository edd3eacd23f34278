//! Lists by cursor: the newest first, a page at a time.

use crate::error::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PageRequest {
    /// The `next_cursor` of the page before; none for the first.
    #[serde(default)]
    pub cursor: Option<String>,
    /// 1 to 200; none for 50.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl PageRequest {
    /// Rows to read: one more than asked for, to learn whether more follow.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit.unwrap_or(50).clamp(1, 200)) + 1
    }

    /// The id below which the page begins; for the first page one that is above
    /// all hex digits in any collation.
    pub(crate) fn below_id(&self, prefix: &str) -> Result<String, StoreError> {
        match &self.cursor {
            None => Ok(format!("{prefix}_z")),
            Some(cursor) if crate::id::is(prefix, cursor) => Ok(cursor.clone()),
            Some(_) => Err(StoreError::InvalidCursor),
        }
    }

    /// The same for rows that are numbered.
    pub(crate) fn below_number(&self) -> Result<i64, StoreError> {
        match &self.cursor {
            None => Ok(i64::MAX),
            Some(cursor) => cursor.parse::<u32>().map(i64::from).map_err(|_| StoreError::InvalidCursor),
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows, the newest first.
    pub data: Vec<T>,
    /// Give it back as `cursor` for the rows that follow; opaque.
    pub next_cursor: Option<String>,
    /// Whether rows follow.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Cuts the surplus row off and makes the cursor of the last one kept.
    pub(crate) fn cut(request: &PageRequest, mut rows: Vec<T>, cursor: impl Fn(&T) -> String) -> Self {
        let keep = usize::try_from(request.rows() - 1).unwrap_or(usize::MAX);
        let has_more = rows.len() > keep;
        rows.truncate(keep);
        let next_cursor = if has_more { rows.last().map(cursor) } else { None };
        Self { data: rows, next_cursor, has_more }
    }
}
