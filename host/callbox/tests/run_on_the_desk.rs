//! `callbox script run` with a real caller: before a change, after it, and when the change does not build.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// What a build, and a call, may take on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(300);

fn code(name: &str) -> String {
    format!(
        r#"use callbox_guest::{{Result, call, events, results, say}};

callbox_guest::script!(run);

fn run() -> Result<()> {{
    call::answer()?;
    say("This is {name}.")?;
    while !matches!(events::next(None), Some(events::Event::Ended(_))) {{}}
    results::disposition("{name}")?;
    Ok(())
}}
"#
    )
}

fn callbox(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_callbox"))
        .args(arguments)
        .current_dir(folder)
        .env("CALLBOX_SCRIPT_TARGET_DIR", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/build"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A process that is ended with the test, and its lines.
struct Watched {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Watched {
    fn new(mut child: Child) -> Self {
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines, seen: Vec::new() }
    }

    /// The next line with this in it.
    fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{part:?} does not come: {error}; {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn interrupt(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_change_answers_the_next_call_and_a_call_that_runs_finishes_as_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let made = callbox(folder.path(), &["script", "new", "desk"]).wait_with_output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let project = folder.path().join("desk");
    let source = project.join("src/lib.rs");
    std::fs::write(&source, code("one")).unwrap();

    let mut run = Watched::new(callbox(&project, &["script", "run", "--sip", "127.0.0.1:0"]));
    let ready = run.line("ready: call sip:");
    let address = ready.split("sip:1000@").nth(1).unwrap().split(' ').next().unwrap();
    // Any number does.
    let call = |number: &str, more: &[&str]| {
        let target = format!("sip:{number}@{address}");
        Watched::new(callbox(folder.path(), &[&["call", target.as_str()], more].concat()))
    };

    let held = call("4711", &[]);
    run.line("call 1 from");
    run.line("robot     This is one.");

    std::fs::write(&source, code("two")).unwrap();
    run.line("version 2 answers from now on");
    let _short = call("+4930123456", &["--hangup-after", "2000"]);
    assert!(run.line("call 2 from").ends_with("version 2"));
    run.line("robot     This is two.");
    assert!(run.line("call 2 is over").contains("disposition two"));

    held.interrupt();
    let over = run.line("call 1 is over");
    assert!(over.contains("disposition one"), "{over}");

    std::fs::write(&source, "this is no Rust").unwrap();
    run.line("the version before goes on answering");
    let _last = call("1", &["--hangup-after", "1000"]);
    assert!(run.line("call 3 from").ends_with("version 2"));
    assert!(run.line("call 3 is over").contains("disposition two"));

    run.interrupt();
    assert!(run.child.wait().unwrap().success());
}
