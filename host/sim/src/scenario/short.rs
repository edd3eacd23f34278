//! Values with a short form: `press: "1"` for `press: {keys: "1"}`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// What a short form consists of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Flag(bool),
}

/// A structure that may be written as one value.
pub(crate) trait Shorthand: Sized {
    /// What may be written, for an error.
    const EXPECTING: &'static str;

    /// Of the short form.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_short(short: Scalar<'_>) -> Result<Self, String>;

    /// The short form, where nothing is lost by it.
    fn to_short(&self) -> Option<Scalar<'_>>;

    /// The schema of the short form.
    fn short_schema(generator: &mut SchemaGenerator) -> Schema;
}

/// A text as the short form.
pub(crate) fn text(short: Scalar<'_>, expecting: &str) -> Result<String, String> {
    match short {
        Scalar::Text(text) => Ok(text.into_owned()),
        Scalar::Flag(flag) => Err(format!("`{flag}` is not {expecting}")),
    }
}

/// `true` as the short form.
pub(crate) fn yes(short: Scalar<'_>, expecting: &str) -> Result<(), String> {
    match short {
        Scalar::Flag(true) => Ok(()),
        Scalar::Flag(false) => Err("a step that does not happen is left out".into()),
        Scalar::Text(text) => Err(format!("`{text}` is not {expecting}")),
    }
}

pub(crate) fn serialize<T: Shorthand + Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    match value.to_short() {
        Some(Scalar::Text(text)) => serializer.serialize_str(&text),
        Some(Scalar::Flag(flag)) => serializer.serialize_bool(flag),
        None => value.serialize(serializer),
    }
}

pub(crate) fn deserialize<'de, T: Shorthand + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Either(PhantomData))
}

struct Either<T>(PhantomData<T>);

impl<'de, T: Shorthand + Deserialize<'de>> de::Visitor<'de> for Either<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTING)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_short(Scalar::Text(text.into())).map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<T, E> {
        T::from_short(Scalar::Flag(flag)).map_err(E::custom)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// The schema of a `T` that may be written short.
pub(crate) struct Short<T>(PhantomData<T>);

impl<T: Shorthand + JsonSchema> JsonSchema for Short<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Short{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = T::short_schema(generator);
        let long = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [short, long] })
    }
}
