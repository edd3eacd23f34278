//! What the host counts, for Prometheus (OpenMetrics text): calls, turns, deliveries, trunks, signalling, media.
//!
//! Served on an address of its own, since it is the operator's and of no tenant. Names stay; `docs/metrics.md` lists
//! them, and a test compares. Counters count from the start of the process.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use callbox_call::webrtc::WebCounts;
use callbox_call::{BUCKETS_MS, CallCounts, ChannelStatus, OutsideCounts, Platform, Spread, TrunkStatus};
use callbox_delivery::{WorkerGauge, WorkerStats};
use callbox_media::Percentiles;
use callbox_sip::SipStats;
use callbox_speech::BreakerState;
use callbox_speech::recogniser::EarState;
use callbox_store::deliveries::OutboxState;
use callbox_traces::TraceCounts;
use callbox_trunk::health::State as Health;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;

/// The media type of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The database has so long to tell what waits: without it the other figures are shown all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// `GET /metrics`, for an operator's Prometheus. Give it a listener that strangers do not reach. `deliveries` are those of
/// the host's outbox worker.
pub fn metrics(platform: Platform, deliveries: WorkerGauge) -> Router {
    Router::new().route("/metrics", get(read)).with_state((platform, deliveries))
}

async fn read(State((platform, deliveries)): State<(Platform, WorkerGauge)>) -> Response {
    let outbox = timeout(PATIENCE, platform.rooms().store.outbox_state()).await;
    let outbox = outbox.ok().and_then(Result::ok);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures::of(&platform, deliveries.read(), outbox)));
    let mut out = String::new();
    match text::encode(&mut out, &registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], out).into_response(),
        // Writing to a string does not fail.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The figures of one moment.
#[derive(Debug)]
struct Figures {
    calls: usize,
    ready: bool,
    unstored: usize,
    over: CallCounts,
    recognisers: Vec<EarState>,
    deliveries: WorkerStats,
    outbox: Option<OutboxState>,
    traces: TraceCounts,
    sip: SipStats,
    media: callbox_media::PlaneStats,
    visits: WebCounts,
    trunks: Vec<TrunkStatus>,
    quotas_met: Vec<(&'static str, u64)>,
}

impl Figures {
    fn of(platform: &Platform, deliveries: WorkerStats, outbox: Option<OutboxState>) -> Self {
        let rooms = platform.rooms();
        Self {
            calls: platform.calls(),
            ready: platform.is_ready(),
            unstored: platform.unstored(),
            over: platform.call_counts(),
            recognisers: rooms.ears.states(),
            deliveries,
            outbox,
            traces: rooms.traces.counts().unwrap_or_default(),
            sip: rooms.sip.stats(),
            media: rooms.media.stats(),
            visits: platform.webrtc_counts(),
            trunks: platform.trunks().all(),
            quotas_met: platform.quotas_met(),
        }
    }
}

/// Labels of one sample.
type Labels<'a> = [(&'a str, &'a str)];

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut page = Page(&mut encoder);
        page.gauge("callbox_calls", "Calls that run", self.calls)?;
        page.gauge("callbox_ready", "1 while new calls are taken", usize::from(self.ready))?;
        let met: Vec<_> = self.quotas_met.iter().map(|(quota, count)| ([("quota", *quota)], *count)).collect();
        let met: Vec<_> = met.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        page.counters(
            "callbox_quota_refusals",
            "Calls, uploads and recordings refused for a limit of their tenant",
            &met,
        )?;
        self.of_calls(&mut page)?;
        self.of_recognisers(&mut page)?;
        self.of_results(&mut page)?;
        self.of_trunks(&mut page)?;
        self.signalling(&mut page)?;
        self.visits(&mut page)?;
        self.media(&mut page)
    }
}

impl Figures {
    /// Calls that are over: how they ended, how long callers waited for answers, what was asked of systems outside.
    fn of_calls(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let over = &self.over;
        let ended: Vec<_> = over.ended.iter().map(|(reason, count)| ([("reason", *reason)], *count)).collect();
        let ended: Vec<_> = ended.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        page.counters("callbox_calls_ended", "Calls that are over, by the end_reason of their records", &ended)?;
        let turns: Vec<_> = over.turns.iter().map(|(part, spread)| ([("part", *part)], spread)).collect();
        let turns: Vec<_> = turns.iter().map(|(labels, spread)| (&labels[..], *spread)).collect();
        page.spreads(
            "callbox_turn_seconds",
            "How long callers waited for answers, from the end of their speech or their last key to the first packet",
            &turns,
        )?;
        for (name, took, help, help_took, counts) in [
            (
                "callbox_context_requests",
                "callbox_context_seconds",
                "Requests to context sources",
                "How long context sources took",
                &over.sources,
            ),
            (
                "callbox_model_requests",
                "callbox_model_seconds",
                "Requests to language models",
                "How long language models took to the end of their answers",
                &over.models,
            ),
        ] {
            let OutsideCounts { answered, failed, took: spread } = counts;
            let samples: [(&Labels<'_>, u64); 2] =
                [(&[("result", "answered")], *answered), (&[("result", "failed")], *failed)];
            page.counters(name, help, &samples)?;
            page.spreads(took, help_took, &[(&[], spread)])?;
        }
        Ok(())
    }

    /// By the names that the operator gave them.
    fn of_recognisers(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let labels: Vec<_> = self.recognisers.iter().map(|ear| [("recogniser", ear.name.as_str())]).collect();
        let gauges = [
            ("callbox_recogniser_up", "0 while it is left alone after failures", |ear: &EarState| {
                usize::from(ear.breaker == BreakerState::Closed)
            }),
            ("callbox_recogniser_running", "Recognitions that run", |ear: &EarState| ear.running),
            ("callbox_recogniser_waiting", "Recognitions that wait for a place", |ear: &EarState| ear.waiting),
        ] as [(_, _, fn(&EarState) -> usize); 3];
        for (name, help, of) in gauges {
            let values = self.recognisers.iter().map(|ear| to_f64(of(ear)));
            let samples: Vec<_> = labels.iter().map(|label| &label[..]).zip(values).collect();
            page.gauges(name, help, &samples)?;
        }
        let counters = [
            ("callbox_recogniser_started", "Recognitions that began", |ear: &EarState| ear.started),
            ("callbox_recogniser_failed", "Recognitions that the engine failed", |ear: &EarState| ear.failed),
        ] as [(_, _, fn(&EarState) -> u64); 2];
        for (name, help, of) in counters {
            let samples: Vec<_> = labels.iter().map(|label| &label[..]).zip(self.recognisers.iter().map(of)).collect();
            page.counters(name, help, &samples)?;
        }
        Ok(())
    }

    /// Where results go: into the database, from its outbox to customers, and to the collector of traces.
    fn of_results(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        page.gauge("callbox_records_waiting", "Records of calls that could not be stored yet", self.unstored)?;
        page.counters(
            "callbox_deliveries",
            "Attempts to deliver",
            &[
                (&[("result", "delivered")], self.deliveries.delivered),
                (&[("result", "failed")], self.deliveries.failed),
            ],
        )?;
        let in_flight = usize::try_from(self.deliveries.in_flight).unwrap_or(usize::MAX);
        page.gauge("callbox_deliveries_in_flight", "Deliveries under way", in_flight)?;
        if let Some(outbox) = &self.outbox {
            page.gauge("callbox_outbox_endpoints", "Endpoints with something to be delivered", outbox.endpoints)?;
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of ages that a float holds exactly")]
            let overdue = outbox.overdue_ms as f64 / 1_000.0;
            let help = "How long the delivery that waits longest has been due";
            page.gauges("callbox_outbox_overdue_seconds", help, &[(&[], overdue)])?;
        }
        page.counters(
            "callbox_trace_spans",
            "Spans for the collector of traces",
            &[
                (&[("result", "sent")], self.traces.sent),
                (&[("result", "failed")], self.traces.failed),
                (&[("result", "dropped")], self.traces.dropped),
            ],
        )
    }

    /// By the ids of trunks, which tell a stranger nothing about whose they are.
    fn of_trunks<'s>(&'s self, page: &mut Page<'_, '_>) -> fmt::Result {
        let labels: Vec<_> = self.trunks.iter().map(|trunk| [("trunk", trunk.trunk_id.as_str())]).collect();
        let up = |trunk: &TrunkStatus| trunk.state != Health::Down;
        let registered = |trunk: &TrunkStatus| {
            let registration = trunk.registration.as_ref();
            registration.is_none_or(|registration| registration.state == "registered")
        };
        for (name, help, is) in [
            ("callbox_trunk_up", "1 unless no address of it answers OPTIONS", &up as &dyn Fn(&TrunkStatus) -> bool),
            ("callbox_trunk_registered", "1 unless it should be registered and is not", &registered),
        ] {
            let values = self.trunks.iter().map(|trunk| to_f64(usize::from(is(trunk))));
            let samples: Vec<_> = labels.iter().map(|label| &label[..]).zip(values).collect();
            page.gauges(name, help, &samples)?;
        }
        let ways = |of: fn(&ChannelStatus) -> [u64; 2]| -> Vec<([(&'s str, &'s str); 2], u64)> {
            let each = |trunk: &'s TrunkStatus| {
                let named = ["inbound", "outbound"].map(|way| [("trunk", trunk.trunk_id.as_str()), ("direction", way)]);
                named.into_iter().zip(of(&trunk.channels))
            };
            self.trunks.iter().flat_map(each).collect()
        };
        let running = ways(|channels| [channels.inbound.into(), channels.outbound.into()]);
        let running: Vec<_> = running.iter().map(|(labels, calls)| (&labels[..], to_f64(*calls as usize))).collect();
        page.gauges("callbox_trunk_calls_running", "Calls by a trunk", &running)?;
        let begun = ways(|channels| [channels.inbound_total, channels.outbound_total]);
        let begun: Vec<_> = begun.iter().map(|(labels, calls)| (&labels[..], *calls)).collect();
        page.counters("callbox_trunk_calls", "Calls that began by a trunk", &begun)?;
        for (name, help, of) in [
            (
                "callbox_trunk_refused",
                "Calls that were refused, or went another way, for the limits of a trunk",
                (|channels| channels.refused_total) as fn(&ChannelStatus) -> u64,
            ),
            ("callbox_trunk_failed_over", "Attempts after which another way was tried", |channels| {
                channels.failed_over_total
            }),
        ] {
            let values = self.trunks.iter().map(|trunk| of(&trunk.channels));
            let samples: Vec<_> = labels.iter().map(|label| &label[..]).zip(values).collect();
            page.counters(name, help, &samples)?;
        }
        Ok(())
    }

    fn signalling(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let (stack, counts) = (&self.sip, &self.sip.endpoint);
        let direction = |name| [("direction", name)];
        page.counters(
            "callbox_sip_messages",
            "SIP messages",
            &[(&direction("received"), counts.messages_received), (&direction("sent"), counts.messages_sent)],
        )?;
        page.counters(
            "callbox_sip_retransmissions",
            "SIP messages that came, or were sent, again",
            &[
                (&direction("received"), counts.retransmissions_received),
                (&direction("sent"), counts.retransmissions_sent),
            ],
        )?;
        page.counters(
            "callbox_sip_calls",
            "Calls taken on and placed",
            &[(&direction("inbound"), counts.calls_in), (&direction("outbound"), counts.calls_out)],
        )?;
        page.counters("callbox_sip_parse_errors", "Messages that did not parse", &[(&[], counts.parse_errors)])?;
        page.counters("callbox_sip_strays", "Responses and ACKs of nothing", &[(&[], counts.strays)])?;
        page.counters(
            "callbox_sip_refused",
            "INVITEs refused with 503",
            &[
                (&[("why", "draining")], counts.shed_draining),
                (&[("why", "stale")], counts.shed_stale),
                (&[("why", "calls")], counts.shed_calls),
                (&[("why", "rate")], counts.shed_rate),
                (&[("why", "unclaimed")], stack.calls_unclaimed),
            ],
        )?;
        page.counters(
            "callbox_sip_dropped",
            "Messages dropped unanswered",
            &[
                (&[("why", "source_rate")], counts.dropped_source + stack.ingress_dropped_source),
                (&[("why", "source_blocked")], counts.dropped_blocked + stack.ingress_dropped_blocked),
                (&[("why", "source_denied")], counts.dropped_denied),
                (&[("why", "scanner")], counts.dropped_scanner),
                (&[("why", "stranger")], counts.dropped_stranger),
                (&[("why", "answers")], counts.dropped_answers),
                (&[("why", "dialog_rate")], counts.dropped_dialog),
                (&[("why", "queue_known")], stack.ingress_dropped_known),
                (&[("why", "queue_new")], stack.ingress_dropped_new),
            ],
        )?;
        page.counters("callbox_sip_sources_blocked", "Times a source was blocked", &[(&[], counts.sources_blocked)])?;
        page.counters("callbox_sip_send_failures", "Datagrams the system did not take", &[(&[], stack.send_failures)])?;
        page.gauge("callbox_sip_connections", "Open connections", stack.connections)?;
        page.counters(
            "callbox_sip_connections_refused",
            "Connections refused for a limit, or for where they came from",
            &[(&[], stack.connections_refused)],
        )?;
        page.gauges(
            "callbox_sip_transactions",
            "Transactions remembered",
            &[
                (&[("side", "client")], to_f64(stack.client_transactions)),
                (&[("side", "server")], to_f64(stack.server_transactions)),
            ],
        )
    }

    /// Calls from web pages by HTTP; those by SIP over WebSocket are among those of SIP.
    fn visits(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let visits = &self.visits;
        page.counters("callbox_webrtc_calls", "Offers of pages that were answered", &[(&[], visits.begun)])?;
        page.counters(
            "callbox_webrtc_connections",
            "Calls of pages whose media came within its time, or did not",
            &[(&[("came", "yes")], visits.connected), (&[("came", "no")], visits.failed)],
        )?;
        page.counters(
            "callbox_webrtc_refused",
            "Calls of pages that were refused",
            &[
                (&[("why", "token")], visits.refused_tokens),
                (&[("why", "limit")], visits.refused_limits),
                (&[("why", "number")], visits.refused_numbers),
                (&[("why", "offer")], visits.refused_offers),
            ],
        )
    }

    fn media(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let media = &self.media;
        page.gauge("callbox_media_sessions", "Media sessions open", media.active_sessions)?;
        page.gauge(
            "callbox_media_port_pairs_free",
            "Port pairs that are neither in use nor at rest",
            media.free_port_pairs,
        )?;
        page.counters(
            "callbox_media_packets",
            "RTP packets; received ones with those of strangers",
            &[(&[("direction", "received")], media.packets_received), (&[("direction", "sent")], media.packets_sent)],
        )?;
        page.counters("callbox_media_rejected", "Datagrams that were no RTP of the far end", &[(&[], media.rejected)])?;
        page.counters("callbox_media_skipped", "Packets left out for being too late", &[(&[], media.skipped)])?;
        page.counters("callbox_media_send_failures", "Packets the system did not take", &[(&[], media.send_errors)])?;
        page.percentiles(
            "callbox_media_lateness_seconds",
            "How late packets leave against their schedule",
            &media.lateness,
        )?;
        page.percentiles("callbox_media_gap_seconds", "The time between two packets of a call", &media.gaps)
    }
}

/// Where metrics are written to.
struct Page<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Page<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: usize) -> fmt::Result {
        self.gauges(name, help, &[(&[], to_f64(value))])
    }

    fn gauges(&mut self, name: &str, help: &str, samples: &[(&Labels<'_>, f64)]) -> fmt::Result {
        let metrics = samples.iter().map(|(labels, value)| (*labels, ConstGauge::new(*value)));
        self.family(name, help, metrics)
    }

    fn counters(&mut self, name: &str, help: &str, samples: &[(&Labels<'_>, u64)]) -> fmt::Result {
        let metrics = samples.iter().map(|(labels, value)| (*labels, ConstCounter::new(*value)));
        self.family(name, help, metrics)
    }

    fn spreads(&mut self, name: &str, help: &str, samples: &[(&Labels<'_>, &Spread)]) -> fmt::Result {
        let metrics = samples.iter().map(|(labels, spread)| (*labels, Histogram(spread)));
        self.family(name, help, metrics)
    }

    fn percentiles(&mut self, name: &str, help: &str, percentiles: &Percentiles) -> fmt::Result {
        let seconds = |ms: f32| f64::from(ms) / 1_000.0;
        self.gauges(
            name,
            help,
            &[
                (&[("quantile", "0.5")], seconds(percentiles.p50_ms)),
                (&[("quantile", "0.99")], seconds(percentiles.p99_ms)),
                (&[("quantile", "0.999")], seconds(percentiles.p999_ms)),
                (&[("quantile", "1")], seconds(percentiles.max_ms)),
            ],
        )
    }

    fn family<'l, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl Iterator<Item = (&'l Labels<'l>, M)> + Clone,
    ) -> fmt::Result {
        let Some((_, first)) = samples.clone().next() else { return Ok(()) };
        let mut family = self.0.encode_descriptor(name, help, None, first.metric_type())?;
        for (labels, metric) in samples {
            if labels.is_empty() {
                // A family of its own.
                return metric.encode(family);
            }
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A spread as Prometheus wants it: in seconds.
struct Histogram<'a>(&'a Spread);

impl EncodeMetric for Histogram<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        #[allow(clippy::cast_precision_loss, reason = "sums of milliseconds far below 2^52")]
        let seconds = |ms: u64| ms as f64 / 1_000.0;
        let bounds = BUCKETS_MS.into_iter().map(seconds).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.0.buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(seconds(self.0.sum_ms), self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Counts of things that exist are far below what a float holds exactly.
#[allow(clippy::cast_precision_loss, reason = "counts of what exists are far below 2^52")]
const fn to_f64(count: usize) -> f64 {
    count as f64
}
