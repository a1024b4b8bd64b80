//! What the invariants need of each service, copied into temporary tables of one connection.
#![expect(
    clippy::disallowed_methods,
    reason = "temporary tables do not exist when the program is built"
)]

use anyhow::Context;
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::{Options, connections::Connections};

/// Rows per statement on their way into a temporary table: some 500 kB of JSON.
const BATCH_ROWS: usize = 5_000;

/// One temporary table, and the queries in the service's own schema that fill it.
struct Table {
    name: &'static str,
    columns: &'static str,
    query: &'static str,
    /// What takes the place of `query` when only what moved within a window is looked at.
    recent: Recent,
}

/// What a look with a window reads of a table.
enum Recent {
    /// All of it: it is small, or has no time.
    All,
    /// What this query finds, with the window in seconds as its parameter and the purchases that are looked at so far as the second.
    Query(&'static str),
    /// Of `query` what belongs to the purchases that are looked at.
    OfPurchases,
}

/// Of every service: what the mailbox keeps. `service` is put in front when they are copied.
const OF_ALL: &[Table] = &[
    // A broken relay can leave millions of rows; these are enough to say so.
    Table {
        name: "waiting_message",
        columns: "service text, seq bigint, topic text, key text, type text, age_s float8",
        query: "select seq, aggregatetype as topic, aggregateid as key, type,
                       extract(epoch from now() - created_at) as age_s
                from outbox order by seq limit 1000",
        recent: Recent::All,
    },
    // With change data capture the outbox is always empty; what waits is what the slot has not confirmed. A slot that bears
    // the name of the service's outbox is taken for the service's carrier.
    Table {
        name: "capture",
        columns: "service text, slot text, active boolean, lost boolean, behind_bytes bigint",
        query: "select slot_name as slot, active, coalesce(wal_status, '') = 'lost' as lost,
                       pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint as behind_bytes
                from pg_replication_slots
                where database = current_database()
                  and slot_name = left(regexp_replace(lower(current_database() || '_' || current_schema()),
                                                      '[^a-z0-9_]', '_', 'g'), 63)",
        recent: Recent::All,
    },
    Table {
        name: "regression",
        columns: "service text, consumer text, message_id uuid, stream text, key text, sequence bigint",
        query: "select consumer, message_id, stream, key, sequence from regression order by at limit 1000",
        recent: Recent::All,
    },
    Table {
        name: "handled",
        columns: "service text, messages bigint",
        query: "select count(*) as messages from inbox",
        // Only a figure to be told: PostgreSQL's own estimate will do.
        recent: Recent::Query(
            "select greatest(reltuples, 0)::bigint as messages from pg_class
             where oid = 'inbox'::regclass and $1::float8 is not null and $2::uuid[] is not null",
        ),
    },
    Table {
        name: "parked",
        columns: "service text, id uuid, consumer text, topic text, key text, message_type text, cause text,
                  error_class text, age_s float8",
        query: "select id, consumer, topic, key, message_type, cause, error_class,
                       extract(epoch from now() - parked_at) as age_s
                from parked where resolved_at is null",
        recent: Recent::All,
    },
];

/// Of single services.
const OF_ONE: &[(&str, &[Table])] = &[
    (
        "bff",
        &[Table {
            name: "submission",
            columns: "purchase_id uuid, customer_id text, idempotency_key uuid, is_acknowledged boolean, age_s float8",
            query: "select purchase_id, customer_id, idempotency_key, acknowledged_at is not null as is_acknowledged,
                           extract(epoch from now() - submitted_at) as age_s
                    from submission",
            recent: Recent::Query(
                "select purchase_id, customer_id, idempotency_key, acknowledged_at is not null as is_acknowledged,
                        extract(epoch from now() - submitted_at) as age_s
                 from submission
                 where (acknowledged_at is null or submitted_at >= now() - make_interval(secs => $1))
                   and $2::uuid[] is not null",
            ),
        }],
    ),
    (
        "purchase-manager",
        &[
            // An operator may end a saga by word; then steps may have been left in doubt or not undone.
            Table {
                name: "purchase",
                columns: "id uuid, customer_id text, standing text, is_submitted boolean, is_resolved boolean, age_s float8,
                          idle_s float8",
                query: "select id, customer_id, standing, state is not null as is_submitted,
                               coalesce(state #>> '{status,ending,kind}' = 'resolved', false) as is_resolved,
                               extract(epoch from now() - created_at) as age_s,
                               extract(epoch from now() - updated_at) as idle_s
                        from saga",
                // By an index each: what ended lately, what has not ended, and what was submitted lately.
                recent: Recent::Query(
                    "select id, customer_id, standing, state is not null as is_submitted,
                            coalesce(state #>> '{status,ending,kind}' = 'resolved', false) as is_resolved,
                            extract(epoch from now() - created_at) as age_s,
                            extract(epoch from now() - updated_at) as idle_s
                     from saga where id in (
                         select id from saga
                         where standing in ('COMPLETED', 'REJECTED', 'CANCELLED') and state is not null
                           and updated_at >= now() - make_interval(secs => $1)
                         union all
                         select id from saga where standing in ('PENDING', 'RUNNING', 'COMPENSATING', 'STUCK')
                         union all
                         select unnest($2::uuid[]))",
                ),
            },
            Table {
                name: "purchase_line",
                columns: "purchase_id uuid, product_id uuid, quantity bigint",
                query: "select id as purchase_id, (line ->> 'product_id')::uuid as product_id,
                               (line ->> 'quantity')::bigint as quantity
                        from saga cross join jsonb_array_elements(state #> '{data,lines}') as line",
                recent: Recent::Query(
                    "select id as purchase_id, (line ->> 'product_id')::uuid as product_id,
                            (line ->> 'quantity')::bigint as quantity
                     from saga cross join jsonb_array_elements(state #> '{data,lines}') as line
                     where $1::float8 is not null and id = any($2::uuid[])",
                ),
            },
        ],
    ),
    (
        "product-admin",
        &[
            Table {
                name: "product",
                columns: "id uuid, sku text, initial_on_hand bigint, on_hand bigint, reserved bigint",
                query: "select id, sku, initial_on_hand, on_hand, reserved from product",
                recent: Recent::All,
            },
            Table {
                name: "movement",
                columns: "product_id uuid, received bigint, dispatched bigint",
                query: "select product_id, coalesce(sum(delta) filter (where kind <> 'dispatch'), 0) as received,
                               coalesce(-sum(delta) filter (where kind = 'dispatch'), 0) as dispatched
                        from stock_movement group by product_id",
                recent: Recent::All,
            },
            Table {
                name: "promised",
                columns: "product_id uuid, units bigint",
                query: "select product_id, sum(quantity)::bigint as units from reservation
                        where state in ('held', 'confirmed') group by product_id",
                recent: Recent::All,
            },
            Table {
                name: "reservation",
                columns: "purchase_id uuid, product_id uuid, quantity bigint, state text",
                query: "select purchase_id, product_id, quantity, state from reservation",
                recent: Recent::OfPurchases,
            },
        ],
    ),
    ("consolidator", &[]),
    (
        "orders",
        &[Table {
            name: "placed_order",
            columns: "id uuid, purchase_id uuid, state text",
            query: "select order_id as id, purchase_id, state from orders",
            recent: Recent::OfPurchases,
        }],
    ),
    (
        "payments",
        &[Table {
            name: "payment",
            columns: "id uuid, purchase_id uuid, state text",
            query: "select payment_id as id, purchase_id, state from payment",
            recent: Recent::OfPurchases,
        }],
    ),
    (
        "notifications",
        &[Table {
            name: "notification",
            columns: "purchase_id uuid, outcome text, state text",
            query: "select purchase_id, outcome, state from notification",
            recent: Recent::OfPurchases,
        }],
    ),
];

/// What the invariants go by, beside the services' tables.
const PREPARE: &[&str] = &[
    "create temporary view purchase_at_rest as
     select p.* from purchase p, setting
     where p.standing in ('COMPLETED', 'REJECTED', 'CANCELLED') and p.idle_s >= at_rest_s and not p.is_resolved",
    "create temporary view open_purchase as
     select coalesce(s.purchase_id, p.id) as id, coalesce(p.standing, 'not known to purchase-manager') as standing,
            greatest(s.age_s, p.age_s) as age_s
     from submission s full join purchase p on p.id = s.purchase_id
     where p.standing is null or p.standing in ('PENDING', 'RUNNING', 'COMPENSATING')",
];

/// Takes all snapshots into the temporary tables, in place of earlier ones.
pub(super) async fn take(connections: &mut Connections, options: &Options) -> anyhow::Result<()> {
    let Connections { sources, target } = connections;
    create(target, options)
        .await
        .context("no temporary tables can be made in purchase-manager's database")?;
    for (service, source) in sources {
        let own = OF_ONE.iter().find(|(name, _)| name == service);
        let tables = own.map_or(&[][..], |(_, tables)| *tables);
        let scope = match options.window {
            Some(window) => Some(Scope {
                seconds: window.as_secs_f64(),
                purchases: looked_at(target).await?,
            }),
            None => None,
        };
        copy_service(source, service, tables, scope.as_ref(), target)
            .await
            .with_context(|| format!("the tables of {service} cannot be read: are they of this version?"))?;
    }
    for table in all_tables() {
        // The planner knows nothing of temporary tables by itself.
        execute(target, format!("analyze pg_temp.{}", table.name)).await?;
    }
    Ok(())
}

/// What a look with a window looks at.
struct Scope {
    seconds: f64,
    purchases: Vec<Uuid>,
}

/// The purchases that the edge and purchase-manager have brought so far: these two are read first.
async fn looked_at(target: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar("select purchase_id from pg_temp.submission union select id from pg_temp.purchase")
        .fetch_all(target)
        .await
}

fn all_tables() -> impl Iterator<Item = &'static Table> {
    OF_ONE.iter().flat_map(|(_, tables)| tables.iter()).chain(OF_ALL)
}

async fn create(target: &mut PgConnection, options: &Options) -> Result<(), sqlx::Error> {
    for statement in [
        "discard temporary",
        "create temporary table setting (at_rest_s float8, bound_s float8)",
    ] {
        sqlx::query(statement).execute(&mut *target).await?;
    }
    sqlx::query("insert into setting values ($1, $2)")
        .bind(options.at_rest.as_secs_f64())
        .bind(options.bound.as_secs_f64())
        .execute(&mut *target)
        .await?;
    for table in all_tables() {
        execute(
            target,
            format!("create temporary table {} ({})", table.name, table.columns),
        )
        .await?;
    }
    for statement in PREPARE {
        sqlx::query(*statement).execute(&mut *target).await?;
    }
    Ok(())
}

async fn copy_service(
    source: &mut PgConnection,
    service: &str,
    tables: &[Table],
    scope: Option<&Scope>,
    target: &mut PgConnection,
) -> anyhow::Result<()> {
    let mut snapshot = source
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    for table in tables.iter().chain(OF_ALL) {
        // The lines belong to the purchases that have just been copied from here.
        match scope {
            Some(scope) if table.name == "purchase_line" => {
                let scope = Scope {
                    seconds: scope.seconds,
                    purchases: looked_at(target).await?,
                };
                copy(&mut snapshot, service, table, Some(&scope), target).await?;
            }
            _ => copy(&mut snapshot, service, table, scope, target).await?,
        }
    }
    Ok(snapshot.rollback().await?)
}

/// Copies one table row by row as JSON, so that neither side holds all of it in memory.
async fn copy(
    source: &mut PgConnection,
    service: &str,
    table: &Table,
    scope: Option<&Scope>,
    target: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    let (query, scope) = match (&table.recent, scope) {
        (_, None) | (Recent::All, Some(_)) => (table.query.to_owned(), None),
        (Recent::Query(query), Some(scope)) => ((*query).to_owned(), Some(scope)),
        (Recent::OfPurchases, Some(scope)) => {
            let of = "where $1::float8 is not null and purchase_id = any($2::uuid[])";
            (format!("{} {of}", table.query), Some(scope))
        }
    };
    // The service is one of ours, and a column that the table lacks is left out by json_populate_recordset.
    let query =
        format!("select row_to_json(t)::text from (select '{service}' as service, q.* from ({query}) q) t");
    let mut query = sqlx::query_scalar::<_, String>(AssertSqlSafe(query));
    if let Some(scope) = scope {
        query = query.bind(scope.seconds).bind(&scope.purchases);
    }
    let mut rows = query.fetch(source);
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    while let Some(row) = rows.try_next().await? {
        batch.push(row);
        if batch.len() == BATCH_ROWS {
            insert(target, table, &batch).await?;
            batch.clear();
        }
    }
    if batch.is_empty() {
        Ok(())
    } else {
        insert(target, table, &batch).await
    }
}

async fn insert(target: &mut PgConnection, table: &Table, rows: &[String]) -> Result<(), sqlx::Error> {
    let name = table.name;
    let statement = format!(
        "insert into pg_temp.{name} select * from json_populate_recordset(null::pg_temp.{name}, $1::json)"
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(format!("[{}]", rows.join(",")))
        .execute(target)
        .await?;
    Ok(())
}

async fn execute(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}
