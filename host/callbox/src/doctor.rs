//! `callbox doctor`: whether this machine can run a host, and what to do where it
//! cannot.

use crate::config::Config;
use crate::serve::{ServeArgs, writable};
use crate::{speech, webrtc};
use miette::IntoDiagnostic;
use std::fmt::Display;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::ExitCode;

/// Memory maps that one script instance takes, about.
const MAPS_PER_CALL: u64 = 8;
/// File descriptors of one call: RTP and RTCP.
const FILES_PER_CALL: u64 = 2;
/// File descriptors of everything else.
const FILES: u64 = 200;

/// What came of one check.
enum Verdict {
    Good(String),
    /// Works, but not as well as it could.
    Poor(String, String),
    /// Does not work.
    Bad(String, String),
}

/// Checks everything; 1 when something does not work.
pub(crate) async fn run(args: ServeArgs) -> miette::Result<ExitCode> {
    let config = args.load()?;
    let mut out = std::io::stdout().lock();
    let mut broken = false;
    for (what, verdict) in [
        ("data folder", data_folder(&config)),
        ("database", database(&config).await),
        ("API port", api_port(&config)),
        ("SIP ports", sip_ports(&config)),
        ("RTP ports", rtp_ports(&config)),
        ("WebRTC", browsers(&config)),
        ("open files", open_files(&config)),
        ("memory maps", memory_maps(&config)),
        ("voice", voices(&config).await),
        ("ear", ears(&config).await),
        ("script compiler", compiler()),
    ] {
        let (mark, text, help) = match verdict {
            Verdict::Good(text) => ("ok  ", text, None),
            Verdict::Poor(text, help) => ("poor", text, Some(help)),
            Verdict::Bad(text, help) => {
                broken = true;
                ("BAD ", text, Some(help))
            }
        };
        writeln!(out, "{mark}  {what:<16} {text}").into_diagnostic()?;
        if let Some(help) = help {
            writeln!(out, "                        {help}").into_diagnostic()?;
        }
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn data_folder(config: &Config) -> Verdict {
    let folder = &config.data_dir;
    match writable(folder) {
        Ok(()) => Verdict::Good(folder.display().to_string()),
        Err(error) => bad(
            format!("{}: {error}", folder.display()),
            "choose another with --data-dir, or give this user the right to write there",
        ),
    }
}

async fn database(config: &Config) -> Verdict {
    match callbox_store::probe(&config.store_url()).await {
        Ok(text) => Verdict::Good(text),
        Err(error) => bad(error, "store.url says where it is; docs/operations.md has what a PostgreSQL needs"),
    }
}

fn api_port(config: &Config) -> Verdict {
    match TcpListener::bind(config.http.bind) {
        Ok(_) => Verdict::Good(config.http.bind.to_string()),
        Err(error) => bad(format!("{}: {error}", config.http.bind), "choose another with --http, or stop what uses it"),
    }
}

fn sip_ports(config: &Config) -> Verdict {
    let taken = |address: &SocketAddr, error: std::io::Error| {
        bad(format!("{address}: {error}"), "choose another with --sip, or stop what uses it")
    };
    for address in &config.sip.udp {
        if let Err(error) = UdpSocket::bind(address) {
            return taken(address, error);
        }
    }
    let sip = &config.sip;
    let mut all: Vec<String> = sip.udp.iter().map(|address| format!("udp {address}")).collect();
    for (name, addresses) in [("tcp", &sip.tcp), ("tls", &sip.tls), ("ws", &sip.ws), ("wss", &sip.wss)] {
        for address in addresses {
            if let Err(error) = TcpListener::bind(address) {
                return taken(address, error);
            }
            all.push(format!("{name} {address}"));
        }
    }
    Verdict::Good(all.join(", "))
}

fn rtp_ports(config: &Config) -> Verdict {
    let (first, last) = (config.media.first_port, config.media.last_port);
    let calls = u32::from(last - first).div_ceil(2);
    let text = format!("{first}-{last}: {calls} calls");
    if let Some((low, high)) = ephemeral_ports()
        && first <= high
        && last >= low
    {
        let help = format!("the kernel takes ports {low}-{high} for itself: keep the range outside of them");
        return Verdict::Poor(text, help);
    }
    if calls < config.calls.max {
        return Verdict::Poor(text, format!("calls.max is {}: more calls than ports", config.calls.max));
    }
    Verdict::Good(text)
}

fn browsers(config: &Config) -> Verdict {
    if !config.webrtc.enabled {
        return Verdict::Good("off".into());
    }
    let (udp, tcp) = webrtc::listeners(config);
    let taken = |what: &str, address: &SocketAddr, error: std::io::Error| {
        bad(format!("{what} {address}: {error}"), "choose another with webrtc.port, or webrtc.enabled = false")
    };
    for address in &udp {
        if let Err(error) = UdpSocket::bind(address) {
            return taken("udp", address, error);
        }
    }
    for address in &tcp {
        if let Err(error) = TcpListener::bind(address) {
            return taken("tcp", address, error);
        }
    }
    let told = webrtc::advertised(config);
    let names: Vec<String> = told.iter().map(ToString::to_string).collect();
    let port = udp.first().map_or(0, SocketAddr::port);
    let text = format!("port {port}, browsers are told {}", names.join(", "));
    if told.iter().all(IpAddr::is_loopback) {
        return Verdict::Poor(
            text,
            "only browsers on this machine find it: webrtc.advertise says where others do".into(),
        );
    }
    if config.webrtc.turn.urls.is_empty() != config.webrtc.turn.secret.is_none() {
        return Verdict::Poor(text, "webrtc.turn needs both urls and secret, unless the servers ask nobody".into());
    }
    Verdict::Good(text)
}

fn ephemeral_ports() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(str::parse);
    Some((ports.next()?.ok()?, ports.next()?.ok()?))
}

fn open_files(config: &Config) -> Verdict {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let need = u64::from(config.calls.max) * FILES_PER_CALL + FILES;
    match limit {
        Some(limit) if limit < need => {
            let calls = limit.saturating_sub(FILES) / FILES_PER_CALL;
            let help =
                format!("enough for {calls} calls; raise the limit (LimitNOFILE=, ulimit -Hn), or lower calls.max");
            Verdict::Poor(format!("{limit} allowed, {need} needed for {} calls", config.calls.max), help)
        }
        Some(limit) => Verdict::Good(format!("{limit} allowed")),
        None => Verdict::Good("no limit".into()),
    }
}

fn memory_maps(config: &Config) -> Verdict {
    let Some(limit) =
        std::fs::read_to_string("/proc/sys/vm/max_map_count").ok().and_then(|t| t.trim().parse::<u64>().ok())
    else {
        return Verdict::Poor(
            "vm.max_map_count cannot be read".into(),
            "fine where the system has no such limit".into(),
        );
    };
    let need = u64::from(config.calls.max) * MAPS_PER_CALL;
    if limit < need {
        let help = format!("enough for about {} calls; sysctl -w vm.max_map_count=1048576", limit / MAPS_PER_CALL);
        return Verdict::Poor(format!("vm.max_map_count is {limit}"), help);
    }
    Verdict::Good(format!("vm.max_map_count is {limit}"))
}

async fn voices(config: &Config) -> Verdict {
    let checked = match speech::voices(config) {
        Ok(speech) => speech.check().await,
        Err(error) => return bad(error, "speech.synthesisers names the voices"),
    };
    let told: Vec<String> = checked
        .iter()
        .map(|(name, checked)| match checked {
            Ok(version) => format!("{name} {version}"),
            Err(error) => format!("{name}: {error}"),
        })
        .collect();
    let broken = checked.iter().filter(|(_, checked)| checked.is_err()).count();
    let told = told.join("; ");
    match broken {
        0 => Verdict::Good(told),
        all if all == checked.len() => bad(told, "prompts need one that works: apt-get install espeak-ng"),
        _ => Verdict::Poor(told, "another voice steps in for one that does not work".to_owned()),
    }
}

async fn ears(config: &Config) -> Verdict {
    let checked = match speech::ears(config) {
        Ok(ears) => ears.check().await,
        Err(error) => return bad(error, "speech.recognisers names the recognisers"),
    };
    if checked.is_empty() {
        return Verdict::Poor("none".into(), "callers are understood by their keys only: speech.recognisers".into());
    }
    let told: Vec<String> = checked
        .iter()
        .map(|(name, checked)| match checked {
            Ok(info) => format!("{name} {}", info.version),
            Err(error) => format!("{name}: {error}"),
        })
        .collect();
    let told = told.join("; ");
    if checked.iter().all(|(_, checked)| checked.is_ok()) {
        Verdict::Good(told)
    } else {
        Verdict::Poor(told, "another recogniser steps in for one that does not work, if there is one".into())
    }
}

fn compiler() -> Verdict {
    match std::env::current_exe() {
        Ok(path) => Verdict::Good(format!("{} compile-worker", path.display())),
        Err(error) => bad(format!("this program does not know where it is: {error}"), "start it by its full path"),
    }
}

fn bad(text: impl Display, help: &str) -> Verdict {
    Verdict::Bad(text.to_string(), help.to_owned())
}
