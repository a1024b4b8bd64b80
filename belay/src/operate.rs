//! What operators do: `belay parked` and `belay saga`, over the HTTP of the running services.

pub mod parked;
pub mod saga;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use contracts::{calls::COMMAND_LINE, http::Refused};
use host::identity::{Acting, Identity, PrivateKey, acting};
use reqwest::{RequestBuilder, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::data_dir::{DataDir, SystemInfo};

/// The services answer from their databases, on this machine or near it.
const LIMIT: Duration = Duration::from_secs(10);

/// Which system, and how the result is written.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The data directory of the running system.
    #[arg(
        long,
        env = "BELAY_DATA",
        default_value = ".belay",
        value_name = "DIR",
        global = true
    )]
    pub data: PathBuf,
    /// A service's own HTTP, instead of the running system's; may be repeated. For the edge its internal address.
    #[arg(long = "service-url", value_name = "SERVICE=URL", value_parser = parse_service, global = true)]
    pub service_urls: Vec<(String, String)>,
    /// The key of the command line, for services that are given with --service-url: `belay identity` makes it. Better in the
    /// environment: the command line can be read by others.
    #[arg(long, env = "BELAY_IDENTITY_KEY", hide_env_values = true, global = true)]
    pub identity_key: Option<PrivateKey>,
    /// Prints the result as JSON, alone on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Who acts, and why.
#[derive(Debug, clap::Args)]
pub struct Deed {
    /// Why; it is recorded.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who; it is recorded.
    #[arg(long, env = "USER", default_value = "belay", value_name = "ID")]
    pub actor: String,
    /// The key of the request: with the same one it is carried out once, however often it is sent. Drawn when it is not given.
    #[arg(long, value_name = "UUID")]
    pub idempotency_key: Option<uuid::Uuid>,
}

impl Deed {
    fn key(&self) -> uuid::Uuid {
        self.idempotency_key.unwrap_or_else(contracts::ids::fresh)
    }
}

/// The services of a system.
#[derive(Debug)]
struct Services {
    addresses: Vec<(String, String)>,
    identity: Identity,
    http: reqwest::Client,
}

impl Services {
    fn open(place: &Place) -> anyhow::Result<Self> {
        let (addresses, key) = if place.service_urls.is_empty() {
            let system = DataDir::open(&place.data)?.system()?;
            let key = system
                .identity_key
                .parse()
                .context("the running system says no key: start it anew")?;
            (addresses(system), key)
        } else {
            let key = place.identity_key.clone().context(
                "the services want to know who asks: set BELAY_IDENTITY_KEY to the key that they know the command line by",
            )?;
            (place.service_urls.clone(), key)
        };
        let http = reqwest::Client::builder()
            .timeout(LIMIT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            addresses,
            identity: Identity::new(COMMAND_LINE, &key),
            http,
        })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(|(name, _)| name.as_str())
    }

    fn url(&self, service: &str, path: &str) -> anyhow::Result<String> {
        let Some((_, address)) = self.addresses.iter().find(|(name, _)| name == service) else {
            let known: Vec<&str> = self.names().collect();
            bail!(
                "`{service}` is not among the services of this system: {}",
                known.join(", ")
            );
        };
        Ok(format!("{}{path}", address.trim_end_matches('/')))
    }

    /// A read; none when the service knows no such thing.
    async fn read<T: DeserializeOwned>(
        &self,
        service: &str,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<Option<T>> {
        let mut url = reqwest::Url::parse(&self.url(service, path)?)?;
        url.query_pairs_mut().extend_pairs(query);
        let (status, body) = self.ask(service, self.http.get(url)).await?;
        match status {
            StatusCode::OK => Ok(Some(understand(service, &body)?)),
            StatusCode::NOT_FOUND => Ok(None),
            other => bail!("{service} answers {other}: {}", body.trim()),
        }
    }

    /// A write in the name of `actor`; a refusal is an error with its words.
    async fn write<T: DeserializeOwned>(
        &self,
        service: &str,
        path: &str,
        actor: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let acting = Acting {
            subject: actor.to_owned(),
            role: "operator".to_owned(),
        };
        let request = self.http.post(self.url(service, path)?).json(body);
        let (status, body) = acting::scope(Some(acting), self.ask(service, request)).await?;
        match status {
            StatusCode::OK => understand(service, &body),
            StatusCode::UNPROCESSABLE_ENTITY => {
                let refused: Refused = understand(service, &body)?;
                let errors = refused
                    .errors
                    .iter()
                    .map(|error| format!("{}: {}", error.code, error.message));
                bail!("{}", errors.collect::<Vec<_>>().join("; "))
            }
            other => bail!("{service} answers {other}: {}", body.trim()),
        }
    }

    async fn ask(&self, service: &str, request: RequestBuilder) -> anyhow::Result<(StatusCode, String)> {
        let away = || format!("{service} does not answer");
        let mut request = request.build()?;
        self.identity.sign(service, request.headers_mut())?;
        let response = self.http.execute(request).await.with_context(away)?;
        let status = response.status();
        Ok((status, response.text().await.with_context(away)?))
    }
}

/// The edge shows the public nothing of this: it answers at its internal address.
fn addresses(system: SystemInfo) -> Vec<(String, String)> {
    let SystemInfo {
        services, contacts, ..
    } = system;
    let internal = |(name, address)| match name {
        edge if edge == bff::SERVICE => (edge, contacts.clone()),
        other => (other, address),
    };
    services
        .into_iter()
        .map(internal)
        .filter(|(_, address): &(String, String)| !address.is_empty())
        .collect()
}

fn understand<T: DeserializeOwned>(service: &str, body: &str) -> anyhow::Result<T> {
    serde_json::from_str(body).with_context(|| format!("{service} answers something else than agreed"))
}

fn parse_service(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((service, url)) if url.starts_with("http") => Ok((service.to_owned(), url.to_owned())),
        Some(_) | None => Err("write SERVICE=URL, such as orders=http://127.0.0.1:8083".to_owned()),
    }
}

/// A time as it is shown to a person, in UTC.
fn time(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}
