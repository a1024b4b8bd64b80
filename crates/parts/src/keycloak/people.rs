//! People of the test realm: made when they are first needed, signed in by password.

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{ADMINISTRATOR, REALM};
use crate::http;

/// The client that people sign in to.
pub const CLIENT: &str = "belay-shop";

/// The password of everybody in the test realm, by user name. Public, and no secret of anything.
#[must_use]
pub fn password_of(name: &str) -> String {
    format!("test-only-{name}")
}

/// Makes people and signs them in.
#[derive(Debug)]
pub struct People {
    client: reqwest::Client,
    issuer: String,
    password: String,
    /// The administrator's token, which Keycloak lets expire after a minute.
    administrator: Mutex<Option<String>>,
}

impl People {
    /// People of the realm with this issuer, whose Keycloak's administrator has this password.
    #[must_use]
    pub fn new(issuer: &str, password: &str) -> Self {
        Self {
            client: http::client(),
            issuer: issuer.to_owned(),
            password: password.to_owned(),
            administrator: Mutex::default(),
        }
    }

    /// A token of that person, who is made with the role (`customer`, `operator`, `admin`) if there is none of that name.
    /// Valid for an hour.
    ///
    /// # Errors
    /// When Keycloak refuses, with its reason.
    pub async fn token(&self, name: &str, role: &str) -> anyhow::Result<String> {
        self.make(name, role).await?;
        self.sign_in(&self.issuer, CLIENT, name, &password_of(name)).await
    }

    async fn make(&self, name: &str, role: &str) -> anyhow::Result<()> {
        let base = self.base()?;
        let person = json!({
            "username": name,
            "enabled": true,
            "emailVerified": true,
            "firstName": name,
            "lastName": "Test",
            "email": format!("{name}@example.com"),
            "groups": [format!("/{role}s")],
            "credentials": [{ "type": "password", "value": password_of(name), "temporary": false }],
        });
        let mut administrator = self.administrator.lock().await;
        for attempt in 0..2 {
            let token = match administrator.take() {
                Some(token) => token,
                None => {
                    let master = format!("{base}/realms/master");
                    self.sign_in(&master, "admin-cli", ADMINISTRATOR, &self.password)
                        .await?
                }
            };
            let answer = self
                .client
                .post(format!("{base}/admin/realms/{REALM}/users"))
                .bearer_auth(&token)
                .header("content-type", "application/json")
                .body(person.to_string())
                .send()
                .await?;
            match answer.status().as_u16() {
                // Made now, or known already.
                201 | 409 => {
                    *administrator = Some(token);
                    return Ok(());
                }
                401 if attempt == 0 => {}
                status => bail!("Keycloak does not make {name}: {status} {}", answer.text().await?),
            }
        }
        bail!("Keycloak does not take its administrator's token")
    }

    async fn sign_in(
        &self,
        issuer: &str,
        client: &str,
        name: &str,
        password: &str,
    ) -> anyhow::Result<String> {
        // Every value is of letters, digits and hyphens.
        let form = format!(
            "grant_type=password&scope=openid&client_id={client}&username={name}&password={password}"
        );
        let answer = self
            .client
            .post(format!("{issuer}/protocol/openid-connect/token"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .context("Keycloak does not answer")?;
        let status = answer.status();
        let body: Value = answer
            .json()
            .await
            .context("Keycloak does not answer with JSON")?;
        ensure!(
            status.is_success(),
            "Keycloak does not let {name} in: {status} {}",
            body["error_description"]
        );
        let token = body["access_token"].as_str();
        token.map(str::to_owned).context("Keycloak gives no token")
    }

    fn base(&self) -> anyhow::Result<&str> {
        let base = self.issuer.split("/realms/").next();
        base.context("the issuer is a realm of a Keycloak")
    }
}
