//! Responses of our own.

use super::policy::Reliable;
use crate::wire::{Field, HeaderName, Headers, Message, Method, StartLine, Via, reason_phrase};
use bytes::Bytes;

/// The methods we answer to, for `Allow`.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY";
/// The same outside of dialogs where accounts are served.
pub(crate) const ALLOW_OF_REGISTRAR: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY, REGISTER";
/// The methods we serve.
const METHODS: &[Method] = &[
    Method::Invite,
    Method::Ack,
    Method::Cancel,
    Method::Bye,
    Method::Options,
    Method::Info,
    Method::Update,
    Method::Prack,
    Method::Refer,
    Method::Notify,
    // The last, to be left out where there is no registrar.
    Method::Register,
];

/// The same for requests outside of dialogs, with or without a registrar.
pub(crate) fn methods(registrar: bool) -> &'static [Method] {
    &METHODS[..METHODS.len() - usize::from(!registrar)]
}
/// The extensions we know: reliable provisional responses (RFC 3262), which can be switched off, their end in forks
/// (RFC 6228), session timers (RFC 4028), `Refer-Sub: false` (RFC 4488),
/// calls that take the place of others (RFC 3891).
pub(crate) const EXTENSIONS: &[&str] = &["100rel", "199", "timer", "norefersub", "replaces"];
const SUPPORTED: &str = "100rel, 199, timer, norefersub, replaces";
const SUPPORTED_UNRELIABLY: &str = "199, timer, norefersub, replaces";

/// The extensions that are known under this policy.
pub(crate) fn extensions(reliable: Reliable) -> &'static [&'static str] {
    &EXTENSIONS[usize::from(reliable == Reliable::Off)..]
}

/// The same as a header value.
pub(crate) fn supported(reliable: Reliable) -> &'static str {
    if reliable == Reliable::Off { SUPPORTED_UNRELIABLY } else { SUPPORTED }
}

/// The body we understand, for `Accept`.
pub(crate) const ACCEPT: &str = "application/sdp";
/// The bodies of INFO we understand.
pub(crate) const ACCEPT_INFO: &str = "application/dtmf-relay, application/dtmf";

/// A response before it has the fields that it repeats from its request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    /// Whether it may create or keep a dialog: then the record-route goes back with it (RFC 3261 §12.1.1).
    pub(crate) dialog: bool,
    pub(crate) headers: Vec<(HeaderName, Bytes)>,
    pub(crate) sdp: Option<Bytes>,
}

impl Reply {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, reason: None, dialog: false, headers: Vec::new(), sdp: None }
    }

    pub(crate) fn reason(mut self, reason: Option<String>) -> Self {
        self.reason = reason;
        self
    }

    pub(crate) fn header(mut self, field: Field, value: impl Into<Bytes>) -> Self {
        self.headers.push((HeaderName::Known(field), value.into()));
        self
    }

    pub(crate) fn text(self, field: Field, value: &'static str) -> Self {
        self.header(field, Bytes::from_static(value.as_bytes()))
    }

    pub(crate) fn in_dialog(mut self, contact: Bytes) -> Self {
        self.dialog = true;
        self.headers.push((HeaderName::Known(Field::Contact), contact));
        self
    }

    pub(crate) fn sdp(mut self, sdp: Option<Bytes>) -> Self {
        self.sdp = sdp;
        self
    }

    /// The message, with what it repeats from the headers of its request.
    pub(crate) fn write(self, request: &Headers, to_tag: Option<&str>, server: &str) -> Bytes {
        let reason = self.reason.filter(|r| !r.bytes().any(|b| b.is_ascii_control()));
        let reason = reason.unwrap_or_else(|| reason_phrase(self.status).to_owned());
        let mut headers = Headers::default();
        headers.copy(Field::Via, request);
        if self.dialog {
            headers.copy(Field::RecordRoute, request);
        }
        for field in [Field::From, Field::To, Field::CallId, Field::CSeq] {
            headers.copy(field, request);
        }
        if self.status == 100 {
            headers.copy(Field::Timestamp, request);
        }
        for (name, value) in self.headers {
            headers.push_checked(name, value);
        }
        if !server.is_empty() {
            put(&mut headers, Field::Server, server.to_owned());
        }
        let body = match self.sdp {
            Some(sdp) => {
                put(&mut headers, Field::ContentType, "application/sdp");
                sdp
            }
            None => Bytes::new(),
        };
        let mut message = Message { start: StartLine::Response { status: self.status, reason }, headers, body };
        if let Some(tag) = to_tag.filter(|_| self.status > 100) {
            message.add_to_tag(tag);
        }
        serialise(&message)
    }
}

/// Appends a field of our own; its value holds nothing that a caller or peer wrote unchecked.
pub(crate) fn put(headers: &mut Headers, field: Field, value: impl Into<Bytes>) {
    headers.push_checked(HeaderName::Known(field), value.into());
}

/// The whole message in one piece.
pub(crate) fn serialise(message: &Message) -> Bytes {
    let mut out = Vec::with_capacity(1024 + message.body.len());
    message.write(&mut out);
    out.into()
}

/// The key under which repetitions of a request find their server transaction (RFC 3261 §17.2.3). `method` is the
/// request's own, but INVITE for an ACK, and INVITE for the search that a CANCEL makes.
pub(crate) fn server_key(message: &Message, via: &Via, method: &Method) -> Option<Box<[u8]>> {
    let mut key = Vec::with_capacity(96);
    key.extend_from_slice(method.as_str().as_bytes());
    if let Some(branch) = via.transaction_branch() {
        for part in [branch.as_str(), via.sent_by().as_str()] {
            key.push(0);
            key.extend_from_slice(part.as_bytes());
        }
        return Some(key.into());
    }
    // RFC 2543 peers write no branch to go by: the request URI, the tag of From, Call-ID, the number of CSeq and the
    // whole Via tell transactions apart. The tag of To is left out, since the ACK of a refusal carries ours.
    let StartLine::Request { uri, .. } = &message.start else { return None };
    let from = message.from().ok()?.tag().unwrap_or_default();
    let seq = message.cseq().ok()?.seq.to_string();
    let parts = [
        b"2543".as_slice(),
        uri.as_bytes(),
        from.as_bytes(),
        message.call_id().ok()?.as_ref(),
        seq.as_bytes(),
        message.headers.get(Field::Via)?.as_ref(),
    ];
    for part in parts {
        key.push(0);
        key.extend_from_slice(part);
    }
    Some(key.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Support;

    #[test]
    fn allow_names_what_is_served() {
        for policy in [Reliable::Off, Reliable::Supported] {
            let extensions = extensions(policy);
            assert_eq!(extensions.join(", "), supported(policy));
            for (registrar, allow) in [(false, ALLOW), (true, ALLOW_OF_REGISTRAR)] {
                let support = Support { methods: methods(registrar), extensions, session: ACCEPT };
                assert_eq!(support.allow(), allow);
            }
        }
    }
}
