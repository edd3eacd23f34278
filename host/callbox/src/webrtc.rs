//! Calls from web pages and apps: what the operator settles about them, and what the rooms are told of it.

use crate::config::{Config, Secret};
use callbox_api::{IceConfig, WebCallConfig};
use callbox_dialogue::setup::Limits;
use callbox_media::webrtc::WebRtcConfig;
use miette::miette;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The port of all calls, UDP and TCP, where nothing else is given.
const PORT: u16 = 8_189;
/// What the media plane waits for longer than a call rings: it is told when a call comes in, and a browser that calls by
/// SIP comes when the call is answered.
const SLACK: Duration = Duration::from_secs(30);

/// Calls from web pages and apps.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebRtc {
    /// Whether they can call.
    pub(crate) enabled: bool,
    /// The port of all their calls, UDP and TCP, on the addresses of `media.bind` and `media.ipv6`.
    pub(crate) port: u16,
    /// UDP addresses instead of those: one, or one of each family.
    pub(crate) udp: Vec<SocketAddr>,
    /// TCP addresses instead, for those whom UDP does not reach.
    pub(crate) tcp: Vec<SocketAddr>,
    /// The addresses that browsers are told, the best first, where they differ from the bound ones; by default
    /// `media.advertise` and `media.advertise_ipv6`.
    pub(crate) advertise: Vec<IpAddr>,
    /// STUN servers for browsers: `stun:stun.example.com:3478`. Who can reach the host needs none.
    pub(crate) stun: Vec<String>,
    /// TURN servers for browsers whose networks let nothing else through.
    pub(crate) turn: Turn,
    /// The longest that a token can be good, in seconds.
    pub(crate) longest_token_s: u32,
    /// Requests a second of pages at one address; 0 for no limit.
    pub(crate) requests_per_second_per_address: u32,
    /// Requests a second with one token; 0 for no limit.
    pub(crate) requests_per_second_per_token: u32,
}

/// TURN servers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Turn {
    /// `turn:turn.example.com:3478?transport=udp`, `turns:turn.example.com:443?transport=tcp`.
    pub(crate) urls: Vec<String>,
    /// What they and this host share (coturn: `use-auth-secret`, `static-auth-secret`); better given by
    /// `CALLBOX_WEBRTC__TURN__SECRET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<Secret>,
    /// How long credentials are good, in seconds: longer than calls last.
    pub(crate) ttl_s: u32,
}

impl Default for WebRtc {
    fn default() -> Self {
        Self {
            enabled: true,
            port: PORT,
            udp: Vec::new(),
            tcp: Vec::new(),
            advertise: Vec::new(),
            stun: Vec::new(),
            turn: Turn::default(),
            longest_token_s: 86_400,
            requests_per_second_per_address: 20,
            requests_per_second_per_token: 10,
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self { urls: Vec::new(), secret: None, ttl_s: 86_400 }
    }
}

impl WebRtc {
    pub(crate) fn check(&self) -> miette::Result<()> {
        for (name, schemes, urls) in [
            ("webrtc.stun", ["stun:", "stuns:"], &self.stun),
            ("webrtc.turn.urls", ["turn:", "turns:"], &self.turn.urls),
        ] {
            for url in urls {
                let known = schemes.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme));
                // They go into headers.
                let plain = url.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b','));
                if !known || !plain {
                    let help = format!("for example {}ice.example.com:3478", schemes[0]);
                    return Err(miette!(help = help, "{name}: {url:?} is no URL of such a server"));
                }
            }
        }
        for family in [SocketAddr::is_ipv4 as fn(&SocketAddr) -> bool, SocketAddr::is_ipv6] {
            // What is sent leaves by the one socket of its family: an answer of another would be nobody's.
            if self.udp.iter().filter(|address| family(address)).count() > 1 {
                return Err(miette!(
                    help = "name the one that browsers reach, and with a wildcard (0.0.0.0, [::]) all of the machine",
                    "webrtc.udp has more than one address of a family: all calls share one port"
                ));
            }
        }
        if self.enabled && self.longest_token_s == 0 {
            return Err(miette!(
                help = "for example webrtc.longest_token_s = 86400; or webrtc.enabled = false",
                "webrtc.longest_token_s is 0: no token would ever be good"
            ));
        }
        Ok(())
    }
}

/// Where browsers come to: UDP, and TCP.
pub(crate) fn listeners(config: &Config) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let (webrtc, media) = (&config.webrtc, &config.media);
    let usual = || -> Vec<SocketAddr> {
        let addresses = std::iter::once(media.bind).chain(media.ipv6.map(IpAddr::V6));
        addresses.map(|address| SocketAddr::new(address, webrtc.port)).collect()
    };
    let or_usual = |given: &Vec<SocketAddr>| if given.is_empty() { usual() } else { given.clone() };
    (or_usual(&webrtc.udp), or_usual(&webrtc.tcp))
}

/// The addresses that candidates name: what the operator says, else those that are bound, else those by which this
/// machine speaks to others.
pub(crate) fn advertised(config: &Config) -> Vec<IpAddr> {
    let (webrtc, media) = (&config.webrtc, &config.media);
    if !webrtc.advertise.is_empty() {
        return webrtc.advertise.clone();
    }
    let told: Vec<IpAddr> = media.advertise.into_iter().chain(media.advertise_ipv6.map(IpAddr::V6)).collect();
    if !told.is_empty() {
        return told;
    }
    let mut addresses = Vec::new();
    for bound in listeners(config).0.iter().map(SocketAddr::ip) {
        match bound {
            IpAddr::V4(four) if four.is_unspecified() => {
                addresses.extend(towards(SocketAddr::from((OUTSIDE_V4, 9))));
                // For a browser on this machine, which may have no network.
                addresses.push(Ipv4Addr::LOCALHOST.into());
            }
            IpAddr::V6(six) if six.is_unspecified() => addresses.extend(towards(SocketAddr::from((OUTSIDE_V6, 9)))),
            named => addresses.push(named),
        }
    }
    addresses.dedup();
    addresses
}

/// TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): they stand for the world outside.
const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// Our address for whoever is there. Nothing is sent.
fn towards(outside: SocketAddr) -> Option<IpAddr> {
    let any = if outside.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(outside).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// How browsers reach the media plane; none where they are not to.
pub(crate) fn media(config: &Config) -> Option<WebRtcConfig> {
    if !config.webrtc.enabled {
        return None;
    }
    let (udp, tcp) = listeners(config);
    let ring = Duration::from_millis(Limits::default().ring_timeout.into());
    let usual = WebRtcConfig::new(*udp.first()?);
    Some(WebRtcConfig { udp, tcp, advertise: advertised(config), connect_timeout: ring + SLACK, ..usual })
}

/// What the API is told.
pub(crate) fn api(config: &Config) -> WebCallConfig {
    let webrtc = &config.webrtc;
    WebCallConfig {
        requests_per_second_per_address: webrtc.requests_per_second_per_address,
        requests_per_second_per_token: webrtc.requests_per_second_per_token,
        longest_token_s: webrtc.longest_token_s,
        ice: IceConfig {
            stun: webrtc.stun.clone(),
            turn: webrtc.turn.urls.clone(),
            secret: webrtc.turn.secret.as_ref().map(|secret| secret.0.clone()),
            ttl_s: webrtc.turn.ttl_s,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    #[test]
    fn browsers_come_to_where_audio_comes_unless_said_otherwise() {
        let usual = config(|config| {
            config.media.bind = [192, 0, 2, 7].into();
            config.media.ipv6 = Some(Ipv6Addr::LOCALHOST);
        });
        let (udp, tcp) = listeners(&usual);
        assert_eq!(udp, ["192.0.2.7:8189".parse().unwrap(), "[::1]:8189".parse().unwrap()]);
        assert_eq!(tcp, udp);
        assert_eq!(advertised(&usual), [IpAddr::from([192, 0, 2, 7]), Ipv6Addr::LOCALHOST.into()]);
        let told = config(|config| config.media.advertise = Some([203, 0, 113, 9].into()));
        assert_eq!(advertised(&told), [IpAddr::from([203, 0, 113, 9])]);
        let said = config(|config| {
            config.webrtc.udp = vec!["10.0.0.1:443".parse().unwrap()];
            config.webrtc.advertise = vec![[198, 51, 100, 1].into()];
        });
        assert_eq!(
            (listeners(&said).0, advertised(&said)),
            (vec!["10.0.0.1:443".parse().unwrap()], vec![[198, 51, 100, 1].into()])
        );
        assert!(
            advertised(&Config::default()).iter().all(|address| !address.is_unspecified()),
            "nobody reaches 0.0.0.0"
        );
        assert!(media(&config(|config| config.webrtc.enabled = false)).is_none());
    }

    #[test]
    fn there_is_one_udp_port_of_a_family() {
        let udp = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            config(|config| config.webrtc.udp = addresses).webrtc.check().is_ok()
        };
        assert!(udp(&[]) && udp(&["10.0.0.1:443"]) && udp(&["10.0.0.1:443", "[::1]:443"]));
        assert!(!udp(&["10.0.0.1:443", "10.0.0.2:443"]) && !udp(&["[::1]:443", "[::1]:444"]));
    }

    #[test]
    fn servers_that_would_break_a_header_are_refused() {
        let stun = |url: &str| config(|config| config.webrtc.stun = vec![url.to_owned()]).webrtc.check().is_ok();
        assert!(stun("stun:stun.example.com:3478") && stun("stuns:s.example"));
        for wrong in ["", "stun:", "turn:t.example", "https://s.example", "stun:a>; rel=x", "stun:a\r\nX: y", "stun:ä"]
        {
            assert!(!stun(wrong), "{wrong}");
        }
    }
}
