//! Goal: `belay parked` and `belay saga` do what docs/operations.md says, once for a key, with who and why on record.
//! Method: the program itself, against one service on its own database and a mock broker; what the other services would send is put
//! into the service's own outbox.

use std::{process::Output, time::Duration};

use clap::Parser;
use contracts::{
    consolidator::InventoryValidated,
    ids::{CommandId, CustomerId, PaymentId, ProductId, PurchaseId},
    money::Currency,
    orders::{CreateOrder, OrderLine},
    payments::PaymentAuthorized,
    product_admin::ProductsReserved,
    purchase_manager::{PurchaseLine, SubmitPurchase},
    topics::{ORDERS_COMMANDS, PURCHASE_COMMANDS, PURCHASE_REPLIES},
};
use host::Running;
use mailbox::{Codec, Outbox, Outgoing};
use saga::{Direction, RetryPolicy};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::{Database, Kafka, eventually};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::commands::{belay, stderr};

const LIMIT: Duration = Duration::from_secs(60);
/// The pause between two sends where nobody answers.
const QUICK: Duration = Duration::from_millis(200);

/// The command line's key, which is the number one and everybody's, and how a service knows it.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE";
const KNOWN: &str = "belay=A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW";

/// One service that runs, and the program pointed at it.
struct Place {
    database: Database,
    _kafka: Kafka,
    codec: Codec,
    running: Option<Running>,
    service: &'static str,
}

impl Place {
    fn flags(service: &str, database: &Database, kafka: &Kafka, registry: &str) -> Vec<String> {
        [
            service,
            "--database-url",
            &database.url(),
            "--kafka",
            &kafka.settings().bootstrap,
            "--kafka-fetch-wait-ms",
            "5",
            "--registry",
            registry,
            "--http",
            "127.0.0.1:0",
            "--caller",
            KNOWN,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    async fn orders() -> Self {
        let database = Database::create(orders::SERVICE, &orders::MIGRATOR).await;
        let kafka = testkit::kafka_with_one_partition();
        let registry = testkit::registry_url().await;
        let flags = Self::flags(orders::SERVICE, &database, &kafka, registry);
        let config = orders::Config::try_parse_from(flags).unwrap();
        let running = orders::start(config, CancellationToken::new()).await.unwrap();
        Self {
            database,
            _kafka: kafka,
            codec: testkit::codec(orders::SERVICE).await,
            running: Some(running),
            service: orders::SERVICE,
        }
    }

    /// A purchase-manager that gives up soon: after two sends with this pause.
    async fn purchase_manager(pause: Duration) -> Self {
        let service = "purchase-manager";
        let database = Database::create(service, &purchase_manager::MIGRATOR).await;
        let kafka = testkit::kafka_with_one_partition();
        let registry = testkit::registry_url().await;
        let flags = Self::flags(service, &database, &kafka, registry);
        let mut config = purchase_manager::Config::try_parse_from(flags).unwrap();
        config.retry = RetryPolicy::fast(pause, pause, 2);
        let running = purchase_manager::start(config, CancellationToken::new())
            .await
            .unwrap();
        Self {
            database,
            _kafka: kafka,
            codec: testkit::codec(service).await,
            running: Some(running),
            service,
        }
    }

    fn pool(&self) -> PgPool {
        self.database.pool()
    }

    async fn send(&self, message: Outgoing) {
        let mut tx = self.pool().begin().await.unwrap();
        Outbox::new().append(&mut tx, &[message]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Runs the program against the service. It blocks, as it may: the service has threads of its own.
    fn run(&self, line: &str, more: &[&str]) -> Output {
        let address = self.running.as_ref().unwrap().address();
        let url = format!("{}=http://{address}", self.service);
        let words = line.split_whitespace().chain(more.iter().copied());
        belay(words.chain(["--service-url", &url, "--identity-key", KEY]))
    }

    /// The result as JSON, of a command that succeeds.
    fn json(&self, line: &str, more: &[&str]) -> Value {
        let output = self.run(&format!("{line} --json"), more);
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The words of a command that is refused.
    fn refusal(&self, line: &str, more: &[&str]) -> String {
        let output = self.run(line, more);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(output.stdout.is_empty(), "{line}: {output:?}");
        stderr(&output)
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool()).await.unwrap()
    }

    async fn stop(mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }
}

fn order() -> CreateOrder {
    let line = OrderLine {
        product_id: ProductId::fresh(),
        sku: "LAMP".to_owned(),
        name: "Lamp".to_owned(),
        quantity: 1,
        unit_price_minor: 1_000,
    };
    CreateOrder {
        purchase_id: PurchaseId::fresh(),
        customer_id: CustomerId("alice".to_owned()),
        currency: Currency::EUR,
        total_minor: 1_000,
        home_delivery: false,
        lines: vec![line],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_message_is_listed_replayed_and_discarded_and_what_waited_for_it_goes_on() {
    let place = Place::orders().await;
    let order = order();
    let key = order.purchase_id.to_string();
    // Another program's bytes, and behind them a command that is in order.
    let mut poison = place
        .codec
        .outgoing(ORDERS_COMMANDS, order.purchase_id, &order)
        .unwrap();
    poison.payload = b"nonsense".to_vec();
    place.send(poison).await;
    let good = place
        .codec
        .outgoing(ORDERS_COMMANDS, order.purchase_id, &order)
        .unwrap()
        .command(CommandId::fresh())
        .reply_to(PURCHASE_REPLIES);
    place.send(good).await;
    let listed = eventually("both are parked", LIMIT, async || {
        let listed = place.json("parked list", &[]);
        (listed.as_array().unwrap().len() == 2).then_some(listed)
    })
    .await;
    assert!(listed.as_array().unwrap().iter().all(|one| one["key"] == key));
    let find = |cause: &str| {
        let found = listed
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["cause"] == cause);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (failed, behind) = (find("failed"), find("behind"));
    assert_eq!(
        place
            .json("parked list --error-class handling", &[])
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // Without a reason nothing is done.
    assert_eq!(
        place.run(&format!("parked replay {failed}"), &[]).status.code(),
        Some(2)
    );

    // Replayed twice under one key: carried out once.
    let idempotency_key = contracts::ids::fresh().to_string();
    let replay = format!("parked replay {failed} --actor ada --idempotency-key {idempotency_key}");
    let reason = ["--reason", "tried once more"];
    let first = place.json(&replay, &reason);
    assert_eq!(first, json!([{ "id": failed, "outcome": "replaying" }]));
    assert_eq!(place.json(&replay, &reason), first);
    let shown = eventually("it has failed again", LIMIT, async || {
        let shown = place.json(&format!("parked show {failed}"), &[]);
        (shown["attempts"] == 2).then_some(shown)
    })
    .await;
    let actions = shown["content"]["actions"].as_array().unwrap();
    let said: Vec<_> = actions
        .iter()
        .map(|one| [&one["action"], &one["actor"], &one["reason"]])
        .collect();
    assert_eq!(said, [["replay", "ada", "tried once more"]]);
    let other = place.refusal(
        &format!("parked replay {behind} --actor ada --idempotency-key {idempotency_key}"),
        &reason,
    );
    assert!(other.contains("IDEMPOTENCY_KEY_REUSED"), "{other}");

    // Discarded: what waited for it is handled.
    let discard = format!("parked discard {failed} --actor eve");
    let reason = ["--reason", "not one of our programs"];
    let done = place.json(&discard, &reason);
    assert_eq!(done, json!([{ "id": failed, "outcome": "discarded" }]));
    eventually("the order is placed", LIMIT, async || {
        (place.count("select count(*) from orders").await == 1).then_some(())
    })
    .await;
    eventually("nothing waits any more", LIMIT, async || {
        let waiting = place.json("parked list", &[]);
        (waiting == json!([])).then_some(())
    })
    .await;
    let again = place.json(&discard, &reason);
    assert_eq!(again, json!([{ "id": failed, "outcome": "already_discarded" }]));
    let shown = place.json(&format!("parked show {failed}"), &[]);
    assert_eq!(shown["resolution"], "discarded");
    let actions = shown["content"]["actions"].as_array().unwrap();
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert_eq!(
        (&actions[1]["actor"], &actions[1]["reason"]),
        (&json!("eve"), &json!(reason[1]))
    );
    assert_eq!(place.json("parked list --all", &[]).as_array().unwrap().len(), 2);

    let unknown = Uuid::nil().to_string();
    let output = place.run("parked discard --actor eve --reason x", &[&unknown]);
    assert_eq!(output.status.code(), Some(1));
    place.stop().await;
}

fn lamp() -> SubmitPurchase {
    let purchase_id = PurchaseId::fresh();
    SubmitPurchase {
        purchase_id,
        customer_id: CustomerId("alice".to_owned()),
        reference: purchase_id.reference(),
        lines: vec![PurchaseLine {
            product_id: ProductId::fresh(),
            sku: "LAMP".to_owned(),
            name: "Lamp".to_owned(),
            quantity: 1,
            unit_price_minor: 1_000,
        }],
        currency: Currency::EUR,
        total_minor: 1_000,
        payment_method_token: "tok_ok".to_owned(),
        home_delivery: false,
        note: None,
        submitted_at: 1_700_000_000_000_000,
    }
}

impl Place {
    async fn submit(&self) -> PurchaseId {
        let submit = lamp();
        let message = self
            .codec
            .outgoing(PURCHASE_COMMANDS, submit.purchase_id, &submit)
            .unwrap();
        self.send(message).await;
        submit.purchase_id
    }

    /// Answers a step as its participant would.
    async fn reply<M: contracts::Message>(&self, id: PurchaseId, step: &str, reply: &M) {
        let command = CommandId(saga::command_id(id.0, step, Direction::Forward));
        let message = self.codec.outgoing(PURCHASE_REPLIES, id, reply).unwrap();
        self.send(message.command(command)).await;
    }

    /// Waits until the purchase is stuck and listed as such, and gives its version.
    async fn stuck(&self, id: PurchaseId) -> i64 {
        eventually("the purchase is stuck", LIMIT, async || {
            let found = self.json("saga stuck", &[]);
            assert_eq!(
                found["forgotten"],
                json!([]),
                "something is due for every purchase"
            );
            let of = found["purchases"].as_array().unwrap();
            of.iter()
                .find(|purchase| purchase["purchase_id"] == id.to_string())
                .map(|purchase| purchase["version"].as_i64().unwrap())
        })
        .await
    }

    fn shown(&self, id: PurchaseId) -> Value {
        self.json(&format!("saga show {id}"), &[])
    }

    /// Who did what, and why.
    fn audit(&self, id: PurchaseId) -> Vec<[String; 3]> {
        let shown = self.shown(id);
        let entries = shown["operator"]["audit"].as_array().unwrap().clone();
        entries
            .iter()
            .map(|entry| ["action", "actor", "reason"].map(|name| entry[name].as_str().unwrap().to_owned()))
            .collect()
    }

    /// Everything that an action could change.
    async fn traces(&self) -> (i64, i64, i64, i64) {
        (
            self.count("select count(*) from saga_event").await,
            self.count("select count(*) from saga_timer").await,
            self.count("select count(*) from request").await,
            self.count("select sum(version) from saga").await,
        )
    }
}

/// Every step before the pivot is answered, once it is commanded.
async fn comes_to_the_order(place: &Place, id: PurchaseId) {
    let commanded = async |step: &str| {
        eventually(step, LIMIT, async || {
            let commanded: bool =
                sqlx::query_scalar("select exists (select from saga_timer where saga_id = $1 and step = $2)")
                    .bind(id.0)
                    .bind(step)
                    .fetch_one(&place.pool())
                    .await
                    .unwrap();
            commanded.then_some(())
        })
        .await;
    };
    commanded("validate-inventory").await;
    let validated = InventoryValidated { purchase_id: id };
    place.reply(id, "validate-inventory", &validated).await;
    commanded("reserve-products").await;
    let reserved = ProductsReserved { purchase_id: id };
    place.reply(id, "reserve-products", &reserved).await;
    commanded("authorize-payment").await;
    let authorized = PaymentAuthorized {
        purchase_id: id,
        payment_id: PaymentId::fresh(),
    };
    place.reply(id, "authorize-payment", &authorized).await;
    commanded("create-order").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_purchase_is_retried_and_compensated_as_its_dry_run_said() {
    let place = Place::purchase_manager(Duration::from_secs(2)).await;
    let id = place.submit().await;
    comes_to_the_order(&place, id).await;
    let version = place.stuck(id).await;
    let reason = ["--reason", "orders is back"];

    // A dry run says what would happen, and changes nothing.
    let before = place.traces().await;
    let foretold = place.json(&format!("saga retry {id} --dry-run --actor ada"), &reason);
    assert_eq!(
        foretold["effects"][0], "the purchase goes from STUCK to RUNNING",
        "{foretold}"
    );
    assert_eq!(
        foretold["effects"][1],
        "send the command of create-order to orders (attempt 3)"
    );
    assert_eq!(place.traces().await, before);
    assert_eq!(place.stuck(id).await, version);

    // It does what it said, once for the key, however often it is asked for.
    let key = contracts::ids::fresh().to_string();
    let retry = format!("saga retry {id} --actor ada --expected-version {version} --idempotency-key {key}");
    let done = place.json(&retry, &reason);
    assert_eq!(done["effects"], foretold["effects"]);
    assert_eq!(done["purchase"]["state"], "RUNNING");
    assert_eq!(place.json(&retry, &reason), done);
    assert_eq!(place.audit(id), [["retry", "ada", reason[1]].map(str::to_owned)]);

    // At another version than was looked at it is refused.
    let newer = eventually("it is stuck once more", LIMIT, async || {
        let now = place.stuck(id).await;
        (now > version).then_some(now)
    })
    .await;
    let late = place.refusal(
        &format!("saga compensate {id} --actor eve --expected-version {version}"),
        &reason,
    );
    assert!(late.contains("VERSION_CONFLICT"), "{late}");

    let reason = ["--reason", "the customer has waited long enough"];
    let before = place.traces().await;
    let foretold = place.json(&format!("saga compensate {id} --dry-run --actor eve"), &reason);
    assert_eq!(
        foretold["effects"][0],
        "the purchase goes from STUCK to COMPENSATING"
    );
    assert_eq!(
        foretold["effects"][1],
        "send the rollback of create-order to orders (attempt 1)"
    );
    assert_eq!(place.traces().await, before);
    let line = format!("saga compensate {id} --actor eve --expected-version {newer}");
    assert_eq!(place.json(&line, &reason)["effects"], foretold["effects"]);
    let last = place.audit(id).pop().unwrap();
    assert_eq!(last, ["compensate", "eve", reason[1]].map(str::to_owned));
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_is_resolved_by_word_and_what_was_tried_in_vain_is_on_record() {
    let place = Place::purchase_manager(QUICK).await;
    let id = place.submit().await;
    // Nobody answers: neither the first step, nor its rollback.
    let version = place.stuck(id).await;
    let reason = ["--reason", "put right by hand"];

    let refused = place.refusal(&format!("saga compensate {id} --actor eve"), &reason);
    assert!(refused.contains("STATE_CONFLICT"), "{refused}");
    let refused = place.refusal(
        &format!("saga resolve {id} --outcome completed --actor eve"),
        &reason,
    );
    assert!(
        refused.contains("STATE_CONFLICT"),
        "a purchase on its way back: {refused}"
    );

    let before = place.traces().await;
    let resolve = format!("saga resolve {id} --outcome cancelled --actor eve --expected-version {version}");
    let foretold = place.json(&format!("{resolve} --dry-run"), &reason);
    assert_eq!(
        foretold["effects"][0],
        "the purchase goes from STUCK to CANCELLED"
    );
    assert_eq!(place.traces().await, before);

    let key = format!("{resolve} --idempotency-key {}", contracts::ids::fresh());
    let done = place.json(&key, &reason);
    assert_eq!(done["effects"], foretold["effects"]);
    assert_eq!(place.json(&key, &reason), done);
    assert_eq!(place.shown(id)["purchase"]["state"], "CANCELLED");
    assert_eq!(place.shown(id)["operator"]["allowed_actions"], json!([]));
    let tried: Vec<String> = place.audit(id).into_iter().map(|[action, ..]| action).collect();
    assert_eq!(
        tried,
        [
            "compensate, refused",
            "resolve as completed, refused",
            "resolve as cancelled"
        ]
    );
    let output = place.run("saga stuck", &[]);
    assert!(output.status.success(), "nothing waits, and nothing is forgotten");
    assert!(output.stdout.is_empty());
    let unknown = place.refusal(&format!("saga retry {} --actor eve", Uuid::nil()), &reason);
    assert!(!unknown.is_empty());
    place.stop().await;
}

/// What the stuck detector is for: nothing is due for a purchase that has not ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_purchase_is_told_with_the_exit_code() {
    let place = Place::purchase_manager(QUICK).await;
    let id = place.submit().await;
    place.stuck(id).await;
    sqlx::query("update saga set standing = 'RUNNING'")
        .execute(&place.pool())
        .await
        .unwrap();
    sqlx::query("delete from saga_timer")
        .execute(&place.pool())
        .await
        .unwrap();
    eventually("it is forgotten", LIMIT, async || {
        let output = place.run("saga stuck --json", &[]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code() == Some(1) && found["forgotten"] == json!([id.to_string()])).then_some(())
    })
    .await;
    place.stop().await;
}
