//! `belay up` as a process of its own, as a newcomer runs it: on a private PostgreSQL, killed, stopped, started again.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use belay::data_dir::{DataDir, SystemInfo};
use e2e::Customer;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testkit::eventually;

/// A start with `initdb` on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A data directory, and the process that runs on it.
struct Up {
    data: PathBuf,
    child: Option<Child>,
    _directory: tempfile::TempDir,
}

fn directory() -> tempfile::TempDir {
    // PostgreSQL runs as another user when the tests run as root: it must be able to pass through.
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o711))
        .tempdir()
        .unwrap()
}

fn belay(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_belay"));
    command.env("BELAY_DATA", data).stdin(Stdio::null());
    command
}

impl Up {
    async fn start() -> Self {
        let directory = directory();
        let mut up = Self {
            data: directory.path().join("data"),
            child: None,
            _directory: directory,
        };
        up.again().await;
        up
    }

    /// Starts the process on the same data, and waits until it has announced itself.
    async fn again(&mut self) -> SystemInfo {
        let child = belay(&self.data)
            .args(["up", "--http", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        self.child = Some(child);
        eventually("belay up announces itself", PATIENCE, async || {
            self.info().filter(|info| info.pid == pid)
        })
        .await
    }

    fn info(&self) -> Option<SystemInfo> {
        DataDir::open(&self.data).ok()?.system().ok()
    }

    /// Sends the process a signal and waits for its end.
    async fn end(&mut self, signal: Signal) -> std::process::ExitStatus {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        eventually("belay up ends", PATIENCE, async || child.try_wait().unwrap()).await
    }

    fn run(&self, args: &[&str]) -> Output {
        belay(&self.data).args(args).output().unwrap()
    }

    fn someone(&self, subject: &str, role: &str) -> Customer {
        let output = self.run(&["token", "--role", role, "--subject", subject]);
        assert!(output.status.success(), "{output:?}");
        let token = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Customer::new(&self.info().unwrap().http, token)
    }

    /// The process id of the private PostgreSQL.
    fn postgres(&self) -> Option<Pid> {
        let file = self.data.join("postgres/cluster/postmaster.pid");
        let text = std::fs::read_to_string(file).ok()?;
        Some(Pid::from_raw(text.lines().next()?.trim().parse().ok()?))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // A test that failed: the guard stops PostgreSQL when the process is gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_killed_in_the_middle_finishes_what_was_open() {
    let mut up = Up::start().await;
    let rope = up
        .someone("ada", "admin")
        .create_product("Rope", "15.00", 100)
        .await;
    let alice = up.someone("alice", "customer");
    let mut ids = Vec::new();
    for n in 0..20 {
        let method = if n % 5 == 0 { "tok_declined" } else { "tok_ok" };
        ids.push(alice.submit(&[(&rope, 1)], method).await);
    }
    up.end(Signal::SIGKILL).await;
    // What a power cut may leave of a file that says only where the system was.
    std::fs::write(up.data.join("running.json"), "").unwrap();
    up.again().await;
    let alice = up.someone("alice", "customer");
    for (n, id) in ids.iter().enumerate() {
        let expected = if n % 5 == 0 { "REJECTED" } else { "COMPLETED" };
        assert_eq!(alice.ended(id).await["state"], expected, "purchase {n}");
    }
    let audit = up.run(&["audit", "--settle", "60"]);
    assert!(
        audit.status.success(),
        "{}",
        String::from_utf8_lossy(&audit.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_cleanly_and_leaves_no_child() {
    let mut up = Up::start().await;
    let postgres = up.postgres().expect("the private PostgreSQL runs");
    let second = up.run(&["up", "--http", "127.0.0.1:0"]);
    assert!(!second.status.success());
    let words = String::from_utf8_lossy(&second.stderr);
    assert!(words.contains("already") && words.contains("--data"), "{words}");
    assert!(up.end(Signal::SIGINT).await.success());
    assert!(kill(postgres, None).is_err(), "PostgreSQL is still there");
    assert!(up.info().is_none(), "the announcement is withdrawn");
}

#[test]
fn a_taken_address_is_an_error_that_names_the_flag() {
    let directory = directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = belay(&directory.path().join("data"))
        .args(["up", "--http", &address])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains(&address) && words.contains("--http"), "{words}");
}

#[test]
fn a_given_part_that_does_not_answer_is_an_error_that_names_the_flag() {
    for (flag, address) in [("--kafka", "127.0.0.1:1"), ("--registry", "http://127.0.0.1:1")] {
        let directory = directory();
        let output = belay(&directory.path().join("data"))
            .args(["up", "--http", "127.0.0.1:0", flag, address])
            .output()
            .unwrap();
        assert!(!output.status.success());
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains(address) && words.contains(flag), "{words}");
    }
}
