//! Goal: units that are held for longer than they should be are sold, given back, or shown to a person; never given back by a
//! clock. Method: the whole system; the times in product-admin's table are shifted, as if its database's clock had gone on.

use contracts::parked::{ParkedPage, SettleParked};
use e2e::{Operator, World, world::PATIENCE};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::eventually;

#[expect(clippy::disallowed_methods, reason = "tests change the tables as they need")]
async fn execute(connection: &mut PgConnection, statement: String) -> u64 {
    let done = sqlx::query(AssertSqlSafe(statement)).execute(connection).await;
    done.unwrap().rows_affected()
}

/// Five minutes more than the time to live pass at product-admin's database, which has one purchase.
async fn the_time_of_its_units_passes(world: &World) {
    let mut connection = world.database("product-admin").await;
    let shifted = execute(
        &mut connection,
        "update reservation
         set expires_at = expires_at - interval '65 minutes', ask_at = ask_at - interval '65 minutes'
         where state = 'held'"
            .to_owned(),
    )
    .await;
    assert_eq!(shifted, 1);
}

async fn eventually_one(world: &World, what: &str, service: &str, query: &'static str) {
    eventually(what, PATIENCE, async || {
        (world.count(service, query).await == 1).then_some(())
    })
    .await;
}

/// Also after it was stuck for a while: the answer that comes after all takes it up again.
async fn completes(world: &World, id: &str) {
    let completed = "select count(*) from saga where standing = 'COMPLETED'";
    eventually_one(world, "it completes", "purchase-manager", completed).await;
    assert_eq!(world.customer("alice").purchase(id).await["state"], "COMPLETED");
}

/// A purchase that waits for its order, with units held for it.
async fn waiting_for_its_order(world: &mut World) -> (String, String) {
    let admin = world.someone("ada", "admin");
    let rope = admin.create_product("Rope 60 m", "15.00", 10).await;
    world.system().stop_service("orders").await.unwrap();
    let id = world.customer("alice").submit(&[(&rope, 2)], "tok_ok").await;
    let waits = "select count(*) from saga_timer where step = 'create-order'";
    eventually_one(world, "it waits for its order", "purchase-manager", waits).await;
    (rope, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_is_under_way_keeps_its_units_and_completes() {
    let mut world = World::start().await;
    let (rope, id) = waiting_for_its_order(&mut world).await;
    the_time_of_its_units_passes(&world).await;
    let kept =
        "select count(*) from saga_event where kind = 'hold_expired' and body->'body'->>'answer' = 'kept'";
    eventually_one(
        &world,
        "the saga is asked and keeps them",
        "purchase-manager",
        kept,
    )
    .await;
    assert_eq!(world.someone("ada", "admin").stock(&rope).await, (10, 2, 8));
    world.system().start_service("orders").await.unwrap();
    completes(&world, &id).await;
    world.audit_is_clean().await;
}

/// product-admin's database was restored from a backup that is older than the release.
#[tokio::test(flavor = "multi_thread")]
async fn units_of_a_purchase_that_was_rolled_back_unheard_come_back() {
    let world = World::start().await;
    let admin = world.someone("ada", "admin");
    let rope = admin.create_product("Rope 60 m", "15.00", 10).await;
    let alice = world.customer("alice");
    let id = alice.submit(&[(&rope, 2)], "tok_declined").await;
    assert_eq!(alice.ended(&id).await["state"], "REJECTED");
    world.audit_is_clean().await;

    let mut connection = world.database("product-admin").await;
    let mut tx = connection.begin().await.unwrap();
    for restored in [
        "delete from operation where step = 'reserve-products' and direction = 'rollback'",
        "update reservation set state = 'held'",
        "update product set reserved = reserved + 2 where id = (select product_id from reservation)",
    ] {
        assert_eq!(execute(&mut tx, restored.to_owned()).await, 1);
    }
    tx.commit().await.unwrap();
    assert_eq!(admin.stock(&rope).await, (10, 2, 8));

    the_time_of_its_units_passes(&world).await;
    let released = "select count(*) from reservation where state = 'released'";
    eventually_one(&world, "the saga releases them again", "product-admin", released).await;
    assert_eq!(admin.stock(&rope).await, (10, 0, 10));
    assert_eq!(
        alice.purchase(&id).await["state"],
        "REJECTED",
        "and stays what it is"
    );
    world.audit_is_clean().await;
}

/// purchase-manager's database was restored from a backup that is older than the purchase, and later from a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn units_that_a_lost_saga_holds_stay_and_somebody_is_told() {
    let mut world = World::start().await;
    let (rope, id) = waiting_for_its_order(&mut world).await;
    let mut connection = world.database("purchase-manager").await;
    let tables = ["saga", "saga_event", "saga_timer"];
    let mut tx = connection.begin().await.unwrap();
    for table in tables {
        execute(
            &mut tx,
            format!("create table lost_{table} as select * from {table}"),
        )
        .await;
    }
    for table in tables.iter().rev() {
        execute(&mut tx, format!("delete from {table}")).await;
    }
    tx.commit().await.unwrap();

    the_time_of_its_units_passes(&world).await;
    let parked = "select count(*) from parked
                  where message_type = 'belay.product_admin.ReservationExpired' and resolved_at is null";
    eventually_one(&world, "the question is parked", "purchase-manager", parked).await;
    assert_eq!(
        world.someone("ada", "admin").stock(&rope).await,
        (10, 2, 8),
        "no clock gives them back"
    );

    let mut tx = connection.begin().await.unwrap();
    for table in tables {
        execute(&mut tx, format!("insert into {table} select * from lost_{table}")).await;
        execute(&mut tx, format!("drop table lost_{table}")).await;
    }
    tx.commit().await.unwrap();
    replay_everything(&world).await;
    let replayed = "select count(*) from saga_event where kind = 'hold_expired'";
    eventually_one(&world, "the question is answered", "purchase-manager", replayed).await;
    world.system().start_service("orders").await.unwrap();
    completes(&world, &id).await;
    world.audit_is_clean().await;
}

/// As `belay parked replay` does, in ada's name.
async fn replay_everything(world: &World) {
    let service = &world.info().services["purchase-manager"];
    let operator = Operator::of(world);
    let parked = operator
        .get("purchase-manager", &format!("{service}/parked"))
        .await;
    let page: ParkedPage = parked.json().await.unwrap();
    let settle = SettleParked {
        idempotency_key: contracts::ids::fresh(),
        ids: page.parked.iter().map(|message| message.id).collect(),
        actor: "ada".to_owned(),
        reason: "the purchase was restored".to_owned(),
    };
    let answer = operator
        .post("purchase-manager", &format!("{service}/parked/replay"), &settle)
        .await;
    assert!(answer.status().is_success(), "{}", answer.status());
}
