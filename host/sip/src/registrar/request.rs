//! What a REGISTER asks for.

use crate::wire::{Field, Message, NameAddr, Scheme, Uri};
use bytes::Bytes;
use std::time::Duration;

/// Contacts in one REGISTER; more is no phone.
const MAX_CONTACTS: usize = 8;
/// Proxies between a phone and us; more is no network.
const MAX_PATH: usize = 8;
/// Longer `User-Agent`s are cut.
const MAX_USER_AGENT: usize = 128;

/// A REGISTER that was read.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) call_id: Bytes,
    pub(crate) cseq: u32,
    pub(crate) wanted: Wanted,
    /// The proxies to go by, nearest first, as they stand in `Path` (RFC 3327).
    pub(crate) path: Vec<Bytes>,
    /// Whether the phone speaks RFC 5626 and its first hop does as well.
    pub(crate) outbound: bool,
    /// Whether it came straight from the phone: what comes from the same place is the phone's, too.
    pub(crate) direct: bool,
    pub(crate) user_agent: Option<String>,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// Nothing: tell what there is.
    Query,
    /// Remove all (`Contact: *`).
    Clear,
    /// Add, refresh or remove these.
    Bind(Vec<AskedContact>),
}

/// One contact.
#[derive(Debug)]
pub(crate) struct AskedContact {
    pub(crate) uri: Uri,
    /// Zero removes it; none leaves the choice to us.
    pub(crate) expires: Option<Duration>,
    /// In thousandths.
    pub(crate) q: u16,
    pub(crate) instance: Option<String>,
    pub(crate) reg_id: Option<u32>,
}

impl Asked {
    /// Reads a REGISTER.
    ///
    /// # Errors
    /// Status and phrase of the refusal.
    pub(crate) fn read(request: &Message) -> Result<Self, (u16, &'static str)> {
        let bad = |why| (400, why);
        let call_id = request.call_id().map_err(|_| bad("Bad Call-ID"))?.clone();
        let cseq = request.cseq().map_err(|_| bad("Bad CSeq"))?.seq;
        let expires = request.expires();
        let values: Vec<Bytes> = request.headers.get_all(Field::Contact).take(MAX_CONTACTS + 1).collect();
        let wanted = match &values[..] {
            [] => Wanted::Query,
            [star] if star.as_ref() == b"*" => match expires {
                Some(0) => Wanted::Clear,
                _ => return Err(bad("Contact * Needs Expires 0")),
            },
            many if many.len() > MAX_CONTACTS => return Err((403, "Too Many Contacts")),
            many => {
                let read = |raw: &Bytes| NameAddr::parse(raw).ok().and_then(|c| AskedContact::of(&c, expires));
                Wanted::Bind(many.iter().map(read).collect::<Option<_>>().ok_or(bad("Bad Contact"))?)
            }
        };
        let path = request.addresses(Field::Path).map_err(|_| bad("Bad Path"))?;
        if path.len() > MAX_PATH {
            return Err(bad("Too Many Proxies in Path"));
        }
        // RFC 5626 §6: the first hop has to speak it, too; our phone itself is the first hop, or it wrote `ob`.
        let direct = request.headers.get_all(Field::Via).nth(1).is_none();
        let first_hop = direct || path.last().is_some_and(|first| first.uri.param("ob").is_some());
        let user_agent = request.headers.text(Field::UserAgent);
        Ok(Self {
            call_id,
            cseq,
            wanted,
            direct: direct && path.is_empty(),
            path: path.iter().map(NameAddr::to_bytes).collect(),
            outbound: first_hop && request.headers.lists(Field::Supported, "outbound"),
            user_agent: user_agent.map(|text| text.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect()),
        })
    }
}

impl Asked {
    /// Whether a contact is bound to the flow that the REGISTER came by (RFC 5626 §6): it names device and flow.
    pub(crate) fn binds_flow(&self) -> bool {
        let Wanted::Bind(contacts) = &self.wanted else { return false };
        self.outbound && contacts.iter().any(|contact| contact.reg_id.is_some())
    }
}

impl AskedContact {
    fn of(contact: &NameAddr, expires: Option<u32>) -> Option<Self> {
        if !matches!(contact.uri.scheme(), Scheme::Sip | Scheme::Sips) {
            return None;
        }
        let params = &contact.params;
        // What does not read counts as not given (RFC 3261 §10.3 step 6 takes 3600 for it).
        let own = params.number("expires").map(|s| u32::try_from(s).unwrap_or(u32::MAX));
        let instance = params.text("+sip.instance").filter(|text| !text.is_empty() && text.len() <= 256);
        Some(Self {
            uri: contact.uri.as_request_target(),
            expires: own.or(expires).map(|seconds| Duration::from_secs(seconds.into())),
            q: params.text("q").and_then(|q| quality(&q)).unwrap_or(1_000),
            reg_id: params
                .number("reg-id")
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n > 0 && instance.is_some()),
            instance,
        })
    }
}

/// `0` to `1` with up to three digits behind the point, in thousandths.
fn quality(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let whole: u16 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    Some(whole.checked_mul(1_000)?.checked_add(rest)?).filter(|q| *q <= 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn register(lines: &str) -> Message {
        let text = format!(
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:a@h>\r\nCall-ID: c\r\nCSeq: 7 REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        wire::parse(text.as_bytes()).unwrap()
    }

    fn contacts(lines: &str) -> Vec<AskedContact> {
        match Asked::read(&register(lines)).unwrap().wanted {
            Wanted::Bind(contacts) => contacts,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn contacts_are_read_with_what_belongs_to_each() {
        let found = contacts(
            "Contact: <sip:a@10.0.0.1:5060;transport=tcp>;q=0.7;expires=120, <sip:a@10.0.0.2>\r\n\
             m: \"A\" <sip:a@[::1]>;+sip.instance=\"<urn:uuid:1>\";reg-id=2;expires=0\r\nExpires: 600\r\n",
        );
        let seconds: Vec<_> = found.iter().map(|c| c.expires.map(|d| d.as_secs())).collect();
        assert_eq!(seconds, [Some(120), Some(600), Some(0)]);
        assert_eq!(found.iter().map(|c| c.q).collect::<Vec<_>>(), [700, 1_000, 1_000]);
        assert_eq!((found[2].instance.as_deref(), found[2].reg_id), (Some("<urn:uuid:1>"), Some(2)));
        assert_eq!(contacts("Contact: <sip:a@h>\r\n")[0].expires, None);
    }

    #[test]
    fn what_is_no_registration_is_refused() {
        for (lines, status) in [
            ("Contact: *\r\n", 400),
            ("Contact: *\r\nExpires: 60\r\n", 400),
            ("Contact: *, <sip:a@h>\r\nExpires: 0\r\n", 400),
            ("Contact: <tel:+1>\r\n", 400),
            (
                "Contact: <sip:a@1>, <sip:a@2>, <sip:a@3>, <sip:a@4>, <sip:a@5>, <sip:a@6>, <sip:a@7>, <sip:a@8>, <sip:a@9>\r\n",
                403,
            ),
        ] {
            // What the wire refuses needs no second look.
            let text = register("").to_vec();
            let text = String::from_utf8(text)
                .unwrap()
                .replace("Content-Length: 0\r\n", &format!("{lines}Content-Length: 0\r\n"));
            if let Ok(message) = wire::parse(text.as_bytes()) {
                assert_eq!(Asked::read(&message).unwrap_err().0, status, "{lines}");
            }
        }
        assert!(matches!(Asked::read(&register("")).unwrap().wanted, Wanted::Query));
        let clear = Asked::read(&register("Contact: *\r\nExpires: 0\r\n"));
        assert!(matches!(clear.unwrap().wanted, Wanted::Clear));
    }

    #[test]
    fn qualities() {
        for (text, q) in [("1", 1_000), ("0.5", 500), ("0", 0), ("1.000", 1_000), (".25", 250), ("0.001", 1)] {
            assert_eq!(quality(text), Some(q), "{text}");
        }
        for text in ["1.1", "2", "0.1234", "x", "-1", "0.x", "70000"] {
            assert_eq!(quality(text), None, "{text}");
        }
    }

    #[test]
    fn outbound_needs_the_first_hop() {
        let outbound = |lines: &str| Asked::read(&register(lines)).unwrap().outbound;
        assert!(!outbound(""));
        assert!(outbound("Supported: path, outbound\r\n"));
        let via = "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK2\r\nSupported: outbound\r\n";
        assert!(!outbound(via));
        assert!(!outbound(&format!("{via}Path: <sip:p;lr>\r\n")));
        assert!(outbound(&format!("{via}Path: <sip:p;lr;ob>\r\n")));
    }
}
