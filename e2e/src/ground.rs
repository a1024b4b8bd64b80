//! What a system of a test stands on: the embedded parts, or the real ones where the environment names them
//! (`make test-real`). The tests are the same.

use std::{env, path::Path, time::Duration};

use belay::system::{AUDIENCE, Options};
use embedded::issuer::Claims;
use parts::{Kafka, KafkaOptions, environment, keycloak::People};

/// `apache`: every system of a test gets an Apache Kafka of its own. On one that several systems share they would be members of
/// the same groups, and take each other's messages.
pub const KAFKA: &str = "BELAY_TEST_KAFKA";

/// The parts of one system that are not embedded.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The system's own, if it has one.
    kafka: Option<Kafka>,
    people: Option<People>,
}

impl Ground {
    /// Fills in what the environment names and `options` leave open.
    ///
    /// # Panics
    /// When a part that the environment asks for cannot be started: the test would test something else without it.
    pub async fn prepare(options: &mut Options) -> Self {
        let named = |variable| env::var(variable).ok();
        let apache = match env::var(KAFKA).as_deref() {
            Ok("apache") => true,
            Ok(other) => {
                panic!("{KAFKA} is `{other}`: write apache, or leave it out for the embedded broker")
            }
            Err(_) => false,
        };
        let mut kafka = None;
        if apache && options.kafka.is_none() {
            let own = start_kafka().await;
            options.kafka = Some(own.bootstrap());
            kafka = Some(own);
        }
        options.registry = options.registry.take().or_else(|| named(environment::REGISTRY));
        let mut people = None;
        if options.issuer.is_none()
            && let Some(issuer) = named(environment::ISSUER)
        {
            let password = named(environment::KEYCLOAK_PASSWORD);
            let password = password.expect("whoever names the issuer names its administrator's password");
            people = Some(People::new(&issuer, &password));
            options.issuer = Some(issuer);
        }
        Self { kafka, people }
    }

    /// Gives the system another broker, which knows nothing, if it has one of its own.
    pub async fn forget_messages(&mut self, options: &mut Options) {
        if let Some(old) = self.kafka.take() {
            drop(old);
            let own = start_kafka().await;
            options.kafka = Some(own.bootstrap());
            self.kafka = Some(own);
        }
    }

    /// The system's own Apache Kafka, if it has one.
    pub fn kafka(&mut self) -> Option<&mut Kafka> {
        self.kafka.as_mut()
    }

    /// A token of somebody with a role: Keycloak's, or one by the embedded issuer's key in `issuer_dir`.
    ///
    /// # Panics
    /// When there is none to be had.
    pub fn token(&self, issuer: &str, issuer_dir: &Path, name: &str, role: &str) -> String {
        match &self.people {
            Some(people) => {
                let handle = tokio::runtime::Handle::current();
                // Tests ask for a token in the middle of a sentence. They have several threads, so this one may wait.
                tokio::task::block_in_place(|| handle.block_on(people.token(name, role)))
                    .unwrap_or_else(|error| panic!("{name} gets no token: {error:#}"))
            }
            None => mint(issuer, issuer_dir, name, role),
        }
    }
}

fn mint(issuer: &str, issuer_dir: &Path, name: &str, role: &str) -> String {
    let claims = Claims {
        issuer: issuer.to_owned(),
        audience: AUDIENCE.to_owned(),
        subject: name.to_owned(),
        name: name.to_owned(),
        email: format!("{name}@example.com"),
        roles: vec![role.to_owned()],
        lifetime: Duration::from_secs(3600),
    };
    #[expect(clippy::disallowed_methods, reason = "a token is valid for an hour from now")]
    let now = chrono::Utc::now();
    embedded::issuer::mint(issuer_dir, &claims, now).expect("the issuer's key signs")
}

async fn start_kafka() -> Kafka {
    Box::pin(Kafka::start(KafkaOptions::default()))
        .await
        .unwrap_or_else(|error| panic!("the test needs an Apache Kafka: {error:#}"))
}
