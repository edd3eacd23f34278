//! From a tree to the types: a deserializer whose errors know their place and the fix.

use super::problem::{Fault, list, shown, suggest};
use super::tree::{Key, Kind, Tree};
use serde::de::value::StrDeserializer;
use serde::de::{self, Expected, IntoDeserializer, Unexpected};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use std::fmt;

/// Reads a value of the tree.
pub(super) fn read<'de, T: Deserialize<'de>>(tree: &'de Tree) -> Result<T, Fault> {
    T::deserialize(tree)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = expected.to_string();
        let quotable = ["string", "text", "quotes", "span of time", "moment", "character"];
        let wants_text = quotable.iter().any(|word| wanted.contains(word));
        let bare = match found {
            Unexpected::Bool(flag) => Some(flag.to_string()),
            Unexpected::Unsigned(number) => Some(number.to_string()),
            Unexpected::Signed(number) => Some(number.to_string()),
            Unexpected::Float(number) => Some(number.to_string()),
            _ => None,
        };
        let fault = Self::new(format!("{} stands where {} is expected", describe(&found), plain(&wanted)));
        match bare {
            Some(_) if wanted.contains("span of time") => fault.help("write a number with its unit: 800ms, 1.2s, 2m"),
            Some(bare) if wants_text => fault.help(format!("put it in quotes: \"{bare}\"")),
            _ => fault,
        }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("{} is not {}", describe(&found), plain(&expected.to_string())))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let fault = Self::new(format!("unknown field `{}`", shown(field)));
        Self { help: suggest(field, known.iter().copied()), ..fault }
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let fault = if known.contains(&"expect") && known.contains(&"press") {
            Self::new(format!("unknown step `{}`", shown(word)))
        } else {
            Self::new(format!("`{}` is none of {}", shown(word), list(known)))
        };
        Self { help: suggest(word, known.iter().copied()), ..fault }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("`{field}` is there twice"))
    }
}

fn describe(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(flag) => format!("`{flag}`"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Str(text) => format!("the text \"{}\"", shown(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}

/// What serde calls Rust's types, as whoever writes YAML knows them.
fn plain(wanted: &str) -> String {
    match wanted {
        "a string" => "a text".into(),
        "a boolean" => "`true` or `false`".into(),
        "a sequence" => "a list".into(),
        "u16" | "u32" | "u64" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a character" => "a single letter".into(),
        _ if wanted.starts_with("struct ") => "a map".into(),
        _ if wanted.starts_with("enum ") => "a map with one key".into(),
        _ => wanted.to_owned(),
    }
}

impl<'de> IntoDeserializer<'de, Fault> for &'de Tree {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Tree {
    type Error = Fault;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Flag(flag) => visitor.visit_bool(*flag),
            Kind::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
            Kind::Text(text) => visitor.visit_borrowed_str(text),
            Kind::List(list) => visitor.visit_seq(Elements(list.iter())),
            Kind::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        }
        .map_err(|fault| fault.at(self.at))
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
        .map_err(|fault| fault.at(self.at))
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self).map_err(|fault| fault.at(self.at))
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Text(word) if known.contains(&"expect") => {
                Err(Fault::new("a step is a verb and its value").help(format!("write `{}: true`, say", shown(word))))
            }
            Kind::Text(word) => {
                let word: StrDeserializer<'_, Fault> = word.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            Kind::Map(entries) => match entries.as_slice() {
                [(verb, value)] => visitor.visit_enum(Verb { verb, value }),
                _ => Err(several(entries, known)),
            },
            _ => Err(Fault::new(format!("{} stands where a map with one key is expected", self.describe()))),
        }
        .map_err(|fault| fault.at(self.at))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// A step that has no verb or more than one.
fn several(entries: &[(Key, Tree)], known: &[&str]) -> Fault {
    let is_verb = |key: &Key| known.contains(&key.text.as_str());
    let verb = entries.iter().find(|(key, _)| is_verb(key));
    let Some((verb, _)) = verb else {
        return match entries.first() {
            None => Fault::new("a step without a verb").help(format!("known are {}", list(known))),
            Some((key, _)) => {
                let fault: Fault = Fault::new(format!("unknown step `{}`", shown(&key.text)));
                Fault { help: suggest(&key.text, known.iter().copied()), ..fault }.at(key.at)
            }
        };
    };
    let other = entries.iter().map(|(key, _)| key).find(|key| key.text != verb.text);
    let Some(other) = other else { return Fault::new("a step without a verb") };
    let name = shown(&other.text);
    let fault = Fault::new(format!("a step has one verb, and this one has `{}` and `{name}`", verb.text)).at(other.at);
    if is_verb(other) {
        fault.help(format!("write two steps: `{name}` with a dash of its own"))
    } else {
        fault.help(format!("put it into the verb: {}: {{…, {name}: …}}", verb.text))
    }
}

/// Elements of a list.
struct Elements<'de>(std::slice::Iter<'de, Tree>);

impl<'de> de::SeqAccess<'de> for Elements<'de> {
    type Error = Fault;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(tree) = self.0.next() else { return Ok(None) };
        seed.deserialize(tree).map(Some).map_err(|fault| fault.at(tree.at))
    }
}

/// Entries of a map.
struct Entries<'de> {
    rest: std::slice::Iter<'de, (Key, Tree)>,
    value: Option<&'de Tree>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        let text: StrDeserializer<'_, Fault> = key.text.as_str().into_deserializer();
        seed.deserialize(text).map(Some).map_err(|fault| fault.at(key.at))
    }

    fn next_value_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some(tree) = self.value.take() else { return Err(Fault::new("a value without its key")) };
        seed.deserialize(tree).map_err(|fault| fault.at(tree.at))
    }
}

/// A map of one key: the variant of an enum and what it holds.
struct Verb<'de> {
    verb: &'de Key,
    value: &'de Tree,
}

impl<'de> de::EnumAccess<'de> for Verb<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<T: de::DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Fault> {
        let verb: StrDeserializer<'_, Fault> = self.verb.text.as_str().into_deserializer();
        let variant = seed.deserialize(verb).map_err(|fault| fault.at(self.verb.at))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Verb<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Err(Fault::new(format!("`{}` has no value", shown(&self.verb.text))).at(self.value.at))
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.value).map_err(|fault| fault.at(self.value.at))
    }

    fn tuple_variant<V: de::Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.value.deserialize_any(visitor)
    }

    fn struct_variant<V: de::Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.value.deserialize_any(visitor)
    }
}
