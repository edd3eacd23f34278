//! A PostgreSQL of a test's own: on a free port, in a temporary folder, without care for power cuts. It ends with the
//! process that started it, also where that panics or is killed: a shell keeps it (`keeper.sh`) and notices that nobody
//! holds its stdin any more.
//!
//! [`shared`] is one for all tests of a process, each with a [`Database`] of its own; [`Postgres::start`] makes one that a
//! test can take away from its clients.

#![allow(clippy::unwrap_used, reason = "only tests use it, and they may panic")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The superuser of the server: no password, from this machine only.
const USER: &str = "callbox";

/// A conversation with a program, line by line.
struct Talk {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Talk {
    fn with(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    /// Says something, and what is said to it.
    fn ask(&mut self, words: &str) -> String {
        writeln!(self.to, "{words}").unwrap();
        let mut answer = String::new();
        let read = self.from.read_line(&mut answer).unwrap();
        assert!(read > 0, "it ended without an answer to {words:?}: its stderr says why");
        answer.trim_end().to_owned()
    }
}

/// A running server.
pub struct Postgres {
    keeper: Mutex<Talk>,
    /// `psql`, connected as the superuser; made when it is first needed.
    console: Mutex<Option<Talk>>,
    bin: PathBuf,
    port: u16,
    /// `durable`, where a commit is flushed to the disk.
    care: &'static str,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("port", &self.port).finish_non_exhaustive()
    }
}

/// The one of this process, started at the first call.
///
/// # Panics
/// Where PostgreSQL is not installed: `tools/setup test` does that.
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(Postgres::start)
}

/// A database on the server of this process, gone with its owner.
#[derive(Debug)]
pub struct Database(String);

impl Database {
    /// An empty one.
    #[must_use]
    pub fn empty() -> Self {
        Self::made("")
    }

    /// A copy of one that nobody uses meanwhile.
    #[must_use]
    pub fn copy_of(template: &str) -> Self {
        Self::made(&format!("TEMPLATE {template}"))
    }

    fn made(how: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("house_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        shared().run(&format!("CREATE DATABASE {name} {how}"));
        Self(name)
    }

    /// What the server calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        shared().url(&self.0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test that failed says why itself.
        if !std::thread::panicking() {
            shared().run(&format!("DROP DATABASE {} WITH (FORCE)", self.0));
        }
    }
}

/// Where Debian has the server's programs, the newest version's; elsewhere they are in the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    if let Some(newest) = newest {
        return newest.path().join("bin");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).find(|folder| folder.join("pg_ctl").is_file());
    found.unwrap_or_else(|| panic!("PostgreSQL is not installed: tools/setup test installs it"))
}

/// The user `postgres`, as whom a server runs that root starts.
fn user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let line = line.unwrap_or_else(|| panic!("root needs the user postgres to run a server as"));
    let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
    Some((ids.next().unwrap(), ids.next().unwrap()))
}

impl Postgres {
    /// Starts one.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one that flushes what it commits to the disk, as one does that is meant in earnest: to measure with.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start_durable() -> Self {
        Self::start_with("durable")
    }

    fn start_with(care: &'static str) -> Self {
        let bin = programs();
        let mut command = Command::new("sh");
        command.args(["-c", include_str!("keeper.sh"), "keeper"]).arg(&bin).current_dir("/");
        // Whoever interrupts the tests reaches the keeper by its stdin, after they have ended.
        command.process_group(0);
        if let Some((user, group)) = user() {
            command.uid(user).gid(group);
        }
        let mut keeper = Talk::with(&mut command);
        // Another program may take a port between finding and binding it.
        for _ in 0..20 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            if keeper.ask(&format!("start {port} {care}")) == "started" {
                return Self { keeper: Mutex::new(keeper), console: Mutex::new(None), bin, port, care };
            }
        }
        panic!("PostgreSQL does not start: its log is above");
    }

    /// The URL of a database of it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Runs statements as the superuser; what they print, line by line.
    ///
    /// # Panics
    /// Where one fails.
    pub fn run(&self, sql: &str) -> Vec<String> {
        let mut console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        let console = console.get_or_insert_with(|| {
            let mut command = Command::new(self.bin.join("psql"));
            command.args(["-XqAt", "-v", "ON_ERROR_STOP=1"]).arg(self.url("postgres"));
            Talk::with(command.current_dir("/").process_group(0))
        });
        let mut line = console.ask(&format!("{sql};\n\\echo done"));
        let mut printed = Vec::new();
        while line != "done" {
            printed.push(line);
            line = String::new();
            assert!(console.from.read_line(&mut line).unwrap() > 0, "{sql}: psql's stderr says why it failed");
            line.truncate(line.trim_end().len());
        }
        printed
    }

    /// Takes the server away from everybody, at once.
    pub fn stop(&self) {
        // It is connected to what ends now.
        if let Some(mut console) = self.console.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = console.child.kill();
            let _ = console.child.wait();
        }
        assert_eq!(self.keeper.lock().unwrap_or_else(PoisonError::into_inner).ask("stop"), "stopped");
    }

    /// Brings it back, on the same port.
    ///
    /// # Panics
    /// Where it does not come.
    pub fn come_back(&self) {
        let again = format!("start {} {}", self.port, self.care);
        let answer = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).ask(&again);
        assert_eq!(answer, "started");
    }

    /// Where it keeps its data and its log.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        Path::new(&self.keeper.lock().unwrap_or_else(PoisonError::into_inner).ask("folder")).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_serves_and_leaves_nothing_behind() {
        let server = Postgres::start();
        assert_eq!(server.run("CREATE DATABASE one; SELECT 1 + 1"), ["2"]);
        assert!(server.url("one").contains("/one"));
        server.stop();
        server.come_back();
        assert_eq!(server.run("SELECT datname FROM pg_database WHERE datname = 'one'"), ["one"]);
        let folder = server.folder();
        assert!(folder.join("data").exists());
        let Talk { mut child, to, .. } = server.keeper.into_inner().unwrap();
        // All that is left of a process that was killed.
        drop(to);
        child.wait().unwrap();
        assert!(!folder.exists(), "{}", folder.display());
    }
}
