//! Serving recognitions, each on its socket.

#![allow(unsafe_code, reason = "fork, alarm and signal have no safe form; each is used as its comment says")]

use super::frames::{self, Fault, Job, Kind};
use super::{Engine, Listener};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{self, BufReader, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// The library has so many seconds for 100 ms of audio: a thousand times what it takes. Then it hangs, and its process ends.
const HANGS_AFTER_S: u32 = 20;
/// CPU time of one forked recognition: many times what the longest takes.
const MAX_CPU_S: u64 = 120;
/// Address space of one forked recognition, many times what it takes (100 MB).
const MAX_MEMORY: u64 = 2 << 30;
/// A partial result is looked for every 100 ms of audio.
const PARTIALS_PER_S: u32 = 10;

/// What no engine needs: more privileges, files, dumps of its memory, which holds what callers said.
pub(super) fn confine() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    Ok(())
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(io::Error::from)
}

/// The next connexion that the host hands over; none when it is gone.
fn next(control: &UnixStream) -> io::Result<Option<UnixStream>> {
    let mut byte = [0];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            match recvmsg(control, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
        if received.bytes == 0 {
            return Ok(None);
        }
        let mut sockets = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => sockets.collect(),
            _ => Vec::<OwnedFd>::new(),
        });
        if let Some(socket) = sockets.next() {
            return Ok(Some(socket.into()));
        }
    }
}

/// Serves each recognition in a process of its own, which begins as a copy of this one with its engine ready.
pub(super) fn forking<E: Engine>(control: &UnixStream, engine: &E) -> io::Result<()> {
    // SAFETY: SIG_IGN is a valid disposition and no handler of ours is replaced; children are reaped by the kernel.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    while let Some(socket) = next(control)? {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            // A library has started a thread, of which a copy would know nothing.
            return Err(io::Error::other("not alone"));
        }
        // SAFETY: this process has one thread, as was just seen, so that the copy holds no lock of another; it goes on
        // with the same memory and ends by `_exit`.
        match unsafe { libc::fork() } {
            0 => {
                let done = confine_copy().and_then(|()| serve(&socket, engine, Some(HANGS_AFTER_S)));
                // SAFETY: ends this process at once; nothing in it is to be run or flushed.
                unsafe { libc::_exit(i32::from(done.is_err())) }
            }
            -1 => {
                let what = format!("no process for a recognition: {}", io::Error::last_os_error());
                let _ = frames::say(&mut &socket, Kind::Fault, &Fault::Broken { what });
            }
            _ => {}
        }
    }
    Ok(())
}

/// What a copy does not need besides: children and new files.
fn confine_copy() -> io::Result<()> {
    limit(Resource::Nproc, 0)?;
    limit(Resource::Nofile, 0)?;
    limit(Resource::Cpu, MAX_CPU_S)?;
    limit(Resource::As, MAX_MEMORY)
}

/// One recognition, from its job to its result.
fn serve(socket: &UnixStream, engine: &impl Engine, hangs_after_s: Option<u32>) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(socket), socket);
    let mut bytes = Vec::new();
    if frames::hear(&mut from, &mut bytes)? != Some(Kind::Job) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let job: Job = frames::parse(&bytes)?;
    let done = watched(hangs_after_s, || engine.listen(&job))
        .and_then(|mut listener| recognise(&mut listener, &job, &mut from, &mut to, hangs_after_s));
    match done {
        Ok(()) => Ok(()),
        Err(fault) => frames::say(&mut to, Kind::Fault, &fault),
    }
}

fn recognise(
    listener: &mut impl Listener,
    job: &Job,
    from: &mut BufReader<&UnixStream>,
    to: &mut &UnixStream,
    hangs_after_s: Option<u32>,
) -> Result<(), Fault> {
    let lost = |error: io::Error| Fault::Broken { what: format!("the host is gone: {error}") };
    let every = (job.rate_hz / PARTIALS_PER_S).max(1) as usize;
    let (mut bytes, mut samples) = (Vec::new(), Vec::new());
    let mut last = String::new();
    loop {
        let kind = frames::hear(from, &mut bytes).map_err(lost)?;
        match kind {
            Some(Kind::Audio) => {
                samples.extend(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])))
            }
            Some(Kind::End) => {}
            // Nobody listens any more.
            _ => return Ok(()),
        }
        let ends = kind == Some(Kind::End);
        if samples.len() < every && !ends {
            continue;
        }
        watched(hangs_after_s, || listener.hear(&samples))?;
        samples.clear();
        if ends || listener.has_ended() {
            let said = watched(hangs_after_s, || listener.finish())?;
            return frames::say(to, Kind::Final, &said).map_err(lost);
        }
        // Also where nobody wants it: an engine may have its result ready with that.
        if let Some(said) = watched(hangs_after_s, || listener.partial())?
            && job.partials
            && said.text != last
        {
            last.clone_from(&said.text);
            frames::say(to, Kind::Partial, &said).map_err(lost)?;
        }
    }
}

/// Lets a library work, and ends this process where it hangs.
fn watched<T>(hangs_after_s: Option<u32>, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let alarm = |seconds| {
        if hangs_after_s.is_some() {
            // SAFETY: sets a timer of the kernel. Nobody catches SIGALRM, so that it ends the process.
            unsafe { libc::alarm(seconds) };
        }
    };
    alarm(hangs_after_s.unwrap_or(0));
    let done = work();
    alarm(0);
    done
}
