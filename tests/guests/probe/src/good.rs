//! Modes that behave, each for one thing a test wants to see. What they learn
//! goes into fields of the call's record.

use crate::{Result, count, delay, option, words};
use callbox_guest::{
    BargeIn, Error, Heard, Outcome, Playout, PlayoutEnd, ask, call, clock, context, events, listen, ms, results, say,
    secs, settings, voice, wait,
};
use serde_json::{Value, json};

/// Says a sentence and ends.
pub fn hello() -> Result {
    say(words("Hello from the probe."))?;
    results::disposition("said")?;
    Ok(())
}

/// Says something long that a key cuts off, and tells how much was heard.
pub fn long() -> Result {
    let sentence =
        "This is a long prompt that goes on and on, so that a test has the time to do something while it is played. ";
    let text = words(&sentence.repeat(usize::try_from(count(5))?));
    match say(voice::text(text).barge_in(BargeIn::Digits)) {
        Ok(playout) => results::set("playout", &told(&playout))?,
        Err(error) => {
            results::set("error", &error.to_string())?;
            return Err(error.into());
        }
    }
    Ok(())
}

/// Plays the audio asset, a tone of half a second, `count` times.
pub fn tone() -> Result {
    for _ in 0..count(1) {
        say(voice::asset("tone.wav"))?;
    }
    Ok(())
}

/// Says back keys, up to eight at a time or until `#`, `count` times (3 by
/// default); the field `digits` lists them.
pub fn echo() -> Result {
    let mut all = Vec::new();
    for _ in 0..count(3) {
        let heard = ask(words("Press some keys, then the hash key."))
            .digits(1..=8)
            .terminator('#')
            .start_timeout(secs(5))
            .once()?;
        let Heard::Digits(digits) = heard else {
            results::set("last", &format!("{heard:?}"))?;
            break;
        };
        let spelt: Vec<String> = digits.chars().map(String::from).collect();
        say(format!("You pressed {}.", spelt.join(", ")))?;
        all.push(digits);
        results::set("digits", &all)?;
    }
    say("Goodbye.")?;
    Ok(())
}

/// Asks for four secret keys, then for one that is none; only the length of the
/// secret and the other key become fields.
pub fn sensitive() -> Result {
    let secret = ask("Please enter your secret number.").digits(4..=4).sensitive().once()?;
    if let Heard::Digits(secret) = secret {
        results::set("secret_length", &secret.len())?;
    }
    if let Outcome::Got(open) = ask("Now press any key.").digits(1..=1).collect()? {
        results::set("open", &open)?;
    }
    say("Thank you.")?;
    Ok(())
}

/// Asks with a question that nothing cuts off; keys pressed during it count.
pub fn uncut() -> Result {
    let (heard, playout) = ask(words("You may press a key, but I will finish what I have to say."))
        .digits(1..=1)
        .barge_in(BargeIn::Nothing)
        .once_with_playout()?;
    results::set("heard", &format!("{heard:?}"))?;
    results::set("playout", &playout.as_ref().map(told))?;
    Ok(())
}

/// Starts a long prompt and replaces it after `delay-ms` (500 by default).
pub fn replace() -> Result {
    let first = voice::start_say("This is the first prompt, which will not come to its end, because it is too long.")?;
    let second = voice::start_say("This one never sounds at all.")?;
    wait::sleep(delay(500));
    let third = voice::say_instead("This is the other one.")?;
    results::set("first", &told(&first.wait()?))?;
    results::set("second", &told(&second.wait()?))?;
    results::set("third", &told(&third.wait()?))?;
    Ok(())
}

/// Speaks, listens and waits for a timer at the same time, and tells what came
/// first.
pub fn both() -> Result {
    let speaking = voice::start_say(words("I speak and listen at the same time."))?;
    let listening = listen().digits(1..=1).start_timeout(secs(5)).start()?;
    let timer = wait::after(delay(3_000));
    let handles = [speaking.subscribe(), listening.subscribe(), timer];
    let first = wait::select(&[&handles[0], &handles[1], &handles[2]], Some(secs(10)));
    results::set("first", &first)?;
    results::set("heard", &format!("{:?}", listening.wait()?))?;
    results::set("playout", &told(&speaking.stop()?))?;
    Ok(())
}

/// Writes everything known about the call into fields.
pub fn info() -> Result {
    let info = call::info();
    let party =
        |party: &call::Party| json!({"uri": party.uri, "number": party.number, "display_name": party.display_name});
    results::set("id", &info.id)?;
    results::set("direction", &format!("{:?}", info.direction))?;
    results::set("transport", &format!("{:?}", info.transport))?;
    results::set("caller", &party(&info.caller))?;
    results::set("callee", &party(&info.callee))?;
    results::set("language", &info.language)?;
    results::set("headers", &info.headers)?;
    results::set("parameters", &info.parameters_as::<Value>()?)?;
    results::set("undeclared_setting", &settings::get("no-such-setting"))?;
    results::set("undeclared_source", &shown(context::fetch::<Value>("no-such-source")))?;
    results::set("undeclared_destination", &shown(results::push("no-such-destination", &1)))?;
    results::set("unknown_asset", &shown(say(voice::asset("no-such.wav")).map(|playout| told(&playout))))?;
    results::set("bad_digits", &shown(call::send_digits("12x").map(|()| true)))?;
    say(words("That is all I know."))?;
    Ok(())
}

/// Fetches both sources and tells what they answered and how long it took.
pub fn context() -> Result {
    call::answer()?;
    for source in ["early", "late"] {
        let begin = clock::elapsed();
        let answer = context::fetch_with::<Value>(source, if source == "late" { &[("q", "1")] } else { &[] });
        results::set(source, &shown(answer))?;
        results::set(&format!("{source}_ms"), &u64::try_from((clock::elapsed() - begin).as_millis())?)?;
    }
    say(words("That is what I was told."))?;
    Ok(())
}

/// Pushes `count` messages (3 by default) and lists their ids.
pub fn push() -> Result {
    say(words("I push."))?;
    let ids: Vec<_> = (0..count(3)).map(|number| shown(results::push("sink", &json!({"number": number})))).collect();
    results::set("pushed", &ids)?;
    Ok(())
}

/// Lists what happens until the call ends.
pub fn events() -> Result {
    let _playback = voice::start_say(words("I watch what happens."))?;
    let mut seen = Vec::new();
    while let Some(event) = events::next(Some(secs(30))) {
        seen.push(format!("{event:?}"));
        if matches!(event, events::Event::Ended(_)) {
            break;
        }
    }
    results::set("events", &seen)?;
    Ok(())
}

/// Transfers to `target` as `transfer-mode` says and tells the outcome.
pub fn transfer() -> Result {
    say(words("I connect you."))?;
    let target = option("target").unwrap_or_default();
    let transfer = call::transfer(target).ring_timeout(delay(10_000)).header("X-Probe", "transfer");
    let bridge = option("transfer-mode").as_deref() == Some("bridge");
    let outcome = if bridge { transfer.bridge().connect() } else { transfer.connect() };
    results::set("transfer", &format!("{outcome:?}"))?;
    match outcome? {
        call::Transferred::Connected => {}
        call::Transferred::Returned => say("You are back.").map(drop)?,
        call::Transferred::Failed { .. } => say("It did not work.").map(drop)?,
    }
    Ok(())
}

/// Presses the keys of the option `digits`.
pub fn send_digits() -> Result {
    call::answer()?;
    results::set("sent", &shown(call::send_digits(&option("digits").unwrap_or_default()).map(|()| true)))?;
    Ok(())
}

/// Rings for `delay-ms` (2,000 by default) before it answers.
pub fn ring() -> Result {
    call::ring()?;
    wait::sleep(delay(2_000));
    hello()
}

/// Asks for a key before it answers: the tone, then words that nothing cuts off,
/// then `delay-ms` (300 by default) to press it; a key pressed before counts, too.
/// Then answers and speaks on, or declines with the status of the option `count`.
pub fn early() -> Result {
    results::set("early", &shown(call::early_media().map(|()| true)))?;
    say(voice::asset("tone.wav"))?;
    let heard = ask(words("You hear this before I answer."))
        .digits(1..=1)
        .type_ahead()
        .barge_in(BargeIn::Nothing)
        .start_timeout(delay(300))
        .once()?;
    results::set("heard", &format!("{heard:?}"))?;
    match u16::try_from(count(0))? {
        0 => call::answer()?,
        status => return Ok(call::reject(status, Some("The probe has said it all"))?),
    }
    say("Now I have answered.")?;
    Ok(())
}

/// Answers, waits `delay-ms` (10,000 by default) and says hello.
pub fn wait() -> Result {
    call::answer()?;
    wait::sleep(delay(10_000));
    hello()
}

/// Declines with the status of the option `count` (603 by default).
pub fn reject() -> Result {
    call::reject(u16::try_from(count(603))?, Some("The probe declines"))?;
    Ok(())
}

/// Says something and hangs up in the middle of the next sentence.
pub fn hangup() -> Result {
    say(words("I hang up soon."))?;
    let _playback = voice::start_say("This sentence will be cut off before it comes to its end.")?;
    wait::sleep(delay(500));
    call::hangup()?;
    Ok(())
}

/// Waits for the caller to hang up, then writes down what it learnt.
pub fn grace() -> Result {
    say(words("Hang up, please."))?;
    let heard = listen().digits(1..=1).start_timeout(secs(60)).once();
    results::set("heard", &format!("{heard:?}"))?;
    results::set("ended", &heard.as_ref().is_err_and(Error::is_ended))?;
    results::set("say_after_end", &shown(say("Hello?").map(|playout| told(&playout))))?;
    results::set("late", &shown(context::fetch::<Value>("late")))?;
    results::push("sink", &json!({"after": "the end"}))?;
    results::disposition("written")?;
    Ok(())
}

/// Tells the time and the randomness it was given.
pub fn clock() -> Result {
    let local = clock::local("Asia/Shanghai")?;
    results::set("now_ms", &clock::now_ms())?;
    results::set("shanghai", &format!("{local:?}"))?;
    results::set("unknown_zone", &shown(clock::local("Mars/Olympus").map(|local| local.hour)))?;
    results::set("random", &callbox_guest::random::number())?;
    wait::sleep(ms(100));
    results::set("elapsed_ms", &u64::try_from(clock::elapsed().as_millis())?)?;
    hello()
}

pub fn told(playout: &Playout) -> Value {
    let end = match playout.end {
        PlayoutEnd::Finished => "finished",
        PlayoutEnd::CutBySpeech => "cut_by_speech",
        PlayoutEnd::CutByDigits => "cut_by_digits",
        PlayoutEnd::Stopped => "stopped",
    };
    json!({"end": end, "played_ms": playout.played, "heard_text": playout.heard_text})
}

/// `{"ok": …}` or `{"error": "…"}`.
fn shown(result: callbox_guest::Result<impl Into<Value>>) -> Value {
    match result {
        Ok(value) => json!({"ok": value.into()}),
        Err(error) => json!({"error": error.to_string()}),
    }
}
