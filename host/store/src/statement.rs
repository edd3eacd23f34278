//! A statement whose conditions depend on what is asked for. `sqlx::QueryBuilder` writes `?` where it does not know the
//! database, which PostgreSQL does not understand.

use crate::UnixMs;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, FromRow};
use std::fmt::Write;

/// An argument.
pub(crate) enum Value {
    Text(String),
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<UnixMs> for Value {
    fn from(at: UnixMs) -> Self {
        Self::Number(at.0)
    }
}

/// Text of ours with arguments of anybody.
pub(crate) struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    /// Begins one.
    pub(crate) fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Goes on with `sql` and an argument behind it.
    pub(crate) fn with(&mut self, sql: &str, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.sql.push_str(sql);
        // Writing to a String does not fail.
        let _ = write!(self.sql, "${}", self.values.len());
        self
    }

    /// Goes on with `sql` alone.
    pub(crate) fn and(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// The rows it finds.
    pub(crate) async fn fetch_all<T>(self, pool: &AnyPool) -> Result<Vec<T>, sqlx::Error>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        let mut query = sqlx::query_as(sqlx::AssertSqlSafe(self.sql));
        for value in self.values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Number(number) => query.bind(number),
            };
        }
        query.fetch_all(pool).await
    }
}
