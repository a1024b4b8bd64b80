//! A schema registry that the tests of one process share, and codecs that know it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use embedded::registry::Registry;
use mailbox::{
    Codec,
    codec::{RegistryMode, RegistrySettings},
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::{Database, background};

/// Loopback, any free port.
pub const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The address of the shared registry, started at the first call on a database of its own.
///
/// # Panics
/// When it cannot be started.
pub async fn registry_url() -> &'static str {
    static URL: OnceCell<String> = OnceCell::const_new();
    URL.get_or_init(|| {
        background::run(async {
            let database = Database::empty("registry").await;
            let registry = Registry::start(database.pool(), ANYWHERE, &CancellationToken::new())
                .await
                .unwrap_or_else(|error| panic!("the tests' schema registry does not start: {error:#}"));
            let url = registry.url().to_owned();
            // Both are for every test to come, and end with the process.
            std::mem::forget((database, registry));
            url
        })
    })
    .await
}

/// A codec of `service`, with every schema of the contract registered in the shared registry.
///
/// # Panics
/// When the registry refuses a schema.
pub async fn codec(service: &str) -> Codec {
    let url = registry_url().await;
    let settings = RegistrySettings::open(url, RegistryMode::Register);
    Codec::start(&settings, service, &CancellationToken::new())
        .await
        .unwrap_or_else(|error| panic!("the contract's schemas cannot be registered: {error}"))
}
