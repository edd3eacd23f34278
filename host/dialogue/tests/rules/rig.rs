//! A call in virtual time: the engine, a leg that behaves, and a script whose
//! calls the test makes by hand.

use callbox_dialogue::call::{CallId, CallInfo, Direction, EndCause, EndReason, Evidence, Party, Transport};
use callbox_dialogue::leg::{LegCommand, LegEvent, PromptId, RecognitionId, TransferId, TransferResult, WordMark};
use callbox_dialogue::script::{
    BargeIn, DigitOptions, Handle, Heard, HostCall, HostReply, ListenOptions, Playout, Prompt, Queueing, Reply,
    ScriptEnd, Segment, TransferMode, TransferOptions, Utterance,
};
use callbox_dialogue::setup::{Fallback, Limits, Setup, Source, SourcePolicy};
use callbox_dialogue::{Engine, Input, Output, Time};
use std::collections::{BTreeMap, VecDeque};

/// Gives way to nothing.
pub(crate) const NOTHING: BargeIn = BargeIn { speech: false, digits: false };
/// Gives way to keys.
pub(crate) const DIGITS: BargeIn = BargeIn { speech: false, digits: true };
/// Gives way to speech.
pub(crate) const SPEECH: BargeIn = BargeIn { speech: true, digits: false };
/// Gives way to both.
pub(crate) const BOTH: BargeIn = BargeIn { speech: true, digits: true };

/// What a call starts from: inbound, a recogniser, one destination.
pub(crate) fn setup() -> Setup {
    Setup {
        info: CallInfo {
            id: CallId("call_0192aa".into()),
            direction: Direction::Inbound,
            transport: Transport::Simulated,
            caller: Party { uri: "sip:alice@example.com".into(), ..Party::default() },
            callee: Party { uri: "sip:desk@example.com".into(), ..Party::default() },
            language: "en".into(),
            headers: Vec::new(),
            parameters: None,
        },
        started_unix_ms: 1_793_000_000_000,
        seed: [7; 32],
        voice: callbox_dialogue::leg::VoiceSettings { language: "en".into(), ..Default::default() },
        limits: Limits::default(),
        sources: BTreeMap::new(),
        models: Default::default(),
        destinations: vec!["outcome".into()],
        settings: BTreeMap::from([("greeting".to_owned(), "hello".to_owned())]),
        assets: vec!["chime.wav".into()],
        fallback: Fallback::default(),
        speech_recognition: true,
    }
}

/// A source with a time limit of two seconds.
pub(crate) fn source(prefetch: bool, on_failure: SourcePolicy) -> Source {
    Source { prefetch, timeout: 2_000, on_failure }
}

struct Sounding {
    prompt: PromptId,
    /// Later by what its pauses took.
    since: u64,
    paused: Option<u64>,
}

#[derive(Default)]
struct Known {
    length: u64,
    open: bool,
    broken: bool,
}

/// What went in and what came out, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    In(Input),
    Out(Output),
}

/// A call in virtual time.
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    /// Everything, with its time.
    pub(crate) log: Vec<(u64, Entry)>,
    pub(crate) now: u64,
    /// What the leg was told, and when.
    pub(crate) commands: Vec<(u64, LegCommand)>,
    /// What else came out, and when.
    pub(crate) outputs: Vec<(u64, Output)>,
    replies: VecDeque<(Reply, bool)>,
    due: BTreeMap<(u64, u64), Input>,
    sequence: u64,
    prompts: BTreeMap<PromptId, Known>,
    sounding: Option<Sounding>,
    recogniser_done: Option<RecognitionId>,
    is_gone: bool,
    /// How long a text segment sounds.
    pub(crate) text_ms: u64,
    /// How long a prompt takes to get ready, and to be stopped.
    pub(crate) prepare_ms: u64,
    pub(crate) stop_ms: u64,
    /// Prompts whose text is this fail to get ready.
    pub(crate) broken: String,
    /// Whether the leg reports word times: evenly spread.
    pub(crate) words: bool,
    /// What becomes of a transfer, after how long; else nothing.
    pub(crate) transfer: Option<(u64, TransferResult)>,
    /// The leg answers `Answer` by itself; an outbound call is answered by the test.
    pub(crate) answers: bool,
    /// The leg opens the audio early when told to, or tells that it cannot.
    pub(crate) early: bool,
    /// The leg reports its end when told to end.
    pub(crate) ends: bool,
    /// The leg reports the end of a prompt it stops.
    pub(crate) stops: bool,
    /// The leg reports that digits are sent.
    pub(crate) sends: bool,
    /// What the recogniser gives once it is told that the caller is done, and how long it takes; else nothing.
    pub(crate) hears: Option<Vec<Utterance>>,
    pub(crate) final_ms: u64,
}

impl Rig {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut rig = Self {
            engine: Engine::new(setup),
            log: Vec::new(),
            now: 0,
            commands: Vec::new(),
            outputs: Vec::new(),
            replies: VecDeque::new(),
            due: BTreeMap::new(),
            sequence: 0,
            prompts: BTreeMap::new(),
            sounding: None,
            recogniser_done: None,
            is_gone: false,
            text_ms: 1_000,
            prepare_ms: 10,
            stop_ms: 20,
            broken: "broken".into(),
            words: false,
            transfer: None,
            answers: true,
            early: true,
            ends: true,
            stops: true,
            sends: true,
            hears: None,
            final_ms: 0,
        };
        rig.drain();
        rig
    }

    /// A call that is up, at 100 ms.
    pub(crate) fn up(setup: Setup) -> Self {
        let mut rig = Self::new(setup);
        rig.ask_for(HostCall::Answer).unwrap();
        rig.to(100);
        rig.commands.clear();
        rig
    }

    /// Hands in an input now.
    pub(crate) fn give(&mut self, input: Input) {
        self.log.push((self.now, Entry::In(input.clone())));
        self.engine.handle(Time(self.now), input);
        if let Some(deadline) = self.engine.deadline() {
            assert!(deadline.0 > self.now, "the deadline is not later than the last time handled");
        }
        self.drain();
    }

    /// The leg reports something now.
    pub(crate) fn leg(&mut self, event: LegEvent) {
        self.give(Input::Leg(event));
    }

    /// The caller presses keys, 100 ms apart.
    pub(crate) fn press(&mut self, keys: &str) {
        for (index, digit) in keys.chars().enumerate() {
            if index > 0 {
                self.wait(100);
            }
            self.leg(LegEvent::Digit { digit });
        }
    }

    /// The recogniser is done: no run is under way until the next is started.
    pub(crate) fn recogniser_over(&mut self, event: LegEvent) {
        self.recogniser_done = self.recognition();
        self.leg(event);
    }

    /// The far end is gone: nothing that was on its way arrives any more.
    pub(crate) fn gone(&mut self) {
        self.sounding = None;
        self.due.clear();
        self.is_gone = true;
    }

    /// The caller hangs up.
    pub(crate) fn remote_hangup(&mut self) {
        self.gone();
        self.leg(LegEvent::Ended { cause: EndCause::RemoteHangup, evidence: Evidence::default(), reason: None });
    }

    /// The script makes a call; its answer is taken with [`Self::reply`].
    pub(crate) fn call(&mut self, call: HostCall) {
        assert!(self.replies.is_empty(), "the script makes one call at a time");
        self.give(Input::Script(call));
    }

    /// The script makes a call and waits for the answer, for an hour at most.
    pub(crate) fn ask_for(&mut self, call: HostCall) -> Reply {
        self.call(call);
        self.until_reply()
    }

    /// The answer, if it is there.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        self.replies.pop_front().map(|(reply, _)| reply)
    }

    /// The answer, if it is there, and whether it is secret.
    pub(crate) fn marked_reply(&mut self) -> Option<(Reply, bool)> {
        self.replies.pop_front()
    }

    /// Lets time pass until the answer is there.
    pub(crate) fn until_reply(&mut self) -> Reply {
        let end = self.now + 4 * 3_600_000;
        loop {
            if let Some(reply) = self.reply() {
                return reply;
            }
            assert!(self.step(end), "no answer at {} ms; pending for ever", self.now);
        }
    }

    /// Lets so much time pass.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.to(self.now + ms);
    }

    /// Lets time pass until then.
    pub(crate) fn to(&mut self, end: u64) {
        while self.step(end) {}
        self.now = end;
        self.give(Input::Tick);
    }

    /// Lets time pass until nothing is due any more, for a day at most.
    pub(crate) fn run_out(&mut self) {
        let end = self.now + 86_400_000;
        while self.step(end) {}
    }

    /// The next thing that is due by `end`.
    fn step(&mut self, end: u64) -> bool {
        let leg = self.due.first_key_value().map(|((at, _), _)| *at);
        let engine = self.engine.deadline().map(|at| at.0);
        match (leg, engine) {
            (Some(leg), engine) if leg <= end && engine.is_none_or(|engine| leg <= engine) => {
                let (_, input) = self.due.pop_first().unwrap();
                self.now = leg;
                if let Input::Leg(LegEvent::PromptEnded { prompt, .. }) = &input {
                    if self.sounding.as_ref().is_none_or(|sounding| sounding.prompt != *prompt) {
                        return true;
                    }
                    self.sounding = None;
                }
                self.give(input);
                true
            }
            (_, Some(engine)) if engine <= end => {
                self.now = engine;
                self.give(Input::Tick);
                true
            }
            _ => false,
        }
    }

    fn later(&mut self, delay: u64, event: LegEvent) {
        if self.is_gone {
            return;
        }
        self.sequence += 1;
        self.due.insert((self.now + delay, self.sequence), Input::Leg(event));
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            self.log.push((self.now, Entry::Out(output.clone())));
            match output {
                Output::Leg(command) => self.obey(command),
                Output::Reply { reply, sensitive } => self.replies.push_back((reply, sensitive)),
                other => self.outputs.push((self.now, other)),
            }
        }
    }

    fn length(&self, segments: &[Segment]) -> u64 {
        let length = |segment: &Segment| match segment {
            Segment::Silence(ms) => u64::from(*ms),
            _ => self.text_ms,
        };
        segments.iter().map(length).sum()
    }

    fn obey(&mut self, command: LegCommand) {
        self.commands.push((self.now, command.clone()));
        match command {
            LegCommand::EarlyMedia => self.later(
                3,
                if self.early {
                    LegEvent::EarlyMedia
                } else {
                    let error = callbox_dialogue::HostError::Unavailable("no reliable responses".into());
                    LegEvent::EarlyMediaFailed { error }
                },
            ),
            LegCommand::Answer if self.answers => self.later(5, LegEvent::Answered),
            LegCommand::Hangup | LegCommand::Reject { .. } => {
                self.sounding = None;
                self.due.clear();
                if self.ends {
                    let status = if let LegCommand::Reject { status, .. } = command { Some(status) } else { None };
                    let evidence = Evidence { sip_status: status, ..Evidence::default() };
                    self.later(10, LegEvent::Ended { cause: EndCause::LocalHangup, evidence, reason: None });
                }
            }
            LegCommand::Prepare { prompt, segments, open, .. } => {
                let broken = segments.contains(&Segment::Text(self.broken.clone()));
                let length = self.length(&segments);
                self.prompts.insert(prompt, Known { length, open, broken });
                if broken {
                    let error = callbox_dialogue::HostError::Unavailable("no voice".into());
                    self.later(self.prepare_ms, LegEvent::PrepareFailed { prompt, error });
                } else {
                    self.later(self.prepare_ms, LegEvent::Prepared { prompt });
                }
                if self.words && !broken {
                    self.spread_words(prompt, &segments, length);
                }
            }
            LegCommand::Append { prompt, segments } => {
                let more = self.length(&segments);
                self.prompts.get_mut(&prompt).unwrap().length += more;
            }
            LegCommand::Complete { prompt } => {
                let known = self.prompts.get_mut(&prompt).unwrap();
                known.open = false;
                let length = known.length;
                let sounding = self.sounding.as_ref().filter(|sounding| sounding.prompt == prompt);
                if let Some(sounding) = sounding.filter(|sounding| sounding.paused.is_none()) {
                    let left = (sounding.since + length).saturating_sub(self.now);
                    let played = u32::try_from(length).unwrap();
                    self.later(left, LegEvent::PromptEnded { prompt, played, complete: true });
                }
            }
            LegCommand::Play { prompt, .. } => {
                let known = &self.prompts[&prompt];
                assert!(self.sounding.is_none(), "two prompts at once");
                assert!(!known.broken, "a broken prompt is played");
                let (length, open) = (known.length, known.open);
                self.sounding = Some(Sounding { prompt, since: self.now, paused: None });
                self.later(0, LegEvent::PromptStarted { prompt });
                if !open {
                    let played = u32::try_from(length).unwrap();
                    self.later(length, LegEvent::PromptEnded { prompt, played, complete: true });
                }
            }
            LegCommand::Stop { prompt } => {
                if let Some(sounding) = self.sounding.as_ref().filter(|sounding| sounding.prompt == prompt) {
                    let played = u32::try_from(sounding.paused.unwrap_or(self.now) - sounding.since).unwrap();
                    self.due.retain(|_, input| {
                        !matches!(input, Input::Leg(LegEvent::PromptEnded { prompt: ended, .. }) if *ended == prompt)
                    });
                    if self.stops {
                        self.later(self.stop_ms, LegEvent::PromptEnded { prompt, played, complete: false });
                    }
                } else {
                    self.due.retain(|_, input| {
                        !matches!(
                            input,
                            Input::Leg(LegEvent::Prepared { prompt: made } | LegEvent::PrepareFailed { prompt: made, .. })
                                if *made == prompt
                        )
                    });
                }
            }
            LegCommand::Pause { prompt } => {
                let sounding = self.sounding.as_mut().filter(|sounding| sounding.prompt == prompt).unwrap();
                assert_eq!(sounding.paused.replace(self.now), None, "paused twice");
                self.due.retain(|_, input| {
                    !matches!(input, Input::Leg(LegEvent::PromptEnded { prompt: ended, .. }) if *ended == prompt)
                });
            }
            LegCommand::Resume { prompt } => {
                let known = &self.prompts[&prompt];
                let sounding = self.sounding.as_mut().filter(|sounding| sounding.prompt == prompt).unwrap();
                sounding.since += self.now - sounding.paused.take().unwrap();
                if !known.open {
                    let left = (sounding.since + known.length).saturating_sub(self.now);
                    let played = u32::try_from(known.length).unwrap();
                    self.later(left, LegEvent::PromptEnded { prompt, played, complete: true });
                }
            }
            LegCommand::EndUtterance { recognition } => {
                if let Some(alternatives) = self.hears.take() {
                    self.recogniser_done = Some(recognition);
                    self.later(self.final_ms, LegEvent::Recognised { recognition, alternatives });
                }
            }
            LegCommand::SendDigits { digits } if self.sends => {
                self.later(100 * digits.len() as u64, LegEvent::DigitsSent);
            }
            LegCommand::Transfer { transfer, .. } => {
                if let Some((delay, result)) = self.transfer.clone() {
                    self.later(delay, LegEvent::TransferEnded { transfer, result });
                }
            }
            LegCommand::CancelTransfer { transfer } => self.cancelled(transfer),
            _ => {}
        }
    }

    fn cancelled(&mut self, transfer: TransferId) {
        let result = TransferResult::Failed { status: 487, reason: "Request Terminated".into() };
        self.later(50, LegEvent::TransferEnded { transfer, result });
    }

    fn spread_words(&mut self, prompt: PromptId, segments: &[Segment], length: u64) {
        let texts: Vec<&str> = segments
            .iter()
            .filter_map(|segment| if let Segment::Text(text) = segment { Some(&**text) } else { None })
            .collect();
        let text = texts.join(" ");
        let ends: Vec<usize> =
            text.char_indices().filter(|(_, c)| *c == ' ').map(|(at, _)| at).chain([text.len()]).collect();
        let count = ends.len() as u64;
        let marks = ends
            .iter()
            .zip(1..)
            .map(|(end, nth)| WordMark { at: (length * nth / count) as u32, text_end: *end as u32 })
            .collect();
        self.later(self.prepare_ms, LegEvent::Words { prompt, marks, duration: u32::try_from(length).ok() });
    }

    // What came out.

    /// How often the leg was told something like this.
    pub(crate) fn told(&self, what: impl Fn(&LegCommand) -> bool) -> usize {
        self.commands.iter().filter(|(_, command)| what(command)).count()
    }

    /// When the leg was last told something like this.
    pub(crate) fn told_at(&self, what: impl Fn(&LegCommand) -> bool) -> Option<u64> {
        self.commands.iter().rev().find(|(_, command)| what(command)).map(|(at, _)| *at)
    }

    /// The run of the recogniser that was started last and not stopped.
    pub(crate) fn recognition(&self) -> Option<RecognitionId> {
        let recognition = self.commands.iter().rev().find_map(|(_, command)| match command {
            LegCommand::Recognise { recognition, .. } => Some(Some(*recognition)),
            LegCommand::StopRecognising { .. } => Some(None),
            _ => None,
        })?;
        recognition.filter(|_| recognition != self.recogniser_done)
    }

    /// The recogniser has heard so much so far.
    pub(crate) fn partial(&mut self, text: &str, start: u32, end: u32) {
        let recognition = self.recognition().unwrap();
        self.leg(LegEvent::Partial { recognition, utterance: utterance(text, start, end) });
    }

    /// The recogniser is done.
    pub(crate) fn recognised(&mut self, text: &str, start: u32, end: u32) {
        let recognition = self.recognition().unwrap();
        let alternatives = if text.is_empty() { Vec::new() } else { vec![utterance(text, start, end)] };
        self.recogniser_over(LegEvent::Recognised { recognition, alternatives });
    }

    /// How long prompts were paused in all.
    pub(crate) fn paused_for(&self) -> u64 {
        let mut since = None;
        let mut all = 0;
        for (at, command) in &self.commands {
            match command {
                LegCommand::Pause { .. } => since = Some(*at),
                LegCommand::Resume { .. } => all += at - since.take().unwrap(),
                _ => {}
            }
        }
        all
    }

    /// How often something like this came out.
    pub(crate) fn came(&self, what: impl Fn(&Output) -> bool) -> usize {
        self.outputs.iter().filter(|(_, output)| what(output)).count()
    }

    pub(crate) fn finished(&self) -> usize {
        self.came(|output| *output == Output::Finished)
    }

    pub(crate) fn reason(&self) -> Option<EndReason> {
        self.engine.record().end_reason
    }

    /// The script returns.
    pub(crate) fn returns(&mut self) {
        self.give(Input::ScriptEnded(ScriptEnd::Returned));
    }

    /// The script traps.
    pub(crate) fn traps(&mut self) {
        self.give(Input::ScriptEnded(ScriptEnd::Trapped { message: "unreachable in `menu`".into() }));
    }
}

// What a script says.

pub(crate) fn text(text: &str) -> Vec<Segment> {
    vec![Segment::Text(text.into())]
}

pub(crate) fn prompt(words: &str, barge_in: BargeIn) -> Prompt {
    Prompt { segments: text(words), barge_in, queueing: Queueing::Append }
}

pub(crate) fn say(words: &str, barge_in: BargeIn) -> HostCall {
    HostCall::Say { prompt: prompt(words, barge_in) }
}

pub(crate) fn start_say(words: &str, barge_in: BargeIn) -> HostCall {
    HostCall::StartSay { prompt: prompt(words, barge_in) }
}

pub(crate) fn ask(words: &str, barge_in: BargeIn, options: ListenOptions) -> HostCall {
    HostCall::Ask { prompt: prompt(words, barge_in), options: Box::new(options) }
}

pub(crate) fn listen(options: ListenOptions) -> HostCall {
    HostCall::Listen { options: Box::new(options) }
}

/// Listens for keys only: a pause of a second, no terminator.
pub(crate) fn keys(min: u8, max: u8) -> ListenOptions {
    ListenOptions {
        digits: Some(DigitOptions { min, max, terminator: None, digit_timeout: 1_000 }),
        speech: false,
        ..ListenOptions::default()
    }
}

/// Listens for keys only, up to a terminator.
pub(crate) fn keys_to(min: u8, max: u8, terminator: char) -> ListenOptions {
    ListenOptions {
        digits: Some(DigitOptions { min, max, terminator: Some(terminator), digit_timeout: 1_000 }),
        speech: false,
        ..ListenOptions::default()
    }
}

/// Listens for speech only.
pub(crate) fn speech() -> ListenOptions {
    ListenOptions::default()
}

/// Listens for both.
pub(crate) fn both(min: u8, max: u8) -> ListenOptions {
    ListenOptions { speech: true, ..keys(min, max) }
}

pub(crate) fn utterance(text: &str, start: u32, end: u32) -> Utterance {
    Utterance { text: text.into(), confidence: Some(0.5), language: "en".into(), start, end }
}

pub(crate) fn refer() -> TransferOptions {
    TransferOptions { mode: TransferMode::Refer, ring_timeout: 30_000, caller_id: None, headers: Vec::new() }
}

pub(crate) fn bridge() -> TransferOptions {
    TransferOptions { mode: TransferMode::Bridge, ..refer() }
}

// What a script is told.

pub(crate) fn handle(reply: Reply) -> Handle {
    match reply {
        Ok(HostReply::Handle(handle)) => handle,
        other => panic!("no handle: {other:?}"),
    }
}

pub(crate) fn playout(reply: Reply) -> Playout {
    match reply {
        Ok(HostReply::Playout(playout)) => playout,
        other => panic!("no playout: {other:?}"),
    }
}

pub(crate) fn heard(reply: Reply) -> Heard {
    match reply {
        Ok(HostReply::Heard(heard)) => heard,
        other => panic!("nothing heard: {other:?}"),
    }
}

pub(crate) fn answer(reply: Reply) -> (Heard, Playout) {
    match reply {
        Ok(HostReply::Answer { heard, prompt }) => (heard, prompt),
        other => panic!("no answer: {other:?}"),
    }
}
