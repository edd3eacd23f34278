//! Facts from the tenant's systems, by the names the manifest gives them.

use crate::bindings::callbox::dialogue::context as raw;
use crate::error::Result;
use crate::wait::Pollable;
use serde::de::DeserializeOwned;

/// Asks a source and waits. A source marked `prefetch` in the manifest has been
/// on its way since the call came in.
///
/// ```no_run
/// #[derive(serde::Deserialize)]
/// struct Customer { name: String }
///
/// let customer: Customer = callbox_guest::context::fetch("customer")?;
/// callbox_guest::say(format!("Hello {}.", customer.name))?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// [`Error::Denied`](crate::Error::Denied) when the manifest does not declare the
/// source, `TimedOut` or `Unavailable` when it is late or broken, `NotFound` when it
/// answers that it does not know what it is asked for (404, 410),
/// [`Error::Data`](crate::Error::Data) when its answer has another shape.
pub fn fetch<T: DeserializeOwned>(source: &str) -> Result<T> {
    fetch_with(source, &[])
}

/// Asks a source with parameters and waits.
///
/// ```no_run
/// let order: serde_json::Value = callbox_guest::context::fetch_with("order", &[("number", "4711")])?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// As [`fetch`].
pub fn fetch_with<T: DeserializeOwned>(source: &str, parameters: &[(&str, &str)]) -> Result<T> {
    Ok(serde_json::from_str(&raw::fetch(source, &owned(parameters))?)?)
}

/// Asks a source without waiting.
///
/// ```no_run
/// use callbox_guest::context;
///
/// let order = context::start_fetch("order", &[("number", "4711")])?;
/// callbox_guest::say("I am looking for your order.")?;
/// let order: serde_json::Value = order.wait()?;
/// # Ok::<(), callbox_guest::Error>(())
/// ```
///
/// # Errors
/// [`Error::Denied`](crate::Error::Denied) when the manifest does not declare the source.
pub fn start_fetch(source: &str, parameters: &[(&str, &str)]) -> Result<Fetching> {
    Ok(Fetching(raw::start_fetch(source, &owned(parameters))?))
}

/// A request under way; see [`start_fetch`].
#[derive(Debug)]
pub struct Fetching(raw::Fetching);

impl Fetching {
    /// Ready when [`wait`](Self::wait) would return at once.
    #[must_use]
    pub fn subscribe(&self) -> Pollable {
        self.0.subscribe()
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// As [`fetch`].
    pub fn wait<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_str(&self.0.wait()?)?)
    }
}

fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
