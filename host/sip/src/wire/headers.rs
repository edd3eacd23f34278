//! The header fields of a message, in order, values as received.

use bytes::Bytes;

use super::{Field, HeaderError, HeaderName, Key, ValueFault, lex};

/// One header line: a name and its value, unfolded and without blanks at the ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name.
    pub name: HeaderName,
    value: Bytes,
}

impl Header {
    /// The value as received, several values of a list together.
    pub fn value(&self) -> &Bytes {
        &self.value
    }
}

/// Header fields in the order of the message. `Content-Length` is not among them: it is checked when a message is
/// read, and counted when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    pub(crate) fn with_capacity(lines: usize) -> Self {
        Self(Vec::with_capacity(lines))
    }

    /// All lines in order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter()
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the first line of that name.
    pub fn get<'k>(&self, name: impl Into<Key<'k>>) -> Option<&Bytes> {
        self.lines(name).next()
    }

    /// The first value as text; bytes that are no UTF-8 are replaced.
    pub fn text<'k>(&self, name: impl Into<Key<'k>>) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Whether there is a line of that name.
    pub fn contains<'k>(&self, name: impl Into<Key<'k>>) -> bool {
        self.get(name).is_some()
    }

    /// The values of all lines of that name, lists not split.
    pub fn lines<'k>(&self, name: impl Into<Key<'k>>) -> impl Iterator<Item = &Bytes> {
        let key = name.into();
        self.0.iter().filter(move |header| header.name.is(key)).map(|header| &header.value)
    }

    /// All values of that name: lists split at their commas where the field allows lists, empty pieces left out.
    pub fn get_all<'k>(&self, name: impl Into<Key<'k>>) -> impl Iterator<Item = Bytes> {
        let key = name.into();
        let is_list = matches!(key, Key::Known(field) if field.is_list());
        self.lines(key).flat_map(move |line| {
            let whole = (!is_list).then(|| line.clone());
            let pieces = is_list.then(|| {
                lex::Split::new(line, b',')
                    .filter(|(start, end)| start < end)
                    .map(|(start, end)| line.slice(start..end))
            });
            whole.into_iter().chain(pieces.into_iter().flatten())
        })
    }

    /// Whether a list of tokens (`Supported`, `Require`, `Allow` …) names `token`, without regard to case.
    pub fn lists<'k>(&self, name: impl Into<Key<'k>>, token: &str) -> bool {
        self.get_all(name).any(|value| {
            let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
            lex::trim(&value[..end]).eq_ignore_ascii_case(token.as_bytes())
        })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// A name that is no token, or a value with a line break or NUL, which would let its author write headers.
    pub fn push<'k>(&mut self, name: impl Into<Key<'k>>, value: impl Into<Bytes>) -> Result<(), HeaderError> {
        let header = checked(name.into(), value.into())?;
        self.0.push(header);
        Ok(())
    }

    /// Puts a line in front of all others, as a Via of our own.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_front<'k>(&mut self, name: impl Into<Key<'k>>, value: impl Into<Bytes>) -> Result<(), HeaderError> {
        let header = checked(name.into(), value.into())?;
        self.0.insert(0, header);
        Ok(())
    }

    /// Replaces the first line of that name, drops its others, or appends one.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn set<'k>(&mut self, name: impl Into<Key<'k>>, value: impl Into<Bytes>) -> Result<(), HeaderError> {
        let key = name.into();
        let header = checked(key, value.into())?;
        self.replace(key, header);
        Ok(())
    }

    /// Drops all lines of that name.
    pub fn remove<'k>(&mut self, name: impl Into<Key<'k>>) {
        let key = name.into();
        self.0.retain(|header| !header.name.is(key));
    }

    /// Appends all lines of that name from `other`, byte for byte.
    pub fn copy<'k>(&mut self, name: impl Into<Key<'k>>, other: &Self) {
        let key = name.into();
        self.0.extend(other.0.iter().filter(|header| header.name.is(key)).cloned());
    }

    /// Appends a line that came from the network or from our own typed values.
    pub(crate) fn push_checked(&mut self, name: HeaderName, value: Bytes) {
        self.0.push(Header { name, value });
    }

    /// Replaces the value of a known field with bytes derived from the line itself.
    pub(crate) fn set_checked(&mut self, field: Field, value: Bytes) {
        self.replace(field.into(), Header { name: field.into(), value });
    }

    /// Replaces the value of the first line only.
    pub(crate) fn set_first(&mut self, field: Field, value: Bytes) {
        if let Some(header) = self.0.iter_mut().find(|header| header.name.is(field.into())) {
            header.value = value;
        }
    }

    fn replace(&mut self, key: Key<'_>, header: Header) {
        let Some(at) = self.0.iter().position(|header| header.name.is(key)) else {
            self.0.push(header);
            return;
        };
        self.0[at] = header;
        let mut index = 0;
        self.0.retain(|header| {
            index += 1;
            index <= at + 1 || !header.name.is(key)
        });
    }

    /// The value of a field that must be there.
    pub(crate) fn need(&self, field: Field) -> Result<&Bytes, HeaderError> {
        self.get(field).ok_or(HeaderError::Missing(field))
    }
}

fn checked(key: Key<'_>, value: Bytes) -> Result<Header, HeaderError> {
    let name = match key {
        Key::Known(field) => field.into(),
        Key::Other(name) => {
            let name = HeaderName::Other(Bytes::copy_from_slice(name));
            if !lex::is_token(name.as_str().as_bytes()) {
                return Err(HeaderError::Invalid(name, ValueFault::Token));
            }
            name
        }
    };
    if value.iter().any(|&b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(HeaderError::Invalid(name, ValueFault::Injection));
    }
    let (start, end) = lex::trimmed(&value, 0, value.len());
    Ok(Header { name, value: value.slice(start..end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &'static str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.push(*name, Bytes::from_static(value.as_bytes())).unwrap();
        }
        headers
    }

    fn all(headers: &Headers, name: &str) -> Vec<String> {
        headers.get_all(name).map(|value| String::from_utf8_lossy(&value).into_owned()).collect()
    }

    #[test]
    fn finds_by_any_name_and_splits_lists_only() {
        let headers = headers(&[
            ("v", "SIP/2.0/UDP a, SIP/2.0/UDP b"),
            ("Via", "SIP/2.0/UDP c"),
            ("x-list", "a, b"),
            ("WWW-Authenticate", "Digest realm=\"a\", nonce=\"b\""),
            ("k", "timer,,100rel ,"),
        ]);
        assert_eq!(all(&headers, "VIA"), ["SIP/2.0/UDP a", "SIP/2.0/UDP b", "SIP/2.0/UDP c"]);
        assert_eq!(all(&headers, "X-List"), ["a, b"]);
        assert_eq!(all(&headers, "www-authenticate").len(), 1);
        assert!(headers.lists(Field::Supported, "100REL"));
        assert!(!headers.lists(Field::Supported, "100"));
        assert_eq!(headers.lines("via").count(), 2);
    }

    #[test]
    fn keeps_order_when_it_sets_and_removes() {
        let mut headers = headers(&[("a1", "1"), ("b1", "2"), ("A1", "3"), ("c1", "4")]);
        headers.set("a1", "9").unwrap();
        assert_eq!(headers.iter().map(|header| header.name.as_str()).collect::<Vec<_>>(), ["a1", "b1", "c1"]);
        headers.remove("B1");
        headers.set("d1", "5").unwrap();
        headers.push_front("Via", "x").unwrap();
        assert_eq!(headers.iter().map(|header| header.name.as_str()).collect::<Vec<_>>(), ["Via", "a1", "c1", "d1"]);
    }

    #[test]
    fn no_value_can_write_a_line() {
        let mut headers = Headers::default();
        for value in ["a\r\nb", "a\nb", "a\rb", "a\0b"] {
            assert!(headers.push("X-A", value).is_err());
            assert!(headers.set(Field::Subject, value).is_err());
            assert!(headers.push_front("X-A", value).is_err());
        }
        for name in ["X A", "X:A", "", "X\r\nA"] {
            assert!(headers.push(name, "v").is_err());
        }
        assert!(headers.is_empty());
    }
}
