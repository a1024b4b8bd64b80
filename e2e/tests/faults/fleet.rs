//! The services' processes: each can be killed, halted, and started again at the same address with the same group membership.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, bail};
use contracts::calls;
use host::identity::{Known, PrivateKey};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, ChildStdin, Command};

use crate::{
    serve::SERVICES,
    stage::{Stage, free_port},
};

/// A broker takes a member for gone when it has not heard of it for this long, in milliseconds.
pub const SESSION_MS: u64 = 6_000;
/// How long a service may take to be ready, on a machine that does other things.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// Processes so far, of all fleets of a run, so that each has a log of its own.
static STARTED: AtomicU32 = AtomicU32::new(0);
/// What a service says when it ends because the broker refuses its name in a group for good (`mailbox::consumer`).
const FENCED: &str = "has failed for good (FencedInstanceId)";
/// Between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One process of a service.
#[derive(Debug)]
struct Instance {
    service: &'static str,
    /// Its name among the members of its groups, the same whenever it is started: see `group.instance.id`.
    member: String,
    port: u16,
    internal_port: u16,
    running: Option<Process>,
}

/// A running process. It ends when this end of its standard input is closed.
#[derive(Debug)]
struct Process {
    child: Child,
    /// Kept apart, because waiting for a child closes what it holds.
    _leash: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.child.id().context("it has not ended")?.cast_signed();
        Ok(kill(Pid::from_raw(pid), signal)?)
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> anyhow::Result<Ended> {
        let status = self.child.wait().await?;
        self.how(status)
    }

    fn how(&self, status: ExitStatus) -> anyhow::Result<Ended> {
        let said = std::fs::read(&self.log)?;
        let fenced = status.code() == Some(1) && String::from_utf8_lossy(&said).contains(FENCED);
        Ok(Ended { status, fenced })
    }
}

/// How a process has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub status: ExitStatus,
    /// Whether it ended because the broker refuses its name in a group for good.
    pub fenced: bool,
}

/// A process in whose place another one was started. Dropping it ends it.
#[derive(Debug)]
pub struct Ghost(Process);

impl Ghost {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.0.signal(signal)
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> anyhow::Result<Ended> {
        self.0.ended().await
    }
}

/// All processes. Dropping it ends them.
#[derive(Debug)]
pub struct Fleet {
    instances: Vec<Instance>,
    logs: PathBuf,
    /// Of everyone who asks a service.
    keys: BTreeMap<&'static str, PrivateKey>,
    client: reqwest::Client,
    /// What every process is started with.
    environment: Vec<(String, String)>,
    /// How the partitions are dealt out among processes that are started from now on, if not as usual.
    pub assignment: Option<&'static str>,
}

impl Fleet {
    /// One process of each service, not started; all of them will have `environment`.
    pub fn new(environment: &[(String, String)]) -> anyhow::Result<Self> {
        let logs = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/faults-logs"));
        std::fs::create_dir_all(&logs)?;
        let mut fleet = Self {
            instances: Vec::new(),
            logs,
            keys: calls::callers()
                .map(|caller| (caller, PrivateKey::fresh()))
                .collect(),
            client: reqwest::Client::builder()
                .timeout(Duration::from_secs(2))
                .build()?,
            environment: environment.to_vec(),
            assignment: None,
        };
        for service in SERVICES {
            fleet.add(service)?;
        }
        Ok(fleet)
    }

    /// Another process of a service, not started. Gives its number.
    pub fn add(&mut self, service: &'static str) -> anyhow::Result<usize> {
        let same = self.instances.iter().filter(|one| one.service == service).count();
        self.instances.push(Instance {
            service,
            member: format!("{service}-{same}"),
            port: free_port()?,
            internal_port: free_port()?,
            running: None,
        });
        Ok(self.instances.len() - 1)
    }

    /// Takes the last process away, which must not run.
    pub fn remove_last(&mut self) {
        self.instances.pop();
    }

    /// The first process of a service.
    pub fn of(&self, service: &str) -> usize {
        let found = self.instances.iter().position(|one| one.service == service);
        found.unwrap_or_else(|| panic!("{service} is a service"))
    }

    /// How many of the processes run.
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    pub fn service(&self, number: usize) -> &'static str {
        self.instances[number].service
    }

    /// The edge's address.
    pub fn edge(&self) -> String {
        format!("http://{}", self.address("bff"))
    }

    /// The address of a service's first process.
    pub fn address(&self, service: &str) -> String {
        format!("127.0.0.1:{}", self.instances[self.of(service)].port)
    }

    /// Starts every process and waits until all are ready.
    pub async fn start_all(&mut self, stage: &Stage) -> anyhow::Result<()> {
        for number in 0..self.instances.len() {
            self.start(number, stage, &[])?;
        }
        for number in 0..self.instances.len() {
            self.ready(number).await?;
        }
        Ok(())
    }

    /// Starts a process.
    pub fn start(
        &mut self,
        number: usize,
        stage: &Stage,
        environment: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let flags = self.flags(number, stage);
        let so_far = STARTED.fetch_add(1, Ordering::Relaxed);
        let instance = &mut self.instances[number];
        anyhow::ensure!(instance.running.is_none(), "{} runs", instance.member);
        let path = self.logs.join(format!("{}.{so_far}.log", instance.member));
        let log = File::create(&path)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg0(instance.service)
            .args(flags)
            .env("RUST_LOG", "warn,librdkafka=off,rdkafka=off")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stderr(log.try_clone()?)
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be run", instance.member))?;
        let leash = child.stdin.take();
        instance.running = Some(Process {
            child,
            _leash: leash,
            log: path,
        });
        Ok(())
    }

    /// Waits until a started process works.
    pub async fn ready(&mut self, number: usize) -> anyhow::Result<()> {
        let client = self.client.clone();
        let instance = &mut self.instances[number];
        let url = format!("http://127.0.0.1:{}/readyz", instance.port);
        let deadline = tokio::time::Instant::now() + READY_LIMIT;
        loop {
            let process = instance.running.as_mut().context("it was started")?;
            if let Some(status) = process.child.try_wait()? {
                bail!("{} ended while it started: {status}", instance.member);
            }
            if let Ok(answer) = client.get(&url).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{} was not ready within {READY_LIMIT:?}", instance.member);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts a process and waits until it works.
    pub async fn bring_back(&mut self, number: usize, stage: &Stage) -> anyhow::Result<()> {
        self.start(number, stage, &[])?;
        self.ready(number).await
    }

    /// Kills a process with SIGKILL.
    pub async fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        let process = self.instances[number].running.take();
        let mut process = process.context("it runs")?;
        process.child.kill().await.context("it can be killed")
    }

    /// Has a process drain and end, as a rollout does.
    pub async fn drain(&mut self, number: usize) -> anyhow::Result<()> {
        self.signal(number, Signal::SIGTERM)?;
        let mut process = self.instances[number].running.take().context("it runs")?;
        tokio::time::timeout(Duration::from_secs(20), process.child.wait())
            .await
            .context("it does not end")??;
        Ok(())
    }

    /// Sends a process a signal.
    pub fn signal(&self, number: usize, signal: Signal) -> anyhow::Result<()> {
        let process = self.instances[number].running.as_ref();
        process.context("it runs")?.signal(signal)
    }

    /// Gives a process out of hand: another one can be started in its place, at another address.
    pub fn forsake(&mut self, number: usize) -> anyhow::Result<Ghost> {
        let instance = &mut self.instances[number];
        let process = instance.running.take().context("it runs")?;
        instance.port = free_port()?;
        instance.internal_port = free_port()?;
        Ok(Ghost(process))
    }

    /// Waits until a process has killed itself. False when it lives on.
    pub async fn dies(&mut self, number: usize, limit: Duration) -> anyhow::Result<bool> {
        let process = self.instances[number]
            .running
            .as_mut()
            .context("it was started")?;
        let Ok(status) = tokio::time::timeout(limit, process.child.wait()).await else {
            return Ok(false);
        };
        let status = status?;
        self.instances[number].running = None;
        anyhow::ensure!(
            status.signal() == Some(Signal::SIGKILL as i32),
            "it did not die as it was to: {status}"
        );
        Ok(true)
    }

    /// Waits until a process ends by itself, after which it does not run.
    pub async fn ended(&mut self, number: usize) -> anyhow::Result<Ended> {
        let process = self.instances[number].running.as_mut().context("it runs")?;
        let ended = process.ended().await?;
        self.instances[number].running = None;
        Ok(ended)
    }

    /// The processes that have ended though nobody wanted it, which do not run any more, and how.
    pub fn casualties(&mut self) -> anyhow::Result<Vec<(usize, Ended)>> {
        let mut found = Vec::new();
        for (number, instance) in self.instances.iter_mut().enumerate() {
            if let Some(process) = &mut instance.running
                && let Some(status) = process.child.try_wait()?
            {
                found.push((number, process.how(status)?));
                instance.running = None;
            }
        }
        Ok(found)
    }

    /// Kills all of them.
    pub async fn stop(&mut self) {
        for instance in &mut self.instances {
            if let Some(mut process) = instance.running.take() {
                let _ = process.child.kill().await;
            }
        }
    }

    /// The command line of the service as a program of its own.
    fn flags(&self, number: usize, stage: &Stage) -> Vec<String> {
        let instance = &self.instances[number];
        let heartbeat = SESSION_MS / 4;
        let mut flags = vec![
            format!("--database-url={}", stage.databases[instance.service]),
            format!("--kafka={}", stage.bootstrap()),
            format!("--registry={}", stage.registry()),
            format!("--http=127.0.0.1:{}", instance.port),
            format!("--kafka-property=session.timeout.ms={SESSION_MS}"),
            format!("--kafka-property=heartbeat.interval.ms={heartbeat}"),
            format!("--kafka-property=group.instance.id={}", instance.member),
            // A consumer's settings reach producers too, which would say so with every start.
            "--kafka-property=log_level=2".to_owned(),
        ];
        let strategy = self.assignment.iter();
        flags.extend(strategy.map(|name| format!("--kafka-property=partition.assignment.strategy={name}")));
        flags.extend(self.keys.iter().map(|(caller, key)| {
            let known = Known {
                caller: (*caller).to_owned(),
                key: key.public(),
            };
            format!("--caller={known}")
        }));
        if let Some(key) = self.keys.get(instance.service) {
            flags.push(format!("--identity-key={}", key.reveal()));
        }
        let url = |service: &str| format!("http://{}", self.address(service));
        match instance.service {
            "payments" => flags.push("--provider=simulated".to_owned()),
            "bff" => {
                flags.push(format!("--issuer={}", stage.issuer()));
                flags.push(format!("--internal-http=127.0.0.1:{}", instance.internal_port));
                for service in [
                    "purchase-manager",
                    "product-admin",
                    "orders",
                    "payments",
                    "consolidator",
                ] {
                    flags.push(format!("--{service}={}", url(service)));
                }
            }
            "notifications" => {
                let internal = self.instances[self.of("bff")].internal_port;
                flags.push(format!("--contacts=http://127.0.0.1:{internal}"));
                flags.push(format!("--purchase-manager={}", url("purchase-manager")));
                flags.push(format!(
                    "--mail-directory={}",
                    stage.directory.path().join("mail").display()
                ));
                // What a lost topic did not tell is found within seconds instead of a minute.
                flags.push("--reconcile-every-ms=5000".to_owned());
            }
            _ => {}
        }
        flags
    }
}
