//! The host's side of the process in which the libraries run.

use super::worker::Setting;
use super::worker::frames::{self, Fault, Hello, Job, Kind, Said};
use super::{Heard, Hypothesis, RecogniserError, Sound, Word, Work};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process_group};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// A model of hundreds of megabytes is read within this.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How the process is started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Our own binary, or one that does the same.
    pub(crate) path: PathBuf,
    /// The name of the engine, for errors.
    pub(crate) engine: String,
    /// What it is to be.
    pub(crate) setting: Setting,
}

/// A process that recognises; started when it is needed, and again when it has died.
pub(crate) struct Process {
    program: Program,
    alive: Mutex<Option<Alive>>,
}

/// A process that has said it is ready. Dropping it kills it with its copies.
struct Alive {
    child: Child,
    control: UnixStream,
    version: String,
}

impl Drop for Alive {
    fn drop(&mut self) {
        // `id` is none once the child has been waited for; until then its number cannot belong to anybody else.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Process {
    pub(crate) fn new(program: Program) -> Self {
        Self { program, alive: Mutex::default() }
    }

    /// The version of the engine; starts the process where it does not run.
    pub(crate) async fn version(&self) -> Result<String, RecogniserError> {
        let mut alive = self.alive.lock().await;
        Ok(self.ensure(&mut alive).await?.version.clone())
    }

    /// The number of the process, where it has been started.
    pub(crate) async fn id(&self) -> Option<u32> {
        self.alive.lock().await.as_ref()?.child.id()
    }

    /// A connexion for one recognition.
    async fn connect(&self) -> Result<UnixStream, RecogniserError> {
        let mut alive = self.alive.lock().await;
        // It may die between the look at it and the hand-over: once more, then.
        for _ in 0..2 {
            let process = self.ensure(&mut alive).await?;
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|error| self.broken(&error))?;
            match hand_over(&process.control, theirs.into()) {
                Ok(()) => {
                    ours.set_nonblocking(true).map_err(|error| self.broken(&error))?;
                    return UnixStream::from_std(ours).map_err(|error| self.broken(&error));
                }
                // Its queue is full, as nobody empties it: it hangs; or it has gone.
                Err(error) => {
                    tracing::warn!(engine = self.program.engine, %error, "a recogniser process is replaced");
                    *alive = None;
                }
            }
        }
        Err(self.broken(&"its process takes no recognition"))
    }

    async fn ensure<'a>(&self, alive: &'a mut Option<Alive>) -> Result<&'a mut Alive, RecogniserError> {
        if alive.as_mut().is_none_or(|process| !matches!(process.child.try_wait(), Ok(None))) {
            // What is left of the one before is killed before the next is there.
            *alive = None;
            *alive = Some(self.start().await?);
        }
        alive.as_mut().ok_or_else(|| self.broken(&"it has no process"))
    }

    async fn start(&self) -> Result<Alive, RecogniserError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|error| self.broken(&error))?;
        ours.set_nonblocking(true).map_err(|error| self.broken(&error))?;
        let control = UnixStream::from_std(ours).map_err(|error| self.broken(&error))?;
        let path = &self.program.path;
        let child = Command::new(path)
            .arg("recogniser-worker")
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            // A linear algebra library that starts threads of its own would forbid to fork.
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("OMP_NUM_THREADS", "1")
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.broken(&format_args!("`{}` does not start: {error}", path.display())))?;
        let mut alive = Alive { child, control, version: String::new() };
        let hello = async {
            frames::tell(&mut alive.control, Kind::Setting, &self.program.setting).await?;
            match frames::listen(&mut alive.control).await? {
                Some((Kind::Hello, bytes)) => frames::parse::<Hello>(&bytes),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        };
        match tokio::time::timeout(STARTS_WITHIN, hello).await {
            Ok(Ok(Hello::Ready(version))) => {
                alive.version = version;
                Ok(alive)
            }
            Ok(Ok(Hello::Fault(fault))) => Err(self.fault(fault)),
            Ok(Err(error)) => Err(self.broken(&format_args!("`{} recogniser-worker`: {error}", path.display()))),
            Err(_) => Err(RecogniserError::TimedOut {
                engine: self.program.engine.clone(),
                what: "its start",
                limit_ms: u64::try_from(STARTS_WITHIN.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Has it do a job, with the audio of `work`. Ends with the result, an
    /// error, or when nobody listens any more; the connexion is closed with
    /// that, and the process ends what it does on it.
    pub(crate) async fn recognise(&self, job: &Job, work: &mut Work) -> Result<(), RecogniserError> {
        let (mut from, mut to) = self.connect().await?.into_split();
        let Work { sound, heard } = work;
        let give = async {
            // Where it takes no more, what it says last tells why.
            let _ = give(job, &mut to, sound).await;
            std::future::pending::<Infallible>().await
        };
        let read = async {
            while let Some(news) = self.read(&mut from, &job.language).await? {
                let ends = matches!(news, Heard::Final(_));
                if heard.send(Ok(news)).await.is_err() || ends {
                    return Ok(());
                }
            }
            Err(RecogniserError::cut_short(&self.program.engine))
        };
        tokio::select! {
            done = read => done,
            never = give => match never {},
            () = heard.closed() => Ok(()),
        }
    }

    async fn read(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        language: &str,
    ) -> Result<Option<Heard>, RecogniserError> {
        let rubbish = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData => {
                RecogniserError::Rubbish { engine: self.program.engine.clone(), what: error.to_string() }
            }
            // Its process died in the middle of a frame, or with audio unread.
            _ => RecogniserError::cut_short(&self.program.engine),
        };
        let hypothesis = |said: Said| hypothesis(said, language);
        Ok(match frames::listen(from).await.map_err(rubbish)? {
            None => None,
            Some((Kind::Partial, bytes)) => Some(Heard::Partial(hypothesis(frames::parse(&bytes).map_err(rubbish)?))),
            Some((Kind::Final, bytes)) => {
                let said: Vec<Said> = frames::parse(&bytes).map_err(rubbish)?;
                Some(Heard::Final(said.into_iter().map(hypothesis).collect()))
            }
            Some((Kind::Fault, bytes)) => return Err(self.fault(frames::parse(&bytes).map_err(rubbish)?)),
            Some((kind, _)) => {
                return Err(rubbish(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a {kind:?} from a recogniser"),
                )));
            }
        })
    }

    fn fault(&self, fault: Fault) -> RecogniserError {
        let engine = self.program.engine.clone();
        match fault {
            Fault::Missing { what, remedy } => RecogniserError::Missing { engine, what, remedy },
            Fault::Broken { what } => RecogniserError::Broken { engine, what },
            Fault::BadGrammar { what } => RecogniserError::BadGrammar { engine, what },
        }
    }

    fn broken(&self, what: &dyn std::fmt::Display) -> RecogniserError {
        RecogniserError::Broken { engine: self.program.engine.clone(), what: what.to_string() }
    }
}

/// Gives the process its job and the audio, to the end of the utterance.
async fn give(
    job: &Job,
    to: &mut (impl AsyncWrite + Unpin),
    sound: &mut tokio::sync::mpsc::Receiver<Sound>,
) -> io::Result<()> {
    frames::tell(to, Kind::Job, job).await?;
    let mut bytes = Vec::new();
    while let Some(sound) = sound.recv().await {
        match sound {
            Sound::Frame(samples) => {
                bytes.clear();
                bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
                frames::send(to, Kind::Audio, &bytes).await?;
            }
            Sound::EndOfUtterance => return frames::send(to, Kind::End, &[]).await,
        }
    }
    Ok(())
}

/// Gives the process a connected socket.
fn hand_over(control: &UnixStream, socket: OwnedFd) -> io::Result<()> {
    let sockets = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no room for a socket"));
    }
    loop {
        // One byte, as there has to be something that the socket goes with.
        match sendmsg(control, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn hypothesis(said: Said, language: &str) -> Hypothesis {
    let words = said.words.into_iter();
    Hypothesis {
        text: said.text,
        confidence: said.confidence,
        language: language.to_owned(),
        words: words
            .map(|word| Word { text: word.text, start: word.start, end: word.end, confidence: word.confidence })
            .collect(),
    }
}
