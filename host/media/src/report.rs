//! When to send RTCP reports, where, and what is learnt from those that come (RFC 3550 §6).

use crate::command::MediaPlan;
use crate::latch::Latch;
use crate::reception::Reception;
use crate::rtcp::{self, LastReport, MAX_REPORT, Report, SenderFigures};
use crate::stream::Identity;
use rtcp_types::RtcpParseError;
use std::net::SocketAddr;
use std::time::Duration;

/// The time between two reports.
const INTERVAL: Duration = Duration::from_secs(5);

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
}

impl Reports {
    pub(crate) const fn new(ntp_start: u64) -> Self {
        Self { ntp_start, due: Duration::MAX, source: None, last: None, rtt_ms: None, remote_loss_pct: None }
    }

    /// The stream has begun. Streams that begin together report apart: `spread` is random.
    pub(crate) fn begin(&mut self, now: Duration, spread: u32) {
        self.due = now + INTERVAL / 2 + Duration::from_millis(u64::from(spread % 2_500));
    }

    /// Whether a report is to be sent now; the next is counted from here.
    pub(crate) fn due(&mut self, now: Duration) -> bool {
        let due = now >= self.due;
        if due {
            self.due = now + INTERVAL;
        }
        due
    }

    pub(crate) const fn rtt_ms(&self) -> Option<f32> {
        self.rtt_ms
    }

    pub(crate) const fn remote_loss_pct(&self) -> Option<f32> {
        self.remote_loss_pct
    }

    /// Where reports go: where signalling says, unless the far end's audio comes from elsewhere and its RTCP too.
    pub(crate) fn target(&self, plan: &MediaPlan, latch: &Latch) -> SocketAddr {
        let translated = latch.locked().filter(|locked| *locked != plan.remote);
        self.source
            .filter(|source| translated.is_some_and(|locked| locked.ip() == source.ip()))
            .unwrap_or(plan.remote_rtcp)
    }

    /// Takes a datagram from a host that may report.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        source: SocketAddr,
        datagram: &[u8],
        our_ssrc: u32,
    ) -> Result<(), RtcpParseError> {
        let feedback = rtcp::read(datagram, our_ssrc)?;
        self.source = Some(source);
        if let Some(stamp) = feedback.sender_report {
            self.last = Some((stamp, now));
        }
        if let Some(about_us) = feedback.about_us {
            self.remote_loss_pct = Some(about_us.loss_pct);
            self.rtt_ms = about_us.round_trip_ms(self.ntp(now)).or(self.rtt_ms);
        }
        Ok(())
    }

    /// Writes a report; returns its length.
    pub(crate) fn write(
        &self,
        now: Duration,
        identity: &Identity,
        sender: Option<SenderFigures>,
        reception: &mut Reception,
        bye: bool,
        out: &mut [u8; MAX_REPORT],
    ) -> usize {
        let last =
            self.last.map(|(stamp, came)| LastReport { stamp, delay: rtcp::short_span(now.saturating_sub(came)) });
        let heard = reception.report().map(|figures| (figures, last.unwrap_or_default()));
        let ntp = self.ntp(now);
        rtcp::write(&Report { ssrc: identity.ssrc, cname: &identity.cname, ntp, sender, heard, bye }, out)
    }

    fn ntp(&self, now: Duration) -> u64 {
        self.ntp_start.wrapping_add(rtcp::ntp_span(now))
    }
}
