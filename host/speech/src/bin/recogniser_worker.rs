//! A recogniser process by itself, for tests and for hosts that do not want to
//! run their own binary again. See `callbox_speech::recogniser::recogniser_worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    callbox_speech::recogniser::recogniser_worker()
}
