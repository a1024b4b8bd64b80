//! Who is asked over HTTP: purchase-manager for what has ended, the edge for addresses.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, ensure};
use contracts::{
    http::{Contact, Contacts, ContactsWanted, MAX_PAGE, Purchases},
    ids::{CustomerId, PurchaseId},
    purchase_manager::PurchaseUpdated,
};
use host::identity::Identity;
use reqwest::{RequestBuilder, Url};
use serde::de::DeserializeOwned;

/// The longest that a call may take. Nobody waits for its answer but a loop that asks again.
const LIMIT: Duration = Duration::from_secs(5);

/// How to reach them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Clients {
    http: reqwest::Client,
    /// Who we are to them.
    identity: Identity,
    purchase_manager: Url,
    contacts: Url,
}

impl Clients {
    /// Clients for these addresses, who ask in the name of `identity`.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(purchase_manager: Url, contacts: Url, identity: Identity) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(LIMIT)
            .timeout(LIMIT)
            // Our own services: no proxy stands before them, and none of them moves.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            identity,
            purchase_manager,
            contacts,
        })
    }

    /// A page of purchases that have ended, in the order in which they did, from `since_micros` on and, within that
    /// microsecond, after `after`.
    ///
    /// # Errors
    /// When purchase-manager does not answer as agreed.
    pub async fn ended(
        &self,
        since_micros: i64,
        after: Option<PurchaseId>,
    ) -> anyhow::Result<Vec<PurchaseUpdated>> {
        let mut url = at(&self.purchase_manager, &["purchases", "ended"])?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("since", &since_micros.to_string());
            query.append_pair("limit", &MAX_PAGE.to_string());
            if let Some(after) = after {
                query.append_pair("after", &after.to_string());
            }
        }
        let page: Purchases = self.ask("purchase-manager", self.http.get(url)).await?;
        Ok(page.purchases)
    }

    /// What is known of these customers, at most [`contracts::http::MAX_IDS`]; unknown ones are absent.
    ///
    /// # Errors
    /// When the edge does not answer as agreed.
    pub async fn contacts(&self, customers: Vec<CustomerId>) -> anyhow::Result<HashMap<CustomerId, Contact>> {
        if customers.is_empty() {
            return Ok(HashMap::new());
        }
        let url = at(&self.contacts, &["contacts"])?;
        let request = self.http.post(url).json(&ContactsWanted { customers });
        let found: Contacts = self.ask("bff", request).await?;
        let contacts = found.contacts.into_iter();
        Ok(contacts
            .map(|contact| (contact.customer_id.clone(), contact))
            .collect())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        who: &'static str,
        request: RequestBuilder,
    ) -> anyhow::Result<T> {
        let mut request = request.build().map_err(reqwest::Error::without_url)?;
        self.identity.sign(who, request.headers_mut())?;
        let response = self
            .http
            .execute(request)
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("{who} does not answer"))?;
        let status = response.status();
        // The body of a refusal is not told: it may repeat what was asked, and what was asked names people.
        ensure!(status.is_success(), "{who} answers {status}");
        response
            .json()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("{who} does not answer as agreed"))
    }
}

fn at(base: &Url, path: &[&str]) -> anyhow::Result<Url> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| anyhow::anyhow!("the address of a service can have no path"))?
        .pop_if_empty()
        .extend(path);
    Ok(url)
}
