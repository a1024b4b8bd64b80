//! What the quality scenarios share: a system on this machine, and `belay load` against it.

use std::{net::SocketAddr, time::Duration};

use belay::{
    data_dir::DataDir,
    load,
    system::{AUDIENCE, Options},
};
use clap::Parser;
use saga::RetryPolicy;

/// The system of a scenario: embedded, but for the broker if one is given.
pub fn options(data: &DataDir, kafka: Option<String>, retry: RetryPolicy) -> Options {
    Options {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        database_url: None,
        database_prefix: "belay_".to_owned(),
        database_connections: 8,
        kafka,
        connection: host::kafka::KafkaArgs::default(),
        outbox: host::config::OutboxArg::Relay,
        cdc_dir: data.cdc(),
        logins: std::collections::BTreeMap::new(),
        registry: None,
        registry_connection: host::registry::RegistryArgs::default(),
        issuer: None,
        audience: AUDIENCE.to_owned(),
        smtp: None,
        mail_dir: data.mail(),
        postgres_dir: data.postgres(),
        issuer_dir: data.issuer(),
        retry,
    }
}

/// `belay load` as it is on a command line.
#[derive(Debug, Parser)]
struct Load {
    #[command(flatten)]
    args: load::Args,
}

/// So many purchases per second for so long; what is open then is waited for.
///
/// # Errors
/// Values that `belay load` refuses.
pub fn load(data: &DataDir, rate: u32, duration: Duration, wait: Duration) -> anyhow::Result<load::Args> {
    let words = [
        "load".into(),
        "--data".into(),
        data.path().as_os_str().to_owned(),
        format!("--rate={rate}").into(),
        format!("--duration={}", duration.as_secs()).into(),
        format!("--wait-seconds={}", wait.as_secs()).into(),
    ];
    Ok(Load::try_parse_from(words)?.args)
}
