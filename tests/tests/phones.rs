//! Other people's SIP phones call a script and hear it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_media::{Clip, wav};
use callbox_tests::{Host, peer};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

const LONGEST: Duration = Duration::from_secs(60);

/// Whether it holds a second of speech: enough loud 20 ms frames.
fn speaks(clip: &Arc<Clip>) -> bool {
    let loud = |frame: &[i16]| frame.iter().map(|s| u32::from(s.unsigned_abs())).sum::<u32>() / 160 > 200;
    clip.samples().chunks_exact(160).filter(|frame| loud(frame)).count() > 20
}

fn read(path: &Path) -> Arc<Clip> {
    wav::read(&std::fs::read(path).unwrap()).unwrap()
}

async fn said(host: &Host) {
    let record = host.finished_call().await["record"].clone();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert_eq!(record["disposition"], "said");
    assert!(record["media"]["packets_received"].as_u64().unwrap() > 0, "{record}");
}

/// baresip with a silent microphone that keeps what it hears.
fn baresip(folder: &TempDir) {
    let path = folder.path();
    std::fs::write(path.join("in.wav"), silence()).unwrap();
    let first = 31_000 + u32::from(peer::free_port()) % 500 * 2;
    let config = format!(
        "poll_method epoll\nsip_listen 127.0.0.1:0\nnet_interface 127.0.0.1\nmodule_path /usr/lib/baresip/modules\n\
         audio_player aubridge,nil\naudio_source aufile,{folder}/in.wav\naudio_alert aubridge,nil\nsnd_path {folder}\n\
         module g711.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\nmodule_tmp account.so\n\
         module_app menu.so\nrtp_ports {first}-{}\n",
        first + 98,
        folder = path.display(),
    );
    std::fs::write(path.join("config"), config).unwrap();
    std::fs::write(path.join("accounts"), "<sip:baresip@127.0.0.1>;regint=0\n").unwrap();
    std::fs::write(path.join("contacts"), "").unwrap();
}

/// Ten seconds of nothing, as a WAV of 8 kHz.
fn silence() -> Vec<u8> {
    let samples = 80_000_u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + samples * 2).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
    file.extend((samples * 2).to_le_bytes());
    file.resize(file.len() + samples as usize * 2, 0);
    file
}

#[tokio::test]
async fn baresip_calls_a_script_and_hears_it() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let folder = tempfile::tempdir().unwrap();
    baresip(&folder);
    let output = Command::new("baresip")
        .args(["-f".as_ref(), folder.path().as_os_str()])
        .args(["-e", &format!("/dial sip:2000@{}", host.sip), "-t", "8"])
        .stdin(Stdio::null())
        .output();
    let output = timeout(LONGEST, output).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("Call established"), "{told}");
    said(&host).await;
    let heard = std::fs::read_dir(folder.path()).unwrap().flatten();
    let heard = heard.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with("-dec.wav"));
    assert!(speaks(&read(&heard.expect("a recording of what it heard"))), "baresip heard no speech");
}

#[tokio::test]
async fn linphone_calls_a_script_and_hears_it() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let folder = tempfile::tempdir().unwrap();
    let rc = folder.path().join("rc");
    std::fs::create_dir_all(folder.path().join(".local/share/linphone")).unwrap();
    let port = peer::free_port();
    std::fs::write(&rc, format!("[sip]\nsip_port={port}\nsip_tcp_port=0\nsip_tls_port=0\n")).unwrap();
    let mut phone = Command::new("linphonec")
        .args(["-c".as_ref(), rc.as_os_str()])
        .env("HOME", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (microphone, heard) = (folder.path().join("in.wav"), folder.path().join("heard.wav"));
    std::fs::write(&microphone, silence()).unwrap();
    let mut keyboard = phone.stdin.take().unwrap();
    let commands = format!(
        "ipv6 disable\nsoundcard use files\nplay {}\nrecord {}\ncall sip:2000@{}\n",
        microphone.display(),
        heard.display(),
        host.sip
    );
    keyboard.write_all(commands.as_bytes()).await.unwrap();
    said(&host).await;
    keyboard.write_all(b"quit\n").await.unwrap();
    timeout(LONGEST, phone.wait()).await.unwrap().unwrap();
    // Its header counts itself among the samples: only they are of interest.
    let file = std::fs::read(&heard).unwrap();
    let samples = file[44..].chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]]));
    assert!(speaks(&Clip::from_pcm(samples.collect())), "linphone heard no speech");
}
