//! Two-channel WAV files, written on a thread of its own.
//!
//! Sessions hand over blocks of 200 ms by a bounded queue and never wait: a block that does not fit is dropped, and
//! silence takes its place in the file, so that both channels stay in time with the call. The header is brought up to
//! date with every second that is written: after a crash the file is valid, and short by little more than that.

use crate::command::{MediaEvent, MediaStats};
use crate::wav;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::OwnedPermit;

/// Samples of one channel in a block.
const BLOCK: usize = 1_600;
/// Bytes that both channels' samples of one moment take.
const PAIR: u64 = 4;
/// Messages that may wait: 1.6 s of a thousand recordings.
const QUEUE: usize = 8_192;
/// Of these, places that blocks leave to the beginnings and ends of recordings.
const RESERVE: usize = QUEUE / 4;
/// Bytes gathered before they are written: a second.
const FLUSH: usize = 32_000;
/// Blocks kept for the next sessions.
const POOL: usize = 1_024;
/// How often recordings are looked for whose session is gone without a word.
const SWEEP: Duration = Duration::from_secs(1);

/// The last event of a session and its place in the queue.
pub(crate) type Closing = Box<(OwnedPermit<MediaEvent>, MediaStats)>;

/// Both channels, interleaved.
type Samples = Box<[i16; BLOCK * 2]>;

#[derive(Debug)]
struct Block {
    recording: u64,
    /// The moment of its first sample, in samples since the recording began.
    at: u64,
    /// Samples of each channel.
    length: usize,
    samples: Samples,
}

enum Message {
    Begin { recording: u64, path: PathBuf, done: OwnedPermit<MediaEvent>, alive: Weak<()> },
    Block(Block),
    End { last: Block, closing: Option<Closing> },
    Shutdown,
}

/// The way to the recorder's thread.
#[derive(Clone)]
pub(crate) struct Recorder {
    messages: Sender<Message>,
    empty: Receiver<Samples>,
}

/// One session's recording under way.
pub(crate) struct Recording {
    recorder: Recorder,
    path: PathBuf,
    block: Block,
    _alive: Arc<()>,
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let (messages, inbox) = bounded(QUEUE);
        let (pool, empty) = bounded(POOL);
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || {
            Files { inbox, pool, open: HashMap::new() }.run();
        })?;
        Ok((Self { messages, empty }, thread))
    }

    /// Ends the thread once it has written what is waiting.
    pub(crate) fn shutdown(&self) {
        // Waits for a place; the thread takes messages until this one.
        let _ = self.messages.send(Message::Shutdown);
    }

    /// Begins a file. `recording` is unique; `done` is where its end is reported.
    ///
    /// # Errors
    /// Gives the permit back when the thread does not keep up.
    pub(crate) fn begin(
        &self,
        recording: u64,
        path: PathBuf,
        done: OwnedPermit<MediaEvent>,
    ) -> Result<Recording, OwnedPermit<MediaEvent>> {
        let alive = Arc::new(());
        let message = Message::Begin { recording, path: path.clone(), done, alive: Arc::downgrade(&alive) };
        match self.messages.try_send(message).map_err(crossbeam_channel::TrySendError::into_inner) {
            Err(Message::Begin { done, .. }) => Err(done),
            _ => {
                let block = Block { recording, at: 0, length: 0, samples: self.samples() };
                Ok(Recording { recorder: self.clone(), path, block, _alive: alive })
            }
        }
    }

    fn samples(&self) -> Samples {
        self.empty.try_recv().unwrap_or_else(|_| Box::new([0; BLOCK * 2]))
    }
}

impl Recording {
    /// The next samples of both sides, equally many.
    pub(crate) fn push(&mut self, caller: &[i16], robot: &[i16]) {
        for (left, right) in caller.iter().zip(robot) {
            let at = self.block.length * 2;
            self.block.samples[at] = *left;
            self.block.samples[at + 1] = *right;
            self.block.length += 1;
            if self.block.length == BLOCK {
                self.hand_over();
            }
        }
    }

    /// Finishes the file; then the session is closed, if that is why.
    pub(crate) fn end(self, closing: Option<Closing>) {
        let message = Message::End { last: self.block, closing };
        if let Err(lost) = self.recorder.messages.try_send(message)
            && let Message::End { closing: Some(closing), .. } = lost.into_inner()
        {
            let (permit, stats) = *closing;
            // The thread hangs on a dead disk. It closes the file when it comes back and finds the session gone.
            tracing::error!(path = %self.path.display(), "the recorder does not keep up: the end of a recording is lost");
            permit.send(MediaEvent::Closed(stats));
        }
    }

    fn hand_over(&mut self) {
        let at = self.block.at + self.block.length as u64;
        if self.recorder.messages.len() < QUEUE - RESERVE {
            let next = Block { recording: self.block.recording, at, length: 0, samples: self.recorder.samples() };
            let full = std::mem::replace(&mut self.block, next);
            // Where the last free place has just gone, the block is lost like those that find none.
            let _ = self.recorder.messages.try_send(Message::Block(full));
        } else {
            self.block.at = at;
            self.block.length = 0;
        }
    }
}

/// A file that is being written.
struct Open {
    file: File,
    path: PathBuf,
    done: OwnedPermit<MediaEvent>,
    alive: Weak<()>,
    /// Bytes behind the header that are written.
    written: u64,
    pending: Vec<u8>,
}

impl Open {
    fn create(
        path: PathBuf,
        done: OwnedPermit<MediaEvent>,
        alive: Weak<()>,
    ) -> Result<Self, (io::Error, PathBuf, OwnedPermit<MediaEvent>)> {
        let created = File::create(&path).and_then(|file| {
            file.write_all_at(&wav::header(2, crate::SAMPLE_RATE, 0), 0)?;
            Ok(file)
        });
        match created {
            Ok(file) => Ok(Self { file, path, done, alive, written: 0, pending: Vec::with_capacity(2 * FLUSH) }),
            Err(error) => Err((error, path, done)),
        }
    }

    fn take(&mut self, block: &Block) -> io::Result<()> {
        let mut missing = (block.at * PAIR).saturating_sub(self.written + self.pending.len() as u64);
        while missing > 0 {
            let silence = missing.min(FLUSH as u64) as usize;
            self.pending.resize(self.pending.len() + silence, 0);
            missing -= silence as u64;
            self.flush_over(FLUSH)?;
        }
        let samples = &block.samples[..block.length * 2];
        self.pending.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        self.flush_over(FLUSH)
    }

    /// Writes what is pending if it is at least so much, then the header that counts it.
    fn flush_over(&mut self, least: usize) -> io::Result<()> {
        if self.pending.len() < least || self.pending.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.pending, wav::HEADER as u64 + self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        self.file.write_all_at(&wav::header(2, crate::SAMPLE_RATE, self.written), 0)
    }

    fn finish(mut self) {
        match self.flush_over(0) {
            Ok(()) => {
                let bytes = wav::HEADER as u64 + self.written;
                let duration_ms = self.written / PAIR / 8;
                self.done.send(MediaEvent::RecordingDone { path: self.path, bytes, duration_ms });
            }
            Err(error) => self.fail(&error),
        }
    }

    fn fail(self, error: &io::Error) {
        tracing::error!(path = %self.path.display(), %error, "a recording failed");
        self.done.send(MediaEvent::RecordingFailed { path: self.path, error: error.to_string() });
    }
}

/// The thread.
struct Files {
    inbox: Receiver<Message>,
    pool: Sender<Samples>,
    open: HashMap<u64, Open>,
}

impl Files {
    fn run(mut self) {
        loop {
            match self.inbox.recv_timeout(SWEEP) {
                Ok(Message::Begin { recording, path, done, alive }) => match Open::create(path, done, alive) {
                    Ok(open) => {
                        self.open.insert(recording, open);
                    }
                    Err((error, path, done)) => {
                        tracing::error!(path = %path.display(), %error, "a recording cannot be begun");
                        done.send(MediaEvent::RecordingFailed { path, error: error.to_string() });
                    }
                },
                Ok(Message::Block(block)) => self.write(block),
                Ok(Message::End { last, closing }) => {
                    let recording = last.recording;
                    self.write(last);
                    if let Some(open) = self.open.remove(&recording) {
                        open.finish();
                    }
                    if let Some((permit, stats)) = closing.map(|closing| *closing) {
                        permit.send(MediaEvent::Closed(stats));
                    }
                }
                Ok(Message::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => self.sweep(),
            }
        }
        for (_, open) in self.open.drain() {
            open.finish();
        }
    }

    fn write(&mut self, block: Block) {
        if let Some(open) = self.open.get_mut(&block.recording)
            && let Err(error) = open.take(&block)
            && let Some(open) = self.open.remove(&block.recording)
        {
            // What was written until then is a valid file.
            open.fail(&error);
        }
        let _ = self.pool.try_send(block.samples);
    }

    /// Finishes files whose session is gone and could not say so.
    fn sweep(&mut self) {
        for (_, open) in self.open.extract_if(|_, open| open.alive.strong_count() == 0) {
            open.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use tokio::sync::mpsc;

    fn permit(events: &mpsc::Sender<MediaEvent>) -> OwnedPermit<MediaEvent> {
        events.clone().try_reserve_owned().unwrap()
    }

    #[test]
    fn both_channels_are_in_the_file_sample_by_sample() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.wav");
        let (recorder, thread) = Recorder::start().unwrap();
        let (sender, mut events) = mpsc::channel(4);
        let mut recording = recorder.begin(1, path.clone(), permit(&sender)).unwrap_or_else(|_| panic!("begun"));
        let left: Vec<i16> = (0..20_050).map(|n| (n % 1_000) as i16).collect();
        let right: Vec<i16> = left.iter().map(|sample| -sample).collect();
        for (left, right) in left.chunks(160).zip(right.chunks(160)) {
            recording.push(left, right);
        }
        recording.end(None);
        let done = events.blocking_recv().unwrap();
        assert_eq!(done, MediaEvent::RecordingDone { path: path.clone(), bytes: 44 + 80_200, duration_ms: 2_506 });
        let mut wav = hound::WavReader::open(&path).unwrap();
        assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 8_000));
        let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
        assert!(samples.chunks(2).map(|pair| pair[0]).eq(left));
        assert!(samples.chunks(2).map(|pair| pair[1]).eq(right));
        recorder.shutdown();
        thread.join().unwrap();
    }

    #[test]
    fn a_dropped_block_is_silence_of_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let (sender, mut events) = mpsc::channel(4);
        let mut open = Open::create(folder.path().join("a.wav"), permit(&sender), Weak::new())
            .unwrap_or_else(|_| panic!("created"));
        let block = |at, length| Block { recording: 1, at, length, samples: Box::new([7; BLOCK * 2]) };
        open.take(&block(0, BLOCK)).unwrap();
        open.take(&block(50_000, 10)).unwrap();
        let path = open.path.clone();
        open.finish();
        assert!(matches!(events.try_recv(), Ok(MediaEvent::RecordingDone { duration_ms: 6_251, .. })));
        let samples: Vec<i16> = hound::WavReader::open(path).unwrap().samples().map(Result::unwrap).collect();
        assert_eq!(samples.len(), 100_020);
        assert!(samples[BLOCK * 2..100_000].iter().all(|sample| *sample == 0));
        assert_eq!(samples[100_000..], [7; 20]);
    }

    #[test]
    fn the_file_is_valid_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (sender, _events) = mpsc::channel(4);
        let mut open = Open::create(folder.path().join("a.wav"), permit(&sender), Weak::new())
            .unwrap_or_else(|_| panic!("created"));
        for n in 0..20 {
            open.take(&Block { recording: 1, at: n * BLOCK as u64, length: BLOCK, samples: Box::new([1; BLOCK * 2]) })
                .unwrap();
            let wav = hound::WavReader::open(&open.path).unwrap();
            let behind = (n + 1) * BLOCK as u64 - u64::from(wav.duration());
            assert!(behind <= 8_000, "{behind} samples are not in the file yet");
        }
    }

    #[test]
    fn what_goes_wrong_is_an_event() {
        let (recorder, thread) = Recorder::start().unwrap();
        let (sender, mut events) = mpsc::channel(4);
        let nowhere = PathBuf::from("/nonexistent/folder/call.wav");
        let recording = recorder.begin(1, nowhere.clone(), permit(&sender)).unwrap_or_else(|_| panic!("begun"));
        assert!(matches!(events.blocking_recv(), Some(MediaEvent::RecordingFailed { path, .. }) if path == nowhere));
        recording.end(None);
        // A disk that is full.
        let mut recording = recorder.begin(2, "/dev/full".into(), permit(&sender)).unwrap_or_else(|_| panic!("begun"));
        recording.push(&[1; 20_000], &[1; 20_000]);
        let Some(MediaEvent::RecordingFailed { error, .. }) = events.blocking_recv() else { panic!("it is full") };
        assert!(error.contains("space"), "{error}");
        recorder.shutdown();
        thread.join().unwrap();
    }

    #[test]
    fn a_session_that_vanishes_leaves_a_finished_file() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, thread) = Recorder::start().unwrap();
        let (sender, mut events) = mpsc::channel(4);
        let mut recording =
            recorder.begin(1, folder.path().join("a.wav"), permit(&sender)).unwrap_or_else(|_| panic!("begun"));
        recording.push(&[1; BLOCK], &[1; BLOCK]);
        drop(recording);
        assert!(matches!(events.blocking_recv(), Some(MediaEvent::RecordingDone { duration_ms: 200, .. })));
        recorder.shutdown();
        thread.join().unwrap();
    }
}
