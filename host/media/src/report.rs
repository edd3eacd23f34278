//! When to send RTCP reports, where, and what is learnt from those that come (RFC 3550 §6).

use crate::command::MediaPlan;
use crate::latch::Latch;
use crate::quality::{self, History, Tally};
use crate::reception::Reception;
use crate::rtcp::{self, LastReport, MAX_REPORT, Report, SenderFigures};
use crate::stream::Identity;
use rtcp_types::RtcpParseError;
use std::net::SocketAddr;
use std::time::Duration;

/// The mean time between two reports.
const INTERVAL: Duration = Duration::from_secs(5);
/// How much more or less it is, so that streams that began together do not report together for ever (RFC 3550 §6.3).
const SPREAD_MS: u32 = 2_000;

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Reports {
    /// The NTP time at which the plane started; times are counted from there.
    ntp_start: u64,
    due: Duration,
    /// Where the far end's RTCP comes from.
    source: Option<SocketAddr>,
    /// The far end's last sender report, and when it came.
    last: Option<(u32, Duration)>,
    rtt_ms: Option<f32>,
    remote_loss_pct: Option<f32>,
    remote_jitter_ms: Option<f32>,
    /// When the far end reported last.
    heard_at: Duration,
    /// A small generator for the times of reports: nobody gains by guessing them.
    random: u32,
    intervals: u32,
    tallies: Tallies,
    /// Since the last report of ours: what the far end reported.
    fresh: [Option<f32>; 3],
}

/// What the history is made of.
#[derive(Debug, Default)]
struct Tallies {
    loss: Tally,
    jitter: Tally,
    mos: Tally,
    /// Round trip, loss and jitter, as the far end reports them.
    remote: [Tally; 3],
}

impl Reports {
    pub(crate) fn new(ntp_start: u64) -> Self {
        Self {
            ntp_start,
            due: Duration::MAX,
            source: None,
            last: None,
            rtt_ms: None,
            remote_loss_pct: None,
            remote_jitter_ms: None,
            heard_at: Duration::ZERO,
            random: 1,
            intervals: 0,
            tallies: Tallies::default(),
            fresh: [None; 3],
        }
    }

    /// The stream has begun. Streams that begin together report apart: `spread` is random.
    pub(crate) fn begin(&mut self, now: Duration, spread: u32) {
        self.random = spread | 1;
        self.due = now + INTERVAL / 2 + Duration::from_millis(u64::from(spread % 2_500));
    }

    /// Whether a report is to be sent now; the next is counted from here.
    pub(crate) fn due(&mut self, now: Duration) -> bool {
        let due = now >= self.due;
        if due {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            let more = Duration::from_millis(u64::from(self.random % (2 * SPREAD_MS)));
            self.due = now + INTERVAL - Duration::from_millis(u64::from(SPREAD_MS)) + more;
        }
        due
    }

    pub(crate) const fn rtt_ms(&self) -> Option<f32> {
        self.rtt_ms
    }

    pub(crate) const fn remote_loss_pct(&self) -> Option<f32> {
        self.remote_loss_pct
    }

    pub(crate) const fn remote_jitter_ms(&self) -> Option<f32> {
        self.remote_jitter_ms
    }

    /// When the far end reported last.
    pub(crate) const fn heard_at(&self) -> Duration {
        self.heard_at
    }

    /// The score of what the far end hears, as far as its reports tell: it buffers for twice the jitter.
    pub(crate) fn remote_mos(&self) -> Option<f32> {
        let delay = self.rtt_ms.unwrap_or_default() / 2.0 + self.remote_jitter_ms.unwrap_or_default() * 2.0 + 20.0;
        self.remote_loss_pct.map(|loss| quality::mos(loss, delay))
    }

    /// The intervals so far.
    pub(crate) fn history(&self) -> History {
        let Tallies { loss, jitter, mos, remote: [rtt, remote_loss, remote_jitter] } = &self.tallies;
        History {
            intervals: self.intervals,
            loss_pct: loss.spread(),
            jitter_ms: jitter.spread(),
            mos: mos.spread(),
            rtt_ms: rtt.spread(),
            remote_loss_pct: remote_loss.spread(),
            remote_jitter_ms: remote_jitter.spread(),
        }
    }

    /// Where reports go: where signalling says, unless the far end's audio comes from elsewhere and its RTCP too.
    pub(crate) fn target(&self, plan: &MediaPlan, latch: &Latch) -> SocketAddr {
        let translated = latch.locked().filter(|locked| *locked != plan.remote);
        self.source
            .filter(|source| translated.is_some_and(|locked| locked.ip() == source.ip()))
            .unwrap_or(plan.remote_rtcp)
    }

    /// Takes a datagram from a host that may report. `heard` is the stream that is heard, if any: reports about where
    /// RTCP comes from are believed from nobody else. `clock` is that of what we send.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        source: SocketAddr,
        datagram: &[u8],
        our_ssrc: u32,
        heard: Option<u32>,
        clock: u32,
    ) -> Result<(), RtcpParseError> {
        let feedback = rtcp::read(datagram, our_ssrc)?;
        if heard.is_none_or(|heard| heard == feedback.ssrc) {
            self.source = Some(source);
        }
        self.heard_at = now;
        if let Some(stamp) = feedback.sender_report {
            self.last = Some((stamp, now));
        }
        if let Some(about_us) = feedback.about_us {
            self.remote_loss_pct = Some(about_us.loss_pct);
            self.remote_jitter_ms = Some(about_us.jitter as f32 * 1_000.0 / clock.max(1) as f32);
            let trip = about_us.round_trip_ms(self.ntp(now));
            self.rtt_ms = trip.or(self.rtt_ms);
            self.fresh = [trip, self.remote_loss_pct, self.remote_jitter_ms];
        }
        Ok(())
    }

    /// Writes a report; its length comes with it. An interval ends with it: `delay_ms` is how late we heard what was said in
    /// it.
    pub(crate) fn write(
        &mut self,
        now: Duration,
        identity: &Identity,
        sender: Option<SenderFigures>,
        reception: &mut Reception,
        delay_ms: f32,
        bye: bool,
    ) -> ([u8; MAX_REPORT], usize) {
        let last =
            self.last.map(|(stamp, came)| LastReport { stamp, delay: rtcp::short_span(now.saturating_sub(came)) });
        let figures = reception.report();
        if let Some(figures) = figures {
            let loss = f32::from(figures.fraction_lost) * 100.0 / 256.0;
            self.intervals = self.intervals.saturating_add(1);
            self.tallies.loss.add(loss);
            self.tallies.jitter.add(reception.jitter_ms());
            self.tallies.mos.add(quality::mos(loss, delay_ms));
        }
        for (tally, figure) in self.tallies.remote.iter_mut().zip(&mut self.fresh) {
            if let Some(figure) = figure.take() {
                tally.add(figure);
            }
        }
        let heard = figures.map(|figures| (figures, last.unwrap_or_default()));
        let ntp = self.ntp(now);
        let mut out = [0; MAX_REPORT];
        let report = Report { ssrc: identity.ssrc, cname: &identity.cname, ntp, sender, heard, bye };
        let length = rtcp::write(&report, &mut out);
        (out, length)
    }

    fn ntp(&self, now: Duration) -> u64 {
        self.ntp_start.wrapping_add(rtcp::ntp_span(now))
    }
}
