//! Locating SIP servers by name (RFC 3263 §4): NAPTR, then SRV, then A and AAAA. The answers are kept as long as they
//! say themselves.

use super::stack::Dns;
use crate::ua::{NextHop, Transport};
use futures_util::future::{join, join_all};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::rdata::NAPTR;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// How long one question may wait for its answer before it is asked again, twice at most.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long all questions about one name may take.
const ALTOGETHER: Duration = Duration::from_secs(10);
/// Servers that are taken from one answer.
const MAX_SERVERS: usize = 8;

/// What of the answers is of use to us.
#[derive(Clone, Debug)]
pub(crate) struct Usable {
    /// Transports, the best first.
    pub(crate) transports: Vec<Transport>,
    pub(crate) v4: bool,
    pub(crate) v6: bool,
}

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
}

/// One record of an SRV answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    priority: u16,
    weight: u16,
    port: u16,
    target: Name,
}

/// See the module.
pub(crate) struct Resolver {
    /// None where the system has no configuration that can be read: then there are only addresses, by its own ways.
    dns: Option<TokioResolver>,
    /// Whether the system is asked for addresses that DNS does not give (`nsswitch.conf`).
    system: bool,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    pub(crate) fn new(config: &Dns) -> Self {
        let builder = match config {
            Dns::System => TokioResolver::builder_tokio(),
            Dns::Servers(servers) => {
                let servers = servers.iter().map(|server| {
                    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].into_iter().map(|mut way| {
                        way.port = server.port();
                        way
                    });
                    let mut config = NameServerConfig::udp_and_tcp(server.ip());
                    config.connections = connections.collect();
                    config
                });
                let config = ResolverConfig::from_name_servers(servers.collect());
                Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
        };
        let built = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            options.timeout = PATIENCE;
            options.attempts = 2;
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        });
        let dns = built.map_err(|error| tracing::warn!(%error, "no DNS: SIP servers are found by address only")).ok();
        Self { dns, system: *config == Dns::System }
    }

    /// The servers of a next hop, the best first. `random` gives a number up to and with its argument.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn servers(
        &self,
        hop: &NextHop,
        usable: &Usable,
        random: impl FnMut(u32) -> u32,
    ) -> Result<Vec<Server>, String> {
        let found = timeout(ALTOGETHER, self.search(hop, usable, random)).await;
        found.unwrap_or_else(|_| Err("the name servers do not answer".to_owned()))
    }

    async fn search(
        &self,
        hop: &NextHop,
        usable: &Usable,
        mut random: impl FnMut(u32) -> u32,
    ) -> Result<Vec<Server>, String> {
        let transport = hop.transport.or_else(|| usable.transports.first().copied()).unwrap_or(Transport::Udp);
        let port = hop.port.unwrap_or(transport.default_port());
        if let Some(ip) = hop.ip() {
            return Ok(vec![Server { transport, address: SocketAddr::new(ip, port) }]);
        }
        // A port says where: no SRV (§4.2). The web has none either (RFC 7118 §5.5).
        if hop.port.is_none() && !transport.web_socket() {
            let services = self.services(hop, usable, &mut random).await;
            if !services.is_empty() {
                let addresses = services.iter().map(|(_, service)| self.addresses(&service.target, usable));
                let found: Vec<Server> = join_all(addresses)
                    .await
                    .into_iter()
                    .zip(&services)
                    .flat_map(|(found, (transport, service))| {
                        let addresses = found.unwrap_or_default().into_iter();
                        let address = |ip| SocketAddr::new(ip, service.port);
                        addresses.map(move |ip| Server { transport: *transport, address: address(ip) })
                    })
                    .take(MAX_SERVERS)
                    .collect();
                return if found.is_empty() { Err("its SRV records lead to no address".to_owned()) } else { Ok(found) };
            }
        }
        let name = name(&hop.host)?;
        let found = self.addresses(&name, usable).await?;
        Ok(found.into_iter().take(MAX_SERVERS).map(|ip| Server { transport, address: (ip, port).into() }).collect())
    }

    /// The SRV records of a host, in the order in which they are to be tried, each with its transport.
    async fn services(
        &self,
        hop: &NextHop,
        usable: &Usable,
        mut random: impl FnMut(u32) -> u32,
    ) -> Vec<(Transport, Service)> {
        let Some(dns) = &self.dns else { return Vec::new() };
        let wanted: Vec<Transport> = match hop.transport {
            Some(transport) => vec![transport],
            None => usable.transports.clone(),
        };
        let direct = join_all(wanted.iter().map(|transport| async {
            let prefix = prefix(*transport)?;
            let found = srv(dns, &name(&format!("{prefix}.{}", hop.host)).ok()?).await;
            Some((*transport, found))
        }));
        // Asked at the same time: a name server that keeps silent about NAPTR shall not hold the rest up.
        let pointed = async { if hop.transport.is_none() { naptr(dns, &hop.host).await } else { Vec::new() } };
        let (direct, pointers) = join(direct, pointed).await;
        let pointers = chosen(pointers, usable);
        let mut found = Vec::new();
        for (transport, target) in pointers {
            for service in weighed(srv(dns, &target).await, &mut random) {
                found.push((transport, service));
            }
        }
        if found.is_empty() {
            for (transport, services) in direct.into_iter().flatten() {
                found.extend(weighed(services, &mut random).into_iter().map(|service| (transport, service)));
            }
        }
        found.truncate(MAX_SERVERS);
        found
    }

    /// The addresses of a name that we can send to, those of both families in turn with IPv6 first (RFC 8305 §4).
    async fn addresses(&self, name: &Name, usable: &Usable) -> Result<Vec<IpAddr>, String> {
        let mut why = None;
        let mut found: Vec<IpAddr> = Vec::new();
        if let Some(dns) = &self.dns {
            match dns.lookup_ip(name.clone()).await {
                Ok(answer) => found = answer.iter().collect(),
                Err(error) => why = Some((error.is_no_records_found(), error.to_string())),
            }
        }
        if self.system && found.is_empty() && !matches!(why, Some((true, _))) {
            let plain = name.to_utf8();
            match tokio::net::lookup_host((plain.trim_end_matches('.'), 0)).await {
                Ok(answer) => found = answer.map(|address| address.ip()).collect(),
                Err(error) => why = Some((false, error.to_string())),
            }
        }
        let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = found.into_iter().partition(IpAddr::is_ipv6);
        let mut families = [if usable.v6 { v6 } else { Vec::new() }, if usable.v4 { v4 } else { Vec::new() }];
        let mut ordered = Vec::new();
        while families.iter().any(|family| !family.is_empty()) {
            for family in &mut families {
                if !family.is_empty() {
                    let next = family.remove(0);
                    if !ordered.contains(&next) {
                        ordered.push(next);
                    }
                }
            }
        }
        if ordered.is_empty() {
            let none = || "it has no address of a family that is listened on".to_owned();
            return Err(why.map_or_else(none, |(_, why)| why));
        }
        Ok(ordered)
    }
}

/// A host as a name for DNS. With a dot in it, it is whole: no search list makes another one of it.
fn name(host: &str) -> Result<Name, String> {
    let mut name = Name::from_utf8(host).map_err(|error| error.to_string())?;
    if host.contains('.') {
        name.set_fqdn(true);
    }
    Ok(name)
}

/// Where the SRV records of a transport are (RFC 3263 §4.2).
fn prefix(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Udp => Some("_sip._udp"),
        Transport::Tcp => Some("_sip._tcp"),
        Transport::Tls => Some("_sips._tcp"),
        Transport::Ws | Transport::Wss => None,
    }
}

/// No answer and an answer without records are the same here: the search goes on.
async fn srv(dns: &TokioResolver, name: &Name) -> Vec<Service> {
    let Ok(answer) = dns.lookup(name.clone(), RecordType::SRV).await else { return Vec::new() };
    let services = answer.answers().iter().filter_map(|record| match &record.data {
        // A root as the target says that there is no such service (RFC 2782).
        RData::SRV(srv) if !srv.target.is_root() => {
            Some(Service { priority: srv.priority, weight: srv.weight, port: srv.port, target: srv.target.clone() })
        }
        _ => None,
    });
    services.take(64).collect()
}

async fn naptr(dns: &TokioResolver, host: &str) -> Vec<NAPTR> {
    let Ok(name) = name(host) else { return Vec::new() };
    let Ok(answer) = dns.lookup(name, RecordType::NAPTR).await else { return Vec::new() };
    let pointers = answer.answers().iter().filter_map(|record| match &record.data {
        RData::NAPTR(naptr) => Some(naptr.clone()),
        _ => None,
    });
    pointers.take(64).collect()
}

/// Which NAPTR records lead to SRV records that we can use, in their order (§4.1).
fn chosen(mut records: Vec<NAPTR>, usable: &Usable) -> Vec<(Transport, Name)> {
    records.sort_by_key(|record| (record.order, record.preference));
    let mut found: Vec<(Transport, Name)> = Vec::new();
    for record in records {
        let transport = match record.services.to_ascii_uppercase().as_slice() {
            b"SIP+D2U" => Transport::Udp,
            b"SIP+D2T" => Transport::Tcp,
            b"SIPS+D2T" => Transport::Tls,
            _ => continue,
        };
        let fits = record.flags.eq_ignore_ascii_case(b"s") && usable.transports.contains(&transport);
        if fits && !found.iter().any(|(known, _)| *known == transport) && found.len() < 3 {
            found.push((transport, record.replacement));
        }
    }
    found
}

/// SRV records in the order in which they are to be tried: by priority, and by lot among equals, each as likely as its
/// weight says (RFC 2782). `random` gives a number up to and with its argument.
fn weighed(mut services: Vec<Service>, mut random: impl FnMut(u32) -> u32) -> Vec<Service> {
    // Those without weight come first among equals, so that they have a small chance.
    services.sort_by_key(|service| (service.priority, service.weight != 0));
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(first) = services.first() {
        let priority = first.priority;
        let equals = services.iter().take_while(|service| service.priority == priority);
        let total: u32 = equals.map(|service| u32::from(service.weight)).sum();
        let lot = random(total);
        let mut sum = 0;
        let drawn = services.iter().take_while(|service| service.priority == priority).position(|service| {
            sum += u32::from(service.weight);
            sum >= lot
        });
        ordered.push(services.remove(drawn.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, target: &str) -> Service {
        Service { priority, weight, port: 5060, target: name(target).unwrap() }
    }

    fn order(services: &[Service], lots: &[u32]) -> Vec<String> {
        let mut lots = lots.iter();
        let ordered = weighed(services.to_vec(), |_| *lots.next().unwrap());
        ordered.iter().map(|service| service.target.to_utf8()).collect()
    }

    #[test]
    fn priority_comes_first_and_weight_draws_among_equals() {
        let services = [service(20, 0, "c.x"), service(10, 75, "a.x"), service(10, 25, "b.x"), service(10, 0, "z.x")];
        assert_eq!(order(&services, &[0, 0, 0, 0]), ["z.x.", "a.x.", "b.x.", "c.x."]);
        assert_eq!(order(&services, &[76, 1, 0, 0]), ["b.x.", "a.x.", "z.x.", "c.x."]);
        assert_eq!(order(&services, &[75, 25, 0, 0]), ["a.x.", "b.x.", "z.x.", "c.x."]);
    }

    #[test]
    fn weights_are_kept_over_many_draws() {
        let services = [service(1, 60, "a.x"), service(1, 30, "b.x"), service(1, 10, "c.x")];
        let mut seed = 7_u64;
        let mut first = [0_u32; 3];
        for _ in 0..30_000 {
            let ordered = weighed(services.to_vec(), |most| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                u32::try_from((seed >> 33) % u64::from(most + 1)).unwrap()
            });
            first[services.iter().position(|s| *s == ordered[0]).unwrap()] += 1;
        }
        for (drawn, expected) in first.iter().zip([18_000_u32, 9_000, 3_000]) {
            assert!(drawn.abs_diff(expected) < 600, "{first:?}");
        }
    }

    #[test]
    fn naptr_records_are_filtered_and_ordered() {
        let record = |order, preference, flags: &str, services: &str, to: &str| {
            let bytes = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
            NAPTR::new(order, preference, bytes(flags), bytes(services), bytes(""), name(to).unwrap())
        };
        let records = vec![
            record(20, 1, "s", "SIP+D2T", "t.x"),
            record(10, 50, "S", "sip+d2u", "u.x"),
            record(10, 10, "s", "SIPS+D2T", "s.x"),
            record(5, 1, "u", "SIP+D2U", "no.x"),
            record(5, 1, "s", "SIP+D2W", "no.x"),
        ];
        let usable = |transports: &[Transport]| Usable { transports: transports.to_vec(), v4: true, v6: false };
        let all = chosen(records.clone(), &usable(&Transport::ALL));
        let names: Vec<_> = all.iter().map(|(transport, to)| (*transport, to.to_utf8())).collect();
        let expected = [(Transport::Tls, "s.x."), (Transport::Udp, "u.x."), (Transport::Tcp, "t.x.")];
        assert_eq!(names, expected.map(|(transport, to)| (transport, to.to_owned())));
        assert_eq!(chosen(records, &usable(&[Transport::Tcp])).len(), 1);
    }
}
