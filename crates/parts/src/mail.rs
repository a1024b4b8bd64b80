//! A mail catcher: takes every message by SMTP, delivers none, and shows them over HTTP.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use serde_json::Value;

use crate::{
    home::Home,
    http, place,
    process::{Launch, Process, free_ports},
    record,
};

const READY_LIMIT: Duration = Duration::from_secs(60);

/// A running mail catcher. Dropping it, or the end of this process by whatever means, kills it.
#[derive(Debug)]
pub struct Mail {
    process: Process,
    _home: Home,
    smtp: String,
    http: String,
    version: String,
}

impl Mail {
    /// Starts a catcher without messages and waits until it answers. Takes about a second.
    ///
    /// # Errors
    /// What is missing on this machine, or the end of its log.
    pub async fn start() -> anyhow::Result<Self> {
        let programs = place::of("maildev").await?;
        let package = programs.join("node_modules/maildev/package.json");
        let package: Value = serde_json::from_slice(
            &std::fs::read(&package).with_context(|| format!("{} cannot be read", package.display()))?,
        )?;
        let home = Home::create("mail")?;
        let [smtp, web] = free_ports()?;
        let mut arguments = vec![programs.join("node_modules/maildev/bin/maildev").into()];
        for (option, value) in [
            ("--ip", "127.0.0.1".to_owned()),
            ("--smtp", smtp.to_string()),
            ("--web-ip", "127.0.0.1".to_owned()),
            ("--web", web.to_string()),
            ("--mail-directory", home.path().join("mail").display().to_string()),
        ] {
            arguments.push(option.into());
            arguments.push(value.into());
        }
        let launch = Launch {
            name: "mail",
            program: PathBuf::from("node"),
            arguments,
            environment: Vec::new(),
        };
        let mut mail = Self {
            process: Process::spawn(&launch, &home)?,
            _home: home,
            smtp: format!("127.0.0.1:{smtp}"),
            http: format!("http://127.0.0.1:{web}"),
            version: package["version"].as_str().unwrap_or("unknown").to_owned(),
        };
        let (client, messages) = (http::client(), format!("{}/email", mail.http));
        let smtp = mail.smtp.clone();
        mail.process
            .ready(READY_LIMIT, async || {
                http::json(&client, &messages).await?;
                tokio::net::TcpStream::connect(&smtp).await.ok().map(|_| ())
            })
            .await?;
        record::started("MailDev", &mail.version);
        Ok(mail)
    }

    /// For senders: `host:port`, without TLS or login.
    #[must_use]
    pub fn smtp(&self) -> &str {
        &self.smtp
    }

    /// For readers: `http://host:port`. `GET /email` gives all messages as JSON.
    #[must_use]
    pub fn http(&self) -> &str {
        &self.http
    }

    /// The version that it says it is.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Stops it. Its messages are forgotten.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }
}
