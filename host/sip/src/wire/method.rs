//! Request methods.

use std::fmt;

use bytes::Bytes;

use super::{ValueFault, lex};

/// A non-empty RFC 3261 `token`, kept as received.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(Bytes);

impl Token {
    /// Takes `bytes` if they are a token.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, ValueFault> {
        let bytes = bytes.into();
        if lex::is_token(&bytes) { Ok(Self(bytes)) } else { Err(ValueFault::Token) }
    }

    /// The token as text; tokens are ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

macro_rules! methods {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// The method of a request. Names are case-sensitive (RFC 3261 §7.1).
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Method {
            $(#[doc = $doc] $variant,)*
            /// Any other token.
            Other(Token),
        }

        impl Method {
            /// The methods with a name of their own here.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)*];

            /// Reads a method name.
            pub fn parse(name: &Bytes) -> Result<Self, ValueFault> {
                Ok(match Self::known(name) {
                    Some(method) => method,
                    None => Self::Other(Token::new(name.clone())?),
                })
            }

            pub(crate) fn known(name: &[u8]) -> Option<Self> {
                Some(match name {
                    $(name if name == $name.as_bytes() => Self::$variant,)*
                    _ => return None,
                })
            }

            /// The name as it stands in a request line.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(token) => token.as_str(),
                }
            }
        }
    };
}

methods! {
    Invite "INVITE" "Starts or changes a session.",
    Ack "ACK" "Confirms the final response to INVITE; never answered.",
    Cancel "CANCEL" "Gives up a pending INVITE.",
    Bye "BYE" "Ends a session.",
    Options "OPTIONS" "Asks for capabilities; a ping in practice.",
    Register "REGISTER" "Binds a contact to an address.",
    Info "INFO" "Application data in a session, digits above all (RFC 6086).",
    Update "UPDATE" "Changes a session without touching the dialog (RFC 3311).",
    Prack "PRACK" "Confirms a reliable provisional response (RFC 3262).",
    Refer "REFER" "Asks the peer to call somebody (RFC 3515).",
    Notify "NOTIFY" "Reports an event (RFC 6665).",
    Subscribe "SUBSCRIBE" "Asks for events (RFC 6665).",
    Message "MESSAGE" "An instant message (RFC 3428).",
    Publish "PUBLISH" "Event state (RFC 3903).",
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
