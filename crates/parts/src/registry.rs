//! Apicurio's registry, with its schemas in memory.

use std::{ffi::OsString, time::Duration};

use crate::{
    home::Home,
    http, java, place,
    process::{Launch, Process, free_ports},
    record,
};

/// Includes the time on a machine that compiles at the same time.
const READY_LIMIT: Duration = Duration::from_secs(120);
const HEAP: u32 = 256;

/// A running registry. Dropping it, or the end of this process by whatever means, kills it, and what it knew is forgotten.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    home: Home,
    launch: Launch,
    url: String,
    version: String,
}

impl Registry {
    /// Starts an empty registry and waits until it answers. Takes about 6 s.
    ///
    /// # Errors
    /// What is missing on this machine, or the end of the registry's log.
    pub async fn start() -> anyhow::Result<Self> {
        let java = java::at_least(21, "the schema registry (Apicurio)")?;
        let programs = place::of("registry").await?;
        let home = Home::create("registry")?;
        let [port, management] = free_ports()?;
        let mut arguments = java::options(HEAP);
        arguments.push("-jar".into());
        arguments.push(OsString::from(programs.join("quarkus-run.jar")));
        let launch = Launch {
            name: "registry",
            program: java,
            arguments,
            environment: vec![
                ("QUARKUS_HTTP_HOST", "127.0.0.1".to_owned()),
                ("QUARKUS_HTTP_PORT", port.to_string()),
                ("QUARKUS_MANAGEMENT_HOST", "127.0.0.1".to_owned()),
                ("QUARKUS_MANAGEMENT_PORT", management.to_string()),
            ],
        };
        let base = format!("http://127.0.0.1:{port}");
        let mut registry = Self {
            process: Process::spawn(&launch, &home)?,
            home,
            launch,
            url: format!("{base}/apis/ccompat/v7"),
            version: String::new(),
        };
        registry.ensure_ready().await?;
        let info = http::json(&http::client(), &format!("{base}/apis/registry/v3/system/info")).await;
        let version = info.as_ref().and_then(|info| info["version"].as_str());
        version.unwrap_or("unknown").clone_into(&mut registry.version);
        record::started("Apicurio Registry", &registry.version);
        Ok(registry)
    }

    /// Where it speaks as Confluent's does.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The version that it says it is.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Stops it. What it knew is forgotten.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }

    /// Starts it again after [`Registry::stop`], empty, at the same address.
    ///
    /// # Errors
    /// The end of the registry's log.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = Process::spawn(&self.launch, &self.home)?;
        self.ensure_ready().await
    }

    async fn ensure_ready(&mut self) -> anyhow::Result<()> {
        let (client, subjects) = (http::client(), format!("{}/subjects", self.url));
        self.process
            .ready(READY_LIMIT, async || http::json(&client, &subjects).await)
            .await?;
        Ok(())
    }
}
