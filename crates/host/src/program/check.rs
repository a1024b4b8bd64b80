//! `--check-config`: reads the whole configuration as a start would, says what it came to, and touches no network.

use std::fmt::Write as _;

use anyhow::{Context, ensure};
use clap::{Arg, ArgMatches, Command, FromArgMatches, parser::ValueSource};
use mailbox::KafkaSettings;
use tracing_subscriber::EnvFilter;

use crate::{ServiceConfig, config::RegistryModeArg, database, telemetry::Export};

/// What stands for a text that is not shown.
const HIDDEN: &str = "[hidden]";

/// Checks what every service has, and lists every setting with where it comes from. Secrets are not in the list.
///
/// Files that are named by a setting are read. Nothing is connected to: whether a database or a broker answers is for
/// `/readyz` to say.
///
/// # Errors
/// The first setting that a start would refuse, with what to do.
pub fn report(command: &Command, matches: &ArgMatches) -> anyhow::Result<String> {
    let config = ServiceConfig::from_arg_matches(matches)?;
    check(&config, command.get_name())?;
    let mut text = format!("{}: the configuration can be used\n", command.get_name());
    for argument in command.get_arguments() {
        for (value, source) in settings(argument, matches) {
            // Writing into a text cannot fail.
            let _ = writeln!(text, "  {:<28} {value}  ({source})", argument.get_id().as_str());
        }
    }
    let traces = match Export::from_environment() {
        Some(_) => "as OTEL_EXPORTER_OTLP_ENDPOINT says",
        None => "nowhere: OTEL_EXPORTER_OTLP_ENDPOINT is not set, or export is switched off",
    };
    let _ = writeln!(text, "  {:<28} {traces}", "traces");
    if config.registry_mode == RegistryModeArg::Check {
        text.push_str("  missing schemas are not registered but waited for\n");
    }
    Ok(text)
}

fn check(config: &ServiceConfig, service: &str) -> anyhow::Result<()> {
    database::options(&config.database_url, service)?;
    let registry: axum::http::Uri = config
        .registry
        .parse()
        .ok()
        .filter(|uri: &axum::http::Uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        })
        .context(
            "--registry is no URL: write http://host:port, with the path of its Confluent API if it has one",
        )?;
    ensure!(
        registry.query().is_none(),
        "--registry takes no query: write http://host:port"
    );
    check_kafka(config.kafka_settings()?)?;
    if let Ok(filter) = std::env::var("RUST_LOG") {
        EnvFilter::try_new(&filter)
            .context("RUST_LOG is no filter: write such as info or warn,mailbox=debug")?;
    }
    Ok(())
}

/// Makes a client that knows no broker: it reads certificates and keys and refuses properties that do not fit, and has
/// nobody to talk to.
fn check_kafka(settings: KafkaSettings) -> anyhow::Result<()> {
    for server in settings.bootstrap.split(',') {
        let port = server
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        ensure!(
            matches!(port, Some((host, Ok(1..))) if !host.trim().is_empty()),
            "--kafka: `{server}` is no address of a broker: write host:port[,host:port]"
        );
    }
    settings
        .producer()
        .create_native_config()
        .context("a property of Kafka's producer cannot be used")?;
    let alone = KafkaSettings {
        bootstrap: String::new(),
        ..settings
    };
    alone
        .asking("belay.check-config")
        .context("the settings of Kafka's client cannot be used")?;
    Ok(())
}

/// The values of one argument as they may be shown, with where they come from. None when it is not set.
fn settings(argument: &Arg, matches: &ArgMatches) -> Vec<(String, String)> {
    let id = argument.get_id().as_str();
    // An argument of clap's own, such as --help, has no value here.
    let Ok(Some(values)) = matches.try_get_raw(id) else {
        return Vec::new();
    };
    let source = match matches.value_source(id) {
        Some(ValueSource::EnvVariable) => argument
            .get_env()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        Some(ValueSource::CommandLine) => argument
            .get_long()
            .map_or_else(String::new, |name| format!("--{name}")),
        // clap may come to know more sources; none of them is a person's word.
        Some(_) | None => "default".to_owned(),
    };
    values
        .map(|value| (shown(argument, &value.to_string_lossy()), source.clone()))
        .collect()
}

/// A value as it may be shown. What is marked as a secret is hidden but for the harmless part of a URL, and a password in a
/// URL is hidden wherever it stands.
fn shown(argument: &Arg, value: &str) -> String {
    let id = argument.get_id().as_str();
    if id == "properties" {
        // librdkafka's own: names say enough.
        let name = value.split('=').next().unwrap_or_default();
        return format!("{name}={HIDDEN}");
    }
    if argument.is_hide_env_values_set() && !id.ends_with("_url") {
        return HIDDEN.to_owned();
    }
    match value.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", without_password(rest)),
        None if argument.is_hide_env_values_set() => HIDDEN.to_owned(),
        None => value.to_owned(),
    }
}

/// A URL behind its scheme: without a password before the host, and without the values of its query.
fn without_password(rest: &str) -> String {
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match place.find('/') {
        Some(slash) => place.split_at(slash),
        None => (place, ""),
    };
    // Written without escaping, a password may hold a slash: then nothing behind it can be told apart.
    if path.contains('@') {
        return HIDDEN.to_owned();
    }
    let mut text = match authority.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    text.push_str(path);
    if let Some(query) = query {
        let names: Vec<String> = query
            .split('&')
            .map(|pair| format!("{}={HIDDEN}", pair.split('=').next().unwrap_or_default()))
            .collect();
        text.push('?');
        text.push_str(&names.join("&"));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "sample")]
    struct Sample {
        #[command(flatten)]
        service: ServiceConfig,
    }

    fn check(more: &[&str]) -> anyhow::Result<String> {
        let command = super::super::command::<Sample>();
        let flags = [
            "sample",
            "--check-config",
            "--database-url=postgres://belay_bff:swordfish@db:5432/bff?sslmode=require&password=marlin",
            "--kafka=kafka:9092",
            "--caller=bff=A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
        ];
        let mut flags: Vec<&str> = flags.into();
        if !more.iter().any(|flag| flag.starts_with("--registry=")) {
            flags.push("--registry=http://reader:tuna@registry:8081/apis/ccompat/v7");
        }
        flags.extend(more);
        let matches = command.clone().try_get_matches_from(flags)?;
        report(&command, &matches)
    }

    #[test]
    fn what_would_be_used_is_listed_without_secrets() {
        let text = check(&["--kafka-property=ssl.key.password=perch"]).unwrap();
        for word in [
            "postgres://belay_bff:[hidden]@db:5432/bff?sslmode=[hidden]&password=[hidden]  (--database-url)",
            "http://reader:[hidden]@registry:8081/apis/ccompat/v7",
            "ssl.key.password=[hidden]",
            "127.0.0.1:8080  (default)",
        ] {
            assert!(text.contains(word), "{word} is not in:\n{text}");
        }
        for secret in ["swordfish", "marlin", "tuna", "perch"] {
            assert!(!text.contains(secret), "{secret} is in:\n{text}");
        }
    }

    #[test]
    fn what_a_start_would_refuse_is_refused() {
        for (flag, words) in [
            ("--kafka-property=no.such.property=1", "no.such.property"),
            ("--kafka-property=session.timeout.ms=soon", "session.timeout.ms"),
            ("--registry=registry:8081", "--registry is no URL"),
            ("--kafka-security=sasl-ssl", "--kafka-sasl-mechanism"),
        ] {
            let refused = format!("{:#}", check(&[flag]).unwrap_err());
            assert!(refused.contains(words), "{flag}: {refused}");
        }
    }

    #[test]
    fn files_are_read() {
        let away = ["--kafka-security=ssl", "--kafka-ca=/no/such/file.pem"];
        assert!(check(&away).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        let flag = format!("--kafka-ca={}", file.path().display());
        assert!(check(&["--kafka-security=ssl", &flag]).is_err());
    }

    #[test]
    fn a_password_that_cannot_be_told_from_the_rest_hides_all_of_it() {
        assert_eq!(without_password("u:pass/word@db/x"), HIDDEN);
        assert_eq!(without_password("u@db/x"), "u@db/x");
    }
}
