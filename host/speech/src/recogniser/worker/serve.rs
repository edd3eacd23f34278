//! Serving recognitions, each on its socket.

#![allow(unsafe_code, reason = "fork, alarm and signal have no safe form; each is used as its comment says")]

use super::frames::{self, Fault, Job, Kind, SpeakJob};
use super::{Engine, Listener, Voice};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::collections::HashMap;
use std::io::{self, BufReader, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The library has so many seconds for 100 ms of audio: a thousand times what it takes. Then it hangs, and its process ends.
const HANGS_AFTER_S: u32 = 20;
/// A model of hundreds of megabytes may have two minutes of audio to go through at once.
const THREAD_HANGS_AFTER_S: u32 = 120;
/// Threads at once. The host has a smaller limit of its own.
const MAX_THREADS: usize = 256;
/// Samples of a frame: half of what it may hold.
const SAMPLES_PER_FRAME: usize = 16_000;
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
                let done = confine_copy().and_then(|()| recognition(&socket, engine, &Alarm));
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

/// Serves each connexion in a thread.
pub(super) fn threading(
    control: &UnixStream,
    serve: impl Fn(&UnixStream, &Watchdog) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let (watchdog, running) = (Watchdog::start()?, AtomicUsize::new(0));
    let (serve, watchdog, running) = (&serve, &*watchdog, &running);
    std::thread::scope(|scope| {
        while let Some(socket) = next(control)? {
            let socket = Arc::new(socket);
            let refuse = |what: String| {
                let _ = frames::say(&mut &*socket, Kind::Fault, &Fault::Broken { what });
            };
            if running.fetch_add(1, Ordering::Relaxed) >= MAX_THREADS {
                running.fetch_sub(1, Ordering::Relaxed);
                refuse(format!("{MAX_THREADS} of its threads run already"));
                continue;
            }
            let theirs = socket.clone();
            let started = std::thread::Builder::new().spawn_scoped(scope, move || {
                // Whoever is served sees it by the end of the connexion.
                let _ = serve(&theirs, watchdog);
                running.fetch_sub(1, Ordering::Relaxed);
            });
            if let Err(error) = started {
                running.fetch_sub(1, Ordering::Relaxed);
                refuse(format!("no thread: {error}"));
            }
        }
        // The host is gone: nobody waits for what the threads do.
        std::process::exit(0)
    })
}

/// What ends a process whose library hangs.
pub(super) trait Watch {
    /// Lets the library work.
    fn over<T>(&self, work: impl FnOnce() -> T) -> T;
}

/// The kernel's alarm, for a process that does one thing at a time.
struct Alarm;

impl Watch for Alarm {
    fn over<T>(&self, work: impl FnOnce() -> T) -> T {
        // SAFETY: sets a timer of the kernel. Nobody catches SIGALRM, so that it ends the process.
        let alarm = |seconds| unsafe { libc::alarm(seconds) };
        alarm(HANGS_AFTER_S);
        let done = work();
        alarm(0);
        done
    }
}

/// A thread that looks after the others.
#[derive(Default)]
pub(super) struct Watchdog {
    /// What is at work, with the seconds it has taken.
    at_work: Mutex<HashMap<u64, u32>>,
    next: AtomicU64,
}

impl Watchdog {
    fn start() -> io::Result<Arc<Self>> {
        let watchdog = Arc::new(Self::default());
        let dog = watchdog.clone();
        std::thread::Builder::new().spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                if dog.looks() {
                    std::process::abort();
                }
            }
        })?;
        Ok(watchdog)
    }

    /// Counts a second; whether something hangs.
    fn looks(&self) -> bool {
        self.all().values_mut().any(|seconds| {
            *seconds += 1;
            *seconds > THREAD_HANGS_AFTER_S
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Watchdog {
    fn over<T>(&self, work: impl FnOnce() -> T) -> T {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.all().insert(id, 0);
        let done = work();
        self.all().remove(&id);
        done
    }
}

/// One recognition, from its job to its result.
pub(super) fn recognition(socket: &UnixStream, engine: &impl Engine, watch: &impl Watch) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(socket), socket);
    let mut bytes = Vec::new();
    if frames::hear(&mut from, &mut bytes)? != Some(Kind::Job) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let job: Job = frames::parse(&bytes)?;
    let done = watch
        .over(|| engine.listen(&job))
        .and_then(|mut listener| recognise(&mut listener, &job, &mut from, &mut to, watch));
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
    watch: &impl Watch,
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
        watch.over(|| listener.hear(&samples))?;
        samples.clear();
        if ends || listener.has_ended() {
            let said = watch.over(|| listener.finish())?;
            return frames::say(to, Kind::Final, &said).map_err(lost);
        }
        // Also where nobody wants it: an engine may have its result ready with that.
        if let Some(said) = watch.over(|| listener.partial())?
            && job.partials
            && said.text != last
        {
            last.clone_from(&said.text);
            frames::say(to, Kind::Partial, &said).map_err(lost)?;
        }
    }
}

/// One render, from its job to its last sample.
pub(super) fn render(socket: &UnixStream, voice: &impl Voice, watch: &impl Watch) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(socket), socket);
    let mut bytes = Vec::new();
    if frames::hear(&mut from, &mut bytes)? != Some(Kind::Speak) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let job: SpeakJob = frames::parse(&bytes)?;
    let rate = voice.rate();
    let mut take = |samples: &[f32]| {
        samples.chunks(SAMPLES_PER_FRAME).all(|samples| {
            bytes.clear();
            bytes.extend(rate.to_le_bytes());
            bytes.extend(samples.iter().flat_map(|&sample| to_i16(sample).to_le_bytes()));
            // Where it takes no more, nobody listens: the voice may stop.
            frames::put(&mut to, Kind::Spoken, &bytes).is_ok()
        })
    };
    match watch.over(|| voice.speak(&job, &mut take)) {
        Ok(()) => frames::put(&mut to, Kind::Silence, &[]),
        Err(fault) => frames::say(&mut to, Kind::Fault, &fault),
    }
}

/// Saturates, and makes silence of what is no number.
fn to_i16(sample: f32) -> i16 {
    (sample * 32_767.0).round() as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_seen() {
        let dog = Watchdog::default();
        assert!(!(0..2 * THREAD_HANGS_AFTER_S).any(|_| dog.looks()), "nothing is at work");
        dog.over(|| {
            assert!(!(0..THREAD_HANGS_AFTER_S).any(|_| dog.looks()));
            assert!(dog.looks());
        });
        assert!(!dog.looks());
    }

    #[test]
    fn samples_saturate() {
        for (sample, is) in [(0.0, 0), (1.0, 32_767), (-7.0, i16::MIN), (f32::NAN, 0), (f32::INFINITY, i16::MAX)] {
            assert_eq!(to_i16(sample), is);
        }
    }
}
