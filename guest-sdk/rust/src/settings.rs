//! Settings of the script: declared by the manifest, given by the deployment.
//! Secrets are not here; the host puts them into requests itself.

use crate::bindings::callbox::dialogue::settings as raw;

/// The value of a setting, or the manifest's default, or nothing.
///
/// ```no_run
/// let desk = callbox_guest::settings::get("agent");
/// ```
#[must_use]
pub fn get(name: &str) -> Option<String> {
    raw::get(name)
}
