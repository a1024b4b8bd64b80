//! Apache Kafka: one KRaft node, broker and controller in one process.

mod configuration;
mod topics;

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use anyhow::Context;
use rand::{Rng, distributions::Alphanumeric};

use crate::{
    certificates::{Certificates, Identity},
    home::Home,
    java, place,
    process::{Launch, Process, free_ports, last_lines},
    record,
};
use configuration::Ports;
pub(crate) use configuration::{command_line, write_logging};

/// The version of `parts/kafka/pom.xml` (test `pinned::the_versions_are_those_that_are_fetched`).
pub const VERSION: &str = "4.1.1";

/// How long a broker may take until it is ready: some seconds, more where everything else compiles.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How often a start is tried when a port that was free is taken in between.
const START_ATTEMPTS: u32 = 5;
/// Megabytes of heap. A broker of a test holds little.
const HEAP: u32 = 256;

/// What [`Kafka::start`] needs to know.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Whether the topics of the contract are made, with all their settings.
    pub topics: bool,
    /// Users of the SASL listener, by SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN, all with [`Kafka::password`].
    pub users: Vec<String>,
    /// Whether users may only do what an access rule allows them, those of certificates too. Whoever comes by the plain
    /// listener may do everything.
    pub authorize: bool,
    /// Where clients are told to find the plain listener, when something stands in between: a proxy, which must lead to
    /// [`KafkaOptions::plain_port`] already.
    pub advertised_port: Option<u16>,
    /// The port of the plain listener; a free one if none is given.
    pub plain_port: Option<u16>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            topics: true,
            users: vec!["belay".to_owned()],
            authorize: false,
            advertised_port: None,
            plain_port: None,
        }
    }
}

/// A running broker. Dropping it, or the end of this process by whatever means, kills it.
#[derive(Debug)]
pub struct Kafka {
    process: Process,
    home: Home,
    launch: Launch,
    ports: Ports,
    password: String,
    certificates: Certificates,
}

impl Kafka {
    /// Starts a broker with data of its own and waits until it has a leader for every partition. Takes about 5 s.
    ///
    /// # Errors
    /// What is missing on this machine, or the end of the broker's log.
    pub async fn start(options: KafkaOptions) -> anyhow::Result<Self> {
        let java = java::at_least(17, "Apache Kafka")?;
        let programs = place::of("kafka").await?;
        let password: String = rand::thread_rng()
            .sample_iter(Alphanumeric)
            .take(24)
            .map(char::from)
            .collect();
        for attempt in 1.. {
            let home = Home::create("kafka")?;
            let certificates = Certificates::generate()?;
            let [plain, sasl, mutual, controller] = free_ports()?;
            let plain = options.plain_port.unwrap_or(plain);
            let ports = Ports {
                plain,
                advertised: options.advertised_port.unwrap_or(plain),
                sasl,
                mutual,
                controller,
            };
            configuration::write(&home, &ports, &options, &password, &certificates)?;
            configuration::format(&java, &programs, &home, &options, &password).await?;
            let launch = configuration::launch(&java, &programs, &home, HEAP);
            let mut kafka = Self {
                process: Process::spawn(&launch, &home)?,
                home,
                launch,
                ports,
                password: password.clone(),
                certificates,
            };
            match kafka.ensure_ready(options.topics).await {
                Ok(()) => {
                    record::started("Apache Kafka", VERSION);
                    return Ok(kafka);
                }
                Err(error) if attempt >= START_ATTEMPTS || !kafka.port_was_taken() => return Err(error),
                Err(_) => kafka.process.kill().await,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// `host:port` without protection.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// `host:port` of the listener that wants TLS and SASL (SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN).
    #[must_use]
    pub fn sasl_ssl_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// `host:port` of the listener that wants TLS and a certificate of the client's ([`Kafka::identity`]).
    #[must_use]
    pub fn mutual_tls_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports.mutual)
    }

    /// The certificate of the authority that signed the listeners', in PEM. Made for this start.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.certificates.authority
    }

    /// A certificate by the authority that the broker believes. The broker knows whoever shows it as `User:CN=name`.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn identity(&self, name: &str) -> anyhow::Result<Identity> {
        self.certificates.client(name)
    }

    /// Writes a script into `directory` that runs a class of Kafka's tools, as the scripts of its distribution do:
    /// `kafka-acls.sh` is `org.apache.kafka.tools.AclCommand`.
    ///
    /// # Errors
    /// When it cannot be written, or the programs are missing.
    pub async fn write_tool(&self, directory: &Path, script: &str, class: &str) -> anyhow::Result<()> {
        let java = java::at_least(17, "Apache Kafka")?;
        let arguments = configuration::command_line(&place::of("kafka").await?, &self.home, 128, class);
        let words = std::iter::once(java.into_os_string()).chain(arguments);
        let words: Vec<String> = words
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
            .collect();
        let path = directory.join(script);
        std::fs::write(&path, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" ")))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// What the broker has refused so far, line by line as its authorizer writes it.
    ///
    /// # Errors
    /// When the broker's log cannot be read.
    pub fn refusals(&self) -> std::io::Result<Vec<String>> {
        let log = std::fs::read(self.process.log())?;
        let log = String::from_utf8_lossy(&log);
        let refused = log.lines().filter(|line| line.contains(" is Denied "));
        Ok(refused.map(str::to_owned).collect())
    }

    /// The password of every user. Random.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Stops the broker in good order. Its data stays for [`Kafka::restart`] as long as this lives.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }

    /// Ends the broker as a power cut would. Its data stays for [`Kafka::restart`] as long as this lives.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts a stopped or killed broker again, on its data and its ports.
    ///
    /// # Errors
    /// The end of the broker's log.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        for attempt in 1.. {
            self.process = Process::spawn(&self.launch, &self.home)?;
            match self.ensure_ready(false).await {
                Ok(()) => return Ok(()),
                Err(error) if attempt >= START_ATTEMPTS || !self.port_was_taken() => return Err(error),
                // An outgoing connection of somebody may have the port for a moment.
                Err(_) => self.process.kill().await,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn ensure_ready(&mut self, declare: bool) -> anyhow::Result<()> {
        let bootstrap = self.bootstrap();
        let admin = topics::admin(&bootstrap)?;
        self.process
            .ready(READY_LIMIT, async || topics::answers(&admin).await)
            .await?;
        if declare {
            self.process
                .ready(READY_LIMIT, async || topics::declared(&admin).await)
                .await?;
        }
        Ok(())
    }

    fn port_was_taken(&self) -> bool {
        std::fs::read_to_string(self.process.log())
            .unwrap_or_else(|_| last_lines(self.process.log()))
            .contains("Address already in use")
    }
}
