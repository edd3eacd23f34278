//! Datagrams in a TCP stream: two bytes of length, then as many of the datagram (RFC 4571 §2, RFC 6544 §3).

/// The longest datagram that is taken out of a stream, or put into one: as over UDP.
pub const LONGEST: usize = 1_500;
/// Bytes of a length.
pub const LENGTH: usize = 2;

/// What is not a frame: nobody who speaks ICE sends it, and the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes, longer than any datagram")]
pub struct TooLong(pub usize);

/// The first whole datagram of what has come, and how many bytes it took; none while it is not complete.
///
/// # Errors
/// [`TooLong`].
pub fn first(stream: &[u8]) -> Result<Option<(&[u8], usize)>, TooLong> {
    let Some((length, rest)) = stream.split_first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > LONGEST {
        return Err(TooLong(length));
    }
    Ok(rest.get(..length).map(|datagram| (datagram, LENGTH + length)))
}

/// What stands before a datagram; none for one that is too long.
#[must_use]
pub fn header(datagram: &[u8]) -> Option<[u8; LENGTH]> {
    u16::try_from(datagram.len()).ok().filter(|length| usize::from(*length) <= LONGEST).map(u16::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However a stream is cut into pieces, the same datagrams come out.
        #[test]
        fn datagrams_survive_any_cutting(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..LONGEST), 1..6),
            cut in 1_usize..700,
        ) {
            let mut stream = Vec::new();
            for datagram in &datagrams {
                stream.extend(header(datagram).expect("short enough"));
                stream.extend(datagram);
            }
            let (mut come, mut out) = (Vec::new(), Vec::new());
            for piece in stream.chunks(cut) {
                come.extend(piece);
                while let Some((datagram, taken)) = first(&come).expect("a frame") {
                    out.push(datagram.to_vec());
                    come.drain(..taken);
                }
            }
            prop_assert_eq!(out, datagrams);
            prop_assert!(come.is_empty());
        }
    }

    #[test]
    fn what_no_datagram_is_ends_the_stream() {
        assert_eq!(first(b"GET / HTTP/1.1\r\n"), Err(TooLong(0x4745)));
        assert_eq!(first(&[0x16, 3, 1, 2]), Err(TooLong(0x1603)));
        assert_eq!(first(&[5]), Ok(None));
        assert_eq!(header(&[0; LONGEST + 1]), None);
    }
}
