//! What the author of a real script is told when it traps: the panic's message, the functions and their lines, in
//! code of both compilers, fresh and out of the cache.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use callbox_dialogue::script::{LogLevel, Playout, PlayoutEnd};
use callbox_dialogue::{CallId, HostCall, HostReply, ScriptEnd, Time};
use callbox_script::{Answered, Optimisation, ScriptConfig, ScriptHost, Session, Tier};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// A script that fails deep inside, by an ordinary mistake. Line numbers matter: see the test.
const CODE: &str = r#"use callbox_guest::{Result, call, say, settings};

callbox_guest::script!(run);

fn run() -> Result<()> {
    call::answer()?;
    say("Hello.")?;
    let keys = [7, 8, 9];
    let chosen = pick(&keys, "three");
    say(format!("{chosen}"))?;
    Ok(())
}

#[inline(never)]
fn pick(keys: &[u32], word: &str) -> u32 {
    let index = if settings::get("x").is_some() { 0 } else { count(word) };
    keys[index]
}

#[inline(never)]
fn count(word: &str) -> usize {
    word.parse().expect("the word is a number")
}
"#;

/// Answers as a call on which everything goes well; keeps the log.
struct Easy(Arc<Mutex<Vec<(LogLevel, String)>>>);

impl Session for Easy {
    async fn call(&mut self, call: HostCall) -> Answered {
        let reply = match call {
            HostCall::Say { .. } => {
                HostReply::Playout(Playout { end: PlayoutEnd::Finished, played: 500, heard_text: "Hello.".into() })
            }
            HostCall::GetSetting { .. } => HostReply::MaybeText(None),
            HostCall::Log { level, message } => {
                self.0.lock().unwrap().push((level, message));
                HostReply::Done
            }
            _ => HostReply::Done,
        };
        Answered::plain(Time(1), Ok(reply))
    }
}

fn callbox(folder: &Path, arguments: &[&str]) -> String {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/build");
    let mut command = Command::new(env!("CARGO_BIN_EXE_callbox"));
    command.args(arguments).current_dir(folder).env("CALLBOX_SCRIPT_TARGET_DIR", target).env("NO_COLOR", "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// The project, built plainly and with lines.
fn built(folder: &Path) -> [PathBuf; 2] {
    callbox(folder, &["script", "new", "clumsy"]);
    let project = folder.join("clumsy");
    std::fs::write(project.join("src/lib.rs"), CODE).unwrap();
    let plain = callbox(&project, &["script", "build"]);
    let lines = callbox(&project, &["script", "build", "--debug"]);
    [plain.into(), lines.into()]
}

struct Trapped {
    tier: Tier,
    message: String,
    log: Vec<(LogLevel, String)>,
}

async fn trapped(host: &ScriptHost, wasm: &Bytes, tier: Tier) -> Trapped {
    let digest = host.admit(wasm.clone()).await.unwrap().digest;
    let script = host.load(&digest, || async { Ok(wasm.clone()) }).await.unwrap();
    if tier == Tier::Cranelift {
        assert_eq!(script.optimised().await, Optimisation::Done);
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let tier = script.tier();
    let run = host.run(script, CallId("call_1".into()), Easy(log.clone()), false).await;
    let ScriptEnd::Trapped { message } = run.end else { panic!("a trap was expected: {:?}", run.end) };
    let log = std::mem::take(&mut *log.lock().unwrap());
    Trapped { tier, message, log }
}

fn host(cache: &Path) -> ScriptHost {
    let mut config = ScriptConfig::new(cache, PathBuf::from(env!("CARGO_BIN_EXE_callbox")));
    config.max_instances = 2;
    ScriptHost::start(config).unwrap()
}

const WHY: &str = "panicked at src/lib.rs:22:18: the word is a number: ParseIntError { kind: InvalidDigit }";
const NAMES: &str = "in `clumsy::count` ← `clumsy::pick` ← `callbox:dialogue/script@0.1.0#run`";
const LINES: &str = "in `clumsy::count` (src/lib.rs:22) ← `clumsy::pick` (src/lib.rs:16) ← `run` (src/lib.rs:9) ← \
                     `callbox:dialogue/script@0.1.0#run` (src/lib.rs:3)";

#[tokio::test]
async fn a_panic_is_told_with_its_message_the_functions_and_their_lines() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, lines] = built(folder.path()).map(|path| Bytes::from(std::fs::read(path).unwrap()));
    // Whoever pushes pays for lines only when asked for.
    assert!(plain.len() < 60_000 && plain.len() < lines.len(), "{} and {} bytes", plain.len(), lines.len());
    let cache = folder.path().join("cache");
    for tier in [Tier::Winch, Tier::Cranelift] {
        // A host of its own each time: the second round finds what the first compiled.
        for (wasm, place) in [(&plain, NAMES), (&lines, LINES)] {
            let trapped = trapped(&host(&cache), wasm, tier).await;
            assert!(trapped.tier >= tier, "the first round may find optimised code already");
            assert_eq!(trapped.message, format!("it {WHY}, {place}, after settings.get (host call 3)"), "{tier}");
            assert_eq!(trapped.log, [(LogLevel::Error, WHY.to_owned())], "the log has it too");
        }
    }
}
