//! One UDP socket, read and written many datagrams at a time, with the time at
//! which the kernel received each: how late this program itself is does not
//! spoil what it measures.
#![allow(unsafe_code, reason = "recvmmsg and sendmmsg; std has neither, and one call per packet costs too much")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

/// Datagrams moved by one system call.
pub(crate) const BATCH: usize = 128;
/// Bytes of the longest datagram.
pub(crate) const DATAGRAM: usize = 256;
/// Bytes for the control message with the time.
const CONTROL: usize = 64;
/// Asked for the receive buffer: half a second of two thousand calls.
const BUFFER: libc::c_int = 64 << 20;

/// A received datagram.
#[derive(Clone, Copy)]
pub(crate) struct Received<'a> {
    /// From where.
    pub(crate) from: SocketAddrV4,
    /// When the kernel had it, in nanoseconds since 1970.
    pub(crate) at: u64,
    /// What.
    pub(crate) bytes: &'a [u8],
}

/// The socket and the memory that system calls read and write.
pub(crate) struct Socket {
    socket: UdpSocket,
    incoming: Box<Slots>,
    outgoing: Box<Slots>,
    queued: usize,
}

struct Slots {
    bytes: [[u8; DATAGRAM]; BATCH],
    addresses: [libc::sockaddr_in; BATCH],
    controls: [Control; BATCH],
    vectors: [libc::iovec; BATCH],
    headers: [libc::mmsghdr; BATCH],
}

/// Aligned as a `cmsghdr` has to be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

impl Slots {
    fn new() -> Box<Self> {
        // SAFETY: all fields are integers, arrays of them, or raw pointers, for which zero is a value.
        let mut slots: Box<Self> = Box::new(unsafe { zeroed() });
        let all = &mut *slots;
        for n in 0..BATCH {
            all.vectors[n] = libc::iovec { iov_base: all.bytes[n].as_mut_ptr().cast(), iov_len: DATAGRAM };
            let header = &mut all.headers[n].msg_hdr;
            header.msg_name = ptr::from_mut(&mut all.addresses[n]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut all.vectors[n];
            header.msg_iovlen = 1;
        }
        // The pointers lead into the box, which does not move its contents and is never copied out of.
        slots
    }
}

impl Socket {
    /// Binds it.
    pub(crate) fn bind(address: SocketAddrV4) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        option(&socket, libc::SO_TIMESTAMPNS, 1)?;
        // The first needs a right that root has; the second gives as much as everybody may have.
        if option(&socket, libc::SO_RCVBUFFORCE, BUFFER).is_err() {
            option(&socket, libc::SO_RCVBUF, BUFFER)?;
        }
        if option(&socket, libc::SO_SNDBUFFORCE, BUFFER).is_err() {
            option(&socket, libc::SO_SNDBUF, BUFFER)?;
        }
        Ok(Self { socket, incoming: Slots::new(), outgoing: Slots::new(), queued: 0 })
    }

    /// Where it is bound.
    pub(crate) fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.socket.local_addr()
    }

    /// Reads what is there, up to a batch; gives each datagram to `take`. How many there were.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(Received<'_>)) -> io::Result<usize> {
        let slots = &mut *self.incoming;
        for (header, control) in slots.headers.iter_mut().zip(&mut slots.controls) {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL;
        }
        // SAFETY: the descriptor is open as long as `self.socket` lives; every header points to an address, one vector
        // and a control buffer of the sizes it names, all of which live in the box until the call returns.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                slots.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) };
        };
        for n in 0..count {
            let length = (slots.headers[n].msg_len as usize).min(DATAGRAM);
            let address = slots.addresses[n];
            let from = SocketAddrV4::new(
                Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)),
                u16::from_be(address.sin_port),
            );
            let at = stamp(&slots.headers[n].msg_hdr).unwrap_or_default();
            take(Received { from, at, bytes: &slots.bytes[n][..length] });
        }
        Ok(count)
    }

    /// Puts a datagram of `length` bytes, written by `write`, in front of the others; sends them when the batch is full.
    pub(crate) fn queue(&mut self, to: SocketAddrV4, length: usize, write: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let (n, slots) = (self.queued, &mut *self.outgoing);
        write(&mut slots.bytes[n][..length]);
        slots.vectors[n].iov_len = length;
        let address = &mut slots.addresses[n];
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_port = to.port().to_be();
        address.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        self.queued += 1;
        if self.queued == BATCH { self.flush() } else { Ok(()) }
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.queued {
            let left = &mut self.outgoing.headers[sent..self.queued];
            // SAFETY: as above, without control buffers (null, of length 0).
            let count =
                unsafe { libc::sendmmsg(self.socket.as_raw_fd(), left.as_mut_ptr(), left.len() as libc::c_uint, 0) };
            match usize::try_from(count) {
                Ok(count) => sent += count,
                // A datagram of before was refused (the port is closed); this one is still to go.
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    error if error.kind() == io::ErrorKind::WouldBlock => break,
                    error => return Err(error),
                },
            }
        }
        self.queued = 0;
        Ok(())
    }
}

fn option(socket: &UdpSocket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: an open descriptor and an integer of the length that is named.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The time in a received header.
fn stamp(header: &libc::msghdr) -> Option<u64> {
    // SAFETY: the kernel has filled in the control buffer and its length; CMSG_FIRSTHDR stays within it, and the kernel
    // writes whole messages. The time is read where the message's type says that there is one.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        let control = control.as_ref()?;
        if control.cmsg_level != libc::SOL_SOCKET || control.cmsg_type != libc::SCM_TIMESTAMPNS {
            return None;
        }
        let time: libc::timespec = ptr::read_unaligned(libc::CMSG_DATA(control).cast());
        Some(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
    }
}
