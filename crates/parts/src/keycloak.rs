//! Keycloak with the test realm: the shop's realm, a password grant, and a few people with known passwords.

mod people;

use std::{ffi::OsString, os::unix::fs::symlink, path::Path, time::Duration};

use rand::{Rng, distributions::Alphanumeric};

use crate::{
    home::Home,
    http, java, place,
    process::{Launch, Process, free_ports},
    record,
};
pub use people::{CLIENT, People, password_of};

/// The version of `parts/keycloak/pom.xml` (test `pinned::the_versions_are_those_that_are_fetched`).
pub const VERSION: &str = "26.4.7";
/// The realm of the tests. Its passwords are public, so it is never the shop's own.
pub const REALM: &str = "belay-test";
/// The user name of Keycloak's administrator.
pub(crate) const ADMINISTRATOR: &str = "admin";

const REALM_FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../keycloak/belay-test-realm.json"
);

/// Includes making the tables of its database in memory, on a machine that compiles at the same time.
const READY_LIMIT: Duration = Duration::from_secs(240);
const HEAP: u32 = 384;

/// A running Keycloak. Dropping it, or the end of this process by whatever means, kills it, and what it knew is forgotten.
#[derive(Debug)]
pub struct Keycloak {
    process: Process,
    _home: Home,
    base: String,
    password: String,
}

impl Keycloak {
    /// Starts a Keycloak in memory and waits until its realm answers. Takes about 12 s.
    ///
    /// # Errors
    /// What is missing on this machine, or the end of Keycloak's log.
    pub async fn start() -> anyhow::Result<Self> {
        let java = java::at_least(17, "Keycloak")?;
        let programs = place::of("keycloak").await?;
        let home = Home::create("keycloak")?;
        // Its programs are everybody's and stay as they are; beside them it wants to write.
        for part in ["lib", "conf", "providers", "themes"] {
            symlink(programs.join(part), home.path().join(part))?;
        }
        let import = home.path().join("data/import");
        std::fs::create_dir_all(&import)?;
        std::fs::copy(REALM_FILE, import.join("realm.json"))?;
        let [port] = free_ports()?;
        let password: String = rand::thread_rng()
            .sample_iter(Alphanumeric)
            .take(24)
            .map(char::from)
            .collect();
        let launch = Launch {
            name: "keycloak",
            program: java,
            arguments: arguments(home.path(), port),
            environment: vec![
                ("KC_BOOTSTRAP_ADMIN_USERNAME", ADMINISTRATOR.to_owned()),
                ("KC_BOOTSTRAP_ADMIN_PASSWORD", password.clone()),
            ],
        };
        let base = format!("http://127.0.0.1:{port}");
        let mut process = Process::spawn(&launch, &home)?;
        let (client, discovery) = (
            http::client(),
            format!("{base}/realms/{REALM}/.well-known/openid-configuration"),
        );
        process
            .ready(READY_LIMIT, async || http::json(&client, &discovery).await)
            .await?;
        record::started("Keycloak", VERSION);
        Ok(Self {
            process,
            _home: home,
            base,
            password,
        })
    }

    /// The realm as the issuer of its tokens.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}/realms/{REALM}", self.base)
    }

    /// The administrator's password. Random.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Whoever a test needs, with tokens.
    #[must_use]
    pub fn people(&self) -> People {
        People::new(&self.issuer(), &self.password)
    }

    /// Stops it. What it knew is forgotten.
    pub async fn stop(&mut self) {
        self.process.stop().await;
    }
}

/// What `kc.sh start --optimized --import-realm` runs, with the programs and the data apart.
fn arguments(home: &Path, port: u16) -> Vec<OsString> {
    let mut arguments = java::options(HEAP);
    for package in ["java.util", "java.util.concurrent", "java.security"] {
        arguments.push(format!("--add-opens=java.base/{package}=ALL-UNNAMED").into());
    }
    for (property, value) in [
        ("kc.home.dir", home.into()),
        ("jboss.server.config.dir", home.join("conf").into_os_string()),
        (
            "java.util.logging.manager",
            "org.jboss.logmanager.LogManager".into(),
        ),
        (
            "java.util.concurrent.ForkJoinPool.common.threadFactory",
            "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory".into(),
        ),
        ("picocli.disable.closures", "true".into()),
    ] {
        let mut argument = OsString::from(format!("-D{property}="));
        argument.push::<OsString>(value);
        arguments.push(argument);
    }
    arguments.push("-cp".into());
    arguments.push(home.join("lib/quarkus-run.jar").into());
    arguments.push("io.quarkus.bootstrap.runner.QuarkusEntryPoint".into());
    for argument in [
        "start",
        "--optimized",
        "--import-realm",
        "--cache=local",
        "--http-enabled=true",
        "--http-host=127.0.0.1",
        "--hostname-strict=false",
    ] {
        arguments.push(argument.into());
    }
    arguments.push(format!("--http-port={port}").into());
    arguments
}
