//! One trunk in service.

use super::status::{AddressStatus, ChannelStatus, RegistrationStatus, TrunkFault, TrunkStatus};
use crate::policy::{DtmfManner, LegPolicy};
use crate::tolls::Toll;
use callbox_sip::sdp::{Codec, CodecOrder, Encryption, Keying, OfferStyle};
use callbox_sip::{Credentials, NextHop, RegistrationId, Transport};
use callbox_store::secrets::Secret;
use callbox_store::trunks::OwnedTrunk;
use callbox_store::{TenantId, UnixMs};
use callbox_trunk::gate::{Closed, Direction, Gate};
use callbox_trunk::health::{self, Change, Machine, Probe, State};
use callbox_trunk::numbers::Normaliser;
use callbox_trunk::select;
use callbox_trunk::settings::{self, Address, TrunkSettings};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Faults of one trunk that are remembered.
const FAULTS: usize = 10;
/// Longest text of a fault: a far end chooses a part of it.
const FAULT_CHARS: usize = 200;

/// One trunk: what it is does not change – a changed trunk is another one, which takes over how the old one was.
pub(crate) struct LiveTrunk {
    pub(crate) id: String,
    pub(crate) tenant: TenantId,
    pub(crate) settings: TrunkSettings,
    pub(crate) normaliser: Normaliser,
    pub(crate) policy: LegPolicy,
    pub(crate) credentials: Option<Credentials>,
    shared: Arc<Shared>,
    addresses: Mutex<Vec<AddressState>>,
}

/// What outlives a change.
struct Shared {
    /// From when on the gate counts.
    began: Instant,
    /// How often it has been registered.
    registrations: AtomicU32,
    calls: Mutex<Calls>,
    report: Mutex<Report>,
}

#[derive(Default)]
struct Calls {
    gate: Gate,
    inbound: u64,
    outbound: u64,
    refused: u64,
    failed_over: u64,
}

#[derive(Default)]
struct Report {
    faults: VecDeque<TrunkFault>,
    registration: Option<RegistrationStatus>,
    /// What brings calls, and what they can go out by, while it stands.
    registered: Option<RegistrationId>,
    /// It was told that it is down.
    told_down: bool,
    /// It was told that its registration failed.
    told_unregistered: bool,
}

#[derive(Clone, Default)]
struct AddressState {
    machine: Machine,
    last_status: Option<u16>,
    rtt: Option<Duration>,
    checked_at: Option<UnixMs>,
}

/// Something to be told by a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Up,
    Down,
    RegistrationFailed,
}

impl News {
    pub(crate) const fn event(self) -> &'static str {
        match self {
            Self::Up => "trunk.up",
            Self::Down => "trunk.down",
            Self::RegistrationFailed => "trunk.registration_failed",
        }
    }
}

impl std::fmt::Debug for LiveTrunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveTrunk").field("id", &self.id).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is valid after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveTrunk {
    /// Takes a trunk into service; where it was in service before its change, as it was.
    pub(crate) fn new(owned: OwnedTrunk, before: Option<&Self>) -> Self {
        let OwnedTrunk { tenant_id, trunk, password } = owned;
        let settings = trunk.settings;
        let shared = match before {
            Some(before) => before.shared.clone(),
            None => Arc::new(Shared {
                began: Instant::now(),
                registrations: AtomicU32::new(0),
                calls: Mutex::default(),
                report: Mutex::default(),
            }),
        };
        lock(&shared.calls).gate.change(settings.limits);
        let known = |address: &Address| {
            let before = before?;
            let at = before.settings.addresses.iter().position(|known| same_place(known, address))?;
            lock(&before.addresses).get(at).cloned()
        };
        let addresses = settings.addresses.iter().map(|address| known(address).unwrap_or_default()).collect();
        let credentials = credentials(&settings, password.as_ref());
        let policy = leg_policy(&settings);
        if policy.codecs.is_empty() && !settings.codecs.is_empty() {
            tracing::warn!(
                trunk = trunk.id,
                "none of a trunk's codecs is built into this host: it speaks all that are"
            );
        }
        // It was checked before it was stored.
        let normaliser = Normaliser::new(&settings.numbers).unwrap_or_default();
        Self {
            id: trunk.id,
            tenant: tenant_id,
            policy,
            normaliser,
            settings,
            credentials,
            shared,
            addresses: Mutex::new(addresses),
        }
    }

    /// Whether nothing about it has changed.
    pub(crate) fn is(&self, owned: &OwnedTrunk) -> bool {
        self.settings == owned.trunk.settings
            && self.credentials == credentials(&owned.trunk.settings, owned.password.as_ref())
    }

    /// Lets a call in, or does not.
    pub(crate) fn enter(self: &Arc<Self>, direction: Direction) -> Result<Permit, Closed> {
        let now = u64::try_from(self.shared.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut calls = lock(&self.shared.calls);
        if let Err(closed) = calls.gate.enter(direction, now) {
            calls.refused += 1;
            tracing::info!(trunk = self.id, ?direction, ?closed, "a trunk takes no more calls");
            return Err(closed);
        }
        match direction {
            Direction::Inbound => calls.inbound += 1,
            Direction::Outbound => calls.outbound += 1,
        }
        Ok(Permit { trunk: Some((self.clone(), direction)), toll: None })
    }

    /// How an address is.
    pub(crate) fn state_of(&self, at: usize) -> State {
        lock(&self.addresses).get(at).map_or(State::Unknown, |address| address.machine.state())
    }

    /// How it is altogether.
    pub(crate) fn state(&self) -> State {
        health::of_trunk(lock(&self.addresses).iter().map(|address| address.machine.state()))
    }

    /// What came of asking an address; what there is to tell.
    pub(crate) fn probed(&self, at: usize, probe: Probe, rtt: Option<Duration>, now: UnixMs) -> Option<News> {
        let mut addresses = lock(&self.addresses);
        let address = addresses.get_mut(at)?;
        address.rtt = rtt;
        address.checked_at = Some(now);
        address.last_status = match probe {
            Probe::Answered(status) => Some(status),
            Probe::Silent => None,
        };
        let change = address.machine.probed(probe, &self.settings.health);
        drop(addresses);
        let Change { from, to } = change?;
        let place = self.settings.addresses.get(at).map(ToString::to_string).unwrap_or_default();
        tracing::info!(trunk = self.id, address = place, ?from, ?to, ?probe, "a trunk's address changed its state");
        if matches!(to, State::Degraded | State::Down) {
            let what = match probe {
                Probe::Answered(status) => format!("OPTIONS was answered with {status}"),
                Probe::Silent => "OPTIONS was not answered".to_owned(),
            };
            self.fault(Some(at), what, now);
        }
        let down = self.state() == State::Down;
        let told = std::mem::replace(&mut lock(&self.shared.report).told_down, down);
        match (told, down) {
            (false, true) => Some(News::Down),
            (true, false) => Some(News::Up),
            _ => None,
        }
    }

    /// When an address is to be asked next.
    pub(crate) fn pause(&self, at: usize) -> Option<Duration> {
        let address = lock(&self.addresses).get(at).cloned()?;
        address.machine.pause_ms(&self.settings.health).map(Duration::from_millis)
    }

    /// How the registration stands now; what there is to tell.
    pub(crate) fn registered(&self, id: RegistrationId, status: RegistrationStatus, now: UnixMs) -> Option<News> {
        let failed = status.state == "failed";
        if failed {
            let answered = status.status.map(|status| format!(" ({status})")).unwrap_or_default();
            let reason = status.reason.clone().unwrap_or_default();
            tracing::warn!(trunk = self.id, status = status.status, reason, "a registration failed");
            self.fault(None, format!("registration failed{answered}: {reason}"), now);
        }
        let mut report = lock(&self.shared.report);
        // Trying again does not mean that it works again.
        let told = report.told_unregistered;
        if status.state != "trying" {
            report.told_unregistered = failed;
        }
        report.registered = (status.state == "registered").then_some(id);
        report.registration = Some(status);
        (failed && !told).then_some(News::RegistrationFailed)
    }

    /// Something went wrong.
    pub(crate) fn fault(&self, at: Option<usize>, error: impl Into<String>, now: UnixMs) {
        let address = at.and_then(|at| self.settings.addresses.get(at)).map(ToString::to_string);
        let error = error.into().chars().filter(|c| !c.is_control()).take(FAULT_CHARS).collect();
        let mut report = lock(&self.shared.report);
        report.faults.truncate(FAULTS - 1);
        report.faults.push_front(TrunkFault { at: now, address, error });
    }

    /// That registration does not stand any more; another that has taken its place may.
    pub(crate) fn unregistered(&self, id: RegistrationId) {
        lock(&self.shared.report).registered.take_if(|registered| *registered == id);
    }

    /// An attempt failed, and another way is tried.
    pub(crate) fn failed_over(&self) {
        lock(&self.shared.calls).failed_over += 1;
    }

    /// All next hops, the best first, for what is not a call.
    pub(crate) fn hops(&self) -> Vec<NextHop> {
        let order = select::order(&self.settings.addresses, |_| State::Unknown, |_| 0);
        order.into_iter().filter_map(|at| self.next_hop(at)).collect()
    }

    /// The next hop of an address.
    pub(crate) fn next_hop(&self, at: usize) -> Option<NextHop> {
        self.settings.addresses.get(at).map(next_hop)
    }

    /// What is to be registered.
    pub(crate) fn registers(&self) -> Option<&settings::Registration> {
        self.settings.registration.as_ref().filter(|registration| registration.enabled)
    }

    /// The user of the contact that is to be registered, by which the stack tells one registration from another: no other
    /// trunk has it, nor had this one before its last change, since the registration of before is taken back while the
    /// new one is made, and whichever is last must not take the other's contact with it.
    pub(crate) fn new_contact_user(&self) -> String {
        let id = self.id.trim_start_matches("trk_");
        match self.shared.registrations.fetch_add(1, Ordering::Relaxed) {
            // The same after a restart of the host, which may not have taken its contact back.
            0 => id.to_owned(),
            before => format!("{id}.{before}"),
        }
    }

    /// The registration, while it stands.
    pub(crate) fn registration(&self) -> Option<RegistrationId> {
        lock(&self.shared.report).registered
    }

    pub(crate) fn status(&self) -> TrunkStatus {
        let registering = self.registers().is_some();
        let (calls, report) = (lock(&self.shared.calls), lock(&self.shared.report));
        let status = |(address, state): (&Address, &AddressState)| AddressStatus {
            host: address.host.clone(),
            port: address.port,
            transport: address.transport,
            state: state.machine.state(),
            last_status: state.last_status,
            rtt_ms: state.rtt.map(|rtt| u32::try_from(rtt.as_millis()).unwrap_or(u32::MAX)),
            checked_at: state.checked_at,
        };
        TrunkStatus {
            trunk_id: self.id.clone(),
            in_service: true,
            state: self.state(),
            addresses: self.settings.addresses.iter().zip(lock(&self.addresses).iter()).map(status).collect(),
            registration: report.registration.clone().filter(|_| registering),
            channels: ChannelStatus {
                inbound: calls.gate.calls(Direction::Inbound),
                outbound: calls.gate.calls(Direction::Outbound),
                limit: self.settings.limits.channels,
                inbound_total: calls.inbound,
                outbound_total: calls.outbound,
                refused_total: calls.refused,
                failed_over_total: calls.failed_over,
            },
            last_errors: report.faults.iter().cloned().collect(),
        }
    }
}

/// A leg's place in a trunk, and among those that are charged for; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Permit {
    trunk: Option<(Arc<LiveTrunk>, Direction)>,
    toll: Option<Arc<Toll>>,
}

impl Permit {
    /// The place of a leg that is charged for, if it is; in no trunk yet.
    pub(crate) fn charged(toll: Option<Arc<Toll>>) -> Option<Self> {
        toll.map(|toll| Self { trunk: None, toll: Some(toll) })
    }

    /// The same place, of a leg that is charged for, if it is.
    pub(crate) fn with(mut self, toll: Option<Arc<Toll>>) -> Self {
        self.toll = toll;
        self
    }

    /// The leg is answered: from now on it costs.
    pub(crate) fn answered(&self) {
        if let Some(toll) = &self.toll {
            toll.answered();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((trunk, direction)) = &self.trunk {
            lock(&trunk.shared.calls).gate.leave(*direction);
        }
    }
}

fn same_place(a: &Address, b: &Address) -> bool {
    (&a.host, a.port, a.transport) == (&b.host, b.port, b.transport)
}

pub(crate) fn next_hop(address: &Address) -> NextHop {
    NextHop {
        host: address.host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: address.port,
        transport: address.transport.map(|transport| match transport {
            settings::Transport::Udp => Transport::Udp,
            settings::Transport::Tcp => Transport::Tcp,
            settings::Transport::Tls => Transport::Tls,
            settings::Transport::Ws => Transport::Ws,
            settings::Transport::Wss => Transport::Wss,
        }),
    }
}

fn credentials(settings: &TrunkSettings, password: Option<&Secret>) -> Option<Credentials> {
    settings.credentials.as_ref().zip(password).map(|(credentials, password)| Credentials {
        username: credentials.username.clone(),
        password: password.expose().to_owned(),
        realm: credentials.realm.clone(),
    })
}

fn leg_policy(settings: &TrunkSettings) -> LegPolicy {
    let codec = |codec: &settings::Codec| match codec {
        settings::Codec::Pcmu => Codec::Pcmu,
        settings::Codec::Pcma => Codec::Pcma,
        settings::Codec::G722 => Codec::G722,
        settings::Codec::Opus => Codec::Opus,
        settings::Codec::G729 => Codec::G729,
    };
    let style = match settings.encryption_offer {
        settings::EncryptionOffer::OneLine => OfferStyle::OneLine,
        settings::EncryptionOffer::TwoLines => OfferStyle::TwoLines,
    };
    LegPolicy {
        codecs: settings.codecs.iter().map(codec).filter(|codec| Codec::ALL.contains(codec)).collect(),
        codec_order: match settings.codec_order {
            settings::CodecOrder::Theirs => CodecOrder::Theirs,
            settings::CodecOrder::Ours => CodecOrder::Ours,
        },
        ptime_ms: settings.packet_ms,
        encryption: match settings.encryption {
            settings::Encryption::Off => Encryption::OFF,
            settings::Encryption::Accepted => Encryption::default(),
            settings::Encryption::SdesPreferred => Encryption::preferred(Keying::Sdes, style),
            settings::Encryption::Sdes => Encryption::required(Keying::Sdes),
            settings::Encryption::DtlsPreferred => Encryption::preferred(Keying::Dtls, style),
            settings::Encryption::Dtls => Encryption::required(Keying::Dtls),
        },
        dtmf: match settings.dtmf {
            settings::Dtmf::Auto => DtmfManner::Auto,
            settings::Dtmf::Rfc4733 => DtmfManner::Rfc4733,
            settings::Dtmf::Info => DtmfManner::Info,
            settings::Dtmf::Inband => DtmfManner::Inband,
        },
        ..LegPolicy::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy(more: Value) -> LegPolicy {
        let mut document = json!({ "name": "a" });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        leg_policy(&serde_json::from_value(document).unwrap())
    }

    #[test]
    fn what_is_set_is_what_is_spoken() {
        assert_eq!(policy(json!({})), LegPolicy::default());
        let set = policy(json!({
            "codecs": ["pcma", "pcmu"], "codec_order": "ours", "packet_ms": 40, "dtmf": "info",
            "encryption": "sdes_preferred", "encryption_offer": "two_lines",
        }));
        let wanted = LegPolicy {
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            codec_order: CodecOrder::Ours,
            ptime_ms: Some(40),
            dtmf: DtmfManner::Info,
            encryption: Encryption::preferred(Keying::Sdes, OfferStyle::TwoLines),
            ..LegPolicy::default()
        };
        assert_eq!(set, wanted);
        let keying = |name: &str| policy(json!({ "encryption": name })).encryption;
        assert_eq!(keying("off"), Encryption::OFF);
        assert_eq!(keying("dtls"), Encryption::required(Keying::Dtls));
        assert_eq!(keying("dtls_preferred"), Encryption::preferred(Keying::Dtls, OfferStyle::OneLine));
    }
}
