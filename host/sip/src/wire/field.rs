//! Names of header fields.

use std::fmt;

use bytes::Bytes;

use super::lex;

macro_rules! fields {
    ($($variant:ident $name:literal $compact:literal $list:literal,)*) => {
        /// A header field this stack knows by name. Long and compact names are the same field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        const ALL: &[Entry] = &[$(Entry { field: Field::$variant, name: $name, compact: $compact, list: $list },)*];
    };
}

struct Entry {
    field: Field,
    name: &'static str,
    compact: u8,
    list: bool,
}

// name, compact form (0: none), whether commas part values (RFC 3261 §7.3.1 and the field's own RFC).
fields! {
    Accept "Accept" 0 true,
    AcceptContact "Accept-Contact" b'a' true,
    AcceptEncoding "Accept-Encoding" 0 true,
    AcceptLanguage "Accept-Language" 0 true,
    AlertInfo "Alert-Info" 0 true,
    Allow "Allow" 0 true,
    AllowEvents "Allow-Events" b'u' true,
    AuthenticationInfo "Authentication-Info" 0 false,
    Authorization "Authorization" 0 false,
    CallId "Call-ID" b'i' false,
    CallInfo "Call-Info" 0 true,
    Contact "Contact" b'm' true,
    ContentDisposition "Content-Disposition" 0 false,
    ContentEncoding "Content-Encoding" b'e' true,
    ContentLanguage "Content-Language" 0 true,
    ContentLength "Content-Length" b'l' false,
    ContentType "Content-Type" b'c' false,
    CSeq "CSeq" 0 false,
    Date "Date" 0 false,
    Diversion "Diversion" 0 true,
    ErrorInfo "Error-Info" 0 true,
    Event "Event" b'o' false,
    Expires "Expires" 0 false,
    From "From" b'f' false,
    Geolocation "Geolocation" 0 true,
    HistoryInfo "History-Info" 0 true,
    Identity "Identity" b'y' true,
    InReplyTo "In-Reply-To" 0 true,
    MaxForwards "Max-Forwards" 0 false,
    MimeVersion "MIME-Version" 0 false,
    MinExpires "Min-Expires" 0 false,
    MinSe "Min-SE" 0 false,
    PAssertedIdentity "P-Asserted-Identity" 0 true,
    PEarlyMedia "P-Early-Media" 0 true,
    PPreferredIdentity "P-Preferred-Identity" 0 true,
    Path "Path" 0 true,
    Privacy "Privacy" 0 false,
    ProxyAuthenticate "Proxy-Authenticate" 0 false,
    ProxyAuthorization "Proxy-Authorization" 0 false,
    ProxyRequire "Proxy-Require" 0 true,
    RAck "RAck" 0 false,
    Reason "Reason" 0 true,
    RecordRoute "Record-Route" 0 true,
    ReferSub "Refer-Sub" 0 false,
    ReferTo "Refer-To" b'r' false,
    ReferredBy "Referred-By" b'b' false,
    RejectContact "Reject-Contact" b'j' true,
    RemotePartyId "Remote-Party-ID" 0 true,
    Replaces "Replaces" 0 false,
    RequestDisposition "Request-Disposition" b'd' true,
    Require "Require" 0 true,
    RetryAfter "Retry-After" 0 false,
    Route "Route" 0 true,
    RSeq "RSeq" 0 false,
    Server "Server" 0 false,
    ServiceRoute "Service-Route" 0 true,
    SessionExpires "Session-Expires" b'x' false,
    SessionId "Session-ID" 0 false,
    Subject "Subject" b's' false,
    SubscriptionState "Subscription-State" 0 false,
    Supported "Supported" b'k' true,
    Timestamp "Timestamp" 0 false,
    To "To" b't' false,
    Unsupported "Unsupported" 0 true,
    UserAgent "User-Agent" 0 false,
    UserToUser "User-to-User" 0 true,
    Via "Via" b'v' true,
    Warning "Warning" 0 true,
    WwwAuthenticate "WWW-Authenticate" 0 false,
}

const SLOTS: usize = 256;

/// Open addressing, filled at compile time; 0 is empty, else the index into [`ALL`] plus one.
static TABLE: [u8; SLOTS] = {
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < ALL.len() {
        let mut slot = hash(ALL[i].name.as_bytes());
        while table[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = i as u8 + 1;
        i += 1;
    }
    table
};

/// Index into [`ALL`] plus one, by lower-case letter.
static COMPACT: [u8; 26] = {
    let mut table = [0; 26];
    let mut i = 0;
    while i < ALL.len() {
        if ALL[i].compact != 0 {
            table[(ALL[i].compact - b'a') as usize] = i as u8 + 1;
        }
        i += 1;
    }
    table
};

const fn hash(name: &[u8]) -> usize {
    let first = (name[0] | 0x20) as usize;
    let last = (name[name.len() - 1] | 0x20) as usize;
    let middle = (name[name.len() / 2] | 0x20) as usize;
    (name.len() * 53 + first * 7 + middle * 3 + last * 31) % SLOTS
}

impl Field {
    /// The field of that name, in any case, long or compact.
    pub fn find(name: &[u8]) -> Option<Self> {
        let index = match name {
            [] => return None,
            [letter] => {
                let letter = letter.to_ascii_lowercase();
                if !letter.is_ascii_lowercase() {
                    return None;
                }
                match COMPACT[usize::from(letter - b'a')] {
                    0 => return None,
                    index => usize::from(index) - 1,
                }
            }
            _ => {
                let mut slot = hash(name);
                loop {
                    let index = usize::from(TABLE[slot]).checked_sub(1)?;
                    if ALL[index].name.as_bytes().eq_ignore_ascii_case(name) {
                        break index;
                    }
                    slot = (slot + 1) % SLOTS;
                }
            }
        };
        Some(ALL[index].field)
    }

    /// The full name as the RFC writes it.
    pub fn name(self) -> &'static str {
        ALL[self as usize].name
    }

    /// Whether commas part several values in one line.
    pub fn is_list(self) -> bool {
        ALL[self as usize].list
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a header field, known or not. Unknown names compare without regard to case.
#[derive(Clone)]
pub enum HeaderName {
    /// A field this stack knows.
    Known(Field),
    /// Any other token, as received.
    Other(Bytes),
}

impl HeaderName {
    /// Reads a name; `None` when it is no token.
    pub fn parse(name: &Bytes) -> Option<Self> {
        match Field::find(name) {
            Some(field) => Some(Self::Known(field)),
            None if lex::is_token(name) => Some(Self::Other(name.clone())),
            None => None,
        }
    }

    /// The name as it is written: the RFC's spelling for known fields, the sender's for others.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(field) => field.name(),
            Self::Other(name) => std::str::from_utf8(name).unwrap_or_default(),
        }
    }

    /// Whether this is the field that `key` asks for.
    pub(crate) fn is(&self, key: Key<'_>) -> bool {
        match (self, key) {
            (Self::Known(field), Key::Known(wanted)) => *field == wanted,
            (Self::Other(name), Key::Other(wanted)) => name.eq_ignore_ascii_case(wanted),
            _ => false,
        }
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        self.is(Key::from(other))
    }
}

impl Eq for HeaderName {}

impl From<Field> for HeaderName {
    fn from(field: Field) -> Self {
        Self::Known(field)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to look for: a known field or a name in any spelling.
#[derive(Clone, Copy, Debug)]
pub enum Key<'a> {
    /// A field this stack knows.
    Known(Field),
    /// Any other name.
    Other(&'a [u8]),
}

impl From<Field> for Key<'_> {
    fn from(field: Field) -> Self {
        Self::Known(field)
    }
}

impl<'a> From<&'a [u8]> for Key<'a> {
    fn from(name: &'a [u8]) -> Self {
        Field::find(name).map_or(Self::Other(name), Self::Known)
    }
}

impl<'a> From<&'a str> for Key<'a> {
    fn from(name: &'a str) -> Self {
        name.as_bytes().into()
    }
}

impl<'a> From<&'a HeaderName> for Key<'a> {
    fn from(name: &'a HeaderName) -> Self {
        match name {
            HeaderName::Known(field) => Self::Known(*field),
            HeaderName::Other(name) => Self::Other(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_in_every_spelling() {
        for (index, entry) in ALL.iter().enumerate() {
            assert_eq!(entry.field as usize, index);
            assert_eq!(Field::find(entry.name.as_bytes()), Some(entry.field));
            assert_eq!(Field::find(entry.name.to_ascii_uppercase().as_bytes()), Some(entry.field));
            assert_eq!(Field::find(entry.name.to_ascii_lowercase().as_bytes()), Some(entry.field));
            if entry.compact != 0 {
                assert_eq!(Field::find(&[entry.compact]), Some(entry.field));
                assert_eq!(Field::find(&[entry.compact.to_ascii_uppercase()]), Some(entry.field));
            }
        }
    }

    #[test]
    fn other_names_are_other() {
        for name in ["X-Account", "Vi", "Viaa", "C%6Fntact", "z", "1", ""] {
            assert_eq!(Field::find(name.as_bytes()), None, "{name}");
        }
        let name = |name: &'static str| HeaderName::parse(&Bytes::from_static(name.as_bytes()));
        assert_eq!(name("X-Account"), name("x-aCCount"));
        assert_ne!(name("X-Account"), name("X-Accounts"));
        assert_eq!(name("bad name"), None);
        assert_eq!(name(""), None);
    }
}
