//! The example `appointment` on a host, with the business system it talks to.

use crate::{Answer, Business, Host};
use serde_json::{Value, json};

/// The number that answers with the example.
pub const NUMBER: &str = "1000";

/// A host with the example on [`NUMBER`], and the system it talks to: a source that knows of Ada's appointment at the
/// Analytical Clinic, a receiver at `/outcome`. `settings` go over `language` `en` and no `agent`.
pub async fn clinic(settings: &Value) -> (Host, Business) {
    let (host, business) = (Host::start().await, Business::start().await);
    let appointment =
        json!({ "name": "Ada Lovelace", "date": "2026-12-01", "time": "14:30", "place": "Analytical Clinic" });
    business.answer("/appointment", Answer::json(appointment));
    let at = |path: &str| json!({ "url": business.url(path), "secret": business.secret });
    let mut bindings = json!({
        "sources": { "appointment": at("/appointment") },
        "destinations": { "outcome": at("/outcome") },
        "settings": { "language": "en", "agent": "" },
    });
    bindings["settings"].as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    host.publish("appointment", NUMBER, &bindings, &json!({})).await;
    (host, business)
}
