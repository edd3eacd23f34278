//! How requests are read. Every way in which one cannot be read is a problem
//! document that says where the mistake is, and does not repeat what was sent.

use crate::problem::Problem;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use callbox_store::{FieldError, PageRequest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::marker::PhantomData;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// A JSON body, on its way in and out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_type(&request, &["application/json"])?;
        object(&body(request).await?).map(Self)
    }
}

/// Any JSON.
#[derive(Clone, Debug)]
pub(crate) struct AnyJson(pub(crate) Box<RawValue>);

impl<S: Send + Sync> FromRequest<S> for AnyJson {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_type(&request, &["application/json"])?;
        parse(&body(request).await?).map(Self)
    }
}

/// A JSON body that may be left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let typed = require_type(&request, &["application/json"]);
        let bytes = body(request).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        typed?;
        object(&bytes).map(Self)
    }
}

/// What is to change about a `T`: a JSON merge patch (RFC 7396) over what one can
/// give at its creation.
#[derive(Clone, Debug)]
pub(crate) struct Patch<T>(Map<String, Value>, PhantomData<T>);

impl<S: Send + Sync, T> FromRequest<S> for Patch<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_type(&request, &["application/json", "application/merge-patch+json"])?;
        Self::read(&body(request).await?)
    }
}

impl<T> Patch<T> {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        Ok(Self(parse(bytes)?, PhantomData))
    }
}

impl<T: DeserializeOwned> Patch<T> {
    /// The changed thing; of the current one only the members `kept` count, the
    /// others cannot be changed.
    pub(crate) fn apply(self, current: &impl Serialize, kept: &[&str]) -> Result<T, Problem> {
        let unknown =
            |name: &String| FieldError::new(bounded(name), "unknown_field", "there is no such field to change");
        let unknown: Vec<_> = self.0.keys().filter(|name| !kept.contains(&name.as_str())).map(unknown).collect();
        if !unknown.is_empty() {
            return Err(Problem::invalid(unknown));
        }
        let Ok(Value::Object(mut whole)) = serde_json::to_value(current) else {
            return Err(Problem::internal("not an object"));
        };
        whole.retain(|name, _| kept.contains(&name.as_str()));
        let mut whole = Value::Object(whole);
        merge(&mut whole, Value::Object(self.0));
        serde_path_to_error::deserialize(whole)
            .map_err(|error| Problem::invalid(vec![mistake(&error.path().to_string(), &error.inner().to_string())]))
    }
}

/// RFC 7396 section 2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

impl<T: ToSchema> PartialSchema for Patch<T> {
    fn schema() -> RefOr<Schema> {
        let mut schema = T::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.clear();
        }
        schema
    }
}

impl<T: ToSchema> ToSchema for Patch<T> {
    fn name() -> std::borrow::Cow<'static, str> {
        format!("{}Patch", T::name().trim_start_matches("New")).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

/// Parts of the path. What does not fit names nothing: 404.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::not_found("there is nothing of this name"))
    }
}

/// The query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        use serde_path_to_error::Error;
        use std::error::Error as _;
        axum::extract::Query::try_from_uri(&parts.uri).map(|axum::extract::Query(value)| Self(value)).map_err(
            |rejection| {
                let source = rejection.source().and_then(|error| error.source());
                let error = match source.and_then(|error| error.downcast_ref::<Error<serde::de::value::Error>>()) {
                    Some(error) => mistake(&error.path().to_string(), &error.inner().to_string()),
                    None => FieldError::new("query", "invalid", "the query cannot be read"),
                };
                let detail = format!("the query is not valid: {}: {}", error.path, error.message);
                Problem::new(StatusCode::BAD_REQUEST, "invalid_query", detail).errors(vec![error])
            },
        )
    }
}

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// The `next_cursor` of the page before.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    /// Rows of a page.
    #[serde(default, deserialize_with = "limit")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    pub(crate) limit: Option<u32>,
}

impl From<ListQuery> for PageRequest {
    fn from(query: ListQuery) -> Self {
        Self { cursor: query.cursor, limit: query.limit }
    }
}

/// Reads `limit`: 1 to 100.
pub(crate) fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(from)?;
    match text.parse() {
        Ok(limit @ 1..=100) => Ok(Some(limit)),
        _ => Err(serde::de::Error::custom("expected a number from 1 to 100")),
    }
}

/// The whole body; its size was looked at before.
pub(crate) async fn body(request: Request) -> Result<Bytes, Problem> {
    axum::body::to_bytes(request.into_body(), usize::MAX).await.map_err(Problem::internal)
}

/// The media type of a request, without parameters, in lower case.
pub(crate) fn media_type(request: &Request) -> Option<String> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Refuses any other type than these.
pub(crate) fn require_type(request: &Request, allowed: &[&str]) -> Result<(), Problem> {
    if media_type(request).is_some_and(|given| allowed.contains(&given.as_str())) {
        return Ok(());
    }
    let detail = format!("the body must be sent with `Content-Type: {}`", allowed.join("` or `"));
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail))
}

/// Reads an object; serde would take an array for a struct.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    match bytes.trim_ascii_start().first() {
        Some(b'[' | b'"' | b'-' | b'0'..=b'9') => Err(Problem::field("", "invalid", "expected an object")),
        _ => parse(bytes),
    }
}

/// Reads JSON; the error says where it is not what was expected.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let broken = |error: &serde_json::Error| {
        let detail = format!("the body is not JSON: mistake in line {}, column {}", error.line(), error.column());
        Problem::new(StatusCode::BAD_REQUEST, "invalid_json", detail)
    };
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        if error.inner().is_data() {
            Problem::invalid(vec![mistake(&error.path().to_string(), &error.inner().to_string())])
        } else {
            broken(error.inner())
        }
    })?;
    json.end().map_err(|error| broken(&error))?;
    Ok(value)
}

/// What serde says, as one of our errors: without the value that was sent, which
/// may be a secret or very long.
fn mistake(path: &str, said: &str) -> FieldError {
    let path = if path == "." { "" } else { path };
    let said = said.rsplit_once(" at line ").map_or(said, |(text, _)| text);
    let named = |prefix: &str| said.strip_prefix(prefix)?.split('`').next();
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(name) = named("missing field `") {
        return FieldError::new(inside(name), "required", "must be given");
    }
    if let Some(name) = named("duplicate field `") {
        return FieldError::new(inside(name), "duplicate", "is given twice");
    }
    if said.starts_with("unknown field `") {
        return FieldError::new(bounded(path), "unknown_field", "there is no such field");
    }
    match said.split_once("expected ") {
        Some((_, expected)) => FieldError::new(bounded(path), "invalid", format!("expected {}", bounded(expected))),
        None => FieldError::new(bounded(path), "invalid", "is not of the expected form"),
    }
}

fn bounded(text: &str) -> String {
    text.chars().take(300).collect()
}
