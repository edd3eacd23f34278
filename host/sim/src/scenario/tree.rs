//! A YAML document with the place of everything in it.

use super::problem::{Fault, Place, shown};
use serde::{Deserialize, Deserializer, de};
use serde_json::Number;
use serde_saphyr::Spanned;
use std::fmt;

/// Bytes of a scenario file.
const MAX_BYTES: usize = 1 << 20;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tree {
    pub(super) at: Place,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Flag(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Key, Tree)>),
}

/// A key of a map and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) at: Place,
    pub(super) text: String,
}

impl Tree {
    /// Reads a document.
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        if text.len() > MAX_BYTES {
            return Err(Fault::new(format!("the file has more than {} MiB", MAX_BYTES >> 20))
                .help("split it: `callbox script test` takes any number of files"));
        }
        let options = serde_saphyr::options! {
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            reject_unsupported_tags: true,
            with_snippet: false,
            budget: serde_saphyr::budget! { max_documents: 2, max_nodes: 250_000, max_depth: 48, max_aliases: 1_000 },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        };
        let tree: Spanned<Kind> = serde_saphyr::from_str_with_options(text, options).map_err(fault)?;
        Ok(tree.into())
    }

    /// The value of a map's key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Where the value below these keys stands, or the closest that is there.
    pub(super) fn place(&self, path: &[&str]) -> Place {
        let mut tree = self;
        for key in path {
            match tree.get(key) {
                Some(below) => tree = below,
                None => break,
            }
        }
        tree.at
    }

    /// What kind of value it is, for a message.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".into(),
            Kind::Flag(flag) => format!("`{flag}`"),
            Kind::Number(number) => format!("the number `{number}`"),
            Kind::Text(text) => format!("the text \"{}\"", shown(text)),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
        }
    }
}

/// What the parser found, in the words of this room.
fn fault(error: serde_saphyr::Error) -> Fault {
    let error = error.without_snippet();
    let place = error.location().and_then(|at| place(&at));
    let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // The place is said by the problem itself.
    let message = match place {
        Some(place) => {
            let prefix = format!("line {} column {}: ", place.line, place.column);
            let suffix = format!(" at line {}, column {}", place.line, place.column);
            let said = said.strip_prefix(&prefix).unwrap_or(&said);
            said.strip_suffix(&suffix).unwrap_or(said).to_owned()
        }
        None => said,
    };
    let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    Fault { place, message: format!("this is not YAML: {message}"), help: None }
}

fn place(at: &serde_saphyr::Location) -> Option<Place> {
    let (line, column) = (u32::try_from(at.line()).ok()?, u32::try_from(at.column()).ok()?);
    (line > 0).then_some(Place { line, column: column.max(1) })
}

fn place_of<T>(value: &Spanned<T>) -> Place {
    place(&value.referenced).or_else(|| place(&value.defined)).unwrap_or(Place::START)
}

impl From<Spanned<Kind>> for Tree {
    fn from(value: Spanned<Kind>) -> Self {
        Self { at: place_of(&value), kind: value.value }
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> de::Visitor<'de> for Any {
            type Value = Kind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Kind, E> {
                Ok(Kind::Null)
            }

            fn visit_none<E>(self) -> Result<Kind, E> {
                Ok(Kind::Null)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Kind, E> {
                Ok(Kind::Flag(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Kind, E> {
                Ok(Kind::Number(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Kind, E> {
                Ok(Kind::Number(number.into()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Kind, E> {
                Number::from_f64(number).map(Kind::Number).ok_or_else(|| E::custom("a number has to be finite"))
            }

            fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
                Ok(Kind::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Kind, E> {
                Ok(Kind::Text(text))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = seq.next_element::<Spanned<Kind>>()? {
                    list.push(value.into());
                }
                Ok(Kind::List(list))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let at = place_of(&key);
                    let value = map.next_value::<Spanned<Kind>>()?;
                    entries.push((Key { at, text: key.value }, value.into()));
                }
                Ok(Kind::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn everything_has_its_place() {
        let tree = Tree::read("a: 1\nb:\n  - x: yes\n    y: 007\n  - {z: [true, ~, 1.5]}\n").unwrap();
        assert_eq!(tree.at, Place { line: 1, column: 1 });
        let Kind::List(list) = &tree.get("b").unwrap().kind else { panic!("{tree:?}") };
        let x = list[0].get("x").unwrap();
        assert_eq!((x.at, &x.kind), (Place { line: 3, column: 8 }, &Kind::Text("yes".into())));
        assert_eq!(list[0].get("y").unwrap().kind, Kind::Text("007".into()));
        let Kind::Map(entries) = &list[1].kind else { panic!("{tree:?}") };
        assert_eq!(entries[0].0, Key { at: Place { line: 5, column: 6 }, text: "z".into() });
        let Kind::List(list) = &entries[0].1.kind else { panic!("{tree:?}") };
        assert_eq!((list[1].at, &list[1].kind), (Place { line: 5, column: 16 }, &Kind::Null));
        assert_eq!(tree.place(&["b"]), Place { line: 3, column: 3 });
    }

    #[test]
    fn aliases_stand_where_they_are_used() {
        let tree = Tree::read("a: &x {k: 1}\nb: *x\n").unwrap();
        let k = tree.get("b").unwrap().get("k").unwrap();
        assert_eq!((k.at.line, &k.kind), (2, &Kind::Number(1.into())));
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for (text, line, said) in [
            ("a: [1, 2\nb: 3\n", 2, ""),
            ("a: 1\n\tb: 2\n", 1, "tab"),
            ("a: 1\na: 2\n", 2, "a"),
            ("a: *x\n", 1, ""),
            ("a: .nan\n", 1, ""),
            ("a: 1\n---\nb: 2\n", 2, ""),
            ("a: \"x\n", 1, ""),
        ] {
            let fault = Tree::read(text).unwrap_err();
            assert!(fault.message.contains(said), "{text}: {fault:?}");
            assert!(fault.place.is_some_and(|at| at.line >= line), "{text}: {fault:?}");
        }
        // A bomb of aliases ends with an error too.
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..9 {
            let before = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{before}]\n"));
        }
        assert!(Tree::read(&bomb).is_err());
    }
}
