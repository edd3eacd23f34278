//! What the benchmarks call; `README.md` lists the modes.

use callbox_guest::{BargeIn, Prompt, Result, call, clock, results, say, voice};

callbox_guest::script!(run);

fn run() -> Result<()> {
    match call::info().header("x-bench-mode") {
        Some("talk") => talk(),
        Some("keys") => keys(),
        Some("now") => loop {
            let _ = clock::now_ms();
        },
        Some("set") => loop {
            results::set("field", "thirty-two bytes of plain text..")?;
        },
        _ => say("Hello.").map(drop),
    }
}

/// Sentences of about four seconds, each a clip of the voice's cache.
fn talk() -> Result<()> {
    for _ in 0..20 {
        say("This is a long announcement that goes on and on, so that there is something to hear all the time.")?;
    }
    Ok(())
}

fn keys() -> Result<()> {
    let loud = (1..40).fold(voice::asset("loud.wav"), |prompt: Prompt, _| prompt.asset("loud.wav"));
    say(loud.barge_in(BargeIn::Digits))?;
    say(voice::asset("quiet.wav"))?;
    Ok(())
}
