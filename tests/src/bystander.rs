//! A host with a good call next to which something bad happens.

use crate::{Host, Line, Options, Phone, SOON, eventually};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// See the module.
pub struct Bystander {
    /// The host.
    pub host: Host,
    /// The call: it waits for a key.
    pub line: Line,
    before_kb: u64,
    /// Its stack has to live as long as its call.
    _phone: Phone,
}

/// What a host may grow by under attack.
const GROWTH_KB: u64 = 64 << 10;

impl Bystander {
    /// A call to the probe, with audio both ways.
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    /// The same on a host with these options.
    pub async fn with(options: Options) -> Self {
        let host = Host::start_with(options).await;
        host.publish_probe(None).await;
        let phone = Phone::new().await;
        // It waits a minute for a key, and tells which one came.
        let line = phone.dial_probe(&host, "grace", &[]).await;
        // Its audio has come, so that the host knows where from.
        line.sound(500.0);
        line.speaks_for(300).await;
        line.hears_for(300).await;
        let before_kb = host.memory_kb();
        Self { host, line, before_kb, _phone: phone }
    }

    /// The call ends as it should, and its host has neither grown nor broken.
    pub async fn ends_well(self) -> Host {
        let Self { host, mut line, before_kb, _phone } = self;
        let begun = Instant::now();
        let grown = host.memory_kb().saturating_sub(before_kb);
        assert!(grown < GROWTH_KB, "it grew by {grown} kB");
        // A key that comes while the robot still speaks is not what it waits for.
        let over = loop {
            line.press("4");
            if let Ok(over) = timeout(Duration::from_secs(2), line.over()).await {
                break over;
            }
            assert!(begun.elapsed() < SOON, "the good call does not end");
        };
        assert!(over.by_host);
        let record = eventually("the good call's record", async || {
            for call in host.completed().await.iter().filter(|call| call["from"] == "sip:phone@127.0.0.1") {
                let record = host.get(&format!("/v1/calls/{}", call["id"].as_str().unwrap())).await["record"].take();
                if record["fields"]["mode"] == "grace" {
                    return Some(record);
                }
            }
            None
        })
        .await;
        assert_eq!(record["end_reason"], "script_returned", "{record}");
        assert!(record["fields"]["heard"].to_string().contains('4'), "{record}");
        assert!(!host.log().contains("panicked"), "something panicked");
        host
    }
}
