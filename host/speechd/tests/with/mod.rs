//! What the tests of clients share: a voice that is a tone, clients of each protocol, and servers that behave badly.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests, each of which uses a part and may panic")]

use axum::Router;
use callbox_dialogue::leg::VoiceSettings;
use callbox_media::Clip;
use callbox_speech::recogniser::Recogniser;
use callbox_speech::remote::{
    CustomEar, CustomVoice, DeepgramEar, DeepgramVoice, Dialer, Key, OpenAiEar, OpenAiVoice, Patience, Provider,
    RemoteEar, RemoteVoice,
};
use callbox_speech::{Chunk, EngineInfo, Languages, Part, Pending, SpeechError, Synthesiser, Utterance};
use callbox_speechd::{Script, Server, Settings};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A voice that says every letter with 20 ms of a tone, and never ends what begins with `forever`.
pub(crate) struct Tone;

impl Synthesiser for Tone {
    fn name(&self) -> &str {
        "tone"
    }

    fn speak(&self, what: Utterance) -> mpsc::Receiver<Result<Part, SpeechError>> {
        let (parts, receiver) = mpsc::channel(1_000);
        tokio::spawn(async move {
            let audio = |letters: usize| {
                let samples = (0..letters * 160).map(|i| if i / 10 % 2 == 0 { 8_000 } else { -8_000 }).collect();
                Ok(Part::Audio(Chunk { clip: Clip::from_pcm(samples), words: Vec::new() }))
            };
            for piece in what.text.as_bytes().chunks(10) {
                let _ = parts.send(audio(piece.len())).await;
            }
            if what.text.starts_with("forever") {
                parts.closed().await;
            }
            let _ = parts.send(Ok(Part::End)).await;
        });
        receiver
    }

    fn supports(&self, _: &VoiceSettings) -> Result<(), SpeechError> {
        Ok(())
    }

    fn describe(&self) -> Pending<'_, Result<EngineInfo, SpeechError>> {
        Box::pin(std::future::ready(Ok(EngineInfo { version: "1".into(), voices: 1 })))
    }
}

pub(crate) async fn server(script: &str) -> Server {
    let script = Script::parse(script).unwrap();
    let settings = Settings { key: Some("sesame".into()), script, voice: Some(Arc::new(Tone)), ear: None };
    Server::start(localhost(), settings).await.unwrap()
}

pub(crate) fn localhost() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// The last requests of a server.
pub(crate) async fn requests(server: &Server) -> Vec<Value> {
    let request = reqwest::Client::new().get(server.url("http", "/requests")).bearer_auth("sesame");
    request.send().await.unwrap().json().await.unwrap()
}

/// Somebody at a URL, who is waited for patiently.
pub(crate) fn provider(name: &str, url: &str, key: &str) -> Provider {
    let patient = Duration::from_secs(60);
    Provider {
        name: name.into(),
        url: url.parse().unwrap(),
        key: Some(Key::new(key)),
        model: Some("model-1".into()),
        patience: Patience { connect: patient, first: patient, stall: patient },
    }
}

pub(crate) fn dialer() -> Dialer {
    Dialer::new(false, &[]).unwrap()
}

pub(crate) fn remote_voice(provider: Provider, rate_hz: u32) -> RemoteVoice {
    RemoteVoice { provider, voice: None, voices: BTreeMap::new(), languages: Languages::All, rate_hz }
}

pub(crate) fn remote_ear(provider: Provider) -> RemoteEar {
    RemoteEar { provider, languages: Languages::All }
}

/// The kinds of voices.
pub(crate) const VOICES: [&str; 4] = ["openai", "deepgram", "custom-http", "custom-ws"];

/// A client for a voice at an address, as `host:port`.
pub(crate) fn voice(kind: &str, address: &str, key: &str, patience: Option<Patience>) -> Arc<dyn Synthesiser> {
    let at = |url: String| {
        let mut provider = provider(kind, &url, key);
        provider.patience = patience.unwrap_or(provider.patience);
        provider
    };
    match kind {
        "openai" => Arc::new(OpenAiVoice::new(remote_voice(at(format!("http://{address}/v1")), 24_000), dialer())),
        "deepgram" => Arc::new(DeepgramVoice::new(remote_voice(at(format!("ws://{address}/v1")), 8_000), dialer())),
        "custom-http" => {
            Arc::new(CustomVoice::new(remote_voice(at(format!("http://{address}/custom/tts")), 8_000), dialer()))
        }
        _ => Arc::new(CustomVoice::new(remote_voice(at(format!("ws://{address}/custom/tts")), 16_000), dialer())),
    }
}

/// The kinds of ears.
pub(crate) const EARS: [&str; 3] = ["openai", "deepgram", "custom"];

/// A client for a recogniser at an address, as `host:port`.
pub(crate) fn ear(kind: &str, address: &str, key: &str, patience: Option<Patience>) -> Arc<dyn Recogniser> {
    let at = |url: String| {
        let mut provider = provider(kind, &url, key);
        provider.patience = patience.unwrap_or(provider.patience);
        remote_ear(provider)
    };
    match kind {
        "openai" => Arc::new(OpenAiEar::new(at(format!("http://{address}/v1")), dialer())),
        "deepgram" => Arc::new(DeepgramEar::new(at(format!("ws://{address}/v1")), dialer())),
        _ => Arc::new(CustomEar::new(at(format!("ws://{address}/custom/stt")), dialer())),
    }
}

pub(crate) fn utterance(text: &str) -> Utterance {
    Utterance::new(text.to_owned(), VoiceSettings { voice: None, language: "en".into(), rate: None })
}

/// All samples of an utterance.
pub(crate) async fn samples(mut parts: mpsc::Receiver<Result<Part, SpeechError>>) -> Result<Vec<i16>, SpeechError> {
    let mut all = Vec::new();
    loop {
        match within(parts.recv()).await {
            Some(Ok(Part::Audio(chunk))) => all.extend_from_slice(chunk.clip.samples()),
            Some(Ok(Part::End)) => return Ok(all),
            Some(Err(error)) => return Err(error),
            None => panic!("the channel ended without an end"),
        }
    }
}

/// Nothing in these tests takes long; what does has failed.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(90), work).await.expect("it takes too long")
}

/// An HTTP server of a test's own.
pub(crate) async fn http(app: Router) -> String {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// The far end of a WebSocket.
pub(crate) type Line = WebSocketStream<TcpStream>;

/// A WebSocket server of a test's own, which treats all clients alike.
pub(crate) async fn websocket<F>(treat: fn(Line) -> F) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(line) = tokio_tungstenite::accept_async(stream).await {
                    treat(line).await;
                }
            });
        }
    });
    address
}

/// Sends, whether the client is still there or not.
pub(crate) async fn say(line: &mut Line, text: &str) {
    let _ = line.send(Message::text(text)).await;
}

/// Waits for a text message with this type; false when the client is gone.
pub(crate) async fn until_type(line: &mut Line, kind: &str) -> bool {
    while let Some(Ok(message)) = line.next().await {
        let told: Option<Value> = message.to_text().ok().and_then(|text| serde_json::from_str(text).ok());
        if told.is_some_and(|told| told["type"] == kind) {
            return true;
        }
    }
    false
}
