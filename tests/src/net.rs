//! Networks of their own: a namespace with a clean link to this machine, and a bad one beside it, or a NAT between.
//! They need root, and a kernel with namespaces; without them [`Net::new`] says so and the test is left out.

use crate::root;
use std::io::{BufRead as _, BufReader};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

/// A namespace, with a link of which this machine has the other end.
#[derive(Debug)]
pub struct Net {
    /// Its name, for `ip netns exec`.
    pub name: String,
    /// This machine's address on the link.
    pub near: IpAddr,
    /// The address inside.
    pub far: IpAddr,
    number: u8,
    line: Option<Line>,
}

/// How bad a line is.
#[derive(Clone, Copy, Debug)]
pub struct Bad {
    /// Milliseconds that each packet takes.
    pub delay_ms: u32,
    /// Up to so many more, each packet for itself: so they overtake each other.
    pub jitter_ms: u32,
    /// Percent that never arrive, each way.
    pub loss: u32,
}

/// A bad line: its addresses.
#[derive(Debug)]
struct Line {
    program: Option<Child>,
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

impl Net {
    /// A namespace, or nothing where this machine gives none.
    #[must_use]
    #[allow(clippy::print_stderr, reason = "a test that is left out says why")]
    pub fn new() -> Option<Self> {
        let first = u8::try_from(std::process::id() % 200).unwrap();
        let mut last = String::new();
        for number in (first..250).chain(0..first) {
            // The name of the link is free, or somebody else has it: so no two tests have one number.
            match ip(&format!("link add cbl{number} type veth peer name cbr{number}")) {
                Ok(()) => return Some(Self::set_up(number)),
                Err(why) if why.contains("exists") => last = why,
                Err(why) => {
                    last = why;
                    break;
                }
            }
        }
        eprintln!("left out: this machine gives no network namespaces: {last}");
        None
    }

    fn set_up(number: u8) -> Self {
        let name = format!("callbox{number}");
        // Somebody who was killed may have left his.
        let _ = ip(&format!("netns del {name}"));
        let this = Self {
            near: [10, 231, number, 1].into(),
            far: [10, 231, number, 2].into(),
            number,
            line: None,
            name: name.clone(),
        };
        for step in [
            format!("netns add {name}"),
            format!("link set cbr{number} netns {name}"),
            format!("addr add {}/30 dev cbl{number}", this.near),
            format!("link set cbl{number} up"),
            format!("-n {name} addr add {}/30 dev cbr{number}", this.far),
            format!("-n {name} link set cbr{number} up"),
            format!("-n {name} link set lo up"),
        ] {
            ip(&step).unwrap();
        }
        this
    }

    /// A program inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// A second link beside the first one.
    fn second_link(&self, near: IpAddr, far: IpAddr) {
        let (number, name) = (self.number, &self.name);
        for step in [
            format!("link add cbm{number} type veth peer name cbs{number}"),
            format!("link set cbs{number} netns {name}"),
            format!("addr add {near}/30 dev cbm{number}"),
            format!("link set cbm{number} up"),
            format!("-n {name} addr add {far}/30 dev cbs{number}"),
            format!("-n {name} link set cbs{number} up"),
        ] {
            ip(&step).unwrap();
        }
    }

    /// This machine changes to another network, as a telephone that leaves the house: the link is gone, and the address
    /// inside is reached by another one, from another address.
    pub fn change(&self) {
        let (near, far): (IpAddr, IpAddr) = ([10, 232, self.number, 1].into(), [10, 232, self.number, 2].into());
        self.second_link(near, far);
        ip(&format!("link set cbl{} down", self.number)).unwrap();
        ip(&format!("route add {}/32 via {far} src {near}", self.far)).unwrap();
    }

    /// A bad line beside the clean link: this machine's address on it, and the one inside. Made by `tc netem` where the
    /// kernel has it, else by a program that carries the packets.
    pub fn bad_line(&mut self, bad: Bad) -> (IpAddr, IpAddr) {
        let (number, name) = (self.number, &self.name);
        let (near, far): (IpAddr, IpAddr) = ([10, 232, number, 1].into(), [10, 232, number, 2].into());
        let Bad { delay_ms, jitter_ms, loss } = bad;
        self.second_link(near, far);
        // Half of the variation to either side of the middle; a random one for each packet changes their order.
        let half = f64::from(jitter_ms) / 2.0;
        let middle = f64::from(delay_ms) + half;
        let netem = format!("root netem delay {middle}ms {half}ms loss {loss}%");
        let bends = |before: &[&str], device: String| {
            let mut command = Command::new("tc");
            command.args(before).args(["qdisc", "add", "dev", &device]).args(netem.split(' '));
            command.output().is_ok_and(|output| output.status.success())
        };
        if bends(&[], format!("cbm{number}")) && bends(&["-n", name], format!("cbs{number}")) {
            self.line = Some(Line { program: None });
            return (near, far);
        }
        ip(&format!("link del cbm{number}")).unwrap();
        let mut program = Command::new("python3")
            .arg(root().join("tests/proxy/line.py"))
            .args([name.clone(), format!("cbm{number}"), near.to_string(), far.to_string()])
            .args([delay_ms, jitter_ms, loss, 1].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the bad line did not start");
        self.line = Some(Line { program: Some(program) });
        (near, far)
    }
}

/// A namespace behind a router that gives everything its own address, as homes and offices have it.
#[derive(Debug)]
pub struct BehindNat {
    /// Its name.
    pub name: String,
    /// The private address inside.
    pub address: IpAddr,
}

impl BehindNat {
    /// A program inside.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Net {
    /// Makes the namespace a router with a NAT, and a further one behind it. Nothing where the kernel has no NAT.
    #[must_use]
    #[allow(clippy::print_stderr, reason = "a test that is left out says why")]
    pub fn behind_nat(&self) -> Option<BehindNat> {
        let (number, router) = (self.number, &self.name);
        let inner = BehindNat { name: format!("callboxin{number}"), address: [192, 168, 77, 2].into() };
        let name = &inner.name;
        let _ = ip(&format!("netns del {name}"));
        for step in [
            format!("netns add {name}"),
            format!("-n {router} link add lan type veth peer name wan netns {name}"),
            format!("-n {router} addr add 192.168.77.1/24 dev lan"),
            format!("-n {router} link set lan up"),
            format!("-n {name} addr add {}/24 dev wan", inner.address),
            format!("-n {name} link set wan up"),
            format!("-n {name} link set lo up"),
            format!("-n {name} route add default via 192.168.77.1"),
        ] {
            ip(&step).unwrap();
        }
        let rules = format!(
            "table ip nat {{ chain out {{ type nat hook postrouting priority 100; oifname \"cbr{number}\" masquerade random; }} }}"
        );
        for (program, arguments) in [("sysctl", "-qw net.ipv4.ip_forward=1"), ("nft", rules.as_str())] {
            let mut command = self.command(program);
            match program {
                "nft" => command.arg(arguments),
                _ => command.args(arguments.split(' ')),
            };
            let output = command.output().unwrap();
            if !output.status.success() {
                eprintln!("left out: no NAT: {program}: {}", String::from_utf8_lossy(&output.stderr));
                return None;
            }
        }
        Some(inner)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(mut program) = self.line.take().and_then(|line| line.program) {
            // Its standard input ends, and so does it.
            drop(program.stdin.take());
            let _ = program.wait();
        }
        for device in ["cbl", "cbm"] {
            let _ = ip(&format!("link del {device}{}", self.number));
        }
        let _ = ip(&format!("netns del {}", self.name));
        // There only where something was behind a NAT.
        let _ = ip(&format!("netns del callboxin{}", self.number));
    }
}
