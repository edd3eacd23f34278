//! A visitor of a customer's page who calls in a real browser, and what that page has heard.

use crate::Host;
use crate::browser::{Browser, Page, Site};
use crate::web_caller;
use base64::Engine as _;
use callbox_dialogue::leg::VoiceSettings;
use callbox_dialogue::script::Segment;
use callbox_speech::{Speech, SpeechConfig};
use serde_json::{Value, json};

/// Samples a second of what a page keeps.
pub const KEPT: usize = 8_000;
/// So alike are words to the same words, heard on a machine that has too much to do.
pub const ALIKE: f64 = 0.7;

/// A customer's page with a telephone to that host, and a browser that shows it.
pub async fn visitor(host: &Host) -> (Site, Browser, Page) {
    let server = format!("http://{}", host.http);
    let site = Site::customer("<callbox-call id=\"phone\"></callbox-call>", Some(&server)).await;
    let browser = Browser::start(None).await;
    let page = browser.open(&site.origin).await;
    (site, browser, page)
}

/// A token for a number, given to the page's element.
pub async fn token(host: &Host, page: &Page, number: &str, more: &Value) {
    let token = web_caller::token(host, number, more.clone()).await;
    page.run(&format!("phone.setAttribute('token', {})", json!(token))).await;
}

/// Waits until the page knows that the script has ended the call.
pub async fn returned(page: &Page) {
    let ended = page.run("ended()").await;
    assert_eq!(ended, json!({ "reason": "script_returned", "by": "script", "answered": true }));
}

/// What the host said, as it was synthesised: [`KEPT`] samples a second.
pub async fn synthesised(text: &str) -> Vec<f32> {
    let speech = Speech::new(SpeechConfig::default()).unwrap();
    let voice = VoiceSettings { voice: None, language: "en".into(), rate: None };
    let mut chunks = speech.render(&Segment::Text(text.into()), &voice, |_| None);
    let mut samples = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        samples.extend(chunk.unwrap().clip.samples().iter().map(|sample| f32::from(*sample)));
    }
    samples
}

/// What the page heard.
pub async fn heard(page: &Page) -> Vec<f32> {
    let text = page.run("heard()").await;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
    bytes.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]]))).collect()
}

/// How a wave sounds, every 10 ms: how loud it is in the low, in the middle and in the high.
fn sound(wave: &[f32]) -> Vec<[f64; 3]> {
    const STEP: usize = KEPT / 100;
    let energy = |window: &[f32], band: &dyn Fn(&[f32]) -> f32| -> f64 {
        window.windows(4).map(|four| f64::from(band(four)).powi(2)).sum::<f64>()
    };
    let bands: Vec<[f64; 3]> = (0..wave.len().saturating_sub(2 * STEP))
        .step_by(STEP)
        .map(|at| &wave[at..at + 2 * STEP])
        .map(|w| {
            [
                energy(w, &|s| s[0] + s[1] + s[2] + s[3]),
                energy(w, &|s| s[0] - s[2]),
                energy(w, &|s| s[0] - 2.0 * s[1] + s[2]),
            ]
        })
        .collect();
    // What is 40 dB below the loudest is silence.
    let floor = [0, 1, 2].map(|band| bands.iter().map(|all| all[band]).fold(1.0, f64::max) / 10_000.0);
    bands.iter().map(|all| [0, 1, 2].map(|band| (all[band].max(floor[band]) / floor[band]).log10())).collect()
}

/// How alike what was heard is to what was said, from 0 to 1, where it is most so. It is the sound that is compared, and
/// not the wave, and what was heard may have been slower or faster here and there, down to half and up to double (dynamic
/// time warping): so a browser plays as the network wants it, and so it fills what came too late.
#[must_use]
pub fn likeness(said: &[f32], heard: &[f32]) -> f64 {
    let (said, heard) = (sound(said), sound(heard));
    assert!(said.len() > 50, "there is hardly a voice in what was said");
    let distance = |a: &[f64; 3], b: &[f64; 3]| (0..3).map(|band| (a[band] - b[band]).powi(2)).sum::<f64>();
    // For each frame that was said: the least distance so far of a way that ends at each frame that was heard. A step of
    // the one goes with one of the other, or two with one, or one with two.
    let mut before = vec![vec![0.0; heard.len()]; 2];
    for (at, frame) in said.iter().enumerate() {
        let here: Vec<f64> = heard.iter().map(|other| distance(frame, other)).collect();
        let ways = |place: usize| {
            let came =
                |row: usize, back: usize| place.checked_sub(back).map_or(f64::INFINITY, |from| before[row][from]);
            let two =
                if at > 0 && place > 0 { came(0, 1) + distance(&said[at - 1], &heard[place]) } else { f64::INFINITY };
            came(1, 1).min(came(1, 2)).min(two) + here[place]
        };
        let now: Vec<f64> = if at == 0 { here.clone() } else { (0..heard.len()).map(ways).collect() };
        before = vec![before.swap_remove(1), now];
    }
    let least = before[1].iter().copied().fold(f64::INFINITY, f64::min) / said.len() as f64;
    // In units of how much what was said differs from its own mean.
    let mean = [0, 1, 2].map(|band| said.iter().map(|frame| frame[band]).sum::<f64>() / said.len() as f64);
    let spread = said.iter().map(|frame| distance(frame, &mean)).sum::<f64>() / said.len() as f64;
    (1.0 - least / spread).max(0.0)
}
