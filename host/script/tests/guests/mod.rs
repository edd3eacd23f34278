//! Test guests, written as text and encoded as real components, and a session
//! that answers them.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses its own part of it, and may panic")]

use bytes::Bytes;
use callbox_dialogue::script::{Handle, Heard, LocalTime, Playout, PlayoutEnd, TransferOutcome};
use callbox_dialogue::{CallId, CallInfo, Direction, HostCall, HostReply, Party, Reply, Time, Transport};
use callbox_script::{
    Answered, Manifest, Script, ScriptConfig, ScriptHost, ScriptRun, Session, SourceDeclaration, package,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// Short name, interface, function, core type.
const IMPORTS: &[(&str, &str, &str, &str)] = &[
    ("$say", "voice", "say", "(param i32 i32 i32 i32)"),
    ("$start_say", "voice", "start-say", "(param i32 i32 i32 i32 i32)"),
    ("$playback_subscribe", "voice", "[method]playback.subscribe", "(param i32) (result i32)"),
    ("$playback_wait", "voice", "[method]playback.wait", "(param i32 i32)"),
    ("$playback_drop", "voice", "[resource-drop]playback", "(param i32)"),
    ("$writer_open", "voice", "[static]speech-writer.open", "(param i32 i32)"),
    ("$writer_write", "voice", "[method]speech-writer.write", "(param i32 i32 i32 i32)"),
    ("$writer_finish", "voice", "[static]speech-writer.finish", "(param i32 i32)"),
    ("$options_new", "voice", "[constructor]listen-options", "(result i32)"),
    ("$options_digits", "voice", "[method]listen-options.set-digits", "(param i32 i32 i32 i32 i32 i32)"),
    ("$options_sensitive", "voice", "[method]listen-options.set-sensitive", "(param i32 i32)"),
    ("$options_drop", "voice", "[resource-drop]listen-options", "(param i32)"),
    ("$listen", "voice", "listen", "(param i32 i32)"),
    ("$select", "wait", "select", "(param i32 i32 i32 i32 i32)"),
    ("$sleep", "wait", "sleep", "(param i32)"),
    ("$after", "wait", "after", "(param i32) (result i32)"),
    ("$pollable_block", "wait", "[method]pollable.block", "(param i32)"),
    ("$pollable_drop", "wait", "[resource-drop]pollable", "(param i32)"),
    ("$events", "events", "subscribe", "(result i32)"),
    ("$answer", "call", "answer", "(param i32)"),
    ("$info", "call", "get-info", "(param i32)"),
    ("$now", "clock", "now", "(result i64)"),
    ("$bytes", "random", "bytes", "(param i32 i32)"),
    ("$fetch", "context", "fetch", "(param i32 i32 i32 i32 i32)"),
    ("$set", "results", "set", "(param i32 i32 i32 i32 i32)"),
    ("$log", "log", "write", "(param i32 i32 i32)"),
];

/// A component whose `run` is the given body. It may call `$import`s of the list
/// above, and returns a pointer: 0 for `ok`, 16 for the error "Hello". At 256 is
/// a prompt of one text, "Hello"; results may be written from 1024 on.
pub fn guest(run: &str, more: &str) -> Bytes {
    packed(&encode(&module(run, more)), &Manifest { name: "test".into(), ..Manifest::default() })
}

/// The core module of [`guest`].
pub fn module(run: &str, more: &str) -> String {
    let used = |short: &str| {
        let calls = format!("{run}{more}");
        calls.match_indices(short).any(|(i, _)| {
            let next = calls[i + short.len()..].chars().next();
            !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let imports: String = IMPORTS
        .iter()
        .filter(|(short, ..)| used(short))
        .map(|(short, interface, name, ty)| {
            format!("(import \"callbox:dialogue/{interface}@0.1.0\" \"{name}\" (func {short} {ty}))\n")
        })
        .collect();
    format!(
        r#"(module
        {imports}
        (memory (export "memory") 1)
        (global $heap (mut i32) (i32.const 32768))
        (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.get $heap)
            (global.set $heap (i32.add (global.get $heap) (local.get 3))))
        (data (i32.const 16) "\01\00\00\00\40\00\00\00\05\00\00\00")
        (data (i32.const 64) "Hello")
        (data (i32.const 256) "\00\00\00\00\40\00\00\00\05\00\00\00")
        {more}
        (func $run (export "callbox:dialogue/script@0.1.0#run") (result i32)
            {run}))"#
    )
}

/// The component of a core module in text.
pub fn encode(wat: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/dialogue.wit");
    let package = resolve.push_file(wit).unwrap();
    let world = resolve.select_world(&[package], Some("dialogue")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// With a manifest and one asset.
pub fn packed(component: &[u8], manifest: &Manifest) -> Bytes {
    let assets = BTreeMap::from([("hello.wav".to_owned(), b"RIFF\x04\0\0\0WAVE".to_vec())]);
    package::embed(component, manifest, &assets).unwrap().into()
}

/// A manifest with a bit of everything.
pub fn manifest() -> Manifest {
    let source = SourceDeclaration { prefetch: true, description: None };
    Manifest { name: "test".into(), sources: BTreeMap::from([("crm".into(), source)]), ..Manifest::default() }
}

/// Says hello and returns.
pub const HELLO: &str = "(call $say (i32.const 256) (i32.const 1) (i32.const 2) (i32.const 1024)) (i32.const 0)";

/// A host with a cache of its own.
pub struct TestHost {
    pub host: ScriptHost,
    pub folder: TempDir,
}

pub fn config(folder: &TempDir) -> ScriptConfig {
    let mut config = ScriptConfig::new(folder.path(), env!("CARGO_BIN_EXE_callbox-compile-worker"));
    config.max_instances = 300;
    config
}

pub fn start(change: impl FnOnce(&mut ScriptConfig)) -> TestHost {
    let folder = TempDir::new().unwrap();
    let mut config = config(&folder);
    change(&mut config);
    TestHost { host: ScriptHost::start(config).unwrap(), folder }
}

impl TestHost {
    /// Admits and loads.
    pub async fn script(&self, wasm: &Bytes) -> Arc<Script> {
        let admission = self.host.admit(wasm.clone()).await.unwrap();
        let wasm = wasm.clone();
        self.host.load(&admission.digest, || async move { Ok(wasm) }).await.unwrap()
    }

    /// Runs a guest to its end.
    pub async fn run(&self, wasm: &Bytes, session: Sim) -> ScriptRun {
        let script = self.script(wasm).await;
        self.host.run(script, CallId("call_1".into()), session, true).await
    }
}

/// Answers everything, in virtual time.
#[derive(Default)]
pub struct Sim {
    /// What was asked.
    pub calls: Arc<Mutex<Vec<HostCall>>>,
    /// Milliseconds since the call began.
    pub now: u64,
    /// Milliseconds that pass with each call.
    pub step: u64,
    /// Whether the call gives way to others before it answers.
    pub yields: bool,
    /// Answers before the usual ones.
    pub special: Option<fn(&HostCall) -> Option<Reply>>,
    /// What the caller gives is secret.
    pub sensitive: bool,
    pub handles: u32,
}

impl Session for Sim {
    async fn call(&mut self, call: HostCall) -> Answered {
        if self.yields {
            tokio::task::yield_now().await;
        }
        self.now += self.step;
        let special = self.special.and_then(|special| special(&call));
        let reply = special.unwrap_or_else(|| Ok(self.usual(&call)));
        self.calls.lock().unwrap().push(call);
        Answered { reply, sensitive: self.sensitive, at: Time(self.now) }
    }
}

impl Sim {
    fn usual(&mut self, call: &HostCall) -> HostReply {
        let playout = Playout { end: PlayoutEnd::Finished, played: 400, heard_text: "Hello".into() };
        match call {
            HostCall::GetInfo => HostReply::Info(Box::new(info())),
            HostCall::StartSay { .. }
            | HostCall::OpenWriter { .. }
            | HostCall::StartListen { .. }
            | HostCall::StartTransfer { .. }
            | HostCall::StartFetch { .. }
            | HostCall::After { .. } => {
                self.handles += 1;
                HostReply::Handle(Handle(self.handles))
            }
            HostCall::FinishWriter { handle } => HostReply::Handle(*handle),
            HostCall::Say { .. } | HostCall::AwaitPlayback { .. } | HostCall::StopPlayback { .. } => {
                HostReply::Playout(playout)
            }
            HostCall::Write { .. } => HostReply::MaybePlayout(None),
            HostCall::Listen { .. } | HostCall::AwaitListening { .. } | HostCall::StopListening { .. } => {
                HostReply::Heard(Heard::Digits("4711".into()))
            }
            HostCall::Ask { .. } => HostReply::Answer { heard: Heard::Digits("4711".into()), prompt: playout },
            HostCall::Select { handles, .. } => HostReply::Ready((0..handles.len() as u32).collect()),
            HostCall::IsReady { .. } | HostCall::EnableEvent { .. } => HostReply::Flag(true),
            HostCall::NextEvent { .. } => HostReply::MaybeEvent(None),
            HostCall::NextPartial { .. } => HostReply::MaybeUtterance(None),
            HostCall::Alternatives { .. } => HostReply::Utterances(Vec::new()),
            HostCall::AwaitTransfer { .. } | HostCall::Transfer { .. } => {
                HostReply::Transfer(TransferOutcome::Connected)
            }
            HostCall::Now | HostCall::Elapsed => HostReply::Number(self.now),
            HostCall::RandomNumber => HostReply::Number(4),
            HostCall::RandomBytes { count } => HostReply::Bytes(vec![4; *count as usize]),
            HostCall::LocalTime { .. } => HostReply::LocalTime(LocalTime {
                year: 2026,
                month: 11,
                day: 21,
                weekday: 6,
                hour: 9,
                minute: 5,
                second: 0,
                utc_offset: 60,
            }),
            HostCall::Fetch { .. } | HostCall::AwaitFetch { .. } => HostReply::Json("{}".into()),
            HostCall::Push { .. } => HostReply::Text("push_1".into()),
            HostCall::GetSetting { .. } => HostReply::MaybeText(None),
            _ => HostReply::Done,
        }
    }
}

pub fn info() -> CallInfo {
    CallInfo {
        id: CallId("call_1".into()),
        direction: Direction::Inbound,
        transport: Transport::Simulated,
        caller: Party { uri: "sip:a@example.org".into(), ..Party::default() },
        callee: Party { uri: "sip:b@example.org".into(), ..Party::default() },
        language: "en".into(),
        headers: vec![("x-customer-id".into(), "7".into())],
        parameters: None,
    }
}
