//! A script for tests: does what the setting `mode` – or the caller's header
//! `X-Probe-Mode` – tells it to. `README.md` lists the modes.

mod bad;
mod good;
mod spoken;

use callbox_guest::{call, ms, results, settings, voice};
use std::error::Error;
use std::time::Duration;

callbox_guest::script!(run);

/// Modes fail with any error.
type Result = std::result::Result<(), Box<dyn Error>>;

fn run() -> Result {
    let mode = option("mode").unwrap_or_default();
    results::set("mode", &mode)?;
    if let Some(language) = option("language") {
        voice::set_language(&language)?;
    }
    match mode.as_str() {
        "trap" => bad::trap(),
        "panic" => bad::panic(),
        "overflow" => bad::overflow(),
        "loop" => bad::spin(),
        "loop-after-end" => bad::spin_after_end(),
        "memory" => bad::memory(),
        "stack" => bad::stack(),
        "log-flood" => bad::log_flood(),
        "host-flood" => bad::host_flood(),
        "handle-flood" => bad::handle_flood(),
        "error" => bad::error(),
        "silent" => bad::silent(),

        "hello" => good::hello(),
        "long" => good::long(),
        "tone" => good::tone(),
        "echo" => good::echo(),
        "sensitive" => good::sensitive(),
        "uncut" => good::uncut(),
        "replace" => good::replace(),
        "both" => good::both(),
        "info" => good::info(),
        "context" => good::context(),
        "push" => good::push(),
        "events" => good::events(),
        "transfer" => good::transfer(),
        "send-digits" => good::send_digits(),
        "ring" => good::ring(),
        "early" => good::early(),
        "wait" => good::wait(),
        "reject" => good::reject(),
        "hangup" => good::hangup(),
        "grace" => good::grace(),
        "clock" => good::clock(),
        "spoken" => spoken::spoken(),
        other => Err(format!("the probe knows no mode `{other}`").into()),
    }
}

/// A setting, which the caller's header of that name overrides.
fn option(name: &str) -> Option<String> {
    call::info()
        .header(&format!("x-probe-{name}"))
        .map(str::to_owned)
        .or_else(|| settings::get(name))
        .filter(|value| !value.is_empty())
}

/// The option `count`.
fn count(default: u64) -> u64 {
    option("count").and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// The option `delay-ms`.
fn delay(default: u64) -> Duration {
    ms(option("delay-ms").and_then(|delay| delay.parse().ok()).unwrap_or(default))
}

/// The option `text`.
fn words(default: &str) -> String {
    option("text").unwrap_or_else(|| default.to_owned())
}
