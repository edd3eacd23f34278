//! RTCP (RFC 3550 §6): the reports we send, and what those we get say about us.

use crate::reception::ReportFigures;
use rtcp_types::prelude::*;
use rtcp_types::{
    Bye, Compound, ReceiverReport, ReportBlock, ReportBlockBuilder, RtcpParseError, Sdes, SdesChunk, SdesItem,
    SenderReport,
};
use std::time::Duration;

/// A report of ours is shorter than this.
pub const MAX_REPORT: usize = 256;
/// Reports one compound packet may hold before we stop reading: nobody has more to say about one call.
const MAX_PACKETS: usize = 32;

/// What a sender says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderFigures {
    /// The media clock at the time of the report.
    pub rtp_timestamp: u32,
    /// Since the beginning.
    pub packets: u32,
    /// Payload bytes since the beginning.
    pub bytes: u32,
}

/// A report to be written.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Ours.
    pub ssrc: u32,
    /// Our canonical name (RFC 7022).
    pub cname: &'a str,
    /// The time, as a 32.32 NTP timestamp.
    pub ntp: u64,
    /// None where nothing has been sent: the report is a receiver report then.
    pub sender: Option<SenderFigures>,
    /// What we hear, with the delay since the last sender report we got.
    pub heard: Option<(ReportFigures, LastReport)>,
    /// The call is over.
    pub bye: bool,
}

/// When the far end's last sender report came, for its round-trip measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastReport {
    /// The middle 32 bits of its NTP timestamp; 0 for none.
    pub stamp: u32,
    /// Time since it came, in 65536ths of a second.
    pub delay: u32,
}

/// What a compound packet says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Feedback {
    /// Who says it: the SSRC of the first packet.
    pub ssrc: u32,
    /// The middle 32 bits of the NTP timestamp of a sender report.
    pub sender_report: Option<u32>,
    /// The block that is about us.
    pub about_us: Option<AboutUs>,
    /// The far end says it is gone.
    pub bye: bool,
}

/// A report block about what we send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AboutUs {
    /// Lost since its last report, in percent.
    pub loss_pct: f32,
    /// Interarrival jitter, on our RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP timestamp of our last sender report it got; 0 for none.
    pub last_report: u32,
    /// How long it has had it, in 65536ths of a second.
    pub delay: u32,
}

/// Writes a compound packet: SR or RR, SDES with the CNAME, BYE where the call is over. Returns its length.
#[must_use]
pub fn write(report: &Report<'_>, out: &mut [u8; MAX_REPORT]) -> usize {
    let block = report.heard.map(|(figures, last)| block(figures, last));
    let chunk = SdesChunk::builder(report.ssrc).add_item(SdesItem::builder(SdesItem::CNAME, report.cname));
    let mut compound = Compound::builder();
    compound = match report.sender {
        Some(sender) => {
            let mut packet = SenderReport::builder(report.ssrc)
                .ntp_timestamp(report.ntp)
                .rtp_timestamp(sender.rtp_timestamp)
                .packet_count(sender.packets)
                .octet_count(sender.bytes);
            if let Some(block) = block {
                packet = packet.add_report_block(block);
            }
            compound.add_packet(packet)
        }
        None => {
            let mut packet = ReceiverReport::builder(report.ssrc);
            if let Some(block) = block {
                packet = packet.add_report_block(block);
            }
            compound.add_packet(packet)
        }
    };
    compound = compound.add_packet(Sdes::builder().add_chunk(chunk));
    if report.bye {
        compound = compound.add_packet(Bye::builder().add_source(report.ssrc));
    }
    // Cannot fail: one block, one short item and one source fit.
    compound.write_into(out).unwrap_or(0)
}

fn block(figures: ReportFigures, last: LastReport) -> ReportBlockBuilder {
    ReportBlock::builder(figures.ssrc)
        .fraction_lost(figures.fraction_lost)
        .cumulative_lost(figures.cumulative_lost)
        .extended_sequence_number(figures.extended_sequence)
        .interarrival_jitter(figures.jitter)
        .last_sender_report_timestamp(last.stamp)
        .delay_since_last_sender_report_timestamp(last.delay)
}

/// Reads a datagram, reduced-size ones (RFC 5506) too. Packets of other types are skipped.
///
/// # Errors
/// [`RtcpParseError`] for what is not RTCP; then nothing of the datagram counts.
pub fn read(datagram: &[u8], our_ssrc: u32) -> Result<Feedback, RtcpParseError> {
    // Every kind of packet has its sender's SSRC there; a BYE of nobody is not from anybody.
    let ssrc = datagram.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let mut feedback = Feedback { ssrc, ..Feedback::default() };
    let mut rest = datagram;
    for _ in 0..MAX_PACKETS {
        let Some((header, _)) = rest.split_first_chunk::<4>() else {
            return match rest.len() {
                0 if !datagram.is_empty() => Ok(feedback),
                actual => Err(RtcpParseError::Truncated { expected: 4, actual }),
            };
        };
        if header[0] >> 6 != 2 {
            return Err(RtcpParseError::UnsupportedVersion(header[0] >> 6));
        }
        let length = (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1) * 4;
        let Some((packet, behind)) = rest.split_at_checked(length) else {
            return Err(RtcpParseError::Truncated { expected: length, actual: rest.len() });
        };
        rest = behind;
        match header[1] {
            SenderReport::PACKET_TYPE => {
                let report = SenderReport::parse(packet)?;
                feedback.sender_report = Some(middle(report.ntp_timestamp()));
                feedback.take(report.report_blocks(), our_ssrc);
            }
            ReceiverReport::PACKET_TYPE => {
                let report = ReceiverReport::parse(packet)?;
                feedback.take(report.report_blocks(), our_ssrc);
            }
            Bye::PACKET_TYPE => feedback.bye |= Bye::parse(packet).is_ok(),
            _ => {}
        }
    }
    Ok(feedback)
}

impl Feedback {
    fn take<'a>(&mut self, mut blocks: impl Iterator<Item = ReportBlock<'a>>, our_ssrc: u32) {
        if let Some(block) = blocks.find(|block| block.ssrc() == our_ssrc) {
            self.about_us = Some(AboutUs {
                loss_pct: f32::from(block.fraction_lost()) * 100.0 / 256.0,
                jitter: block.interarrival_jitter(),
                last_report: block.last_sender_report_timestamp(),
                delay: block.delay_since_last_sender_report_timestamp(),
            });
        }
    }
}

impl AboutUs {
    /// The round trip in milliseconds (RFC 3550 §6.4.1), where the far end has had a report of ours.
    #[must_use]
    pub fn round_trip_ms(&self, now_ntp: u64) -> Option<f32> {
        if self.last_report == 0 {
            return None;
        }
        let trip = middle(now_ntp).wrapping_sub(self.last_report).wrapping_sub(self.delay);
        // Longer than ten seconds, or negative: nonsense.
        (trip < 10 << 16).then(|| trip as f32 * 1_000.0 / 65_536.0)
    }
}

/// The middle 32 bits of an NTP timestamp.
#[must_use]
pub const fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A span as a 32.32 fixed-point number.
#[must_use]
pub fn ntp_span(span: Duration) -> u64 {
    (span.as_secs() << 32) | ((u64::from(span.subsec_nanos()) << 32) / 1_000_000_000)
}

/// A span in 65536ths of a second, at most about 18 hours.
#[must_use]
pub fn short_span(span: Duration) -> u32 {
    u32::try_from(ntp_span(span) >> 16).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(bye: bool) -> Report<'static> {
        Report {
            ssrc: 1,
            cname: "abc",
            ntp: 5 << 32,
            sender: Some(SenderFigures { rtp_timestamp: 9, packets: 10, bytes: 1_600 }),
            heard: Some((
                ReportFigures { ssrc: 2, fraction_lost: 128, cumulative_lost: 3, extended_sequence: 77, jitter: 8 },
                LastReport { stamp: 1 << 16, delay: 1 << 15 },
            )),
            bye,
        }
    }

    #[test]
    fn a_report_of_one_is_feedback_for_the_other() {
        let mut out = [0; MAX_REPORT];
        let length = write(&report(true), &mut out);
        let feedback = read(&out[..length], 2).expect("a report");
        assert_eq!(feedback.sender_report, Some(5 << 16));
        assert!(feedback.bye);
        let about = feedback.about_us.expect("a block about 2");
        assert_eq!((feedback.ssrc, about.jitter), (1, 8));
        assert!((about.loss_pct - 50.0).abs() < 0.01);
        // Sent at 1 s, held for half a second, back at 1.75 s: 250 ms.
        assert_eq!(about.round_trip_ms((1 << 32) + (3 << 30)), Some(250.0));
        assert_eq!(about.round_trip_ms(1 << 32), None, "an answer before the question");
        assert_eq!(read(&out[..length], 3).expect("a report").about_us, None);
    }

    #[test]
    fn without_audio_sent_it_is_a_receiver_report() {
        let mut out = [0; MAX_REPORT];
        let length = write(&Report { sender: None, heard: None, ..report(false) }, &mut out);
        assert_eq!(out[1], 201);
        assert!(length > 8 && length.is_multiple_of(4));
        assert_eq!(read(&out[..length], 2), Ok(Feedback { ssrc: 1, ..Feedback::default() }));
    }

    #[test]
    fn cut_or_foreign_bytes_are_refused() {
        let mut out = [0; MAX_REPORT];
        let length = write(&report(true), &mut out);
        assert!(read(&[], 1).is_err());
        assert!(read(&out[..length - 1], 1).is_err());
        assert!(read(&[0x40, 200, 0, 0], 1).is_err());
    }

    #[test]
    fn spans() {
        assert_eq!(ntp_span(Duration::from_millis(1_500)), (1 << 32) + (1 << 31));
        assert_eq!(short_span(Duration::from_millis(500)), 1 << 15);
        assert_eq!(short_span(Duration::from_secs(1 << 20)), u32::MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(datagram: Vec<u8>, ssrc: u32) {
            let _ = read(&datagram, ssrc);
        }
    }
}
