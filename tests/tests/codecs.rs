//! What wide-band telephones hear. By itself: looking for gaps takes the processor, which other tests of audio need.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_media::Codec;
use callbox_tests::{Host, Phone, Watch, coder, fidelity, voices};

#[tokio::test]
async fn prompts_are_whole_and_clear_in_wide_band_codecs() {
    let text = "The train to Cambridge leaves at 14:35 from platform 9.";
    let host = Host::start().await;
    host.publish_probe(None).await;
    let said = voices::of_the_host(text).await;
    let call = async |codec: Codec| {
        // What the codec costs, and nothing else: where packets begin within the words is worth a quarter of a point.
        let of_codec = fidelity::pesq(&said, &coder::through(codec, &said)).await;
        for _ in 0..5 {
            let watch = Watch::start();
            let mut line = Phone::speaking(codec).await.dial_probe(&host, "hello", &[("X-Probe-Text", text)]).await;
            assert!(line.over().await.by_host);
            let heard = line.heard_samples();
            let found = fidelity::compare(&said, &heard);
            let score = fidelity::pesq(&said, &heard).await;
            if found.is_whole() && score > of_codec - 0.5 {
                return;
            }
            // On a machine that did not keep its time that proves nothing.
            assert!(watch.was_late(), "{codec}: {found:?}, PESQ {score}, of the codec itself {of_codec}");
        }
    };
    tokio::join!(call(Codec::G722), call(Codec::Opus));
}
