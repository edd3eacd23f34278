//! What the network says of datagrams that did not arrive (RFC 3261 §18.4): a request to a port where nobody listens
//! fails at once, and not after 32 seconds.
//!
//! ICMP is easily forged. What counts is the piece of our own datagram that comes back with it: only who saw that knows
//! the branch of the request.

use std::io;

/// Asks the system to keep such news. Where it cannot, timers tell.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for(socket: &socket2::Socket, v4: bool) {
    use nix::sys::socket::{setsockopt, sockopt};

    let set = if v4 {
        setsockopt(socket, sockopt::Ipv4RecvErr, &true)
    } else {
        setsockopt(socket, sockopt::Ipv6RecvErr, &true)
    };
    if let Err(error) = set {
        tracing::debug!(%error, "ICMP errors are not told: unreachable peers are found by timers");
    }
}

/// Reads one piece of news: the branch of a request of ours that did not arrive, where it is such a one.
///
/// # Errors
/// `WouldBlock` when there is no more.
#[cfg(target_os = "linux")]
pub(crate) fn read(socket: &tokio::net::UdpSocket) -> io::Result<Option<String>> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
    use std::os::fd::AsRawFd as _;

    let mut quoted = [0_u8; 1_500];
    // Room for the error with the address of whoever reported it.
    let mut control = [0_u8; 256];
    let (length, lost) = {
        let mut parts = [io::IoSliceMut::new(&mut quoted)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let lost = message.cmsgs().is_ok_and(|mut all| {
            all.any(|message| match message {
                ControlMessageOwned::Ipv4RecvErr(error, _) => error.ee_origin == 2 && unreachable(error.ee_type, 3, 12),
                ControlMessageOwned::Ipv6RecvErr(error, _) => error.ee_origin == 3 && unreachable(error.ee_type, 1, 4),
                _ => false,
            })
        });
        (message.bytes, lost)
    };
    Ok(if lost { branch(&quoted[..length]) } else { None })
}

/// Destination unreachable or a parameter problem; what was too long or went round in circles may do better next time.
#[cfg(target_os = "linux")]
fn unreachable(kind: u8, destination: u8, parameter: u8) -> bool {
    kind == destination || kind == parameter
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for(_: &socket2::Socket, _: bool) {}

#[cfg(not(target_os = "linux"))]
pub(crate) fn read(_: &tokio::net::UdpSocket) -> io::Result<Option<String>> {
    Err(io::ErrorKind::WouldBlock.into())
}

/// The branch in the `Via` that we wrote on top of a request, of which there may be only the beginning.
fn branch(quoted: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(quoted);
    let mut lines = text.split("\r\n");
    // Responses are nobody's business, ACKs have nobody who waits.
    if lines.next().is_none_or(|first| first.starts_with("SIP/2.0") || first.starts_with("ACK ")) {
        return None;
    }
    let rest: Vec<&str> = lines.collect();
    // The last line may be cut off, and the branch with it.
    let whole = rest.len().checked_sub(1)?;
    let via = rest[..whole].iter().find_map(|line| line.strip_prefix("Via: "))?;
    via.split(';').find_map(|param| param.trim().strip_prefix("branch=")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_of_a_request_is_found_in_what_comes_back() {
        let request = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;rport;branch=z9hG4bK77\r\nMax-Forw";
        assert_eq!(branch(request.as_bytes()).as_deref(), Some("z9hG4bK77"));
        for length in 0..request.len() - "\r\nMax-Forw".len() + 1 {
            assert_eq!(branch(&request.as_bytes()[..length]), None, "half a branch is none: {length}");
        }
        assert_eq!(branch(request.replace("INVITE", "ACK").as_bytes()), None);
        assert_eq!(branch(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTo: x"), None);
        assert_eq!(branch(b""), None);
    }
}
