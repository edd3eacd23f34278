//! Which addresses a customer's URL may lead to. Only what the Internet routes is
//! open by default; everything else is somebody's inside (RFC 6890 and the IANA
//! special-purpose registries).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Routed on the Internet.
    Public,
    /// This machine or a private network: open where the operator says so.
    Private,
    /// Link-local (cloud metadata lives there), multicast, translation prefixes,
    /// documentation, reserved: open only where the operator names the network.
    Special,
}

/// A network: an address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// Not a network such as `10.1.0.0/16`, `fd00::/8` or `192.0.2.7`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network; write it like 10.1.0.0/16, fd00::/8 or 192.0.2.7")]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.chars().take(64).collect());
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.trim().parse().map_err(|_| wrong())?;
        let full = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => full,
            Some(prefix) => prefix.trim().parse::<u8>().ok().filter(|p| *p <= full).ok_or_else(wrong)?,
        };
        Ok(Self { base, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(first: u16, second: u16, prefix: u8) -> Self {
        Self { base: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), prefix }
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let shift = width - u32::from(self.prefix);
            shift >= 128 || a >> shift == b >> shift
        };
        match (self.base, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
            _ => false,
        }
    }
}

/// Inside: loopback, RFC 1918, carrier-grade NAT, unique local.
const PRIVATE: &[Network] = &[
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 168, 0, 0, 16),
    Network::v6(0xfc00, 0, 7),
    Network { base: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
];

/// Neither inside nor on the Internet.
const SPECIAL_V4: &[Network] = &[
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(169, 254, 0, 0, 16),
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    Network::v4(224, 0, 0, 0, 3),
];

/// Of IPv6, only `2000::/3` is on the Internet; this is what of it is not: protocol
/// assignments with Teredo, documentation, 6to4.
const GLOBAL_V6: Network = Network::v6(0x2000, 0, 3);
const SPECIAL_V6: &[Network] = &[
    Network::v6(0x2001, 0, 23),
    Network::v6(0x2001, 0xdb8, 32),
    Network::v6(0x2002, 0, 16),
    Network::v6(0x3fff, 0, 20),
];

/// What kind of place this is. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`)
/// is the IPv4 address.
#[must_use]
pub fn kind(address: IpAddr) -> Kind {
    let address = address.to_canonical();
    let lies_in = |networks: &[Network]| networks.iter().any(|n| n.contains(address));
    if lies_in(PRIVATE) {
        return Kind::Private;
    }
    let special = match address {
        IpAddr::V4(_) => lies_in(SPECIAL_V4),
        IpAddr::V6(_) => !GLOBAL_V6.contains(address) || lies_in(SPECIAL_V6),
    };
    if special { Kind::Special } else { Kind::Public }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_are_told_apart() {
        let cases = [
            (
                Kind::Public,
                "8.8.8.8 1.1.1.1 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.167.1.1 223.255.255.255",
            ),
            (Kind::Public, "2606:4700::1111 2a00:1450:4001::1 ::ffff:8.8.8.8 2001:200::1"),
            (Kind::Private, "127.0.0.1 127.255.255.255 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1"),
            (Kind::Private, "::1 fc00::1 fdff::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1"),
            (
                Kind::Special,
                "0.0.0.0 0.1.2.3 169.254.169.254 192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255",
            ),
            (Kind::Special, "198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255"),
            (Kind::Special, ":: ::7f00:1 fe80::1 fec0::1 ff02::1 64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b:1::1 100::1"),
            (Kind::Special, "2001::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 4000::1 ::ffff:169.254.169.254"),
        ];
        for (expected, addresses) in cases {
            for address in addresses.split(' ') {
                assert_eq!(kind(address.parse().unwrap()), expected, "{address}");
            }
        }
    }

    #[test]
    fn networks_are_read() {
        let net: Network = "10.1.0.0/16".parse().unwrap();
        assert!(net.contains("10.1.255.255".parse().unwrap()) && !net.contains("10.2.0.0".parse().unwrap()));
        let all: Network = "::/0".parse().unwrap();
        assert!(all.contains("fe80::1".parse().unwrap()) && !all.contains("1.2.3.4".parse().unwrap()));
        let one: Network = "192.0.2.7".parse().unwrap();
        assert!(one.contains("192.0.2.7".parse().unwrap()) && !one.contains("192.0.2.8".parse().unwrap()));
        for wrong in ["", "/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10/8", "host/8", "10.0.0.0/8/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_network_holds_exactly_its_range(base: u32, prefix in 0_u8..=32, other: u32) {
            let network = Network { base: IpAddr::V4(base.into()), prefix };
            let mask = if prefix == 0 { 0 } else { u32::MAX << (32 - prefix) };
            prop_assert_eq!(network.contains(IpAddr::V4(other.into())), base & mask == other & mask);
        }

        #[test]
        fn nothing_private_is_public_when_written_as_ipv6(v4: u32) {
            let v4 = Ipv4Addr::from(v4);
            prop_assert_eq!(kind(v4.to_ipv6_mapped().into()), kind(v4.into()));
            // 6to4, NAT64 and the deprecated compatible form never lead anywhere.
            let [a, b] = [(u32::from(v4) >> 16) as u16, u32::from(v4) as u16];
            for wrapped in [
                Ipv6Addr::new(0x2002, a, b, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a, b),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, a, b),
            ] {
                prop_assert!(kind(wrapped.into()) != Kind::Public);
            }
        }
    }
}
