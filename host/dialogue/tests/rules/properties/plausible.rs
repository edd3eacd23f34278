//! A script that keeps to the contract, a leg that does what it is told, a
//! caller who does what he likes.

use super::invariants::{BACK_CHANNEL, Reader, SECRET_KEYS, SECRET_WORDS, tagged};
use super::{any_grammar, any_reason, any_setup, any_transfer_result, cases, is_deterministic};
use crate::rig::{Rig, bridge, prompt, refer, utterance};
use callbox_dialogue::call::{EndCause, EndReason, Evidence};
use callbox_dialogue::leg::{LegCommand, LegEvent, TransferResult};
use callbox_dialogue::script::{
    BargeIn, DigitOptions, Handle, HostCall, HostReply, ListenOptions, Prompt, Queueing, ScriptEnd, Utterance,
};
use callbox_dialogue::{Direction, HostError, Input, Output, Setup};
use proptest::collection::vec;
use proptest::prelude::*;

/// Something that happens.
#[derive(Clone, Debug)]
enum Op {
    Script(Ask),
    Press(usize),
    SpeechStarted(u32),
    SpeechEnded(u32),
    Partial(u8),
    Recognised(u8, u32),
    /// What it will give once it is told that the caller is done, after so long.
    Hears(u8, u32, u64),
    RecogniserFails,
    Wait(u64),
    Fetched(bool),
    Message,
    Drain(u32),
    Hangup(EndReason),
    RemoteHangup,
    Leg {
        prepare_ms: u64,
        stop_ms: u64,
        text_ms: u64,
        words: bool,
    },
    NextTransfer(u64, TransferResult),
    ScriptEnds(u8),
}

/// What the script asks for; handles are picked from those it holds.
#[derive(Clone, Debug)]
enum Ask {
    EarlyMedia,
    Answer,
    Ring,
    Reject,
    Hangup,
    Say(BargeIn, Queueing),
    StartSay(BargeIn, Queueing),
    Broken,
    Question(BargeIn, Box<ListenOptions>),
    Listen(Box<ListenOptions>),
    StartListen(Box<ListenOptions>),
    Quiet,
    OpenWriter(BargeIn),
    Write(usize),
    Finish(usize),
    Digits,
    Transfer(bool),
    StartTransfer(bool),
    After(u32),
    Sleep(u32),
    Select(Vec<usize>, Option<u32>),
    Event(Option<u32>),
    Fetch(bool, bool),
    Await(usize),
    Stop(usize),
    Partial(usize),
    Alternatives(usize),
    Meaning(bool, usize),
    Release(usize),
    Field,
    Node,
    Push,
    Log,
    Random,
}

fn barge_in() -> impl Strategy<Value = BargeIn> {
    (any::<bool>(), any::<bool>()).prop_map(|(speech, digits)| BargeIn { speech, digits })
}

fn queueing() -> impl Strategy<Value = Queueing> {
    prop_oneof![4 => Just(Queueing::Append), 1 => Just(Queueing::Replace)]
}

fn options() -> impl Strategy<Value = Box<ListenOptions>> {
    let digits = (1_u8..4, 0_u8..4, prop_oneof![Just(None), Just(Some('#')), Just(Some('1'))], 0_u32..2_000);
    let speech = (prop::bool::weighted(0.7), 0_u32..500, 0_u8..3, 0_u32..4_000, any::<bool>());
    let turns = (0_u32..1_000, 0_u32..1_000, prop_oneof![4 => 1_u32..2_000, 1 => Just(0)], any_grammar());
    (prop::option::weighted(0.8, digits), speech, turns, 0_u32..6_000, any::<bool>(), any::<bool>()).prop_map(
        |(digits, speech, turns, start_timeout, type_ahead, sensitive)| {
            let (speech, min_speech, min_words, max_length, partials) = speech;
            let (end_silence, complete_silence, resume_after, grammar) = turns;
            Box::new(ListenOptions {
                end_silence,
                complete_silence,
                resume_after,
                grammar,
                digits: digits.map(|(min, more, terminator, digit_timeout)| DigitOptions {
                    min,
                    max: min + more,
                    terminator,
                    digit_timeout,
                }),
                speech,
                min_speech,
                min_words,
                max_length,
                partials,
                start_timeout,
                type_ahead,
                sensitive,
                ..ListenOptions::default()
            })
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    let span = || 0_u32..5_000;
    prop_oneof![
        2 => Just(Ask::EarlyMedia),
        2 => Just(Ask::Answer),
        1 => Just(Ask::Ring),
        1 => Just(Ask::Broken),
        6 => (barge_in(), queueing()).prop_map(|(barge_in, queueing)| Ask::Say(barge_in, queueing)),
        6 => (barge_in(), queueing()).prop_map(|(barge_in, queueing)| Ask::StartSay(barge_in, queueing)),
        10 => (barge_in(), options()).prop_map(|(barge_in, options)| Ask::Question(barge_in, options)),
        6 => options().prop_map(Ask::Listen),
        4 => options().prop_map(Ask::StartListen),
        2 => Just(Ask::Quiet),
        2 => barge_in().prop_map(Ask::OpenWriter),
        4 => any::<usize>().prop_map(Ask::Write),
        2 => any::<usize>().prop_map(Ask::Finish),
        1 => Just(Ask::Digits),
        1 => any::<bool>().prop_map(Ask::Transfer),
        1 => any::<bool>().prop_map(Ask::StartTransfer),
        2 => span().prop_map(Ask::After),
        1 => span().prop_map(Ask::Sleep),
        3 => (vec(any::<usize>(), 0..4), prop::option::of(span())).prop_map(|(handles, timeout)| Ask::Select(handles, timeout)),
        2 => prop::option::of(span()).prop_map(Ask::Event),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(early, start)| Ask::Fetch(early, start)),
        4 => any::<usize>().prop_map(Ask::Await),
        2 => any::<usize>().prop_map(Ask::Stop),
        1 => any::<usize>().prop_map(Ask::Partial),
        1 => any::<usize>().prop_map(Ask::Alternatives),
        2 => (any::<bool>(), any::<usize>()).prop_map(|(last, index)| Ask::Meaning(last, index)),
        3 => any::<usize>().prop_map(Ask::Release),
        1 => Just(Ask::Field),
        1 => Just(Ask::Node),
        1 => Just(Ask::Push),
        1 => Just(Ask::Log),
        1 => Just(Ask::Random),
    ]
}

/// A caller and a script at work.
fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => ask().prop_map(Op::Script),
        14 => (0_usize..12).prop_map(Op::Press),
        8 => (0_u32..300).prop_map(Op::SpeechStarted),
        6 => (0_u32..300).prop_map(Op::SpeechEnded),
        5 => (0_u8..5).prop_map(Op::Partial),
        3 => (0_u8..5, 0_u32..1_000).prop_map(|(words, length)| Op::Recognised(words, length)),
        4 => (0_u8..5, 0_u32..1_000, 0_u64..500).prop_map(|(words, length, after)| Op::Hears(words, length, after)),
        1 => Just(Op::RecogniserFails),
        12 => (0_u64..400).prop_map(Op::Wait),
        8 => (0_u64..4_000).prop_map(Op::Wait),
        2 => any::<bool>().prop_map(Op::Fetched),
        1 => Just(Op::Message),
        2 => (0_u64..300, 0_u64..60, 1_u64..3_000, any::<bool>())
            .prop_map(|(prepare_ms, stop_ms, text_ms, words)| Op::Leg { prepare_ms, stop_ms, text_ms, words }),
        1 => (0_u64..5_000, any_transfer_result()).prop_map(|(after, result)| Op::NextTransfer(after, result)),
    ]
}

/// How a call may come to its end.
fn ending() -> impl Strategy<Value = Vec<Op>> {
    let end = prop_oneof![
        3 => Just(Op::RemoteHangup),
        1 => any_reason().prop_map(Op::Hangup),
        1 => (0_u32..8_000).prop_map(Op::Drain),
        3 => (0_u8..5).prop_map(Op::ScriptEnds),
        1 => Just(Op::Script(Ask::Hangup)),
        1 => Just(Op::Script(Ask::Reject)),
        1 => Just(Op::Wait(0)),
    ];
    (end, vec(op(), 0..12)).prop_map(|(end, after)| std::iter::once(end).chain(after).collect())
}

struct Play {
    rig: Rig,
    held: Vec<(Handle, HostCall)>,
    pending: Option<HostCall>,
    script_over: bool,
    outbound: bool,
    count: usize,
}

impl Play {
    fn new(setup: &Setup) -> Self {
        let mut rig = Rig::new(setup.clone());
        let outbound = setup.info.direction == Direction::Outbound;
        rig.text_ms = 700;
        rig.transfer = Some((800, TransferResult::Failed { status: 486, reason: "Busy".into() }));
        Self { rig, held: Vec::new(), pending: None, script_over: false, outbound, count: 0 }
    }

    /// Takes the answer, where there is one.
    fn listen_to_the_host(&mut self) {
        self.script_over |= self.rig.came(|output| *output == Output::StopScript) > 0;
        if self.script_over {
            self.pending = None;
            return;
        }
        if let Some(reply) = self.rig.reply() {
            let call = self.pending.take();
            if let (Some(call), Ok(HostReply::Handle(handle))) = (call, reply)
                && !self.held.iter().any(|(held, _)| *held == handle)
            {
                self.held.push((handle, call));
            }
        }
    }

    fn masked(&self) -> bool {
        let mask = self.rig.commands.iter().rev().find_map(|(_, command)| match command {
            LegCommand::Mask { on } => Some(*on),
            _ => None,
        });
        mask.unwrap_or(false)
    }

    fn pick(&self, index: usize, fits: impl Fn(&HostCall) -> bool) -> Option<Handle> {
        let fitting: Vec<Handle> = self.held.iter().filter(|(_, call)| fits(call)).map(|(handle, _)| *handle).collect();
        (!fitting.is_empty()).then(|| fitting[index % fitting.len()])
    }

    fn any_handle(&self, index: usize) -> Option<(Handle, HostCall)> {
        (!self.held.is_empty()).then(|| self.held[index % self.held.len()].clone())
    }

    fn says(&mut self, barge_in: BargeIn, queueing: Queueing) -> Prompt {
        self.count += 1;
        Prompt { queueing, ..prompt(&tagged(&format!("prompt {}", self.count), barge_in), barge_in) }
    }

    fn host_call(&mut self, ask: Ask) -> Option<HostCall> {
        let writer = |call: &HostCall| matches!(call, HostCall::OpenWriter { .. });
        Some(match ask {
            Ask::EarlyMedia => HostCall::EarlyMedia,
            Ask::Answer => HostCall::Answer,
            Ask::Ring => HostCall::Ring,
            Ask::Reject => HostCall::Reject { status: 603, reason: None },
            Ask::Hangup => HostCall::Hangup,
            Ask::Say(barge_in, queueing) => HostCall::Say { prompt: self.says(barge_in, queueing) },
            Ask::StartSay(barge_in, queueing) => HostCall::StartSay { prompt: self.says(barge_in, queueing) },
            Ask::Broken => HostCall::Say { prompt: prompt("broken", BargeIn::default()) },
            Ask::Question(barge_in, options) => {
                HostCall::Ask { prompt: self.says(barge_in, Queueing::Append), options }
            }
            Ask::Listen(options) => HostCall::Listen { options },
            Ask::StartListen(options) => HostCall::StartListen { options },
            Ask::Quiet => HostCall::AwaitQuiet,
            Ask::OpenWriter(barge_in) => HostCall::OpenWriter { barge_in },
            Ask::Write(index) => {
                let handle = self.pick(index, writer)?;
                let barge_in = self.held.iter().find_map(|(held, call)| match call {
                    HostCall::OpenWriter { barge_in } if *held == handle => Some(*barge_in),
                    _ => None,
                })?;
                HostCall::Write { handle, text: format!("{}. and ", tagged("written", barge_in)) }
            }
            Ask::Finish(index) => HostCall::FinishWriter { handle: self.pick(index, writer)? },
            Ask::Digits => HostCall::SendDigits { digits: "1,2#".into() },
            Ask::Transfer(bridged) => {
                HostCall::Transfer { target: "100".into(), options: if bridged { bridge() } else { refer() } }
            }
            Ask::StartTransfer(bridged) => {
                HostCall::StartTransfer { target: "100".into(), options: if bridged { bridge() } else { refer() } }
            }
            Ask::After(delay) => HostCall::After { delay },
            Ask::Sleep(delay) => HostCall::Sleep { delay },
            Ask::Select(indexes, timeout) => {
                let mut handles: Vec<Handle> =
                    indexes.into_iter().filter_map(|index| self.any_handle(index)).map(|(handle, _)| handle).collect();
                handles.push(Handle::EVENTS);
                HostCall::Select { handles, timeout }
            }
            Ask::Event(timeout) => HostCall::NextEvent { timeout },
            Ask::Fetch(early, start) => {
                let source = if early { "early" } else { "asked" }.to_owned();
                let parameters = Vec::new();
                if start { HostCall::StartFetch { source, parameters } } else { HostCall::Fetch { source, parameters } }
            }
            Ask::Await(index) => match self.any_handle(index)? {
                (handle, HostCall::StartSay { .. } | HostCall::OpenWriter { .. }) => HostCall::AwaitPlayback { handle },
                (handle, HostCall::StartListen { .. }) => HostCall::AwaitListening { handle },
                (handle, HostCall::StartTransfer { .. }) => HostCall::AwaitTransfer { handle },
                (handle, HostCall::StartFetch { .. }) => HostCall::AwaitFetch { handle },
                (handle, _) => HostCall::IsReady { handle },
            },
            Ask::Stop(index) => match self.any_handle(index)? {
                (handle, HostCall::StartSay { .. } | HostCall::OpenWriter { .. }) => HostCall::StopPlayback { handle },
                (handle, HostCall::StartListen { .. }) => HostCall::StopListening { handle },
                (handle, HostCall::StartTransfer { .. }) => HostCall::CancelTransfer { handle },
                (handle, _) => HostCall::IsReady { handle },
            },
            Ask::Partial(index) => {
                HostCall::NextPartial { handle: self.pick(index, |call| matches!(call, HostCall::StartListen { .. }))? }
            }
            Ask::Alternatives(index) => HostCall::Alternatives {
                handle: self.pick(index, |call| matches!(call, HostCall::StartListen { .. }))?,
            },
            Ask::Meaning(last, index) => {
                let listening = self.pick(index, |call| matches!(call, HostCall::StartListen { .. }));
                HostCall::Meaning { handle: listening.filter(|_| !last) }
            }
            Ask::Release(index) => {
                let (handle, _) = self.any_handle(index)?;
                self.held.retain(|(held, _)| *held != handle);
                HostCall::Release { handle }
            }
            Ask::Field => HostCall::SetField { name: "field".into(), value: "1".into() },
            Ask::Node => HostCall::EnterNode { name: "node".into() },
            Ask::Push => HostCall::Push { destination: "outcome".into(), body: "{}".into() },
            Ask::Log => HostCall::Log { level: callbox_dialogue::script::LogLevel::Info, message: "hello".into() },
            Ask::Random => HostCall::RandomNumber,
        })
    }

    fn script(&mut self, ask: Ask) {
        if self.script_over || self.pending.is_some() {
            return;
        }
        if let Some(call) = self.host_call(ask) {
            self.pending = Some(call.clone());
            self.rig.give(Input::Script(call));
        }
    }

    /// Outbound calls are answered after a second.
    fn far_end(&mut self) {
        if self.outbound && self.rig.now >= 1_000 {
            self.outbound = false;
            self.rig.leg(LegEvent::Ringing);
            self.rig.leg(LegEvent::Answered);
        }
    }

    /// So many words; four are a back-channel.
    fn words(&self, count: u8) -> String {
        match count {
            4 => BACK_CHANNEL.to_owned(),
            _ if self.masked() => SECRET_WORDS.to_owned(),
            _ => "word ".repeat(usize::from(count)).trim().to_owned(),
        }
    }

    fn hypotheses(&self, count: u8, length: u32) -> Vec<Utterance> {
        let text = self.words(count);
        if text.is_empty() { Vec::new() } else { vec![utterance(&text, 0, length)] }
    }

    fn happen(&mut self, op: Op) {
        self.far_end();
        match op {
            Op::Script(ask) => self.script(ask),
            Op::Press(index) => {
                let digit = if self.masked() {
                    SECRET_KEYS[index % SECRET_KEYS.len()]
                } else {
                    "0123456789*#".chars().nth(index).unwrap_or('0')
                };
                self.rig.leg(LegEvent::Digit { digit });
            }
            Op::SpeechStarted(ago) => self.rig.leg(LegEvent::SpeechStarted { ago }),
            Op::SpeechEnded(ago) => self.rig.leg(LegEvent::SpeechEnded { ago }),
            Op::Hears(count, length, after) => {
                self.rig.hears = Some(self.hypotheses(count, length));
                self.rig.final_ms = after;
            }
            Op::Partial(count) => {
                if let Some(recognition) = self.rig.recognition() {
                    let utterance = utterance(&self.words(count), 0, 100);
                    self.rig.leg(LegEvent::Partial { recognition, utterance });
                }
            }
            Op::Recognised(count, length) => {
                if let Some(recognition) = self.rig.recognition() {
                    let alternatives = self.hypotheses(count, length);
                    self.rig.recogniser_over(LegEvent::Recognised { recognition, alternatives });
                }
            }
            Op::RecogniserFails => {
                if let Some(recognition) = self.rig.recognition() {
                    let error = HostError::Unavailable("gone".into());
                    self.rig.recogniser_over(LegEvent::RecogniseFailed { recognition, error });
                }
            }
            Op::Wait(ms) => self.rig.wait(ms),
            Op::Fetched(good) => {
                let fetch = self.rig.outputs.iter().rev().find_map(|(_, output)| match output {
                    Output::Fetch { fetch, .. } => Some(*fetch),
                    _ => None,
                });
                if let Some(fetch) = fetch {
                    let result = if good { Ok("{}".to_owned()) } else { Err(HostError::Unavailable("down".into())) };
                    self.rig.give(Input::Fetched { fetch, result });
                }
            }
            Op::Message => self.rig.give(Input::Message("{}".into())),
            Op::Drain(within) => self.rig.give(Input::Drain { within }),
            Op::Hangup(reason) => self.rig.give(Input::Hangup { reason, why: "for a reason".into() }),
            Op::RemoteHangup => {
                self.rig.gone();
                let evidence = Evidence::default();
                self.rig.leg(LegEvent::Ended { cause: EndCause::RemoteHangup, evidence, reason: None });
            }
            Op::Leg { prepare_ms, stop_ms, text_ms, words } => {
                self.rig.prepare_ms = prepare_ms;
                self.rig.stop_ms = stop_ms;
                self.rig.text_ms = text_ms;
                self.rig.words = words;
            }
            Op::NextTransfer(after, result) => self.rig.transfer = Some((after, result)),
            Op::ScriptEnds(how) => self.script_ends(how),
        }
        self.listen_to_the_host();
    }

    fn script_ends(&mut self, how: u8) {
        if self.script_over {
            return;
        }
        let message = "a reason".to_owned();
        // A script returns and fails only while nothing is pending; it may be stopped at any time.
        let end = match how {
            0 if self.pending.is_none() => ScriptEnd::Returned,
            1 if self.pending.is_none() => ScriptEnd::Failed { message },
            2 => ScriptEnd::Budget { message },
            3 => ScriptEnd::NotStarted { message },
            _ => ScriptEnd::Trapped { message },
        };
        self.script_over = true;
        self.rig.give(Input::ScriptEnded(end));
    }

    /// Waits for the last answer, returns, and lets everything come to its end.
    fn play_out(&mut self) {
        for _ in 0..50 {
            self.rig.wait(1_000);
            self.far_end();
            self.listen_to_the_host();
        }
        while self.pending.is_some() && !self.script_over {
            self.rig.wait(60_000);
            self.listen_to_the_host();
            assert!(self.rig.now < 100_000_000, "pending for ever: {:?}", self.pending);
        }
        self.script_ends(0);
        self.rig.run_out();
    }
}

proptest! {
    #![proptest_config(cases(1_500))]

    /// Every rule holds in every order of events.
    #[test]
    fn every_rule_holds_in_every_order(
        setup in any_setup(),
        early in prop_oneof![3 => Just(None), 2 => any::<bool>().prop_map(Some)],
        life in vec(op(), 0..80),
        end in ending(),
    ) {
        let mut play = Play::new(&setup);
        if let Some(works) = early {
            play.rig.early = works;
            play.happen(Op::Script(Ask::EarlyMedia));
        }
        for op in life.into_iter().chain(end) {
            play.happen(op);
        }
        play.play_out();
        let reader = Reader::read(&play.rig.log)?;
        reader.at_the_end(play.rig.engine.record())?;
        is_deterministic(&setup, &play.rig.log)?;
    }
}
