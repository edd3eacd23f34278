//! `callbox speechd --listen`, as somebody runs it who has no account: pocketsphinx behind each of the providers' protocols.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_speech::recogniser::{Languages, Listening, Recogniser};
use callbox_speech::remote::{CustomEar, DeepgramEar, Dialer, Key, OpenAiEar, Patience, Provider, RemoteEar};
use callbox_tests::voices::{Voice, silence};
use callbox_tests::{SOON, binary};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

#[tokio::test]
async fn what_a_caller_says_is_heard_for_the_words_that_a_client_hints_at() {
    let mut child = Command::new(binary())
        .args(["speechd", "--port", "0", "--key", "sesame", "--listen"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(SOON, output.next_line()).await.expect("it starts in time").unwrap().unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let address = ready["address"].as_str().unwrap();

    let ear = |url: String| RemoteEar { provider: provider(&url), languages: Languages::All };
    let dialer = || Dialer::new(false, &[]).unwrap();
    let clients: [Box<dyn Recogniser>; 3] = [
        Box::new(OpenAiEar::new(ear(format!("http://{address}/v1")), dialer())),
        Box::new(DeepgramEar::new(ear(format!("ws://{address}/v1")), dialer())),
        Box::new(CustomEar::new(ear(format!("ws://{address}/custom/stt")), dialer())),
    ];
    let hints = ["make an appointment", "cancel my appointment", "opening hours"].map(str::to_owned).to_vec();
    let what = Listening { hints, ..Listening::default() };
    let says = |words: &str| [silence(300), Voice::Rms.says(words), silence(500)].concat();
    for client in clients {
        for (said, heard) in [
            ("cancel my appointment", Some("cancel my appointment")),
            ("the weather has been terrible since the beginning of the week", None),
        ] {
            let all = client.start(what.clone()).whole(&says(said), 8_000).await.unwrap();
            let best = all.first().map(|best| best.text.as_str());
            assert_eq!(best, heard, "{said}, at {}", client.name());
        }
    }
}

/// The server at a URL, who is waited for patiently.
fn provider(url: &str) -> Provider {
    let patient = Duration::from_secs(60);
    Provider {
        name: url.into(),
        url: url.parse().unwrap(),
        key: Some(Key::new("sesame")),
        model: None,
        patience: Patience { connect: patient, first: patient, stall: patient },
    }
}
