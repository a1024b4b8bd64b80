//! `belay provision`: makes databases and roles on a server before the services start, with passwords that the operator
//! chose, and, for change data capture, hands the connectors to Kafka Connect. Running it again changes nothing but passwords.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};
use reqwest::Url;

use super::{AUDIT_ROLE, PLACES, provision_audit, provision_with};
use crate::{cdc, output};

/// How long Kafka Connect may take for one answer: it starts the connector meanwhile.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// Shorter ones are guessed.
const SHORTEST_PASSWORD: usize = 16;

/// Makes the databases and roles of all services on a PostgreSQL server.
///
/// Each role's password is read from the environment: BELAY_PASSWORD_ORDERS for orders, BELAY_PASSWORD_PURCHASE_MANAGER for
/// purchase-manager, and so on, or from the file that BELAY_PASSWORD_ORDERS_FILE names. With BELAY_PASSWORD_AUDIT, or
/// BELAY_PASSWORD_AUDIT_FILE, a role belay_audit is made that may read everything and write nothing.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// An administrator's URL of the server: postgres://role:password@host:port/postgres
    #[arg(long, env = "BELAY_ADMIN_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// What the names of the databases begin with.
    #[arg(long, default_value = "belay_")]
    pub database_prefix: String,
    /// Make the outboxes ready for change data capture, and hand the connectors to this Kafka Connect: http://host:port
    #[arg(long, env = "BELAY_CONNECT", value_name = "URL")]
    pub connect: Option<Url>,
}

/// Runs the command.
///
/// # Errors
/// A password that is missing or unfit, a server that cannot be reached or refuses, a connector that is not taken.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let passwords = passwords(|name| std::env::var(name).ok())?;
    let urls = provision_with(&args.database_url, &args.database_prefix, |service| {
        passwords[service].clone()
    })
    .await?;
    let rows: Vec<[String; 3]> = PLACES
        .iter()
        .map(|place| {
            let database = format!("{}{}", args.database_prefix, place.database);
            [place.service.to_owned(), place.role.to_owned(), database]
        })
        .collect();
    output::result(&output::table(["service", "role", "database"], &rows))?;
    match audit_password(|name| std::env::var(name).ok())? {
        Some(password) => {
            provision_audit(&args.database_url, &args.database_prefix, &password).await?;
            output::note(&format!("{AUDIT_ROLE} may read all of them, for `belay audit`"));
        }
        None => output::note("no role for `belay audit` was made: BELAY_PASSWORD_AUDIT is not set"),
    }
    if let Some(connect) = &args.connect {
        let connectors = cdc::prepare(&args.database_url, &urls).await?;
        hand_over(connect, &connectors).await?;
        output::note(&format!("{} connectors run on {connect}", connectors.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The password of every service's role, by service.
fn passwords(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<BTreeMap<&'static str, String>> {
    PLACES
        .iter()
        .map(|place| Ok((place.service, password(place.service, &variable)?)))
        .collect()
}

/// The audit's role is made when it is given a password, and not otherwise: whoever runs no audit needs none.
fn audit_password(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<String>> {
    let is_given = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    if is_given("BELAY_PASSWORD_AUDIT") || is_given("BELAY_PASSWORD_AUDIT_FILE") {
        password("audit", &variable).map(Some)
    } else {
        Ok(None)
    }
}

fn password(service: &str, variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<String> {
    let name = format!("BELAY_PASSWORD_{}", service.replace('-', "_").to_uppercase());
    let file_name = format!("{name}_FILE");
    let given = |name: &str| variable(name).filter(|value| !value.is_empty());
    let password = match (given(&name), given(&file_name)) {
        (Some(password), None) => password,
        (None, Some(path)) => std::fs::read_to_string(&path)
            .with_context(|| format!("the file {path} of {file_name} cannot be read"))?
            .trim_end_matches(['\n', '\r'])
            .to_owned(),
        (Some(_), Some(_)) => bail!("{name} and {file_name} are both set: leave one out"),
        (None, None) => {
            bail!("{service} needs a password: set {name}, or {file_name} with a file that holds it")
        }
    };
    // Such a password is the same in a URL, in SQL and in a shell: nothing has to be escaped anywhere.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    ensure!(
        password.len() >= SHORTEST_PASSWORD && password.bytes().all(plain),
        "the password of {service} ({name}) is to have {SHORTEST_PASSWORD} characters or more, of letters, digits and -._~ only: \
         take such as `openssl rand -hex 24` prints"
    );
    Ok(password)
}

/// Makes each connector on Kafka Connect, or gives it its configuration anew.
async fn hand_over(connect: &Url, connectors: &BTreeMap<String, cdc::Connector>) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(CONNECT_LIMIT).build()?;
    for (service, connector) in connectors {
        let address = connect.join(&format!("connectors/{}/config", connector.name))?;
        let body = serde_json::to_vec(&connector.config)?;
        let answer = client
            .put(address)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .with_context(|| format!("Kafka Connect at {connect} does not answer"))?;
        // Its words may repeat the configuration, and with it the password: the status has to do.
        ensure!(
            answer.status().is_success(),
            "Kafka Connect refuses the connector of {service} with {}: its log says why",
            answer.status()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{body_partial_json, method, path},
    };

    use super::*;

    const GOOD: &str = "0123456789abcdef";

    fn of_orders(variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        password("orders", &variable).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_password_is_in_the_environment_or_in_a_file() {
        assert_eq!(of_orders(&[("BELAY_PASSWORD_ORDERS", GOOD)]).as_deref(), Ok(GOOD));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{GOOD}\n")).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(
            of_orders(&[("BELAY_PASSWORD_ORDERS_FILE", path)]).as_deref(),
            Ok(GOOD)
        );
        let both = [
            ("BELAY_PASSWORD_ORDERS", GOOD),
            ("BELAY_PASSWORD_ORDERS_FILE", path),
        ];
        assert!(of_orders(&both).unwrap_err().contains("both"));
    }

    #[test]
    fn the_audit_has_a_role_when_it_has_a_password() {
        let given = |value: &'static str| {
            audit_password(move |name| (name == "BELAY_PASSWORD_AUDIT").then(|| value.to_owned()))
        };
        assert_eq!(given(GOOD).unwrap().as_deref(), Some(GOOD));
        assert_eq!(given("").unwrap(), None);
        assert!(given("short").is_err());
    }

    #[test]
    fn none_is_made_up_and_none_is_taken_that_needs_escaping_or_is_short() {
        assert!(of_orders(&[]).unwrap_err().contains("BELAY_PASSWORD_ORDERS"));
        assert!(of_orders(&[("BELAY_PASSWORD_ORDERS", "")]).is_err());
        for unfit in ["short", "0123456789abcde'", "0123456789abcdef@host"] {
            let refused = of_orders(&[("BELAY_PASSWORD_ORDERS", unfit)]).unwrap_err();
            assert!(!refused.contains(unfit), "{refused}");
        }
    }

    /// A connector as `cdc::prepare` makes it, as far as it is handed over.
    fn connectors() -> BTreeMap<String, cdc::Connector> {
        let connector = |name: &str| cdc::Connector {
            name: name.to_owned(),
            config: BTreeMap::from(
                [("database.dbname", name), ("database.password", "swordfish")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned())),
            ),
        };
        BTreeMap::from([
            ("orders".to_owned(), connector("orders_orders")),
            ("payments".to_owned(), connector("payments_payments")),
        ])
    }

    #[tokio::test]
    async fn every_connector_is_handed_to_kafka_connect_under_its_name() {
        let connect = MockServer::start().await;
        for name in ["orders_orders", "payments_payments"] {
            Mock::given(method("PUT"))
                .and(path(format!("/connectors/{name}/config")))
                .and(body_partial_json(json!({ "database.dbname": name })))
                .respond_with(ResponseTemplate::new(201))
                .expect(2)
                .mount(&connect)
                .await;
        }
        // Twice, because an upgrade does it again.
        for _ in 0..2 {
            hand_over(&connect.uri().parse().unwrap(), &connectors())
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn a_connector_that_is_refused_is_named_without_what_it_holds() {
        let connect = MockServer::start().await;
        let words = "Connector configuration is invalid: database.password swordfish";
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(400).set_body_string(words))
            .mount(&connect)
            .await;
        let refused = hand_over(&connect.uri().parse().unwrap(), &connectors())
            .await
            .unwrap_err();
        let refused = format!("{refused:#}");
        assert!(refused.contains("orders with 400"), "{refused}");
        assert!(!refused.contains("swordfish"), "{refused}");
    }
}
