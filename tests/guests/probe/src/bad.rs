//! Modes that misbehave. Each says a word first, so that a test sees that the
//! call was up when it happened.

use crate::{Result, count, delay};
use callbox_guest::{call, clock, events, info, log, results, say, wait};
use std::hint::black_box;

/// An instruction that traps, without a word.
pub fn trap() -> Result {
    say("Now I trap.")?;
    std::process::abort();
}

/// A panic, which traps too but leaves its message in the trace.
pub fn panic() -> Result {
    say("Now I panic.")?;
    panic!("the probe panics as it was told");
}

/// A panic of the language: an index out of bounds.
pub fn overflow() -> Result {
    say("Now I count too far.")?;
    let keys = [1, 2, 3];
    let index = black_box(keys.len());
    info!("{}", keys[index]);
    Ok(())
}

/// Computes for ever.
pub fn spin() -> Result {
    say("Now I think.")?;
    forever()
}

/// Waits for the end of the call, then computes for ever.
pub fn spin_after_end() -> Result {
    say("Hang up, please.")?;
    while !matches!(events::next(None), Some(events::Event::Ended(_))) {}
    forever()
}

fn forever() -> ! {
    let mut number = 0u64;
    loop {
        number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Takes memory until there is none.
pub fn memory() -> Result {
    say("Now I eat.")?;
    let mut eaten = Vec::new();
    loop {
        // Written to, so that it is really there.
        eaten.push(black_box(vec![1u8; 1 << 20]));
    }
}

/// Calls itself until the stack is full.
pub fn stack() -> Result {
    say("Now I dig.")?;
    info!("{}", dig(0));
    Ok(())
}

fn dig(depth: u64) -> u64 {
    let room = black_box([depth; 32]);
    if black_box(true) { dig(depth + 1) + room[7] } else { room[0] }
}

/// Writes `count` lines of a kilobyte (100,000 by default), then ends well.
pub fn log_flood() -> Result {
    say("Now I talk too much.")?;
    let line = "x".repeat(1_000);
    for _ in 0..count(100_000) {
        log::write(log::Level::Info, &line);
    }
    say("I have said it all.")?;
    Ok(())
}

/// Calls the host `count` times (for ever by default) without waiting.
pub fn host_flood() -> Result {
    say("Now I ask too much.")?;
    for _ in 0..count(u64::MAX) {
        black_box(clock::now_ms());
    }
    say("I have asked it all.")?;
    Ok(())
}

/// Takes `count` handles (for ever by default) and keeps them.
pub fn handle_flood() -> Result {
    say("Now I collect.")?;
    let mut timers = Vec::new();
    for _ in 0..count(u64::MAX) {
        timers.push(wait::after(delay(60_000)));
    }
    results::set("handles", &timers.len())?;
    say("I have them all.")?;
    Ok(())
}

/// Returns an error.
pub fn error() -> Result {
    say("Now I fail.")?;
    Err("the probe fails as it was told".into())
}

/// Answers and says nothing for `delay-ms` (an hour by default).
pub fn silent() -> Result {
    call::answer()?;
    wait::sleep(delay(3_600_000));
    Ok(())
}
