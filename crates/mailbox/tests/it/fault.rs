use std::time::Duration;

use mailbox::Fault;
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

use crate::bench::Bench;

async fn fault_of(pool: &PgPool, statement: String) -> Fault {
    sqlx::query(AssertSqlSafe(statement))
        .execute(pool)
        .await
        .unwrap_err()
        .into()
}

/// A statement that fails with the state of our choice.
fn raising(state: &str) -> String {
    format!("do $$ begin raise exception 'as if' using errcode = '{state}'; end $$")
}

#[tokio::test]
async fn what_the_server_may_answer_otherwise_next_time_is_tried_again() {
    let bench = Bench::new().await;
    for (state, what) in [
        ("40001", "serialization failure"),
        ("40P01", "deadlock"),
        ("53100", "disk full"),
        ("53300", "too many connections"),
        ("55P03", "lock not available"),
        ("57014", "statement timeout"),
        ("57P01", "the server is shutting down"),
        ("58030", "input or output error"),
        ("42501", "a right is missing"),
        ("25006", "the server is a standby"),
        ("XX000", "the server's own fault"),
    ] {
        let fault = fault_of(&bench.pool(), raising(state)).await;
        assert!(fault.is_transient(), "{what}: {fault}");
    }
    let missing_table = fault_of(&bench.pool(), "select from nowhere".to_owned()).await;
    assert!(
        missing_table.is_transient(),
        "the deployment's fault: {missing_table}"
    );
}

#[tokio::test]
async fn what_the_message_brought_about_is_final() {
    let bench = Bench::new().await;
    for (statement, what) in [
        (
            "insert into handled (key, words) values ('k', 'against the constraint')",
            "a check",
        ),
        ("insert into handled (key) values ('k')", "a null"),
        ("select 'x'::integer", "a value that is none"),
        ("select 1 / 0", "a division by zero"),
        (
            "insert into counter (key) select gen_random_uuid() from generate_series(1, 0) union all \
          select k from (values ('00000000-0000-0000-0000-000000000000'::uuid), \
          ('00000000-0000-0000-0000-000000000000')) as twice (k)",
            "a unique key of a service's own",
        ),
    ] {
        let fault = fault_of(&bench.pool(), statement.to_owned()).await;
        assert!(!fault.is_transient(), "{what}: {fault}");
        assert_eq!(fault.class(), "data");
    }
}

#[tokio::test]
async fn a_race_for_an_operation_or_a_message_is_tried_again() {
    let bench = Bench::new().await;
    let id = contracts::ids::fresh();
    for statement in [
        format!(
            "insert into operation (saga_id, step, direction, outcome, reply) values ('{id}', 's', 'forward', 'done', '{{}}')"
        ),
        format!("insert into inbox (consumer, message_id, stream, key) values ('c', '{id}', 's', 'k')"),
    ] {
        sqlx::query(AssertSqlSafe(statement.clone()))
            .execute(&bench.pool())
            .await
            .unwrap();
        let fault = fault_of(&bench.pool(), statement).await;
        assert!(fault.is_transient(), "{fault}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_waited_for() {
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(100))
        .connect_lazy("postgres://nobody@127.0.0.1:1/nowhere")
        .unwrap();
    let fault: Fault = sqlx::query("select 1").execute(&pool).await.unwrap_err().into();
    assert!(fault.is_transient(), "{fault}");
    pool.close().await;
    let fault: Fault = sqlx::query("select 1").execute(&pool).await.unwrap_err().into();
    assert!(fault.is_transient(), "{fault}");
}
