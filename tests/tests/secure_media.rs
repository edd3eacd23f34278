//! Somebody else's SIP phone calls a script with media that nobody else can hear. Keys by a handshake are tested in
//! the media room: baresip 1.0 shows an RSA certificate, which our DTLS does not take.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Host, peer};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

const LONGEST: Duration = Duration::from_secs(60);

/// baresip with a microphone of silence, that module, and an account which takes no call without it.
fn baresip(folder: &TempDir, module: &str, mediaenc: &str) {
    let path = folder.path();
    let first = 31_000 + u32::from(peer::free_port()) % 500 * 2;
    let config = format!(
        "poll_method epoll\nsip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\nmodule_path /usr/lib/baresip/modules\n\
         audio_player aubridge,nil\naudio_source ausine,440\naudio_alert aubridge,nil\nausrc_srate 48000\n\
         ausrc_channels 2\nmodule g711.so\nmodule ausine.so\nmodule aubridge.so\nmodule {module}\nmodule_tmp account.so\n\
         module_app menu.so\nrtp_ports {first}-{}\n",
        first + 98,
    );
    std::fs::write(path.join("config"), config).unwrap();
    let account = format!("<sip:baresip@127.0.0.1>;regint=0;mediaenc={mediaenc}\n");
    std::fs::write(path.join("accounts"), account).unwrap();
    std::fs::write(path.join("contacts"), "").unwrap();
}

async fn call(module: &str, mediaenc: &str) {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let folder = tempfile::tempdir().unwrap();
    baresip(&folder, module, mediaenc);
    let output = Command::new("baresip")
        .args(["-f".as_ref(), folder.path().as_os_str()])
        .args(["-e", &format!("/dial sip:2000@{}", host.sip), "-t", "8"])
        .stdin(Stdio::null())
        .output();
    let output = timeout(LONGEST, output).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("Call established"), "{told}");
    let record = host.finished_call().await["record"].clone();
    assert_eq!(record["end_reason"], "script_returned", "{record}\n{told}");
    // What was not opened with the right key is not counted as received.
    assert!(record["media"]["packets_received"].as_u64().unwrap() > 0, "{record}\n{told}");
    assert!(record["media"]["encryption"].is_string(), "{record}");
    assert_eq!(record["sip"]["transport"], "udp");
}

/// Keys in the description (RFC 4568).
#[tokio::test]
async fn baresip_calls_with_sdes() {
    call("srtp.so", "srtp-mand").await;
}
