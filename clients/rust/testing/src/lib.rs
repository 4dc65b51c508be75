//! A real turntree server in a process of its own, for tests, connections to it that break, and credentials for it.

mod credentials;
mod proxy;

pub use credentials::{Authority, Keys};
pub use proxy::Proxy;

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

const STARTED_WITHIN: Duration = Duration::from_mins(1);

const WITHOUT_PIPELINE: &str = "
import sys
from turntree_server import app, cli
app.add_PipelineServiceServicer_to_server = lambda *_: None
sys.exit(cli.main())
";

/// A running `turntree serve` on a database in a temporary folder. It is killed when it goes out of scope.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    command: fn() -> Command,
    options: Vec<String>,
    process: Child,
    address: String,
}

impl Server {
    /// Starts a server on a new database.
    ///
    /// # Panics
    ///
    /// When the server does not say in a minute that it answers.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// Starts a server with more options, which may name files in its folder.
    ///
    /// # Panics
    ///
    /// When the server does not say in a minute that it answers.
    #[must_use]
    pub fn start_with(options: impl FnOnce(&Path) -> Vec<String>) -> Self {
        Self::run(|| Command::new(turntree()), options)
    }

    /// Starts a server on a new database that does not know the pipeline.
    ///
    /// # Panics
    ///
    /// When the server does not say in a minute that it answers.
    #[must_use]
    pub fn start_without_pipeline() -> Self {
        let command = || {
            let mut python = Command::new(turntree().with_file_name("python"));
            python.args(["-c", WITHOUT_PIPELINE]);
            python
        };
        Self::run(command, |_| Vec::new())
    }

    fn run(command: fn() -> Command, options: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = options(folder.path());
        let (process, address) = launch(command(), folder.path(), &options, "127.0.0.1:0");
        Self { folder, command, options, process, address }
    }

    /// Where it listens, as `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its folder, with the database and the log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the server as a crash would.
    ///
    /// # Panics
    ///
    /// When the process cannot be ended.
    pub fn kill(&mut self) {
        self.process.kill().expect("the server's process can be killed");
        self.process.wait().expect("the server's process ends");
    }

    /// After `kill`, starts another server on the same database and address.
    ///
    /// # Panics
    ///
    /// When the server does not say in a minute that it answers.
    pub fn start_again(&mut self) {
        (self.process, _) = launch((self.command)(), self.folder.path(), &self.options, &self.address);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command that runs turntree: the environment's `TURNTREE`.
///
/// # Panics
///
/// When there is none.
#[must_use]
pub fn turntree() -> PathBuf {
    PathBuf::from(env::var_os("TURNTREE").expect("TURNTREE names the turntree command"))
}

fn launch(mut command: Command, folder: &Path, options: &[String], listen: &str) -> (Child, String) {
    let log = folder.join("server.log");
    let mut process = command
        .arg("serve")
        .arg("--db")
        .arg(folder.join("conversations.db"))
        .args(["--listen", listen])
        .args(options)
        .stdout(Stdio::piped())
        .stderr(File::options().create(true).append(true).open(&log).expect("a log file"))
        .spawn()
        .expect("TURNTREE can be run");
    let output = process.stdout.take().expect("the server's output");
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(output).read_line(&mut line);
        let _ = send.send(line);
    });
    let line = receive.recv_timeout(STARTED_WITHIN).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    if let ["turntree", _, "listening", "on", address, ..] = words.as_slice() {
        return (process, (*address).to_owned());
    }
    let _ = process.kill();
    let _ = process.wait();
    panic!("the server announced {line:?}, and logged: {}", fs::read_to_string(log).unwrap_or_default());
}
