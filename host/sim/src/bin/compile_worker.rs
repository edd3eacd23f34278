//! A compiler process for this room's tests and measurements. See `callbox_script::compile_worker`.

use std::process::ExitCode;

fn main() -> ExitCode {
    callbox_script::compile_worker()
}
