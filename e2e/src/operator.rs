//! An operator at the services themselves, with the key of the command line.

use contracts::calls::COMMAND_LINE;
use host::identity::{Acting, Identity, PrivateKey, acting};
use reqwest::{RequestBuilder, Response};
use serde::Serialize;

use crate::World;

/// Ada, who may do everything.
#[derive(Debug)]
pub struct Operator {
    identity: Identity,
    http: reqwest::Client,
}

impl Operator {
    /// One of `world`.
    ///
    /// # Panics
    /// When the system says no key.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let key: PrivateKey = world
            .info()
            .identity_key
            .parse()
            .expect("a running system says its key");
        let http = reqwest::Client::builder().no_proxy().build();
        Self {
            identity: Identity::new(COMMAND_LINE, &key),
            http: http.expect("a client can be made"),
        }
    }

    /// Asks `service`, which is at `url` up to its path.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn get(&self, service: &str, url: &str) -> Response {
        self.send(service, self.http.get(url)).await
    }

    /// Has `service` do something.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn post(&self, service: &str, url: &str, body: &impl Serialize) -> Response {
        self.send(service, self.http.post(url).json(body)).await
    }

    async fn send(&self, service: &str, request: RequestBuilder) -> Response {
        let ada = Acting {
            subject: "ada".to_owned(),
            role: "operator".to_owned(),
        };
        let mut request = request.build().expect("the address is right");
        acting::scope(Some(ada), async {
            self.identity.sign(service, request.headers_mut())
        })
        .await
        .expect("a token can be signed");
        self.http.execute(request).await.expect("the service answers")
    }
}
