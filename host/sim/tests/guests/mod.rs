//! Scripts for tests: written step by step, encoded as real components, and a stage for them.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses its own part of it, and may panic")]

use bytes::Bytes;
use callbox_script::{Manifest, package};
use callbox_sim::{Stage, StageOptions, Theatre};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// Short name, interface, function, core type.
const IMPORTS: &[(&str, &str, &str, &str)] = &[
    ("$say", "voice", "say", "(param i32 i32 i32 i32)"),
    ("$start_say", "voice", "start-say", "(param i32 i32 i32 i32 i32)"),
    ("$wait_until_quiet", "voice", "wait-until-quiet", "(param i32)"),
    ("$set_default", "voice", "set-default", "(param i32 i32 i32 i32 i32)"),
    ("$ask", "voice", "ask", "(param i32 i32 i32 i32 i32)"),
    ("$listen", "voice", "listen", "(param i32 i32)"),
    ("$start_listen", "voice", "start-listen", "(param i32 i32)"),
    ("$options", "voice", "[constructor]listen-options", "(result i32)"),
    ("$options_drop", "voice", "[resource-drop]listen-options", "(param i32)"),
    ("$set_digits", "voice", "[method]listen-options.set-digits", "(param i32 i32 i32 i32 i32 i32)"),
    ("$digits_only", "voice", "[method]listen-options.set-digits-only", "(param i32)"),
    ("$type_ahead", "voice", "[method]listen-options.set-type-ahead", "(param i32 i32)"),
    ("$sensitive", "voice", "[method]listen-options.set-sensitive", "(param i32 i32)"),
    ("$interruption", "voice", "[method]listen-options.set-interruption", "(param i32 i32 i32)"),
    ("$start_timeout", "voice", "[method]listen-options.set-start-timeout", "(param i32 i32)"),
    ("$end_silence", "voice", "[method]listen-options.set-end-silence", "(param i32 i32)"),
    ("$max_length", "voice", "[method]listen-options.set-max-length", "(param i32 i32)"),
    ("$partials", "voice", "[method]listen-options.set-partials", "(param i32 i32)"),
    ("$grammar", "voice", "[method]listen-options.set-grammar", "(param i32 i32 i32)"),
    ("$complete_silence", "voice", "[method]listen-options.set-complete-silence", "(param i32 i32)"),
    ("$resume_after", "voice", "[method]listen-options.set-resume-after", "(param i32 i32)"),
    ("$meaning", "voice", "meaning", "(param i32)"),
    ("$writer_open", "voice", "[static]speech-writer.open", "(param i32 i32)"),
    ("$writer_write", "voice", "[method]speech-writer.write", "(param i32 i32 i32 i32)"),
    ("$writer_finish", "voice", "[static]speech-writer.finish", "(param i32 i32)"),
    ("$playback_wait", "voice", "[method]playback.wait", "(param i32 i32)"),
    ("$playback_drop", "voice", "[resource-drop]playback", "(param i32)"),
    ("$sleep", "wait", "sleep", "(param i32)"),
    ("$next_event", "events", "next", "(param i32 i32 i32)"),
    ("$info", "call", "get-info", "(param i32)"),
    ("$answer", "call", "answer", "(param i32)"),
    ("$early_media", "call", "early-media", "(param i32)"),
    ("$reject", "call", "reject", "(param i32 i32 i32 i32 i32)"),
    ("$hangup", "call", "hangup", "(param i32)"),
    ("$send_digits", "call", "send-digits", "(param i32 i32 i32)"),
    ("$transfer_options", "call", "[constructor]transfer-options", "(param i32) (result i32)"),
    ("$ring_timeout", "call", "[method]transfer-options.set-ring-timeout", "(param i32 i32)"),
    ("$transfer", "call", "transfer", "(param i32 i32 i32 i32)"),
    ("$transfer_options_drop", "call", "[resource-drop]transfer-options", "(param i32)"),
    ("$now", "clock", "now", "(result i64)"),
    ("$random", "random", "number", "(result i64)"),
    ("$fetch", "context", "fetch", "(param i32 i32 i32 i32 i32)"),
    ("$push", "results", "push", "(param i32 i32 i32 i32 i32)"),
    ("$disposition", "results", "set-disposition", "(param i32 i32 i32)"),
    ("$enter_node", "results", "enter-node", "(param i32 i32 i32)"),
    ("$log", "log", "write", "(param i32 i32 i32)"),
];

/// Where results are written, where texts begin, and where what the host hands over begins.
const RESULT: u32 = 1024;
const TEXTS: u32 = 4096;
const HEAP: u32 = 40_960;

/// What may cut off a prompt.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    Nothing = 0,
    Speech = 1,
    Digits = 2,
    Both = 3,
}

/// How to listen: by default for speech alone, as the host has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listen {
    /// Fewest and most keys.
    pub digits: Option<(u8, u8)>,
    pub terminator: Option<char>,
    pub digits_only: bool,
    pub type_ahead: bool,
    pub sensitive: bool,
    pub min_speech: Option<u32>,
    pub min_words: u8,
    pub start_timeout: Option<u32>,
    pub max_length: Option<u32>,
    pub partials: bool,
    /// JSON.
    pub grammar: Option<&'static str>,
    pub complete_silence: Option<u32>,
    pub resume_after: Option<u32>,
}

/// Listens for speech.
pub const SPEECH: Listen = Listen {
    digits: None,
    terminator: None,
    digits_only: false,
    type_ahead: false,
    sensitive: false,
    min_speech: None,
    min_words: 0,
    start_timeout: None,
    max_length: None,
    partials: false,
    grammar: None,
    complete_silence: None,
    resume_after: None,
};
/// Listens for one key and speech.
pub const BOTH: Listen = Listen { digits: Some((1, 1)), ..SPEECH };
/// Listens for one key.
pub const KEY: Listen = Listen { digits_only: true, ..BOTH };

/// A script under construction.
#[derive(Default)]
pub struct Script {
    code: String,
    data: Vec<u8>,
    locals: u32,
    manifest: Manifest,
    assets: BTreeMap<String, Vec<u8>>,
}

/// A script of these steps.
pub fn script(steps: impl FnOnce(&mut Script)) -> Bytes {
    let mut script = Script { manifest: Manifest { name: "test".into(), ..Manifest::default() }, ..Script::default() };
    steps(&mut script);
    script.component()
}

impl Script {
    pub fn manifest(&mut self, change: impl FnOnce(&mut Manifest)) -> &mut Self {
        change(&mut self.manifest);
        self
    }

    pub fn with_asset(&mut self, path: &str, file: Vec<u8>) -> &mut Self {
        self.assets.insert(path.into(), file);
        self
    }

    pub fn source(&mut self, name: &str, prefetch: bool) -> &mut Self {
        let source = callbox_script::SourceDeclaration { prefetch, description: None };
        self.manifest.sources.insert(name.into(), source);
        self
    }

    pub fn say(&mut self, text: &str, cut: Cut) -> &mut Self {
        let (at, count) = self.segments(&[("text", text)]);
        self.call(&format!("(call $say (i32.const {at}) (i32.const {count}) (i32.const {}) {R})", cut as u8))
    }

    /// Segments of `text`, `ssml`, `asset`, `silence` (milliseconds).
    pub fn say_all(&mut self, segments: &[(&str, &str)], cut: Cut) -> &mut Self {
        let (at, count) = self.segments(segments);
        self.call(&format!("(call $say (i32.const {at}) (i32.const {count}) (i32.const {}) {R})", cut as u8))
    }

    pub fn start_say(&mut self, text: &str, cut: Cut, replace: bool) -> &mut Self {
        let (at, count) = self.segments(&[("text", text)]);
        let (cut, replace) = (cut as u8, u8::from(replace));
        self.call(&format!(
            "(call $start_say (i32.const {at}) (i32.const {count}) (i32.const {cut}) (i32.const {replace}) {R})"
        ))
    }

    pub fn wait_until_quiet(&mut self) -> &mut Self {
        self.call(&format!("(call $wait_until_quiet {R})"))
    }

    pub fn rate(&mut self, words: u16) -> &mut Self {
        let (name, value) = (self.text("rate"), self.text(&words.to_string()));
        self.call(&format!("(call $set_default {name} {value} {R})"))
    }

    pub fn ask(&mut self, text: &str, cut: Cut, listen: Listen) -> &mut Self {
        let (at, count) = self.segments(&[("text", text)]);
        let options = self.options(listen);
        self.call(&format!(
            "(call $ask (i32.const {at}) (i32.const {count}) (i32.const {}) (local.get {options}) {R})",
            cut as u8
        ));
        self.call(&format!("(call $options_drop (local.get {options}))"))
    }

    pub fn listen(&mut self, listen: Listen) -> &mut Self {
        let options = self.options(listen);
        self.call(&format!("(call $listen (local.get {options}) {R})"));
        self.call(&format!("(call $options_drop (local.get {options}))"))
    }

    /// Keeps the listening until the script ends.
    pub fn start_listen(&mut self, listen: Listen) -> &mut Self {
        let options = self.options(listen);
        self.call(&format!("(call $start_listen (local.get {options}) {R})"));
        self.call(&format!("(call $options_drop (local.get {options}))"))
    }

    fn options(&mut self, listen: Listen) -> u32 {
        let options = self.local();
        self.call(&format!("(local.set {options} (call $options))"));
        let own = format!("(local.get {options})");
        if let Some((min, max)) = listen.digits {
            let (some, key) = listen.terminator.map_or((0, 0), |key| (1, key as u32));
            self.call(&format!(
                "(call $set_digits {own} (i32.const {min}) (i32.const {max}) (i32.const {some}) (i32.const {key}) (i32.const 3000))"
            ));
        }
        if listen.digits_only {
            self.call(&format!("(call $digits_only {own})"));
        }
        for (name, on) in
            [("type_ahead", listen.type_ahead), ("sensitive", listen.sensitive), ("partials", listen.partials)]
        {
            if on {
                self.call(&format!("(call ${name} {own} (i32.const 1))"));
            }
        }
        if listen.min_speech.is_some() || listen.min_words > 0 {
            let (speech, words) = (listen.min_speech.unwrap_or(200), listen.min_words);
            self.call(&format!("(call $interruption {own} (i32.const {speech}) (i32.const {words}))"));
        }
        if let Some(grammar) = listen.grammar {
            let grammar = self.text(grammar);
            self.call(&format!("(call $grammar {own} {grammar})"));
        }
        for (name, ms) in [
            ("start_timeout", listen.start_timeout),
            ("max_length", listen.max_length),
            ("complete_silence", listen.complete_silence),
            ("resume_after", listen.resume_after),
        ] {
            if let Some(ms) = ms {
                self.call(&format!("(call ${name} {own} (i32.const {ms}))"));
            }
        }
        options
    }

    /// Writes text piece by piece, with pauses in between.
    pub fn write(&mut self, pieces: &[&str], pause: u32, cut: Cut) -> &mut Self {
        let writer = self.local();
        self.call(&format!("(call $writer_open (i32.const {}) {R})", cut as u8));
        self.call(&format!("(local.set {writer} (i32.load (i32.const 1028)))"));
        for piece in pieces {
            let text = self.text(piece);
            self.call(&format!("(call $writer_write (local.get {writer}) {text} {R})"));
            self.sleep(pause);
        }
        self.call(&format!("(call $writer_finish (local.get {writer}) {R})"));
        self.call(&format!("(local.set {writer} (i32.load (i32.const 1028)))"));
        self.call(&format!("(call $playback_wait (local.get {writer}) {R})"));
        self.call(&format!("(call $playback_drop (local.get {writer}))"))
    }

    pub fn sleep(&mut self, ms: u32) -> &mut Self {
        self.call(&format!("(call $sleep (i32.const {ms}))"))
    }

    pub fn next_event(&mut self, timeout: Option<u32>) -> &mut Self {
        let (some, ms) = timeout.map_or((0, 0), |ms| (1, ms));
        self.call(&format!("(call $next_event (i32.const {some}) (i32.const {ms}) {R})"))
    }

    /// `answer`, `early_media`, `hangup`.
    pub fn on_call(&mut self, what: &str) -> &mut Self {
        self.call(&format!("(call ${what} {R})"))
    }

    pub fn reject(&mut self, status: u16) -> &mut Self {
        self.call(&format!("(call $reject (i32.const {status}) (i32.const 0) (i32.const 0) (i32.const 0) {R})"))
    }

    pub fn transfer(&mut self, target: &str, bridge: bool, ring_timeout: u32) -> &mut Self {
        let (options, target) = (self.local(), self.text(target));
        let mode = u8::from(bridge);
        self.call(&format!("(local.set {options} (call $transfer_options (i32.const {mode})))"));
        self.call(&format!("(call $ring_timeout (local.get {options}) (i32.const {ring_timeout}))"));
        self.call(&format!("(call $transfer {target} (local.get {options}) {R})"));
        self.call(&format!("(call $transfer_options_drop (local.get {options}))"))
    }

    pub fn fetch(&mut self, source: &str) -> &mut Self {
        let source = self.text(source);
        self.call(&format!("(call $fetch {source} (i32.const 0) (i32.const 0) {R})"))
    }

    pub fn push(&mut self, destination: &str, body: &str) -> &mut Self {
        let (destination, body) = (self.text(destination), self.text(body));
        self.call(&format!("(call $push {destination} {body} {R})"))
    }

    /// A function of one text: `disposition`, `enter_node`, `send_digits`.
    pub fn with(&mut self, what: &str, text: &str) -> &mut Self {
        let text = self.text(text);
        self.call(&format!("(call ${what} {text} {R})"))
    }

    pub fn node(&mut self, name: &str) -> &mut Self {
        self.with("enter_node", name)
    }

    pub fn log(&mut self, text: &str) -> &mut Self {
        let text = self.text(text);
        self.call(&format!("(call $log (i32.const 1) {text})"))
    }

    /// What the last answer means.
    pub fn meaning(&mut self) -> &mut Self {
        self.call(&format!("(call $meaning {R})"))
    }

    pub fn random(&mut self) -> &mut Self {
        self.call("(drop (call $random))")
    }

    pub fn now(&mut self) -> &mut Self {
        self.call("(drop (call $now))")
    }

    /// Any code; traps by `(unreachable)`.
    pub fn code(&mut self, code: &str) -> &mut Self {
        self.call(code)
    }

    /// These steps for ever.
    pub fn forever(&mut self, steps: impl FnOnce(&mut Self)) -> &mut Self {
        self.code.push_str("(loop\n");
        steps(self);
        self.code.push_str("(br 0))\n");
        self
    }

    /// These steps where the last `ask` heard this key first.
    pub fn on_key(&mut self, key: char, steps: impl FnOnce(&mut Self)) -> &mut Self {
        self.heard(1, "(i32.load8_u (i32.load (i32.const 1032)))", key as u32, steps)
    }

    /// These steps where the last `ask` heard these keys, as a number of its length.
    pub fn heard_number(&mut self, number: u64, steps: impl FnOnce(&mut Self)) -> &mut Self {
        let keys = number.to_string();
        let same: String = keys.bytes().enumerate().fold("(i32.const 1)".into(), |same, (at, key)| {
            format!("(i32.and {same} (i32.eq (i32.load8_u offset={at} (i32.load (i32.const 1032))) (i32.const {key})))")
        });
        self.heard(1, &same, 1, steps)
    }

    /// These steps where the last `ask` heard speech of so many bytes.
    pub fn on_speech(&mut self, bytes: usize, steps: impl FnOnce(&mut Self)) -> &mut Self {
        self.heard(0, "(i32.load (i32.const 1036))", u32::try_from(bytes).unwrap(), steps)
    }

    fn heard(&mut self, kind: u8, value: &str, wanted: u32, steps: impl FnOnce(&mut Self)) -> &mut Self {
        // Both at once: what `value` reads of another kind stays within the memory.
        let _ = writeln!(
            self.code,
            "(if (i32.and (i32.eqz (i32.load8_u (i32.const 1024))) (i32.eq (i32.load8_u (i32.const 1028)) (i32.const {kind}))) (then
             (if (i32.eq {value} (i32.const {wanted})) (then"
        );
        steps(self);
        // Whoever looks next sees nothing that was heard.
        self.code.push_str("(i32.store8 (i32.const 1024) (i32.const 9))))))\n");
        self
    }

    fn local(&mut self) -> u32 {
        self.locals += 1;
        self.locals - 1
    }

    fn call(&mut self, code: &str) -> &mut Self {
        // What the host hands over is read before the next call.
        let _ = writeln!(self.code, "(global.set $heap (i32.const {HEAP})) {code}");
        self
    }

    /// A text as two operands.
    fn text(&mut self, text: &str) -> String {
        let at = TEXTS as usize + self.data.len();
        self.data.extend(text.bytes());
        format!("(i32.const {at}) (i32.const {})", text.len())
    }

    fn segments(&mut self, segments: &[(&str, &str)]) -> (usize, usize) {
        let mut list = Vec::new();
        for (kind, text) in segments {
            let (tag, at, len) = match *kind {
                "silence" => (3_u32, text.parse().unwrap(), 0),
                kind => {
                    let at = TEXTS as usize + self.data.len();
                    self.data.extend(text.bytes());
                    let tag = ["text", "ssml", "asset"].iter().position(|known| *known == kind).unwrap();
                    (u32::try_from(tag).unwrap(), u32::try_from(at).unwrap(), u32::try_from(text.len()).unwrap())
                }
            };
            for word in [tag, at, len] {
                list.extend(word.to_le_bytes());
            }
        }
        self.data.resize(self.data.len().next_multiple_of(4), 0);
        let at = TEXTS as usize + self.data.len();
        self.data.extend(list);
        (at, segments.len())
    }

    fn component(self) -> Bytes {
        assert!(TEXTS as usize + self.data.len() < HEAP as usize, "too much text");
        let used = |short: &str| {
            self.code.match_indices(short).any(|(i, _)| {
                let next = self.code[i + short.len()..].chars().next();
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
        let data: String = self.data.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\{byte:02x}");
            text
        });
        let locals = "(local i32)".repeat(self.locals as usize);
        let code = &self.code;
        let module = format!(
            r#"(module
            {imports}
            (memory (export "memory") 2)
            (global $heap (mut i32) (i32.const {HEAP}))
            (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
                (global.get $heap)
                (global.set $heap (i32.add (global.get $heap) (local.get 3))))
            (data (i32.const {TEXTS}) "{data}")
            (func $run (export "callbox:dialogue/script@0.1.0#run") (result i32) {locals}
                {code}
                (i32.const 0)))"#
        );
        let component = encode(&module);
        package::embed(&component, &self.manifest, &self.assets).unwrap().into()
    }
}

const R: &str = "(i32.const 1024)";

/// The component of a core module in text.
fn encode(wat: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    let mut resolve = wit_parser::Resolve::default();
    let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit/dialogue.wit");
    let package = resolve.push_file(wit).unwrap();
    let world = resolve.select_world(&[package], Some("dialogue")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// How stages are made in tests: one cache for all of them, so that nothing is compiled twice.
pub fn options() -> StageOptions {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    StageOptions::new(cache, env!("CARGO_BIN_EXE_callbox-sim-compile-worker"))
}

/// A stage with this script.
pub async fn stage(steps: impl FnOnce(&mut Script)) -> Stage {
    Theatre::open(&options()).unwrap().stage(script(steps)).await.unwrap()
}

/// 8 kHz, 16 bits, mono.
pub fn wav(ms: u32) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    file.extend((ms * 16).to_le_bytes());
    file.resize(file.len() + ms as usize * 16, 0);
    file
}
