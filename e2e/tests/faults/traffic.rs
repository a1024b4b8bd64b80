//! Customers. They do what a careful client does: a request that got no answer is sent again under the same key, until it is
//! answered. So whatever was accepted is known here.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, bail};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Products with enough for everybody, and so few that purchases meet at their rows.
const PLENTIFUL: usize = 6;
/// Units of the scarce product: everybody wants the last ones.
const FEW: i32 = 40;
/// How long a request is sent again before the suite gives up: longer than every fault.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// The share of customers who change their minds at once, in percent.
pub const CANCELS: u32 = 10;
/// Pause before a request is sent again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The most purchases that wait for an answer at a time. A debug build checks some tens of tokens a second: more at once than it
/// can answer within [`PATIENCE`] would keep it from answering anybody.
const AT_ONCE: usize = 40;

/// What the customers know.
#[derive(Debug, Default)]
pub struct Book {
    /// Every purchase that was accepted.
    accepted: Mutex<Vec<Uuid>>,
    /// Requests that were sent again.
    pub repeated: AtomicU64,
    /// Requests that were never answered: a violation.
    pub unanswered: AtomicU64,
    waiting: AtomicUsize,
}

impl Book {
    /// How many were accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.lock().unwrap().len()
    }

    /// Those that were accepted.
    pub fn ids(&self) -> Vec<Uuid> {
        self.accepted.lock().unwrap().clone()
    }
}

/// Somebody who buys, and what is for sale.
#[derive(Debug, Clone)]
pub struct Shop {
    edge: String,
    customers: Arc<Vec<String>>,
    plentiful: Arc<Vec<String>>,
    scarce: String,
    client: reqwest::Client,
    /// The share of customers who change their minds at once, in percent.
    pub cancels: u32,
    pub book: Arc<Book>,
}

/// Customers at work, until they are told to stop.
#[derive(Debug)]
pub struct Traffic {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

const SUBMIT: &str = "mutation($input: SubmitPurchaseInput!) { submitPurchase(input: $input) {
    purchase { id } userErrors { code } } }";
const CANCEL: &str =
    "mutation($input: CancelPurchaseInput!) { cancelPurchase(input: $input) { userErrors { code } } }";
const CREATE: &str = "mutation($input: CreateProductInput!) {
    createProduct(input: $input) { product { id } userErrors { code message } } }";
const LOOK: &str = "query($id: ID!) { product(id: $id) { id } }";

impl Shop {
    /// Makes the products and waits until they are for sale.
    pub async fn open(edge: String, admin: &str, customers: Vec<String>) -> anyhow::Result<Self> {
        let mut shop = Self {
            edge,
            customers: Arc::new(customers),
            plentiful: Arc::default(),
            scarce: String::new(),
            client: reqwest::Client::builder().timeout(PATIENCE).build()?,
            cancels: CANCELS,
            book: Arc::default(),
        };
        let mut plentiful = Vec::new();
        for number in 0..PLENTIFUL {
            let price = format!("{}.00", 5 + number);
            plentiful.push(
                shop.create(admin, &format!("Rope {number}"), &price, 1_000_000)
                    .await?,
            );
        }
        shop.scarce = shop.create(admin, "The last ropes", "9.00", FEW).await?;
        for id in plentiful.iter().chain([&shop.scarce]) {
            let deadline = tokio::time::Instant::now() + ANSWER_LIMIT;
            while shop.ask(admin, LOOK, &json!({ "id": id })).await?["product"].is_null() {
                anyhow::ensure!(
                    tokio::time::Instant::now() < deadline,
                    "the catalogue does not hear of a product"
                );
                tokio::time::sleep(AGAIN).await;
            }
        }
        shop.plentiful = Arc::new(plentiful);
        Ok(shop)
    }

    async fn create(&self, admin: &str, name: &str, price: &str, stock: i32) -> anyhow::Result<String> {
        let sku = format!("F-{}", &contracts::ids::fresh().simple().to_string()[20..]);
        let input = json!({
            "idempotencyKey": contracts::ids::fresh(), "sku": sku, "name": name,
            "price": { "amount": price, "currency": "EUR" }, "initialStock": stock,
        });
        let data = self.ask(admin, CREATE, &json!({ "input": input })).await?;
        let id = data["createProduct"]["product"]["id"].as_str();
        Ok(id
            .with_context(|| format!("the product is refused: {data}"))?
            .to_owned())
    }

    /// Lets customers buy, about `rate` a second, as `seed` says.
    pub fn buy(&self, rate: f64, seed: u64) -> Traffic {
        self.buy_up_to(rate, seed, usize::MAX)
    }

    /// The same, and ends by itself when so many purchases are accepted.
    pub fn buy_up_to(&self, rate: f64, seed: u64, most: usize) -> Traffic {
        let stop = CancellationToken::new();
        let (stopped, shop) = (stop.clone(), self.clone());
        let task = tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut buyers = JoinSet::new();
            let enough = || shop.book.accepted() + shop.book.waiting.load(Ordering::SeqCst) >= most;
            while stopped.run_until_cancelled(tick.tick()).await.is_some() {
                while buyers.try_join_next().is_some() {}
                if shop.book.accepted() >= most {
                    break;
                }
                if enough() || shop.book.waiting.load(Ordering::SeqCst) >= AT_ONCE {
                    continue;
                }
                let wish = shop.wish(&mut random);
                let shop = shop.clone();
                shop.book.waiting.fetch_add(1, Ordering::SeqCst);
                buyers.spawn(async move {
                    if let Err(error) = shop.have(wish).await {
                        // The first one tells it for all.
                        if shop.book.unanswered.fetch_add(1, Ordering::SeqCst) == 0 {
                            println!("a customer was not answered: {error:#}");
                        }
                    }
                    shop.book.waiting.fetch_sub(1, Ordering::SeqCst);
                });
            }
            // Whoever has asked waits for the answer.
            while buyers.join_next().await.is_some() {}
        });
        Traffic { stop, task }
    }

    fn wish(&self, random: &mut StdRng) -> Wish {
        let kind = random.gen_range(0..90);
        let cancelled = random.gen_range(0..100) < self.cancels;
        let one = random.gen_range(0..PLENTIFUL);
        let mut lines = vec![(self.plentiful[one].clone(), random.gen_range(1..=3))];
        if kind % 2 == 0 {
            let other = (one + random.gen_range(1..PLENTIFUL)) % PLENTIFUL;
            lines.push((self.plentiful[other].clone(), 1));
        }
        if kind >= 80 {
            lines.push((self.scarce.clone(), 1));
        }
        Wish {
            token: self.customers[random.gen_range(0..self.customers.len())].clone(),
            key: Uuid::from_u128(random.r#gen()),
            cancel_key: Uuid::from_u128(random.r#gen()),
            lines,
            method: if (70..80).contains(&kind) {
                "tok_declined"
            } else {
                "tok_ok"
            },
            cancel_after_ms: cancelled.then(|| random.gen_range(0..400)),
        }
    }

    async fn have(&self, wish: Wish) -> anyhow::Result<()> {
        let lines: Vec<Value> = wish
            .lines
            .iter()
            .map(|(id, quantity)| json!({ "productId": id, "quantity": quantity }))
            .collect();
        let input = json!({ "idempotencyKey": wish.key, "lines": lines, "paymentMethodToken": wish.method });
        let data = self.ask(&wish.token, SUBMIT, &json!({ "input": input })).await?;
        // Out of stock may be known at the edge already: a refusal is an answer.
        let Some(id) = data["submitPurchase"]["purchase"]["id"].as_str() else {
            return Ok(());
        };
        let purchase = decoded(id).with_context(|| format!("{id} is no id of a purchase"))?;
        self.book.accepted.lock().unwrap().push(purchase);
        if let Some(pause) = wish.cancel_after_ms {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let input = json!({ "idempotencyKey": wish.cancel_key, "purchaseId": id });
            self.ask(&wish.token, CANCEL, &json!({ "input": input })).await?;
        }
        Ok(())
    }

    /// Sends a request until it is answered, and gives its data.
    async fn ask(&self, token: &str, query: &str, variables: &Value) -> anyhow::Result<Value> {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let deadline = tokio::time::Instant::now() + ANSWER_LIMIT;
        loop {
            let why = match self.attempt(token, body.clone()).await {
                Ok(data) => return Ok(data),
                Err(why) => why,
            };
            if tokio::time::Instant::now() > deadline {
                bail!("not within {ANSWER_LIMIT:?}: {why:#}");
            }
            self.book.repeated.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn attempt(&self, token: &str, body: String) -> anyhow::Result<Value> {
        let response = self
            .client
            .post(format!("{}/graphql", self.edge))
            .header("content-type", "application/json")
            .bearer_auth(token)
            .body(body)
            .send()
            .await?
            .error_for_status()?;
        let bytes = response.bytes().await?;
        let mut answer: Value = serde_json::from_slice(&bytes)?;
        if let Some(error) = answer["errors"].get(0) {
            bail!("{error}");
        }
        Ok(answer["data"].take())
    }
}

/// The id behind the edge's: base64 of `Purchase:` and the id itself.
fn decoded(id: &str) -> Option<Uuid> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(id.trim_end_matches('=')).ok()?).ok()?;
    text.strip_prefix("Purchase:")?.parse().ok()
}

/// What somebody wants.
struct Wish {
    token: String,
    key: Uuid,
    cancel_key: Uuid,
    lines: Vec<(String, i32)>,
    method: &'static str,
    cancel_after_ms: Option<u64>,
}

impl Traffic {
    /// Nobody comes any more; whoever has come is served.
    pub async fn end(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }

    /// Waits until as many have bought as were to.
    pub async fn finished(self) {
        let _ = self.task.await;
    }

    /// Whether as many have bought as were to.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}
