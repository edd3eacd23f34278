//! The RTP header (RFC 3550 §5.1), read and written.

/// Length of a header without CSRC list and extension: what we write.
pub const HEADER: usize = 12;

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Shorter than its header, CSRC list or extension says.
    #[error("shorter than its header says")]
    Short,
    /// Not version 2.
    #[error("not RTP version 2")]
    Version,
    /// The padding count is 0 or more than there is.
    #[error("impossible padding")]
    Padding,
}

/// A received packet. CSRC list, extension and padding are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Begin of a talk spurt.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Counts packets, wraps.
    pub sequence: u16,
    /// Counts samples, wraps.
    pub timestamp: u32,
    /// The stream's name.
    pub ssrc: u32,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Tells RTCP from RTP where both use one port (RFC 5761 §4): the second byte is a packet type of 192 to 223.
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|byte| (192..=223).contains(byte))
}

/// Reads a datagram.
///
/// # Errors
/// [`RtpError`] for what is not RTP.
pub fn parse(datagram: &[u8]) -> Result<Packet<'_>, RtpError> {
    let Some((header, rest)) = datagram.split_first_chunk::<HEADER>() else { return Err(RtpError::Short) };
    if header[0] >> 6 != 2 {
        return Err(RtpError::Version);
    }
    let mut payload = rest.get(usize::from(header[0] & 0x0F) * 4..).ok_or(RtpError::Short)?;
    if header[0] & 0x10 != 0 {
        let Some((extension, behind)) = payload.split_first_chunk::<4>() else { return Err(RtpError::Short) };
        let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
        payload = behind.get(words * 4..).ok_or(RtpError::Short)?;
    }
    if header[0] & 0x20 != 0 {
        // The last byte counts the padding, itself included.
        let padding = usize::from(*payload.last().ok_or(RtpError::Padding)?);
        let length = payload.len().checked_sub(padding).ok_or(RtpError::Padding)?;
        if padding == 0 {
            return Err(RtpError::Padding);
        }
        payload = &payload[..length];
    }
    Ok(Packet {
        marker: header[1] & 0x80 != 0,
        payload_type: header[1] & 0x7F,
        sequence: u16::from_be_bytes([header[2], header[3]]),
        timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        payload,
    })
}

/// Writes a header without CSRC list, extension and padding.
pub fn write_header(out: &mut [u8; HEADER], marker: bool, payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) {
    out[0] = 0x80;
    out[1] = u8::from(marker) << 7 | (payload_type & 0x7F);
    out[2..4].copy_from_slice(&sequence.to_be_bytes());
    out[4..8].copy_from_slice(&timestamp.to_be_bytes());
    out[8..].copy_from_slice(&ssrc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn skips_csrc_extension_and_padding() {
        let mut datagram = vec![0x80 | 0x20 | 0x10 | 2, 0x80 | 101, 1, 2, 0, 0, 0, 9, 0, 0, 0, 7];
        datagram.extend([0; 8]);
        datagram.extend([0xBE, 0xDE, 0, 1, 1, 2, 3, 4]);
        datagram.extend(b"voice");
        datagram.extend([0, 0, 3]);
        let packet = parse(&datagram).expect("a packet");
        assert_eq!(packet.payload, b"voice");
        assert_eq!((packet.marker, packet.payload_type, packet.sequence), (true, 101, 0x0102));
        assert_eq!((packet.timestamp, packet.ssrc), (9, 7));
        for length in 0..datagram.len() {
            // A cut packet is refused or, where the cut leaves a plausible padding count, shorter; never read past.
            if let Ok(packet) = parse(&datagram[..length]) {
                assert!(packet.payload.len() < 5 + 3);
            }
        }
    }

    #[test]
    fn refuses_what_is_not_rtp() {
        assert_eq!(parse(&[0x80; 11]), Err(RtpError::Short));
        assert_eq!(parse(&[0x00; 12]), Err(RtpError::Version));
        assert_eq!(parse(&[0xC0; 12]), Err(RtpError::Version));
        let mut padded = [0_u8; 13];
        padded[0] = 0xA0;
        assert_eq!(parse(&padded), Err(RtpError::Padding), "a padding of 0 bytes");
        padded[12] = 2;
        assert_eq!(parse(&padded), Err(RtpError::Padding), "more padding than payload");
        assert_eq!(parse(&padded[..12]), Err(RtpError::Padding), "no room for the count");
        padded[12] = 1;
        assert_eq!(parse(&padded).map(|packet| packet.payload.len()), Ok(0));
    }

    #[test]
    fn rtcp_is_told_apart() {
        assert!(is_rtcp(&[0x80, 200]));
        assert!(is_rtcp(&[0x81, 201]));
        assert!(!is_rtcp(&[0x80, 0x80 | 8]));
        assert!(!is_rtcp(&[0x80]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(marker: bool, payload_type in 0_u8..128, sequence: u16, timestamp: u32, ssrc: u32, payload: Vec<u8>) {
            let mut header = [0; HEADER];
            write_header(&mut header, marker, payload_type, sequence, timestamp, ssrc);
            let datagram = [&header[..], &payload].concat();
            prop_assert_eq!(parse(&datagram), Ok(Packet { marker, payload_type, sequence, timestamp, ssrc, payload: &payload }));
        }

        #[test]
        fn any_bytes_are_survived(datagram: Vec<u8>) {
            if let Ok(packet) = parse(&datagram) {
                prop_assert!(packet.payload.len() + HEADER <= datagram.len());
            }
            prop_assert!(!is_rtcp(&datagram) || datagram.len() > 1);
        }
    }
}
