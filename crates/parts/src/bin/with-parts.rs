//! `with-parts PART… -- COMMAND ARGS…` runs a command on real parts (kafka, registry, keycloak, mail), whose addresses are in
//! its environment (`parts::environment`), ends as the command ends, and leaves nothing behind. At the end it prints which
//! parts ran in which version, also those that the command started itself.

use std::{
    ffi::OsString,
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use parts::{Kafka, KafkaOptions, Keycloak, Mail, Registry, environment, record};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

/// How long the command may take to end after a signal before it is killed.
const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some(separator) = words.iter().position(|word| word == "--") else {
        return refuse(&anyhow::anyhow!(
            "say what to run: with-parts PART… -- COMMAND ARGS…"
        ));
    };
    let command = words.split_off(separator + 1);
    words.pop();
    let record = match tempfile::NamedTempFile::new() {
        Ok(record) => record,
        Err(error) => return refuse(&error.into()),
    };
    let inner = match Box::pin(run(&words, command, record.path())).await {
        Ok(status) => status,
        Err(error) => return refuse(&error),
    };
    match record::table(record.path()) {
        Ok(table) => {
            // Whether the table can be shown changes nothing about what ran.
            let _ = writeln!(std::io::stdout().lock(), "\n{table}");
        }
        Err(error) => return refuse(&error.into()),
    }
    exit_code(inner)
}

/// Everything that runs while the command does.
#[derive(Debug, Default)]
struct Running {
    kafka: Option<Kafka>,
    registry: Option<Registry>,
    keycloak: Option<Keycloak>,
    mail: Option<Mail>,
}

async fn run(
    names: &[OsString],
    command: Vec<OsString>,
    record: &std::path::Path,
) -> anyhow::Result<ExitStatus> {
    // Listening begins before the parts do, so that a signal at any time leads through their end.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (program, arguments) = command.split_first().context("say what to run after `--`")?;
    let mut child = Command::new(program);
    child.args(arguments).env(environment::RECORD, record);
    let mut running = Running::default();
    let result = async {
        // Cancel-safe: dropping a start kills what it started; waiting for a signal keeps its state in the system.
        tokio::select! {
            started = Box::pin(running.start(names, record, &mut child)) => started?,
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
        let mut child = child
            .spawn()
            .with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
        let signalled = tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
        };
        if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
            // A command that has just ended needs no signal; a terminal's Ctrl-C has reached it already, and it bears two.
            let _ = kill(Pid::from_raw(pid), signalled);
        }
        match tokio::time::timeout(PATIENCE, child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => {
                child.kill().await?;
                Ok(child.wait().await?)
            }
        }
    }
    .await;
    running.stop().await;
    result
}

impl Running {
    /// Starts the named parts at the same time, and tells the command where they are.
    async fn start(
        &mut self,
        names: &[OsString],
        record: &std::path::Path,
        command: &mut Command,
    ) -> anyhow::Result<()> {
        for name in names {
            let known = ["kafka", "registry", "keycloak", "mail"];
            if !known.iter().any(|part| name == part) {
                bail!("there is no part {}: {}", name.display(), known.join(", "));
            }
        }
        let wanted = |part: &str| names.iter().any(|name| name == part);
        let (kafka, registry, keycloak, mail) = tokio::join!(
            when(wanted("kafka"), Kafka::start(KafkaOptions::default())),
            when(wanted("registry"), Registry::start()),
            when(wanted("keycloak"), Keycloak::start()),
            when(wanted("mail"), Mail::start()),
        );
        let mut started = Vec::new();
        if let Some(kafka) = kafka? {
            command.env(environment::KAFKA, kafka.bootstrap());
            started.push(("Apache Kafka", parts::kafka::VERSION.to_owned()));
            self.kafka = Some(kafka);
        }
        if let Some(registry) = registry? {
            command.env(environment::REGISTRY, registry.url());
            started.push(("Apicurio Registry", registry.version().to_owned()));
            self.registry = Some(registry);
        }
        if let Some(keycloak) = keycloak? {
            command.env(environment::ISSUER, keycloak.issuer());
            command.env(environment::KEYCLOAK_PASSWORD, keycloak.password());
            started.push(("Keycloak", parts::keycloak::VERSION.to_owned()));
            self.keycloak = Some(keycloak);
        }
        if let Some(mail) = mail? {
            command.env(environment::SMTP, mail.smtp());
            command.env(environment::MAIL, mail.http());
            started.push(("MailDev", mail.version().to_owned()));
            self.mail = Some(mail);
        }
        for (part, version) in started {
            record::add(record, part, &version)?;
        }
        Ok(())
    }

    async fn stop(mut self) {
        tokio::join!(
            async {
                if let Some(part) = &mut self.kafka {
                    part.stop().await
                }
            },
            async {
                if let Some(part) = &mut self.registry {
                    part.stop().await
                }
            },
            async {
                if let Some(part) = &mut self.keycloak {
                    part.stop().await
                }
            },
            async {
                if let Some(part) = &mut self.mail {
                    part.stop().await
                }
            },
        );
    }
}

async fn when<T>(wanted: bool, start: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<Option<T>> {
    if wanted { start.await.map(Some) } else { Ok(None) }
}

fn refuse(error: &anyhow::Error) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "a command line program says why it failed")]
    {
        eprintln!("with-parts: {error:#}");
    }
    ExitCode::FAILURE
}

/// As a shell does it: 128 and the signal's number for a command that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|number| 128 + number))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
