//! A system of its own for one test: every service in this process, on databases of its own.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use belay::{
    data_dir::SystemInfo,
    system::{AUDIENCE, Options, System},
};
use saga::RetryPolicy;
use sqlx::{Connection, PgConnection};
use testkit::eventually;

use crate::{Customer, ground::Ground};

/// How long a purchase may take in a test, on a machine that runs several systems at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running system, and what it takes to start it again.
#[derive(Debug)]
pub struct World {
    options: Options,
    ground: Ground,
    /// None while it is stopped.
    system: Option<System>,
    _keys: tempfile::TempDir,
}

impl World {
    /// Starts a system with short pauses between re-sends, so that what is lost is soon sent again.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same on other parts than the embedded ones.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(adjust: impl FnOnce(&mut Options)) -> Self {
        let keys = tempfile::tempdir().expect("a temporary directory can be made");
        let mut options = Options {
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            database_url: Some(testkit::server::url().await.to_owned()),
            database_prefix: format!("e2e_{}_", &contracts::ids::fresh().simple().to_string()[16..]),
            database_connections: 8,
            kafka: None,
            connection: host::kafka::KafkaArgs::default(),
            outbox: host::config::OutboxArg::Relay,
            cdc_dir: keys.path().join("cdc"),
            logins: BTreeMap::new(),
            registry: None,
            registry_connection: host::registry::RegistryArgs::default(),
            issuer: None,
            audience: AUDIENCE.to_owned(),
            smtp: None,
            mail_dir: keys.path().join("mail"),
            postgres_dir: keys.path().join("postgres"),
            issuer_dir: keys.path().join("issuer"),
            retry: RetryPolicy::fast(Duration::from_secs(2), Duration::from_secs(4), 8),
        };
        adjust(&mut options);
        let ground = Ground::prepare(&mut options).await;
        let mut world = Self {
            options,
            ground,
            system: None,
            _keys: keys,
        };
        world.run().await;
        world
    }

    /// Starts the stopped system again, on a broker that has forgotten everything.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.ground.forget_messages(&mut self.options).await;
        self.run().await;
    }

    async fn run(&mut self) {
        let system = System::start(self.options.clone())
            .await
            .expect("the system starts");
        self.system = Some(system);
        self.catalogue_is_known().await;
    }

    /// Stops the system.
    pub async fn stop(&mut self) {
        if let Some(system) = self.system.take() {
            system.stop().await;
        }
    }

    /// Takes the broker away, until [`World::broker_comes_back`]. What it was sent it keeps.
    ///
    /// # Panics
    /// When it cannot be taken away.
    pub async fn broker_goes_down(&mut self) {
        match self.ground.kafka() {
            Some(kafka) => kafka.kill().await,
            None => self.embedded_broker().down().expect("the embedded broker obeys"),
        }
    }

    /// Brings the broker back.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn broker_comes_back(&mut self) {
        match self.ground.kafka() {
            Some(kafka) => kafka.restart().await.expect("the broker starts again"),
            None => self.embedded_broker().up().expect("the embedded broker obeys"),
        }
    }

    fn embedded_broker(&self) -> &embedded::broker::Broker {
        let system = self.system.as_ref().expect("the system runs");
        system
            .broker()
            .expect("without an Apache Kafka the broker is embedded")
    }

    /// The command line of one more instance of `service`, which listens at `http`.
    ///
    /// # Panics
    /// When there is no such service, or none of the system runs.
    pub fn command_line(&self, service: &str, http: &str) -> Vec<std::ffi::OsString> {
        let system = self.system.as_ref().expect("the system runs");
        let http = http.parse().expect("an address and a port");
        system.flags(service, http).expect("a service of the system")
    }

    /// Where everything is.
    ///
    /// # Panics
    /// When the system is stopped.
    #[must_use]
    pub fn info(&self) -> &SystemInfo {
        self.system.as_ref().expect("the system runs").info()
    }

    /// The connectors that the system waits for, when its outboxes are captured.
    ///
    /// # Panics
    /// When the system is stopped.
    #[must_use]
    pub fn connectors(&self) -> &BTreeMap<String, belay::cdc::Connector> {
        self.system.as_ref().expect("the system runs").connectors()
    }

    /// The running system.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn system(&mut self) -> &mut System {
        self.system.as_mut().expect("the system runs")
    }

    /// A customer of that name.
    #[must_use]
    pub fn customer(&self, name: &str) -> Customer {
        self.someone(name, "customer")
    }

    /// Somebody with a role.
    ///
    /// # Panics
    /// When no token can be minted.
    #[must_use]
    pub fn someone(&self, name: &str, role: &str) -> Customer {
        let info = self.info();
        let token = self
            .ground
            .token(&info.issuer, &self.options.issuer_dir, name, role);
        Customer::new(&info.http, token)
    }

    /// Waits until the edge knows the products.
    async fn catalogue_is_known(&self) {
        let anyone = self.customer("anyone");
        eventually("the catalogue is known at the edge", PATIENCE, async || {
            anyone.find_product("").await
        })
        .await;
    }

    /// The audit, after everything has settled.
    ///
    /// # Panics
    /// When it finds a violation, or nothing settles.
    pub async fn audit_is_clean(&self) {
        let settle = PATIENCE;
        let report = belay::audit::run_on(
            &self.info().databases,
            &belay::audit::Options {
                settle: Some(settle),
                ..belay::audit::Options::default()
            },
        )
        .await
        .expect("the audit runs");
        assert!(
            report.is_clean(),
            "the audit found violations:\n{}",
            report.table()
        );
        self.nothing_is_forgotten().await;
    }

    /// The stuck detector finds nothing: for every purchase that has not ended and waits for nobody, something is due.
    async fn nothing_is_forgotten(&self) {
        let mut connection = self.database("purchase-manager").await;
        let forgotten = purchase_manager::store::forgotten(&mut connection)
            .await
            .expect("the database answers");
        assert!(forgotten.is_empty(), "nothing is due for {forgotten:?}");
    }

    /// One number from a service's database.
    ///
    /// # Panics
    /// When the query fails.
    pub async fn count(&self, service: &str, query: &'static str) -> i64 {
        let mut connection = self.database(service).await;
        #[expect(
            clippy::disallowed_methods,
            reason = "tests look into the tables as they need"
        )]
        let number = sqlx::query_scalar(query).fetch_one(&mut connection).await;
        number.expect("the query gives a number")
    }

    /// A connection to a service's database, in its schema.
    ///
    /// # Panics
    /// When there is none.
    pub async fn database(&self, service: &str) -> PgConnection {
        let databases: &BTreeMap<String, String> = &self.info().databases;
        let options = host::database::options(&databases[service], service).expect("the address is ours");
        PgConnection::connect_with(&options)
            .await
            .expect("the database answers")
    }
}
