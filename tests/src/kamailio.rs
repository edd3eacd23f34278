//! Kamailio in front of a host, and rtpengine beside it.

use crate::peer::free_port;
use crate::{SOON, eventually, raw};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// A program of several processes, all of which end with it.
#[derive(Debug)]
struct Daemon {
    child: std::process::Child,
}

impl Daemon {
    fn start(command: &mut Command, log: &Path) -> Self {
        use std::os::unix::process::CommandExt as _;
        let log = std::fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: run tools/setup test"));
        Self { child }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let signal = |name: &str| Command::new("kill").args([name, "--", &group]).stderr(Stdio::null()).status();
        let _ = signal("-TERM");
        for _ in 0..100 {
            if let Ok(Some(_)) = self.child.try_wait() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Whatever of it is left.
        let _ = signal("-KILL");
        let _ = self.child.wait();
    }
}

/// rtpengine: relays media, encrypts and transcodes it.
#[derive(Debug)]
pub struct Rtpengine {
    control: SocketAddr,
    folder: TempDir,
    _daemon: Daemon,
}

impl Rtpengine {
    /// Starts one in user space on 127.0.0.1.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        // Above what the kernel hands out, each one elsewhere.
        let first = 61_000 + free_port() % 70 * 60;
        let mut command = Command::new("rtpengine");
        command
            .args([
                "--config-file=none",
                "--foreground",
                "--log-stderr",
                "--log-level=5",
                "--table=-1",
                "--num-threads=2",
            ])
            .args(["--interface=127.0.0.1".to_owned(), format!("--listen-ng={control}")])
            .args([format!("--port-min={first}"), format!("--port-max={}", first + 59)])
            .arg(format!("--pidfile={}", folder.path().join("pid").display()));
        let log = folder.path().join("log");
        let daemon = Daemon::start(&mut command, &log);
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let begun = Instant::now();
        loop {
            let _ = socket.send_to(b"1 d7:command4:pinge", control).await;
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(200), socket.recv(&mut [0; 100])).await {
                return Self { control, folder, _daemon: daemon };
            }
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(begun.elapsed() < SOON, "rtpengine did not start: {}", log());
            // A port of nobody refuses at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// What a Kamailio is to do.
#[derive(Clone, Debug, Default)]
pub struct Proxying {
    /// How it reaches the host: `127.0.0.1:5060;transport=tcp`.
    pub host: String,
    /// Where calls go that are for nobody of the host.
    pub phone: Option<SocketAddr>,
    /// Its certificate and key, PEM, where it speaks TLS.
    pub identity: Option<(String, String)>,
    /// Where media goes through: rtpengine, and what it makes of offers and of answers to calls that come in.
    pub media: Option<(SocketAddr, &'static str, &'static str)>,
}

impl Rtpengine {
    /// Media of a proxy goes through it, changed like this.
    #[must_use]
    pub fn with(&self, offer: &'static str, answer: &'static str) -> Option<(SocketAddr, &'static str, &'static str)> {
        Some((self.control, offer, answer))
    }
}

/// A running Kamailio.
#[derive(Debug)]
pub struct Kamailio {
    /// Where it takes SIP, by UDP and TCP.
    pub address: SocketAddr,
    /// Where it takes SIP by TLS.
    pub tls: SocketAddr,
    folder: TempDir,
    /// Where `kamcmd` reaches it.
    control: PathBuf,
    _daemon: Daemon,
}

impl Kamailio {
    /// Starts `examples/kamailio-two-hosts` as it is: only the addresses are ours. The proxy's must be of this test alone.
    pub async fn example(address: SocketAddr, hosts: [SocketAddr; 2]) -> Self {
        let example = crate::root().join("examples/kamailio-two-hosts");
        let folder = tempfile::tempdir().unwrap();
        let mut list = std::fs::read_to_string(example.join("dispatcher.list")).unwrap();
        for (documented, host) in ["10.0.0.11:5060", "10.0.0.12:5060"].into_iter().zip(hosts) {
            assert!(list.contains(documented), "{list}");
            list = list.replace(documented, &host.to_string());
        }
        let hosts = folder.path().join("dispatcher.list");
        std::fs::write(&hosts, list).unwrap();
        let mut command = Command::new("kamailio");
        command
            .args(["-A", &format!("LISTEN=udp:{address}"), "-A", &format!("LISTEN_TCP=tcp:{address}")])
            .args(["-A", &format!("HOSTS=\"{}\"", hosts.display())])
            .arg("-f")
            .arg(example.join("kamailio.cfg"));
        let control = folder.path().join("kamailio_ctl");
        let started = Self::run(command, folder, control, address, address).await;
        started.expect("nobody else has its address")
    }

    /// Starts one, with `tests/proxy/kamailio.cfg`.
    pub async fn start(proxying: &Proxying) -> Self {
        // A port that was free may be somebody's by the time it is bound.
        for _ in 0..5 {
            if let Some(started) = Self::start_on_free_ports(proxying).await {
                return started;
            }
        }
        panic!("Kamailio did not start: five times others took its ports");
    }

    /// None where somebody else took one of its ports meanwhile.
    async fn start_on_free_ports(proxying: &Proxying) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (address, tls): (SocketAddr, SocketAddr) =
            (([127, 0, 0, 1], free_port()).into(), ([127, 0, 0, 1], free_port()).into());
        let template = std::fs::read_to_string(crate::root().join("tests/proxy/kamailio.cfg")).unwrap();
        let only = |wanted: bool| if wanted { "" } else { "#" };
        let (media, offer, answer) = proxying
            .media
            .map_or((String::new(), "", ""), |(address, offer, answer)| (address.to_string(), offer, answer));
        let mut config = template;
        for (word, value) in [
            ("@TLS_ONLY@", only(proxying.identity.is_some()).to_owned()),
            ("@MEDIA_ONLY@", only(proxying.media.is_some()).to_owned()),
            ("@PORT@", address.port().to_string()),
            ("@TLS_PORT@", tls.port().to_string()),
            ("@FOLDER@", folder.path().display().to_string()),
            ("@PHONE@", proxying.phone.map_or_else(|| "127.0.0.1:9".to_owned(), |phone| phone.to_string())),
            ("@MEDIA@", media),
            ("@OFFER@", offer.to_owned()),
            ("@ANSWER@", answer.to_owned()),
        ] {
            config = config.replace(word, &value);
        }
        let path = folder.path();
        std::fs::write(path.join("kamailio.cfg"), config).unwrap();
        std::fs::write(path.join("hosts"), format!("1 sip:{}\n", proxying.host)).unwrap();
        if let Some((certificate, key)) = &proxying.identity {
            std::fs::write(path.join("cert.pem"), certificate).unwrap();
            std::fs::write(path.join("key.pem"), key).unwrap();
            let profile = |name: &str| {
                format!(
                    "[{name}:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n\
                     private_key = {0}/key.pem\ncertificate = {0}/cert.pem\n",
                    path.display()
                )
            };
            std::fs::write(path.join("tls.cfg"), profile("server") + &profile("client")).unwrap();
        }
        let mut command = Command::new("kamailio");
        command.arg("-f").arg(path.join("kamailio.cfg"));
        let control = path.join("ctl");
        Self::run(command, folder, control, address, tls).await
    }

    /// Starts it with this file; none where somebody else has one of its ports.
    async fn run(
        mut command: Command,
        folder: TempDir,
        control: PathBuf,
        address: SocketAddr,
        tls: SocketAddr,
    ) -> Option<Self> {
        let log = folder.path().join("log");
        // In the foreground, without a pid file, with little memory.
        command.args(["-DD", "-E", "-m", "32", "-M", "4"]).args(["-Y".as_ref(), folder.path().as_os_str()]);
        let mut daemon = Daemon::start(&mut command, &log);
        let begun = Instant::now();
        // Its listener is there before its workers are.
        while std::net::UdpSocket::bind(address).is_ok() {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            if daemon.child.try_wait().unwrap().is_some() {
                assert!(log().contains("Address already in use"), "Kamailio did not start: {}", log());
                return None;
            }
            assert!(begun.elapsed() < SOON, "Kamailio did not listen: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(raw::is_alive(address, "kamailio").await);
        Some(Self { address, tls, folder, control, _daemon: daemon })
    }

    /// What it said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks it something by `kamcmd`.
    #[must_use]
    pub fn ask(&self, arguments: &[&str]) -> String {
        let socket = format!("unix:{}", self.control.display());
        let output = Command::new("kamcmd").args(["-s", &socket]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits until its pings say that the host is up, or is not.
    pub async fn sees_host(&self, up: bool) {
        // Active or inactive, and probed.
        let flags = if up { "FLAGS: AP" } else { "FLAGS: IP" };
        eventually(&format!("{flags} in {}", self.ask(&["dispatcher.list"])), async || {
            self.ask(&["dispatcher.list"]).contains(flags).then_some(())
        })
        .await;
    }

    /// Waits until its pings say that this one of several hosts is up, or is not.
    pub async fn sees(&self, host: SocketAddr, up: bool) {
        let (uri, flags) = (format!("URI: sip:{host}"), if up { "FLAGS: AP" } else { "FLAGS: IP" });
        eventually(&format!("{uri} with {flags}"), async || {
            let list = self.ask(&["dispatcher.list"]);
            let mut lines = list.lines().map(str::trim).skip_while(|line| *line != uri);
            lines.nth(1).filter(|line| *line == flags).map(drop)
        })
        .await;
    }
}
