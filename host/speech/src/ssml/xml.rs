//! The little XML that SSML needs: elements, attributes, text, comments, the
//! five entities and character references. No document types, no processing
//! instructions after the declaration, no CDATA.

use super::bad;
use crate::error::SpeechError;

/// Attributes of one element.
const MAX_ATTRIBUTES: usize = 16;

/// What a document consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Open(Tag),
    Close(String),
    Text(Text),
}

/// Text with its references resolved, and where it comes from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Both ends of each reference, in the text and in the document, ascending.
    /// Between two places byte stands for byte.
    pub(super) places: Vec<(usize, usize)>,
}

impl Text {
    /// Where a byte of the text is in the document.
    pub(super) fn place(&self, at: usize) -> usize {
        let after = self.places.partition_point(|&(text, _)| text <= at);
        let (text, place) = after.checked_sub(1).map_or((0, 0), |last| self.places[last]);
        place + (at - text)
    }
}

/// The beginning of an element, or all of an empty one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) empty: bool,
}

impl Tag {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.trim())
    }
}

/// Reads events from a text, each with its place.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut reader = Self { text, at: 0 };
        reader.skip("\u{feff}");
        if reader.rest().starts_with("<?xml")
            && let Some(end) = reader.rest().find("?>")
        {
            reader.at += end + 2;
        }
        reader
    }

    /// The next event; none at the end of the text.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Event)>, SpeechError> {
        while self.rest().starts_with("<!--") {
            let end = self.rest().find("-->").ok_or_else(|| bad(self.at, "a comment is not closed"))?;
            self.at += end + 3;
        }
        let at = self.at;
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.starts_with("<!") {
            return Err(bad(at, "no document type, entity or CDATA is read here"));
        }
        if rest.starts_with("<?") {
            return Err(bad(at, "no processing instruction is read here"));
        }
        let event = if self.skip("</") {
            let name = self.name()?;
            self.spaces();
            self.expect(">")?;
            Event::Close(name)
        } else if self.skip("<") {
            Event::Open(self.tag()?)
        } else {
            let end = rest.find('<').unwrap_or(rest.len());
            self.at += end;
            Event::Text(resolve(at, &rest[..end])?)
        };
        Ok(Some((at, event)))
    }

    fn tag(&mut self) -> Result<Tag, SpeechError> {
        let name = self.name()?;
        let mut attributes: Vec<(String, String)> = Vec::new();
        loop {
            let spaced = self.spaces();
            if self.skip("/>") {
                return Ok(Tag { name, attributes, empty: true });
            }
            if self.skip(">") {
                return Ok(Tag { name, attributes, empty: false });
            }
            if self.rest().is_empty() {
                return Err(bad(self.at, "the text ends in the middle of an element"));
            }
            if !spaced {
                return Err(bad(self.at, "a space is missing before an attribute"));
            }
            let at = self.at;
            let attribute = self.name()?;
            self.spaces();
            self.expect("=")?;
            self.spaces();
            let quote = if self.skip("\"") {
                '"'
            } else if self.skip("'") {
                '\''
            } else {
                return Err(bad(self.at, "a value needs a quotation mark"));
            };
            let start = self.at;
            let end = self.rest().find(quote).ok_or_else(|| bad(start, "a value is not closed"))?;
            let value = &self.rest()[..end];
            if value.contains('<') {
                return Err(bad(start, "a `<` in a value"));
            }
            let value = resolve(start, value)?.text;
            self.at = start + end + 1;
            if attributes.iter().any(|(name, _)| *name == attribute) {
                return Err(bad(at, &format!("the attribute `{}` twice", super::shorten(&attribute))));
            }
            if attributes.len() >= MAX_ATTRIBUTES {
                return Err(bad(at, "too many attributes"));
            }
            attributes.push((attribute, value));
        }
    }

    fn name(&mut self) -> Result<String, SpeechError> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.');
        let rest = self.rest();
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            let what = if rest.is_empty() { "the text ends in the middle of an element" } else { "a name is missing" };
            return Err(bad(self.at, what));
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    fn spaces(&mut self) -> bool {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
        trimmed.len() < rest.len()
    }

    fn skip(&mut self, what: &str) -> bool {
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn expect(&mut self, what: &str) -> Result<(), SpeechError> {
        if self.skip(what) { Ok(()) } else { Err(bad(self.at, &format!("`{what}` is missing"))) }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

/// Resolves `&lt;` and its like.
fn resolve(at: usize, text: &str) -> Result<Text, SpeechError> {
    let mut out = String::with_capacity(text.len());
    let mut places = vec![(0, at)];
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        let place = at + (text.len() - rest.len()) + start;
        out.push_str(&rest[..start]);
        let reference = &rest[start + 1..];
        let end = reference
            .find(';')
            .filter(|&end| end <= 10)
            .ok_or_else(|| bad(place, "a `&` that begins no entity; write `&amp;`"))?;
        let name = &reference[..end];
        places.push((out.len(), place));
        out.push(entity(name).ok_or_else(|| bad(place, &format!("unknown entity `{}`", super::shorten(name))))?);
        rest = &reference[end + 1..];
        places.push((out.len(), place + 1 + end + 1));
    }
    out.push_str(rest);
    Ok(Text { text: out, places })
}

fn entity(name: &str) -> Option<char> {
    let code = match name {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "amp" => return Some('&'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => match name.strip_prefix("#x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => name.strip_prefix('#')?.parse().ok()?,
        },
    };
    // A control character is a space: engines obey them.
    char::from_u32(code).map(|c| if c.is_control() { ' ' } else { c })
}
