//! Other people's SIP phones call a script and hear it, with and without encryption, from behind a NAT, and registered.
//!
//! Keys by a handshake (DTLS-SRTP) are tried with rtpengine, in `proxies.rs`: baresip 1.0 and linphone 5.1, as Debian has
//! them, show RSA certificates there, which we do not take (RFC 8827 §6.5 asks for ECDSA).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_media::{Clip, wav};
use callbox_tests::{Host, Net, Options, eventually, peer};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
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

async fn said(host: &Host) -> Value {
    let record = host.finished_call().await["record"].clone();
    assert_eq!(record["end_reason"], "script_returned", "{record}");
    assert_eq!(record["disposition"], "said");
    assert!(record["media"]["packets_received"].as_u64().unwrap() > 0, "{record}");
    record
}

/// baresip with a silent microphone that keeps what it hears. Its account may name an encryption of the media.
fn baresip(folder: &TempDir, account: &str, (interface, address): (&str, IpAddr)) {
    let path = folder.path();
    std::fs::write(path.join("in.wav"), silence()).unwrap();
    let first = 31_000 + u32::from(peer::free_port()) % 500 * 2;
    let config = format!(
        "poll_method epoll\nsip_listen {address}:0\nnet_interface {interface}\nmodule_path /usr/lib/baresip/modules\n\
         audio_player aubridge,nil\naudio_source aufile,{folder}/in.wav\naudio_alert aubridge,nil\nsnd_path {folder}\n\
         module g711.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\nmodule_tmp account.so\n\
         module srtp.so\nmodule_app menu.so\nrtp_ports {first}-{}\n",
        first + 98,
        folder = path.display(),
    );
    std::fs::write(path.join("config"), config).unwrap();
    std::fs::write(path.join("accounts"), format!("<sip:baresip@127.0.0.1>;regint=0{account}\n")).unwrap();
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

/// How the call of a phone went over the wire: its transport, and the line of its offer that its media's keys come by.
async fn went(host: &Host, transport: &str, keys: &str) {
    let record = said(host).await;
    assert!(record["media"]["encryption"].is_string(), "{record}");
    let id = record["call_id"].as_str().unwrap();
    let messages = host.get(&format!("/v1/calls/{id}/sip")).await;
    let invite = &messages["messages"][0];
    assert_eq!(invite["transport"], transport, "{messages}");
    assert!(invite.to_string().contains(keys), "{invite}");
}

/// A call by baresip to this target; it hears the script.
async fn baresip_calls(target: &str, account: &str) {
    let here = ("127.0.0.1", IpAddr::from([127, 0, 0, 1]));
    baresip_calls_from(Command::new("baresip"), here, target, account).await;
}

/// The same by this command, on this interface and address.
async fn baresip_calls_from(mut command: Command, from: (&str, IpAddr), target: &str, account: &str) {
    let folder = tempfile::tempdir().unwrap();
    baresip(&folder, account, from);
    let output = command
        .args(["-f".as_ref(), folder.path().as_os_str()])
        .args(["-e", &format!("/dial {target}"), "-t", "8"])
        .stdin(Stdio::null())
        .output();
    let output = timeout(LONGEST, output).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("Call established"), "{told}");
    let heard = std::fs::read_dir(folder.path()).unwrap().flatten();
    let heard = heard.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with("-dec.wav"));
    assert!(speaks(&read(&heard.expect("a recording of what it heard"))), "baresip heard no speech");
}

#[tokio::test]
async fn baresip_calls_a_script_and_hears_it() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    baresip_calls(&format!("sip:2000@{}", host.sip), "").await;
    said(&host).await;
}

#[tokio::test]
async fn baresip_calls_with_keys_in_the_offer() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    baresip_calls(&format!("sip:2000@{}", host.sip), ";mediaenc=srtp-mand").await;
    went(&host, "udp", "a=crypto:").await;
}

/// A host that takes calls by TLS, too.
async fn with_tls() -> Host {
    let env =
        vec![("CALLBOX_SIP__TLS", "[\"127.0.0.1:0\"]".to_owned()), ("CALLBOX_TLS__SELF_SIGNED", "true".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    host
}

#[tokio::test]
async fn baresip_calls_by_tls_with_keys_in_the_offer() {
    let host = with_tls().await;
    let target = format!("sip:2000@{};transport=tls", host.listener("tls"));
    baresip_calls(&target, ";mediaenc=srtp-mand").await;
    went(&host, "tls", "a=crypto:").await;
}

/// Its offer names an address that cannot be reached; its packets come from another, at ports that the router chose.
#[tokio::test]
async fn baresip_calls_from_behind_a_nat() {
    let Some(net) = Net::new() else { return };
    let Some(inner) = net.behind_nat() else { return };
    let host = Host::start_with(Options { sip: Some(net.near), ..Options::default() }).await;
    host.publish_probe(None).await;
    let target = format!("sip:2000@{}", host.sip);
    baresip_calls_from(inner.command("baresip").into(), ("wan", inner.address), &target, "").await;
    // Its BYE was found, too: the end came by our hand.
    said(&host).await;
}

#[tokio::test]
async fn linphone_calls_a_script_and_hears_it() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    linphone_calls(&host, &format!("sip:2000@{}", host.sip), "").await;
    said(&host).await;
}

#[tokio::test]
async fn linphone_calls_with_keys_in_the_offer() {
    let host = Host::start().await;
    host.publish_probe(None).await;
    let target = format!("sip:2000@{}", host.sip);
    linphone_calls(&host, &target, "media_encryption=srtp\nmedia_encryption_mandatory=1\n").await;
    went(&host, "udp", "a=crypto:").await;
}

/// linphone, with files for its microphone and its loudspeaker.
struct Linphone {
    folder: TempDir,
    process: Child,
    keyboard: ChildStdin,
}

impl Linphone {
    /// Starts one. `settings` are further lines of its configuration; they begin in the section `sip`.
    async fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(".local/share/linphone")).unwrap();
        let at = |name: &str| folder.path().join(name);
        // What it listens on is settled before it starts: one whose port is taken, or that opens its sockets anew while it
        // registers, stays silent for good.
        let rc = format!(
            "[sip]\nsip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-1\nuse_ipv6=0\nipv6_migration_done=1\n\
             register_only_when_network_is_up=0\nverify_server_certs=0\nverify_server_cn=0\n{settings}"
        );
        std::fs::write(at("rc"), rc).unwrap();
        std::fs::write(at("in.wav"), silence()).unwrap();
        let told = std::fs::File::create(at("told")).unwrap();
        let mut process = Command::new("linphonec")
            .args(["-c".as_ref(), at("rc").as_os_str()])
            .args(["-d", "6", "-l"].map(AsRef::as_ref).into_iter().chain([at("log").as_os_str()]))
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(told)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let keyboard = process.stdin.take().unwrap();
        let mut this = Self { folder, process, keyboard };
        this.types("soundcard use files").await;
        this.types(&format!("play {}", this.at("in.wav").display())).await;
        this.types(&format!("record {}", this.at("heard.wav").display())).await;
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Waits until it has said this.
    async fn says(&self, what: &str) {
        eventually(&format!("linphone's word {what:?}"), async || {
            std::fs::read_to_string(self.at("told")).unwrap().contains(what).then_some(())
        })
        .await;
    }

    /// Waits until it is registered: it tells when it is asked.
    async fn is_registered(&mut self) {
        let read = |name| String::from_utf8_lossy(&std::fs::read(self.folder.path().join(name)).unwrap()).into_owned();
        for _ in 0..400 {
            self.keyboard.write_all(b"status register\n").await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            if read("told").contains("registered, identity") {
                return;
            }
        }
        panic!("linphone is not registered: {}", read("log"));
    }

    /// Ends it. It has heard speech.
    async fn heard_speech(mut self) {
        self.types("quit").await;
        timeout(LONGEST, self.process.wait()).await.unwrap().unwrap();
        // The header of its file counts itself among the samples: only they are of interest.
        let file = std::fs::read(self.at("heard.wav")).unwrap();
        let samples = file[44..].chunks_exact(2).map(|sample| i16::from_le_bytes([sample[0], sample[1]]));
        assert!(speaks(&Clip::from_pcm(samples.collect())), "linphone heard no speech");
    }
}

/// A call by linphone to this target, with further settings; it hears the script.
async fn linphone_calls(host: &Host, target: &str, settings: &str) {
    let mut phone = Linphone::start(settings).await;
    phone.types(&format!("call {target}")).await;
    said(host).await;
    phone.heard_speech().await;
}

/// linphone as a telephone of a tenant: it registers, calls a script by its digits, and is called.
#[tokio::test]
async fn linphone_registers_calls_a_script_and_is_called() {
    for transport in ["udp", "tcp"] {
        let host = Host::start().await;
        let script = host.publish_probe(None).await;
        let account = json!({ "username": "ada", "password": "correct horse", "display_name": "Ada" });
        let account = host.post("/v1/sip-accounts", &account).await;
        let address = host.listener(transport);
        let mut phone = Linphone::start(&format!(
            "default_proxy=0\n[proxy_0]\nreg_proxy=<sip:{address};transport={transport}>\n\
             reg_identity=sip:ada@{address}\nreg_expires=600\nreg_sendregister=1\npublish=0\n\
             [auth_info_0]\nusername=ada\npasswd=correct horse\nrealm={}\n",
            account["realm"].as_str().unwrap(),
        ))
        .await;
        phone.is_registered().await;
        phone.types("call 2000").await;
        let record = said(&host).await;
        assert!(record["caller"]["uri"].as_str().unwrap().contains("ada@"), "{record}");

        phone.types("autoanswer enable").await;
        phone.says("Auto answer enabled").await;
        host.post("/v1/calls", &json!({ "to": "sip:ada@callbox", "script_id": script })).await;
        let calls = host.finished_calls(2).await;
        let called = calls.iter().find(|call| call["direction"] == "outbound").unwrap();
        assert_eq!(called["outcome"], "answered", "{called}");
        assert_eq!(called["end_reason"], "script_returned", "{called}");
        phone.heard_speech().await;
    }
}

#[tokio::test]
async fn linphone_calls_by_tls_with_keys_in_the_offer() {
    let host = with_tls().await;
    let target = format!("sip:2000@{};transport=tls", host.listener("tls"));
    linphone_calls(&host, &target, "media_encryption=srtp\nmedia_encryption_mandatory=1\n").await;
    went(&host, "tls", "a=crypto:").await;
}
