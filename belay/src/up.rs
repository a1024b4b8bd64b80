//! `belay up`: the whole system, until Ctrl-C.

use std::{
    collections::BTreeMap, io::Write, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration,
};

use anyhow::Context;
use host::{config::OutboxArg, kafka::KafkaArgs, registry::RegistryArgs, telemetry::Export};
use saga::RetryPolicy;
use serde_json::{Value, json};

use crate::{
    data_dir::DataDir,
    system::{AUDIENCE, Options, System},
};

/// Runs the whole system on the embedded default, or on the parts that are given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the system keeps its data.
    #[arg(long, env = "BELAY_DATA", default_value = ".belay")]
    pub data: PathBuf,
    /// Delete the data first.
    #[arg(long)]
    pub fresh: bool,
    /// Where the GraphQL edge listens [default: 127.0.0.1:8080, or a free port when it is taken].
    #[arg(long)]
    pub http: Option<SocketAddr>,
    /// A PostgreSQL server, by an administrator's URL, in place of the private one. Databases named belay_* are made on it.
    #[arg(long, env = "BELAY_ADMIN_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// What the names of the databases begin with.
    #[arg(long, default_value = "belay_")]
    pub database_prefix: String,
    /// Kafka's bootstrap servers in place of the embedded broker: host:port[,host:port]
    #[arg(long)]
    pub kafka: Option<String>,
    /// How to log in there.
    #[command(flatten)]
    pub connection: KafkaArgs,
    /// Who carries messages from the outboxes to that broker: the services' relays, or Debezium, whose connectors are then written
    /// to the data directory for a Kafka Connect that you run (docs/cdc.md).
    #[arg(long, value_enum, default_value_t = OutboxArg::Relay)]
    pub outbox: OutboxArg,
    /// A schema registry in place of the embedded one: http://host:port
    #[arg(long)]
    pub registry: Option<String>,
    /// How to log in there.
    #[command(flatten)]
    pub registry_connection: RegistryArgs,
    /// A token issuer in place of the embedded one: the `iss` of its tokens.
    #[arg(long)]
    pub issuer: Option<String>,
    /// A mail server in place of files in the data directory: smtp://host:port or smtps://host:port. Its user and password are
    /// taken from BELAY_SMTP_USER and BELAY_SMTP_PASSWORD, the sender from BELAY_MAIL_FROM.
    #[arg(long, env = "BELAY_SMTP", value_parser = parse_smtp)]
    pub smtp: Option<String>,
    /// The audience that tokens must name.
    #[arg(long, default_value = AUDIENCE)]
    pub audience: String,
    /// Where traces go, by OTLP over HTTP: http://host:4318. Without it, as OTEL_EXPORTER_OTLP_ENDPOINT says; else nowhere.
    #[arg(long)]
    pub otlp: Option<String>,
}

/// The preferred address of the edge.
const PREFERRED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Runs until SIGINT, SIGTERM or a failure.
///
/// # Errors
/// What keeps the system from starting, or made it fail.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Listened for from here on, so that a signal during the start is not lost.
    let mut stop = tokio::spawn(host::program::stop_signal());
    let data = DataDir::create(&args.data)?;
    // Held until the end of this function: a second `belay up` on the same data is refused.
    let _hold = data.hold()?;
    if args.fresh {
        erase(&data).await?;
    }
    let options = args.options(&data).await?;
    let started = tokio::time::Instant::now();
    // Dropping a start that is under way lets the embedded PostgreSQL's guard stop it.
    let mut system = tokio::select! {
        system = System::start(options) => system?,
        _ = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    let failure = work(&data, &mut system, started.elapsed(), &mut stop).await;
    data.withdraw();
    // Whoever asks twice does not want to wait: nothing is lost by it, everything is a transaction.
    tokio::spawn(async {
        if host::program::stop_signal().await.is_ok() {
            std::process::exit(130);
        }
    });
    system.stop().await;
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Lets the system work until it is to stop. Says why, when it was not asked to.
async fn work(
    data: &DataDir,
    system: &mut System,
    took: Duration,
    stop: &mut tokio::task::JoinHandle<std::io::Result<()>>,
) -> Option<anyhow::Error> {
    if let Err(error) = data.announce(system.info()) {
        return Some(error.into());
    }
    // Every arm only waits, or writes a greeting that may as well be cut short.
    tokio::select! {
        _ = &mut *stop => return None,
        greeted = greet(data, system, took) => if let Err(error) = greeted {
            return Some(error);
        },
    }
    tokio::select! {
        _ = stop => None,
        error = system.failed() => Some(error),
    }
}

impl Args {
    /// Where traces go. Every service of the process keeps its own name.
    #[must_use]
    pub fn export(&self) -> Option<Export> {
        let export = match &self.otlp {
            Some(url) => Some(Export::to(url)),
            None => Export::from_environment(),
        };
        export.map(Export::with_own_names)
    }

    async fn options(&self, data: &DataDir) -> anyhow::Result<Options> {
        if self.kafka.is_none() && !self.connection.is_default() {
            anyhow::bail!(
                "options of a broker are given (--kafka-… or BELAY_KAFKA_…), but no broker: add --kafka host:port, or leave them out \
                 for the embedded one, which takes everybody"
            );
        }
        if self.registry.is_none() && !self.registry_connection.is_default() {
            anyhow::bail!(
                "options of a registry are given (--registry-… or BELAY_REGISTRY_…), but no registry: add --registry https://host:port, \
                 or leave them out for the embedded one, which lets everybody in"
            );
        }
        Ok(Options {
            http: self.address().await?,
            database_url: self.database_url.clone(),
            database_prefix: self.database_prefix.clone(),
            database_connections: 8,
            kafka: self.kafka.clone(),
            connection: self.connection.clone(),
            outbox: self.outbox,
            cdc_dir: data.cdc(),
            logins: BTreeMap::new(),
            registry: self.registry.clone(),
            registry_connection: self.registry_connection.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            smtp: self.smtp.clone(),
            mail_dir: data.mail(),
            postgres_dir: data.postgres(),
            issuer_dir: data.issuer(),
            retry: RetryPolicy::default(),
        })
    }

    /// The address that was asked for, or the preferred one, or a free one when that is taken.
    async fn address(&self) -> anyhow::Result<SocketAddr> {
        if let Some(address) = self.http {
            return Ok(address);
        }
        match tokio::net::TcpListener::bind(PREFERRED).await {
            Ok(_) => Ok(PREFERRED),
            Err(_) => Ok(SocketAddr::new(PREFERRED.ip(), 0)),
        }
    }
}

async fn erase(data: &DataDir) -> anyhow::Result<()> {
    embedded::postgres::Postgres::erase(&data.postgres()).await?;
    for (directory, failure) in [
        (data.issuer(), "the issuer's key cannot be deleted"),
        (data.mail(), "the mails cannot be deleted"),
    ] {
        match tokio::fs::remove_dir_all(directory).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(failure),
        }
    }
    Ok(())
}

fn parse_smtp(text: &str) -> Result<String, String> {
    notifications::config::parse_smtp(text).map(|_| text.to_owned())
}

/// Says where everything is and how to submit the first purchase.
async fn greet(data: &DataDir, system: &System, took: Duration) -> anyhow::Result<()> {
    let (info, has_connectors) = (system.info(), !system.connectors().is_empty());
    let program = std::env::current_exe().context("the program's own path cannot be found")?;
    let product = example_product(&info.http).await;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nBelay is up ({:.1} s). Stop it with Ctrl-C.\n",
        took.as_secs_f64()
    )?;
    let graphql = format!("{}/graphql", info.http);
    let websocket = format!("{}/graphql/ws", info.http.replacen("http", "ws", 1));
    for (what, address) in [
        ("GraphQL", graphql.as_str()),
        ("Subscriptions", websocket.as_str()),
        ("Playground", &format!("{}/playground", info.http)),
        (
            "Health, metrics",
            &format!("{}/readyz  {}/metrics", info.http, info.http),
        ),
        ("Kafka", &info.kafka),
        ("Schema registry", &info.registry),
        ("Token issuer", &info.issuer),
        ("Mails", &info.mail),
        ("Data", &data.path().display().to_string()),
    ] {
        writeln!(out, "  {what:<16} {address}")?;
    }
    if has_connectors {
        writeln!(
            out,
            "  {:<16} {}/*.json: messages wait until Kafka Connect runs them (docs/cdc.md)",
            "Connectors",
            data.cdc().display()
        )?;
    }
    if let Some(product) = product {
        let body = json!({
            "query": "mutation($input: SubmitPurchaseInput!) { submitPurchase(input: $input) { purchase { id reference state total { amount currency } } userErrors { code message } } }",
            "variables": { "input": {
                "idempotencyKey": contracts::ids::fresh(),
                "lines": [{ "productId": product, "quantity": 1 }],
                "paymentMethodToken": "tok_ok",
            } },
        });
        writeln!(out, "\nThe first purchase, to paste into another shell:\n")?;
        writeln!(out, "curl -s {graphql} -H 'content-type: application/json' \\")?;
        writeln!(
            out,
            "  -H \"authorization: Bearer $('{}' token --data '{}' --role customer --subject alice)\" \\",
            program.display(),
            data.path().display()
        )?;
        writeln!(out, "  -d '{body}'\n")?;
    }
    out.flush()?;
    Ok(())
}

/// The id of a product that can be bought, as the edge itself answers it.
async fn example_product(http: &str) -> Option<String> {
    let query =
        json!({ "query": "{ products(first: 1, filter: { availability: [IN_STOCK] }) { nodes { id } } }" });
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build()
        .ok()?;
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    // The catalogue is read from product-admin at start: it may take a moment.
    for _ in 0..100 {
        tries.tick().await;
        let Ok(response) = client
            .post(format!("{http}/graphql"))
            .header("content-type", "application/json")
            .body(query.to_string())
            .send()
            .await
        else {
            continue;
        };
        let Ok(body) = response.bytes().await else {
            continue;
        };
        let answer: Value = serde_json::from_slice(&body).ok()?;
        if let Some(id) = answer
            .pointer("/data/products/nodes/0/id")
            .and_then(Value::as_str)
        {
            return Some(id.to_owned());
        }
    }
    None
}
