//! What the audit costs: fills databases with so many purchases that have completed, and times the audit of everything and of one hour.
//!
//! ```text
//! cargo run -p test-postgres --bin with-postgres -- cargo run -p belay --example audit_cost -- 100000
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "puts rows where the services would have put them, and measures"
)]
#![expect(clippy::print_stdout, reason = "its result")]

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context;
use belay::audit::{self, Options};
use sqlx::{AssertSqlSafe, PgPool, migrate::Migrator};
use testkit::Database;
use tokio::time::Instant;

/// What one hour has of them: a fiftieth, as in a day of even business and the next one begun.
const OF_THE_LAST_HOUR: i64 = 50;

fn services() -> [(&'static str, &'static Migrator); 7] {
    [
        ("product-admin", &product_admin::MIGRATOR),
        ("consolidator", &consolidator::MIGRATOR),
        ("bff", &bff::MIGRATOR),
        ("purchase-manager", &purchase_manager::MIGRATOR),
        ("orders", &orders::MIGRATOR),
        ("payments", &payments::MIGRATOR),
        ("notifications", &notifications::MIGRATOR),
    ]
}

/// One statement for each service. `{n}` is the number of purchases; their ids are functions of their numbers, so that the services
/// agree on them, and the last fiftieth of them ended within the last hour.
const ROWS: [(&str, &str); 6] = [
    (
        "product-admin",
        "with product_of as (select (array_agg(id order by id))[1] as id from product)
         insert into reservation (purchase_id, product_id, quantity, state, updated_at)
         select md5(n::text)::uuid, p.id, 1, 'confirmed', {at} from generate_series(1, {n}) as n, product_of p;
         update product set on_hand = on_hand + {n}, initial_on_hand = initial_on_hand + {n}, reserved = reserved + {n}
         where id = (select (array_agg(id order by id))[1] from product)",
    ),
    (
        "purchase-manager",
        "insert into saga (id, customer_id, definition, definition_version, version, standing, state, created_at, updated_at)
         select md5(n::text)::uuid, 'customer ' || n % 1000, 'purchase', 1, 7, 'COMPLETED',
                jsonb_build_object('status', jsonb_build_object('kind', 'completed', 'ending', jsonb_build_object('kind', 'reached')),
                                   'steps', jsonb_build_object('filler', repeat('x', 1500)),
                                   'data', jsonb_build_object('lines', jsonb_build_array(jsonb_build_object(
                                       'product_id', '{product}', 'quantity', 1)))),
                {at}, {at}
         from generate_series(1, {n}) as n",
    ),
    (
        "orders",
        "insert into orders (order_id, purchase_id, customer_id, number, state, total_minor, currency, home_delivery, placed_at)
         select gen_random_uuid(), md5(n::text)::uuid, 'customer', n::text, 'PLACED', 100, 'EUR', false, {at}
         from generate_series(1, {n}) as n",
    ),
    (
        "payments",
        "insert into payment (payment_id, purchase_id, customer_id, state, amount_minor, currency, method_label, updated_at)
         select gen_random_uuid(), md5(n::text)::uuid, 'customer', 'CAPTURED', 100, 'EUR', 'card', {at}
         from generate_series(1, {n}) as n",
    ),
    (
        "notifications",
        "insert into notification (notification_id, purchase_id, outcome, customer_id, ended_at, state)
         select gen_random_uuid(), md5(n::text)::uuid, 'COMPLETED', 'customer', {at}, 'sent'
         from generate_series(1, {n}) as n",
    ),
    (
        "bff",
        "insert into submission (purchase_id, customer_id, idempotency_key, request_hash, reference, lines, currency,
                                 total_minor, payment_method_token, home_delivery, trace, next_send_at, acknowledged_at,
                                 expires_at, submitted_at)
         select md5(n::text)::uuid, 'customer ' || n % 1000, gen_random_uuid(), '', 'P-1', '[]', 'EUR', 100, 'tok_ok', false,
                '', now(), now(), now() + interval '1 day', {at}
         from generate_series(1, {n}) as n",
    ),
];

async fn fill(database: &Database, purchases: i64) -> anyhow::Result<()> {
    let product: String = sqlx::query_scalar("select (array_agg(id::text order by id))[1] from product")
        .fetch_one(&database.pool_of("product-admin"))
        .await?;
    let recent = purchases / OF_THE_LAST_HOUR;
    let at = format!(
        "now() - case when n > {purchases} - {recent} then interval '10 minutes' else interval '20 hours' end"
    );
    for (service, statement) in ROWS {
        let statement = statement
            .replace("{n}", &purchases.to_string())
            .replace("{at}", &at)
            .replace("{product}", &product);
        let pool: PgPool = database.pool_of(service);
        let filled = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await;
        filled.with_context(|| format!("{service} cannot be filled"))?;
        // What the services would have handled for them: nine messages a purchase, over all of them.
        let handled = format!(
            "insert into inbox (consumer, message_id, stream, key, sequence)
             select 'c', gen_random_uuid(), 's', md5(n::text), n from generate_series(1, {purchases} * 3 / 2) as n;
             analyze"
        );
        sqlx::raw_sql(AssertSqlSafe(handled)).execute(&pool).await?;
    }
    Ok(())
}

async fn timed(urls: &BTreeMap<String, String>, window: Option<Duration>) -> anyhow::Result<()> {
    let options = Options {
        at_rest: Duration::from_secs(30),
        window,
        ..Options::default()
    };
    let mut took = Vec::new();
    let mut looked_at = 0;
    for _ in 0..5 {
        let started = Instant::now();
        let report = audit::run_on(urls, &options).await?;
        took.push(started.elapsed());
        anyhow::ensure!(report.is_clean(), "{}", report.table());
        looked_at = report.information.purchases;
    }
    took.sort();
    let what = window.map_or("everything".to_owned(), |window| format!("the last {window:?}"));
    println!(
        "{what}: {looked_at} purchases looked at, {:.0} ms (median of {}; {:.0} to {:.0})",
        took[took.len() / 2].as_secs_f64() * 1e3,
        took.len(),
        took[0].as_secs_f64() * 1e3,
        took[took.len() - 1].as_secs_f64() * 1e3
    );
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let purchases: i64 = match std::env::args().nth(1) {
        Some(given) => given.parse().context("say how many purchases: a number")?,
        None => 100_000,
    };
    let database = Database::create_shared(&services()).await;
    let urls: BTreeMap<String, String> = services()
        .map(|(service, _)| (service.to_owned(), database.url_of(service)))
        .into();
    fill(&database, purchases).await?;
    println!("{purchases} purchases, of which 1 in {OF_THE_LAST_HOUR} ended within the last hour");
    timed(&urls, None).await?;
    timed(&urls, Some(Duration::from_secs(3_600))).await?;
    // What it costs whatever there is: logging in at eight connections, and the sums over all stock.
    timed(&urls, Some(Duration::from_secs(1))).await?;
    Ok(())
}
