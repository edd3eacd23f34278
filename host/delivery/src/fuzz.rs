//! One body per fuzz target, as in the store room.

use crate::address::{Kind, Network, kind};
use crate::guard::EgressPolicy;

/// URLs: whatever passes the guard has a host that is a name or a public address.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(url) = EgressPolicy::default().check_url(&text) else { return };
    assert!(matches!(url.scheme(), "http" | "https"));
    assert!(url.username().is_empty() && url.password().is_none());
    match url.host() {
        Some(url::Host::Domain(name)) => {
            // What a resolver would take for a number must not have passed as a name.
            assert!(name.trim_end_matches('.').parse::<std::net::IpAddr>().is_err(), "{name}");
            assert!(!name.is_empty());
        }
        Some(url::Host::Ipv4(address)) => assert_eq!(kind(address.into()), Kind::Public),
        Some(url::Host::Ipv6(address)) => assert_eq!(kind(address.into()), Kind::Public),
        None => panic!("no host passed the guard"),
    }
}

/// Networks of the operator, and `Retry-After`.
pub fn network(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(network) = text.parse::<Network>() {
        let again: Result<Network, _> = network.to_string().parse();
        assert_eq!(again, Ok(network));
    }
    if let Some(ms) = crate::ladder::retry_after(&text, callbox_store::UnixMs(0)) {
        assert!((0..=crate::ladder::MAX_RETRY_AFTER_MS).contains(&ms));
    }
}

/// What a model answers, one event a line: whatever comes, the reading ends, and nothing follows its end.
pub fn model(data: &[u8]) {
    use callbox_dialogue::llm::Event;
    let text = String::from_utf8_lossy(data);
    let mut chat = crate::model::Chat::default();
    let (mut written, mut over) = (0, false);
    for line in text.lines() {
        let Ok(events) = chat.take(line) else { return };
        assert!(!over || events.is_empty(), "something comes behind the end");
        for event in events {
            match event {
                Event::Text { text } => written += text.len(),
                Event::ToolCall(call) => assert!(call.arguments.len() <= text.len() * 6),
                Event::Done { .. } => over = true,
                Event::Failed { .. } => panic!("the reading itself fails by its result"),
            }
        }
    }
    assert!(written <= text.len() * 3, "more was read than written");
    if let Ok(events) = chat.end() {
        assert!(over != matches!(events.last(), Some(Event::Done { .. })), "there is one end");
    }
}
