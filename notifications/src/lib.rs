//! Notifications: the customer gets an e-mail when a purchase has completed, was rejected, or was cancelled.
//!
//! Owns the notifications, one for each outcome of a purchase. Accepts `purchase.events.v1` and, because events are hints,
//! purchase-manager's feed of ended purchases. Emits nothing but mail.
//!
//! | module | job |
//! |---|---|
//! | [`domain`] | outcomes, and what becomes of a notification: pure |
//! | [`letter`] | from a purchase to text and HTML: pure |
//! | [`handlers`] | events from Kafka |
//! | [`feed`] | the change feed, in an overlapping window |
//! | [`sender`] | claim, send, commit the outcome |
//! | [`mailer`] | SMTP, or a directory of files in its place |
//! | [`clients`] | purchase-manager, and who knows the customers' addresses |
//! | [`store`] | all SQL |
//! | [`retention`] | how long it is kept what was told |
//! | [`http`] | reads for operators |
//! | [`config`] | what the service is told |
//!
//! # Where addresses come from
//!
//! From the edge, which takes them from the customer's token and tells them to its own services alone. They are asked for
//! when a mail is sent: no address is on a topic, in a table of this service, in a log line or in a reason.
//!
//! # Invariants
//!
//! No outcome without its row, also when the event never came (test `feed::what_the_topic_lost_is_found_in_the_feed`; I11 of
//! the audit), and none with two (test `events::an_event_that_comes_again_makes_no_second_row`). No call of a mail server within
//! a transaction, and none without a claim that was committed before (test `sending::a_claim_is_committed_before_the_server_is_called`).
//! No mail twice but where the server's answer was lost, and then with the same Message-ID (test
//! `sending::a_mail_whose_answer_is_lost_comes_again_with_the_same_message_id`). No address in what is kept (test
//! `sending::a_refused_address_is_parked_without_the_address`).

pub mod clients;
pub mod config;
pub mod domain;
pub mod feed;
pub mod handlers;
pub mod http;
pub mod letter;
pub mod mailer;
pub mod retention;
pub mod sender;
pub mod store;

use std::sync::Arc;

use contracts::topics;
use host::{Host, Running, identity::Identity};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// The service's name: its schema, its consumer group, its metrics.
pub const SERVICE: &str = "notifications";

/// The service's own tables.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Whether the settings of the mail server fit together: what `--check-config` asks beside what every service has. Reads the
/// file of the password, and touches no network.
///
/// # Errors
/// What [`start`] would refuse.
pub fn check(config: &Config) -> anyhow::Result<()> {
    mailer::Mailer::new(config).map(drop)
}

/// Starts the service. The mail server, purchase-manager and the edge may be away.
///
/// # Errors
/// Settings of the mail server that contradict each other or would send mail in plain text over a network, and what
/// [`Host::start`] cannot wait out: a taken port, a database that refuses, tables from a newer version.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let mailer = mailer::Mailer::new(&config)?;
    let identity = Identity::new(SERVICE, &config.identity.identity_key);
    let clients = clients::Clients::new(config.purchase_manager.clone(), config.contacts.clone(), identity)?;
    let mut host = Host::start(SERVICE, &config.service, &MIGRATOR, shutdown).await?;
    let wake = Arc::new(Notify::new());
    let handler = handlers::Events::new(config.stale_after(), wake.clone());
    host.consume_in_background("events", &[topics::PURCHASE_EVENTS], handler);
    let feed = feed::Feed::new(
        host.pool(),
        clients.clone(),
        config.stale_after(),
        config.reconcile_every(),
        wake.clone(),
    );
    host.spawn(|shutdown| feed.run(shutdown));
    let sender = sender::Sender::new(host.pool(), clients, mailer, config.max_attempts, wake);
    host.spawn(|shutdown| sender.run(shutdown));
    let (pool, days) = (
        host.pool(),
        retention::kept_days(config.retention_notification_days, config.stale_after()),
    );
    host.spawn(|shutdown| retention::run(pool, days, shutdown));
    let routes = http::routes(host.pool());
    Ok(host.run(routes))
}
