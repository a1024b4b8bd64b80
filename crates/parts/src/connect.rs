//! Kafka Connect, one worker, with Debezium's connector for PostgreSQL.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{
    home::Home,
    http, java,
    kafka::{self, command_line, write_logging},
    place,
    process::{Launch, Process, free_ports},
    record,
};

/// The version of `parts/debezium/pom.xml` (test `pinned::the_versions_are_those_that_are_fetched`).
pub const DEBEZIUM: &str = "3.2.0.Final";

/// Includes looking through the plugins.
const READY_LIMIT: Duration = Duration::from_secs(120);
const HEAP: u32 = 256;

/// A running worker. Dropping it, or the end of this process by whatever means, kills it.
#[derive(Debug)]
pub struct Connect {
    process: Process,
    home: Home,
    launch: Launch,
    url: String,
}

impl Connect {
    /// Starts a worker for the broker at `bootstrap` and waits until it takes connectors. Takes about 6 s.
    ///
    /// # Errors
    /// What is missing on this machine, or the end of the worker's log.
    pub async fn start(bootstrap: &str) -> anyhow::Result<Self> {
        let java = java::at_least(17, "Kafka Connect")?;
        let programs = place::of("kafka").await?;
        let debezium = place::of("debezium").await?;
        let home = Home::create("connect")?;
        let plugins = home.path().join("plugins");
        std::fs::create_dir(&plugins)?;
        std::os::unix::fs::symlink(&debezium, plugins.join("debezium"))?;
        let [port] = free_ports()?;
        let url = format!("http://127.0.0.1:{port}");
        write_logging(&home)?;
        let worker = home.write(
            "worker.properties",
            &format!(
                "bootstrap.servers={bootstrap}
listeners={url}
plugin.path={plugins}
plugin.discovery=service_load
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename={offsets}
offset.flush.interval.ms=1000
",
                plugins = plugins.display(),
                offsets = home.path().join("offsets").display(),
            ),
        )?;
        let class = "org.apache.kafka.connect.cli.ConnectStandalone";
        let mut arguments = command_line(&programs, &home, HEAP, class);
        arguments.push(worker.into());
        let launch = Launch {
            name: "connect",
            program: java,
            arguments,
            environment: Vec::new(),
        };
        let mut connect = Self {
            process: Process::spawn(&launch, &home)?,
            home,
            launch,
            url,
        };
        connect.ensure_ready().await?;
        record::started("Kafka Connect", kafka::VERSION);
        record::started("Debezium for PostgreSQL", DEBEZIUM);
        Ok(connect)
    }

    /// Makes a connector from `{"name": …, "config": {…}}` and waits until it and its tasks run.
    ///
    /// # Errors
    /// When Connect refuses it, or it fails, with Connect's reason.
    pub async fn create_connector(&mut self, connector: &Value) -> anyhow::Result<()> {
        let name = connector["name"].as_str().context("a connector has a name")?;
        let client = http::client();
        let answer = client
            .post(format!("{}/connectors", self.url))
            .header("content-type", "application/json")
            .body(connector.to_string())
            // It asks the database whether the connector's settings are right.
            .timeout(READY_LIMIT)
            .send()
            .await?;
        let status = answer.status();
        let said = answer.text().await.unwrap_or_default();
        ensure!(status.is_success(), "Connect refuses {name}: {status} {said}");
        let address = format!("{}/connectors/{name}/status", self.url);
        let outcome = self
            .process
            .ready(READY_LIMIT, async || {
                let status = http::json(&client, &address).await?;
                let tasks = status["tasks"].as_array()?;
                if let Some(failed) = tasks.iter().find(|task| task["state"] == "FAILED") {
                    return Some(Err(failed["trace"].as_str().unwrap_or_default().to_owned()));
                }
                let runs = status["connector"]["state"] == "RUNNING"
                    && !tasks.is_empty()
                    && tasks.iter().all(|task| task["state"] == "RUNNING");
                runs.then_some(Ok(()))
            })
            .await?;
        outcome.map_err(|trace| anyhow::anyhow!("the connector {name} fails: {trace}"))
    }

    /// Connect's own interface.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the worker; connectors have written down how far they came.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }

    /// Ends the worker as a power cut would.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts a stopped or killed worker again. It knows how far its connectors came, but connectors have to be made
    /// again: a worker of this kind does not keep them.
    ///
    /// # Errors
    /// The end of the worker's log.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = Process::spawn(&self.launch, &self.home)?;
        self.ensure_ready().await
    }

    async fn ensure_ready(&mut self) -> anyhow::Result<()> {
        let (client, connectors) = (http::client(), format!("{}/connectors", self.url));
        self.process
            .ready(READY_LIMIT, async || http::json(&client, &connectors).await)
            .await?;
        Ok(())
    }
}
