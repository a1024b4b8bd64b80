//! Goal: the consolidator answers with what its role may see. Method: commands as the consumer hands them over, on the
//! database that it shares with product-admin, as its own role.

#![expect(
    clippy::disallowed_methods,
    reason = "tests look at the tables with statements of their own"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use consolidator::handlers::Validator;
use contracts::{
    consolidator::{
        CancelValidation, InventoryRejected, InventoryValidated, PriceChanged, Shortage, ValidateInventory,
        ValidateLine, ValidationCancelled,
    },
    ids::{ProductId, PurchaseId},
    money::Currency,
    purchase_manager::CommandSuperseded,
    topics::CONSOLIDATOR_COMMANDS,
};
use mailbox::{Codec, Fault, Outgoing, Received, participant::ParticipantHandler};
use sqlx::PgPool;
use testkit::{Database, decoded, handle, repeated};

/// A seeded product, its price in cents, and its units: plenty, ten, none.
const ROPE: (u128, i64) = (1, 18_990);
const FLEECE: (u128, i64) = (9, 5_900);
const BOOTS: (u128, i64) = (16, 64_900);

fn seeded(number: u128) -> ProductId {
    format!("be1a0000-0000-4000-8000-{number:012}").parse().unwrap()
}

fn purchase(number: u128) -> PurchaseId {
    PurchaseId(uuid::Uuid::from_u128(number))
}

fn line(product: (u128, i64), quantity: i32) -> ValidateLine {
    ValidateLine {
        product_id: seeded(product.0),
        quantity,
        unit_price_minor: product.1,
    }
}

/// The shared database, and the validator on it in its own role.
struct Bench {
    database: Database,
    pool: PgPool,
    codec: Codec,
    validator: ParticipantHandler<Validator>,
}

impl Bench {
    async fn new() -> Self {
        let services = [
            (product_admin::SERVICE, &product_admin::MIGRATOR),
            (consolidator::SERVICE, &consolidator::MIGRATOR),
        ];
        let database = Database::create_shared(&services).await;
        let pool = database.pool_of(consolidator::SERVICE);
        let codec = testkit::codec(consolidator::SERVICE).await;
        let validator = ParticipantHandler::new(Validator, codec.clone());
        Self {
            database,
            pool,
            codec,
            validator,
        }
    }

    async fn validate(&self, purchase_id: PurchaseId, lines: &[ValidateLine]) -> Received {
        let command = ValidateInventory {
            purchase_id,
            currency: Currency::EUR,
            lines: lines.to_vec(),
        };
        testkit::command(&self.codec, CONSOLIDATOR_COMMANDS, purchase_id, &command).await
    }

    async fn cancel(&self, purchase_id: PurchaseId) -> Received {
        let command = CancelValidation { purchase_id };
        testkit::command(&self.codec, CONSOLIDATOR_COMMANDS, purchase_id, &command).await
    }

    async fn handle(&self, batch: &[Received]) -> Vec<Outgoing> {
        handle(&self.pool, &self.validator, batch).await.unwrap()
    }
}

fn is<M: contracts::Message>(outgoing: &Outgoing) -> bool {
    outgoing.message_type == M::message_type().name
}

/// Everything here runs in the consolidator's role; product-admin's test
/// `the_consolidator_sees_the_view_and_nothing_else` shows that the role can do no more.
#[tokio::test]
async fn the_consolidator_s_role_is_enough_for_its_work() {
    let bench = Bench::new().await;
    let batch = [
        bench
            .validate(purchase(1), &[line(ROPE, 2), line(FLEECE, 10)])
            .await,
        bench
            .validate(
                purchase(2),
                &[line(FLEECE, 11), line(ROPE, 1), line(BOOTS, 1), line((99, 1), 4)],
            )
            .await,
        bench.validate(purchase(3), &[line((ROPE.0, 18_989), 1)]).await,
    ];
    let replies = bench.handle(&batch).await;
    assert!(is::<InventoryValidated>(&replies[0]));

    let rejected: InventoryRejected = decoded(&bench.codec, &replies[1]).await;
    let short = |n, requested, available| Shortage {
        product_id: seeded(n),
        requested,
        available,
    };
    assert_eq!(
        rejected.shortages,
        [short(FLEECE.0, 11, 10), short(BOOTS.0, 1, 0), short(99, 4, 0)]
    );

    let changed: PriceChanged = decoded(&bench.codec, &replies[2]).await;
    assert_eq!(
        (changed.changes[0].expected_minor, changed.changes[0].actual_minor),
        (18_989, 18_990)
    );
}

#[tokio::test]
async fn what_others_hold_is_not_available_and_what_is_not_for_sale_is_none() {
    let bench = Bench::new().await;
    let owner = bench.database.pool();
    sqlx::query("update product set reserved = 8 where id = $1")
        .bind(seeded(FLEECE.0).0)
        .execute(&owner)
        .await
        .unwrap();
    sqlx::query("update product set status = 'ARCHIVED' where id = $1")
        .bind(seeded(ROPE.0).0)
        .execute(&owner)
        .await
        .unwrap();
    let replies = bench
        .handle(&[bench
            .validate(purchase(1), &[line(FLEECE, 3), line(ROPE, 1)])
            .await])
        .await;
    let rejected: InventoryRejected = decoded(&bench.codec, &replies[0]).await;
    assert_eq!(
        rejected.shortages.iter().map(|s| s.available).collect::<Vec<_>>(),
        [2, 0]
    );
}

#[tokio::test]
async fn a_command_that_is_sent_again_gets_the_stored_answer() {
    let bench = Bench::new().await;
    let validate = bench.validate(purchase(1), &[line(FLEECE, 10)]).await;
    assert!(is::<InventoryValidated>(
        &bench.handle(std::slice::from_ref(&validate)).await[0]
    ));
    sqlx::query("update product set reserved = 10 where id = $1")
        .bind(seeded(FLEECE.0).0)
        .execute(&bench.database.pool())
        .await
        .unwrap();
    assert!(is::<InventoryValidated>(
        &bench.handle(&[repeated(&validate)]).await[0]
    ));
}

#[tokio::test]
async fn a_validation_is_cancelled_before_or_after_it_was_made() {
    let bench = Bench::new().await;
    let batch = [
        bench.validate(purchase(1), &[line(ROPE, 1)]).await,
        bench.cancel(purchase(1)).await,
    ];
    assert!(is::<ValidationCancelled>(&bench.handle(&batch).await[1]));

    let batch = [
        bench.cancel(purchase(2)).await,
        bench.validate(purchase(2), &[line(ROPE, 1)]).await,
    ];
    let replies = bench.handle(&batch).await;
    assert!(is::<ValidationCancelled>(&replies[0]) && is::<CommandSuperseded>(&replies[1]));
}

#[tokio::test]
async fn a_command_that_contradicts_itself_is_parked() {
    let bench = Bench::new().await;
    for lines in [&[][..], &[line(ROPE, 0)], &[line(ROPE, 1), line(ROPE, 1)]] {
        let message = bench.validate(purchase(1), lines).await;
        let fault = handle(&bench.pool, &bench.validator, &[message])
            .await
            .unwrap_err();
        assert!(matches!(fault, Fault::Deterministic(_)), "{fault}");
    }
}

#[tokio::test]
async fn a_view_that_is_not_there_yet_is_waited_for() {
    let database = Database::create(consolidator::SERVICE, &consolidator::MIGRATOR).await;
    let codec = testkit::codec(consolidator::SERVICE).await;
    let validator = ParticipantHandler::new(Validator, codec.clone());
    let command = ValidateInventory {
        purchase_id: purchase(1),
        currency: Currency::EUR,
        lines: vec![line(ROPE, 1)],
    };
    let message = testkit::command(&codec, CONSOLIDATOR_COMMANDS, purchase(1), &command).await;
    let fault = handle(&database.pool(), &validator, &[message])
        .await
        .unwrap_err();
    assert!(fault.is_transient(), "{fault}");
}
