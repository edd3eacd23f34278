//! Attackers that others wrote, and floods of our own, at a host with a good call: nothing is found, nothing is told,
//! nobody else is hurt.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use callbox_tests::{Bystander, Host, Net, Options, SOON, peer, raw};
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::time::timeout;

/// Attackers come from an address of their own: the machine's usual one is trusted.
const ATTACKER: &str = "127.0.0.66";

/// Runs a tool of SIPVicious in a network of its own, to its end; what it said.
async fn sipvicious(net: &Net, tool: &str, sip: SocketAddr, flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command: Command = net.command(tool).into();
    command
        .args(["-v", "-x", &net.far.to_string(), "-p", &sip.port().to_string()])
        .args(flags)
        .arg(sip.ip().to_string())
        // It keeps its finds there.
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(3 * SOON, command.output()).await.expect("it ends in time").expect("SIPVicious is installed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

#[tokio::test]
async fn sipvicious_finds_nothing_and_hears_nothing() {
    let Some(net) = Net::new() else { return };
    let good = Bystander::with(Options { sip: Some(net.near), ..Options::default() }).await;
    let sip = good.host.sip;
    let passwords = good.host.data.join("passwords.txt");
    std::fs::write(&passwords, (0..500).map(|n| format!("secret{n}\n")).collect::<String>()).unwrap();
    let passwords = passwords.to_str().unwrap();
    for (tool, flags) in [
        ("svwar", &["--force", "-m", "INVITE", "-e", "1990-2010", "--maximumtime", "3"][..]),
        ("svwar", &["--force", "-e", "1990-2010", "--maximumtime", "3"]),
        ("svwar", &["--force", "-m", "OPTIONS", "-e", "1990-2010", "--maximumtime", "3"]),
        ("svmap", &["--fromname", "reception"]),
        ("svmap", &["-m", "INVITE"]),
        ("svcrack", &["-u", "2000", "-d", passwords, "--maximumtime", "3"]),
    ] {
        let said = sipvicious(&net, tool, sip, flags).await;
        // No number, no server, no product.
        let address = format!("{sip} |");
        for find in ["Callbox", "| 2000", "exists", "SIP device found", address.as_str()] {
            assert!(!said.contains(find), "{tool} {flags:?}: {said}");
        }
    }
    let calls = good.host.get("/v1/calls").await;
    assert_eq!(calls["data"].as_array().unwrap().len(), 1, "only the good one: {calls}");
    let host = good.ends_well().await;
    assert_eq!(spoken_of(&host.log(), &net.far.to_string()), 1, "one line in a minute, however many packets");
}

/// Lines of log about an attacker.
fn spoken_of(log: &str, attacker: &str) -> usize {
    log.lines().filter(|line| line.contains("WARN") && line.contains(attacker)).count()
}

#[tokio::test]
async fn who_tries_one_number_after_the_other_is_left_without_answers() {
    let good = Bystander::new().await;
    let to = good.host.sip;
    let socket = UdpSocket::bind((ATTACKER, 0)).await.unwrap();
    let from = socket.local_addr().unwrap();
    let mut packet = [0; 4_096];
    let mut unknown = 0;
    for number in 3_000..3_060 {
        let name = format!("probe{number}");
        socket.send_to(raw::invite(to, &number.to_string(), from, &name).as_bytes(), to).await.unwrap();
        // 100 and 404; no silence is waited for in vain.
        while let Ok(Ok((length, _))) = timeout(Duration::from_secs(1), socket.recv_from(&mut packet)).await {
            let answer = String::from_utf8_lossy(&packet[..length]).into_owned();
            if answer.contains(&name) && answer.starts_with("SIP/2.0 404") {
                unknown += 1;
                break;
            }
        }
        if unknown >= 20 && number > 3_030 {
            break;
        }
    }
    assert!((20..=25).contains(&unknown), "{unknown} numbers were told to be unknown");
    // The number that exists is not told any more either.
    socket.send_to(raw::invite(to, "2000", from, "real").as_bytes(), to).await.unwrap();
    assert!(raw::is_alive(to, "others").await);
    while let Ok((length, _)) = socket.try_recv_from(&mut packet) {
        assert!(!String::from_utf8_lossy(&packet[..length]).contains("real@raw"), "the attacker was answered");
    }
    let host = good.ends_well().await;
    assert_eq!(spoken_of(&host.log(), ATTACKER), 1);
}

/// A request of a flood.
fn request(method: &str, n: usize, to: SocketAddr, from: SocketAddr, tag: &str) -> Vec<u8> {
    format!(
        "{method} sip:2000@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKf{n};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:f@b>;tag=1\r\nTo: <sip:2000@{to}>{tag}\r\nCall-ID: f{n}@raw\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:f@{from}>\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn floods_of_everything_leave_the_good_call_and_new_ones_alone() {
    // Forged calls may have a quarter of the room.
    let env = vec![("CALLBOX_CALLS__MAX", "200".to_owned())];
    let good = Bystander::with(Options { env, ..Options::default() }).await;
    let to = good.host.sip;
    // One source that sends all it can, and a crowd of which each sends a little.
    let mut sockets = vec![UdpSocket::bind((ATTACKER, 0)).await.unwrap()];
    for n in 0..40_u8 {
        sockets.push(UdpSocket::bind((IpAddr::from([127, 0, 1, n + 1]), 0)).await.unwrap());
    }
    let mut dice = raw::Dice::new(5);
    let mut packet = [0; 4_096];
    let mut answers = 0_usize;
    for n in 0..60_000 {
        let socket = if n % 2 == 0 { &sockets[0] } else { &sockets[n / 2 % sockets.len()] };
        let from = socket.local_addr().unwrap();
        let bytes = match n / 40 % 7 {
            0 => raw::invite(to, "2000", from, &format!("f{n}")).into_bytes(),
            1 => request("REGISTER", n, to, from, ""),
            2 => request("OPTIONS", n, to, from, ""),
            3 => request("CANCEL", n, to, from, ""),
            4 => request("BYE", n, to, from, ";tag=2"),
            5 => format!(
                "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {to};branch=z9hG4bK{n}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\n\
                 Call-ID: {n}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
            )
            .into_bytes(),
            _ => {
                let length = dice.roll(1_000);
                dice.bytes(length)
            }
        };
        let _ = socket.send_to(&bytes, to).await;
        while socket.try_recv_from(&mut packet).is_ok() {
            answers += usize::from(socket.local_addr().unwrap().ip().to_string() == ATTACKER);
        }
        if n % 2_000 == 0 {
            // In step with the host; and somebody else is answered all the time.
            assert!(raw::is_alive(to, &format!("alive{n}")).await);
        }
    }
    // 200 a second at most, before it was blocked for what cannot be read.
    assert!(answers < 5_000, "the flood was answered {answers} times");
    let health = good.host.get("/healthz").await;
    assert!(health["calls"].as_u64().unwrap() <= 51, "{health}");
    let phone = callbox_tests::Phone::new().await;
    let mut second = phone.dial_probe(&good.host, "hello", &[]).await;
    assert!(second.over().await.by_host);
    drop(sockets);
    let host = good.ends_well().await;
    let lines = spoken_of(&host.log(), ATTACKER);
    assert!(lines <= 2, "{lines} lines of log");
}

/// Three times the calls that it has room for: exactly those are served, whole, and the others refused at once.
#[tokio::test]
async fn above_its_room_a_host_refuses_and_serves_what_it_took() {
    let env = vec![("CALLBOX_CALLS__MAX", "20".to_owned())];
    let host = Host::start_with(Options { env, ..Options::default() }).await;
    host.publish_probe(None).await;
    peer::sipp(&host, "overload", "2000", 60, &["-r", "60", "-l", "60"]).await;
    let calls = host.finished_calls(20).await;
    assert_eq!(calls.len(), 20, "{calls:?}");
    assert!(calls.iter().all(|call| call["end_reason"] == "script_returned"), "{calls:?}");
    // There is room again.
    peer::sipp(&host, "basic", "2000", 1, &[]).await;
    host.finished_calls(21).await;
}
