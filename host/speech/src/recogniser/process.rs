//! The host's side of the process in which the libraries run.

use super::worker::Setting;
use super::worker::frames::{self, Fault, Hello, Job, Kind, Said, SpeakJob};
use super::{Heard, Hypothesis, RecogniserError, Sound, Word, Work};
use crate::process::{keep_beginning, last_line};
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
use tokio::task::JoinHandle;

/// A model of hundreds of megabytes is read within this.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// What a process says as it ends has come within this.
const SAYS_WITHIN: Duration = Duration::from_secs(5);

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
    /// Speakers, of one that speaks.
    speakers: u32,
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

    /// The version of a voice, and how many speakers it has; starts the process where it does not run.
    pub(crate) async fn ready(&self) -> Result<(String, u32), RecogniserError> {
        let mut alive = self.alive.lock().await;
        let process = self.ensure(&mut alive).await?;
        Ok((process.version.clone(), process.speakers))
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
        let mut child = Command::new(path)
            .arg("recogniser-worker")
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            // A linear algebra library that starts threads of its own would forbid to fork.
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("OMP_NUM_THREADS", "1")
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.broken(&format_args!("`{}` does not start: {error}", path.display())))?;
        // Read as long as it runs, so that it never waits; only what comes before it is ready tells something.
        let told = child.stderr.take().map(|stderr| tokio::spawn(keep_beginning(stderr)));
        let mut alive = Alive { child, control, version: String::new(), speakers: 0 };
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
            Ok(Ok(Hello::Voice { version, speakers })) => {
                (alive.version, alive.speakers) = (version, speakers);
                Ok(alive)
            }
            Ok(Ok(Hello::Fault(Fault::Broken { what }))) => {
                Err(self.broken(&format_args!("{what}{}", last_words(alive, told).await)))
            }
            Ok(Ok(Hello::Fault(fault))) => Err(self.fault(fault)),
            // A library that does not like its model ends the process.
            Ok(Err(error)) => {
                let last = last_words(alive, told).await;
                Err(self.broken(&format_args!("`{} recogniser-worker`: {error}{last}", path.display())))
            }
            Err(_) => Err(RecogniserError::TimedOut {
                engine: self.program.engine.clone(),
                what: "its start",
                limit_ms: u64::try_from(STARTS_WITHIN.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Has it do a job, with the audio of `work`: the result. The connexion is
    /// closed when this ends or is dropped, and the process ends what it does
    /// on it.
    pub(crate) async fn recognise(&self, job: &Job, work: Work) -> Result<Heard, RecogniserError> {
        let (mut from, mut to) = self.connect().await?.into_split();
        let Work { mut sound, heard } = work;
        let give = async {
            // Where it takes no more, what it says last tells why.
            let _ = give(job, &mut to, &mut sound).await;
            std::future::pending::<Infallible>().await
        };
        let read = async {
            while let Some(news) = self.read(&mut from, &job.language).await? {
                if matches!(news, Heard::Final(_)) {
                    return Ok(news);
                }
                // Where nobody listens any more, the task that holds us is about to be dropped.
                let _ = heard.send(Ok(news)).await;
            }
            Err(RecogniserError::cut_short(&self.program.engine))
        };
        tokio::select! {
            end = read => end,
            never = give => match never {},
        }
    }

    /// Has it say something; the connexion is closed when what is returned is dropped, and the process ends what it does
    /// on it.
    pub(crate) async fn speak(&self, job: &SpeakJob) -> Result<Speaking<'_>, RecogniserError> {
        let mut stream = self.connect().await?;
        let told = frames::tell(&mut stream, Kind::Speak, job).await;
        told.map_err(|_| RecogniserError::cut_short(&self.program.engine))?;
        Ok(Speaking { process: self, stream })
    }

    /// What became of a connexion.
    fn lost(&self, error: &io::Error) -> RecogniserError {
        match error.kind() {
            io::ErrorKind::InvalidData => {
                RecogniserError::Rubbish { engine: self.program.engine.clone(), what: error.to_string() }
            }
            // Its process died in the middle of a frame, or with audio unread.
            _ => RecogniserError::cut_short(&self.program.engine),
        }
    }

    async fn read(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        language: &str,
    ) -> Result<Option<Heard>, RecogniserError> {
        let rubbish = |error: io::Error| self.lost(&error);
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

/// A render that runs.
pub(crate) struct Speaking<'a> {
    process: &'a Process,
    stream: UnixStream,
}

impl Speaking<'_> {
    /// The next samples, and how many there are a second; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<(u32, Vec<i16>)>, RecogniserError> {
        let lost = |error: io::Error| self.process.lost(&error);
        match frames::listen(&mut self.stream).await.map_err(lost)? {
            Some((Kind::Spoken, bytes)) => {
                let Some((rate, samples)) = bytes.split_first_chunk::<4>() else {
                    return Err(lost(io::Error::new(io::ErrorKind::InvalidData, "audio without a rate")));
                };
                let samples = samples.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair));
                Ok(Some((u32::from_le_bytes(*rate), samples.collect())))
            }
            Some((Kind::Silence, _)) => Ok(None),
            Some((Kind::Fault, bytes)) => Err(self.process.fault(frames::parse(&bytes).map_err(lost)?)),
            Some((kind, _)) => {
                let what = format!("a {kind:?} from a voice");
                Err(lost(io::Error::new(io::ErrorKind::InvalidData, what)))
            }
            None => Err(RecogniserError::cut_short(&self.process.program.engine)),
        }
    }
}

/// What a process that is of no use said last, with something before it.
async fn last_words(process: Alive, told: Option<JoinHandle<Vec<u8>>>) -> String {
    drop(process);
    let kept = match told {
        Some(told) => tokio::time::timeout(SAYS_WITHIN, told).await,
        None => return String::new(),
    };
    match kept {
        Ok(Ok(kept)) if !last_line(&kept).is_empty() => format!(" ({})", last_line(&kept)),
        _ => String::new(),
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
        language: said.language.unwrap_or_else(|| language.to_owned()),
        words: words
            .map(|word| Word { text: word.text, start: word.start, end: word.end, confidence: word.confidence })
            .collect(),
    }
}
