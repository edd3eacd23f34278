//! What a trunk is. The same document is given to the API, stored, and shown – but for the password, which goes in and
//! never comes out.

use crate::numbers::Numbers;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use utoipa::ToSchema;

/// A carrier or a PBX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTrunk)]
pub struct TrunkSettings {
    /// For people, unique within the tenant.
    #[schema(min_length = 1, max_length = 64, example = "carrier-a")]
    pub name: String,
    /// Whether calls come and go by it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Calls to a number take the trunks of the longest matching prefix, those with the lowest order first.
    #[serde(default = "default_order")]
    #[schema(maximum = 65535, default = 100)]
    pub order: u16,
    /// The numbers it is for: how they begin, as `+49`. Empty for all.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub prefixes: Vec<String>,
    /// Where calls go to. Empty for a trunk that only takes calls.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub addresses: Vec<Address>,
    /// By what a call that comes in is known to be this trunk's.
    #[serde(default)]
    pub inbound: Inbound,
    /// For the challenges (401, 407) of the far end.
    #[serde(default)]
    pub credentials: Option<Credentials>,
    /// Where the far end wants to be told where we are.
    #[serde(default)]
    pub registration: Option<Registration>,
    /// What is spoken, the best first. Empty for everything that the host speaks.
    #[serde(default)]
    #[schema(max_items = 8)]
    pub codecs: Vec<Codec>,
    /// Whose order of codecs counts in the answer to an offer of the far end.
    #[serde(default)]
    pub codec_order: CodecOrder,
    /// Milliseconds of audio in a packet, where the far end does not say how many it wants: 10 to 60 in steps of 10. None
    /// for 20.
    #[serde(default)]
    #[schema(minimum = 10, maximum = 60, multiple_of = 10)]
    pub packet_ms: Option<u8>,
    /// Whether media is encrypted, and how.
    #[serde(default)]
    pub encryption: Encryption,
    /// How our offers put encryption that is preferred.
    #[serde(default)]
    pub encryption_offer: EncryptionOffer,
    /// How keys are heard and sent.
    #[serde(default)]
    pub dtmf: Dtmf,
    /// What our INVITEs carry besides.
    #[serde(default)]
    pub headers: Headers,
    /// How numbers are written on the other side.
    #[serde(default)]
    pub numbers: Numbers,
    /// How much it takes.
    #[serde(default)]
    pub limits: Limits,
    /// How its health is found out.
    #[serde(default)]
    pub health: Health,
    /// Final statuses before an answer after which the next address, then the next trunk, is tried. A refusal by a
    /// person (486, 603, any 6xx) is none.
    #[serde(default = "default_failover")]
    #[schema(max_items = 32, example = json!([408, 500, 502, 503, 504]))]
    pub failover_statuses: Vec<u16>,
}

const fn yes() -> bool {
    true
}

const fn default_order() -> u16 {
    100
}

/// Silence, and faults of the far end's machines.
pub const DEFAULT_FAILOVER: [u16; 5] = [408, 500, 502, 503, 504];

fn default_failover() -> Vec<u16> {
    DEFAULT_FAILOVER.to_vec()
}

/// One address of the far end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TrunkAddress)]
pub struct Address {
    /// A name or an IP address. A name without a port is looked up by NAPTR and SRV first (RFC 3263).
    #[schema(min_length = 1, max_length = 255, example = "sip.carrier.example")]
    pub host: String,
    /// None for the one that DNS or the transport says.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub port: Option<u16>,
    /// None for the one that DNS says, else UDP.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// The lowest is tried first.
    #[serde(default = "default_priority")]
    #[schema(default = 10)]
    pub priority: u16,
    /// Its share among those of one priority.
    #[serde(default = "default_weight")]
    #[schema(default = 50)]
    pub weight: u16,
}

const fn default_priority() -> u16 {
    10
}

const fn default_weight() -> u16 {
    50
}

impl fmt::Display for Address {
    /// `udp sip.carrier.example:5060`, without what is left open.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(transport) = self.transport {
            write!(f, "{} ", transport.name())?;
        }
        f.write_str(&self.host_and_port())
    }
}

impl Address {
    /// `host:port` as in a URI: an IPv6 address in brackets, no port where none is given.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let host = in_uri(&self.host);
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkTransport)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// As in JSON and in URIs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// By what a call that comes in is known. One of them is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TrunkInbound)]
pub struct Inbound {
    /// Where its INVITEs come from: `203.0.113.0/24`, `2001:db8::1`. Of the trunks of one tenant the longest counts.
    #[schema(max_items = 64)]
    pub networks: Vec<String>,
    /// A name in the verified certificate that the far end shows (mutual TLS).
    #[schema(max_items = 16)]
    pub tls_identities: Vec<String>,
    /// The SIP account (its user name) as which a PBX registers or signs in here.
    #[schema(max_length = 64)]
    pub account: Option<String>,
}

/// A user name and a password at the far end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TrunkCredentials)]
pub struct Credentials {
    /// The name.
    #[schema(min_length = 1, max_length = 128)]
    pub username: String,
    /// Goes in and is never shown. Left out in a change, the one before stays.
    #[serde(default, skip_serializing)]
    #[schema(write_only, value_type = Option<String>, max_length = 256)]
    pub password: Option<Password>,
    /// Only challenges of this realm are answered; none for any of the far end's.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub realm: Option<String>,
}

/// A password on its way in. It is not printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Wraps one.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// How we register with the far end (RFC 3261 §10). It needs credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TrunkRegistration)]
pub struct Registration {
    /// Whether it is done.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What is registered: `sip:user@carrier.example`. Its host is the registrar, reached by the trunk's addresses in
    /// their order.
    #[schema(max_length = 255, example = "sip:user@carrier.example")]
    pub aor: String,
    /// For how long; the registrar may shorten it.
    #[serde(default = "default_expires")]
    #[schema(minimum = 60, maximum = 86400, default = 600)]
    pub expires_s: u32,
}

const fn default_expires() -> u32 {
    600
}

/// A codec by its name in session descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkCodec)]
pub enum Codec {
    /// G.711 μ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722.
    G722,
    /// Opus.
    Opus,
    /// G.729, where the host was built with it.
    G729,
}

/// Whose order of codecs counts in the answer to an offer of the far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkCodecOrder)]
pub enum CodecOrder {
    /// The far end's: its first codec that is spoken here.
    #[default]
    Theirs,
    /// That of `codecs`: the first of them that was offered.
    Ours,
}

/// Whether media is encrypted, and how the keys are agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkEncryption)]
pub enum Encryption {
    /// Plain RTP alone.
    Off,
    /// Where the far end offers it; our offers are plain.
    #[default]
    Accepted,
    /// SDES (RFC 4568) is offered, plain RTP will do.
    SdesPreferred,
    /// SDES or no call.
    Sdes,
    /// DTLS-SRTP (RFC 5763) is offered, plain RTP will do.
    DtlsPreferred,
    /// DTLS-SRTP or no call.
    Dtls,
}

/// How our offers put encryption that is preferred and not required. What is required is one line of `RTP/SAVP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkEncryptionOffer)]
pub enum EncryptionOffer {
    /// One media line of `RTP/AVP` with the keys beside it, which a far end without SRTP ignores (RFC 8643).
    #[default]
    OneLine,
    /// Two media lines on one port, the encrypted one first, of which the far end takes one.
    TwoLines,
}

/// How keys are heard and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkDtmf)]
pub enum Dtmf {
    /// RFC 4733 where both sides speak it; otherwise INFO or tones, whichever comes first.
    #[default]
    Auto,
    /// RFC 4733 events.
    Rfc4733,
    /// SIP INFO.
    Info,
    /// Tones in the audio.
    Inband,
}

/// What our INVITEs carry besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TrunkHeaders)]
pub struct Headers {
    /// Header fields of every INVITE to the far end.
    pub outbound: BTreeMap<String, String>,
    /// Where the far end looks for who calls.
    pub identity: IdentityManner,
    /// Callees do not see who calls; the far end does where `identity` is another header than `From`.
    pub privacy: bool,
    /// The user in `From` instead of the caller's number, for a far end that wants its own name there.
    #[schema(max_length = 64)]
    pub from_user: Option<String>,
    /// The host in `From` and in the identity header; none for the host of `registration.aor`, else of the first
    /// address.
    #[schema(max_length = 255)]
    pub from_domain: Option<String>,
}

/// The header by which the far end knows who calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TrunkIdentity)]
pub enum IdentityManner {
    /// `From` alone.
    #[default]
    From,
    /// `P-Asserted-Identity` (RFC 3325): the far end trusts us.
    Pai,
    /// `P-Preferred-Identity` (RFC 3325): the far end decides.
    Ppi,
    /// `Remote-Party-ID`, the draft that some systems still read.
    Rpid,
}

/// How much a trunk takes. What is not given has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TrunkLimits)]
pub struct Limits {
    /// Calls at once, both ways together.
    #[schema(minimum = 1)]
    pub channels: Option<u32>,
    /// Calls at once that came in.
    #[schema(minimum = 1)]
    pub inbound_channels: Option<u32>,
    /// Calls at once that we placed.
    #[schema(minimum = 1)]
    pub outbound_channels: Option<u32>,
    /// Calls that begin in a second, each way.
    #[schema(minimum = 1, maximum = 10000)]
    pub calls_per_second: Option<u32>,
}

/// How the health of an address is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TrunkHealth)]
pub struct Health {
    /// OPTIONS every so many seconds; 0 for none. An address that fails is asked more often until it is clear.
    #[schema(maximum = 3600, default = 30)]
    pub options_interval_s: u32,
    /// Failures in a row after which it is down.
    #[schema(minimum = 1, maximum = 10, default = 3)]
    pub down_after: u8,
    /// Answers in a row after which it is up again.
    #[schema(minimum = 1, maximum = 10, default = 2)]
    pub up_after: u8,
}

impl Default for Health {
    fn default() -> Self {
        Self { options_interval_s: 30, down_after: 3, up_after: 2 }
    }
}

/// A host as in a URI: an IPv6 address in brackets.
fn in_uri(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

impl TrunkSettings {
    /// The host in the URIs that we write about ourselves and the callee. None for a trunk without addresses.
    #[must_use]
    pub fn domain(&self) -> Option<String> {
        let aor = self.registration.as_ref().and_then(|registration| registration.aor.split_once('@'));
        let aor = aor.map(|(_, host)| host.split([';', '?']).next().unwrap_or_default().to_owned());
        let given = self.headers.from_domain.as_deref().map(in_uri);
        given.or(aor).or_else(|| {
            let first = self.addresses.iter().min_by_key(|address| address.priority)?;
            Some(in_uri(&first.host))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_has_brackets_in_uris() {
        for host in ["2001:db8::1", "[2001:db8::1]"] {
            let given = serde_json::json!({ "name": "a", "headers": { "from_domain": host } });
            let first = serde_json::json!({ "name": "a", "addresses": [{ "host": host, "port": 5070 }] });
            for document in [given, first] {
                let trunk: TrunkSettings = serde_json::from_value(document).unwrap();
                assert_eq!(trunk.domain().as_deref(), Some("[2001:db8::1]"));
            }
        }
    }
}
