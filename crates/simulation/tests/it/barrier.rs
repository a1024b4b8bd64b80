//! Goal: the model of the operation barrier is the barrier. Method: both get the same commands in the same
//! transactions, some committed and some rolled back, some by two instances at once, and must answer alike.

use mailbox::barrier as table;
use saga::Direction;
use simulation::{barrier as model, random::Random};
use sqlx::PgConnection;
use uuid::Uuid;

const STEPS: [&str; 3] = ["reserve", "pay", "confirm"];
const SAGAS: u32 = 4;
const TRANSACTIONS: u32 = 400;

static NONE: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;

/// One command, and what the business would say to it.
#[derive(Debug, Clone, Copy)]
struct Command {
    key: model::Key,
    refused: bool,
    /// What it would be answered, different each time.
    reply: u32,
}

/// What came of one: how it was met, and its answer.
type Answers = Vec<(String, u32)>;

const TOO_LATE: u32 = 0;
const NOTHING: u32 = 1;

fn batch(random: &mut Random, next_reply: &mut u32) -> Vec<Command> {
    (0..1 + random.below(5))
        .map(|_| {
            *next_reply += 1;
            let direction = if random.chance(50) {
                Direction::Forward
            } else {
                Direction::Compensation
            };
            Command {
                key: (random.below(SAGAS), random.below(3), direction),
                refused: random.chance(25),
                reply: *next_reply,
            }
        })
        .collect()
}

fn ask_model(barrier: &mut model::Barrier<u32>, batch: &[Command]) -> Answers {
    let answer = |command: &Command| {
        let decide = || {
            let refused = command.refused && command.key.2 == Direction::Forward;
            let outcome = if refused {
                model::Outcome::Refused
            } else {
                model::Outcome::Done
            };
            Ok::<_, ()>((outcome, command.reply))
        };
        let (met, reply) = model::answer(barrier, command.key, decide, NOTHING, TOO_LATE).unwrap();
        let met = match met {
            model::Met::Fresh => "fresh",
            model::Met::Repeated => "repeated",
            model::Met::Acknowledged { .. } => "nothing to undo",
        };
        (met.to_owned(), reply)
    };
    batch.iter().map(answer).collect()
}

/// What `mailbox::participant` does with the real barrier.
fn ask_table(barrier: &mut table::Barrier<u32>, id: impl Fn(u32) -> Uuid, batch: &[Command]) -> Answers {
    let mut answers = Vec::new();
    for command in batch {
        let (saga, step) = (id(command.key.0), STEPS[command.key.1 as usize]);
        let direction = match command.key.2 {
            Direction::Forward => table::Direction::Forward,
            Direction::Compensation => table::Direction::Rollback,
        };
        let (met, outcome, reply) = match barrier.admit(saga, step, direction) {
            table::Admission::Repeat(reply) => {
                answers.push(("repeated".to_owned(), *reply));
                continue;
            }
            table::Admission::NothingToUndo => ("nothing to undo", table::Outcome::Done, NOTHING),
            table::Admission::Run if command.refused && direction == table::Direction::Forward => {
                ("fresh", table::Outcome::Refused, command.reply)
            }
            table::Admission::Run => ("fresh", table::Outcome::Done, command.reply),
        };
        if direction == table::Direction::Rollback && !barrier.has_seen(saga, step) {
            barrier.record(
                saga,
                step,
                table::Direction::Forward,
                table::Outcome::Superseded,
                TOO_LATE,
            );
        }
        barrier.record(saga, step, direction, outcome, reply);
        answers.push((met.to_owned(), reply));
    }
    answers
}

async fn load(connection: &mut PgConnection, ids: &[Uuid]) -> table::Barrier<u32> {
    table::Barrier::load(connection, ids, &STEPS).await.unwrap()
}

#[tokio::test]
async fn the_model_of_the_barrier_answers_as_the_tables_do() {
    let database = testkit::Database::create("payments", &NONE).await;
    let pool = database.pool();
    let mut met = std::collections::BTreeMap::new();
    for seed in 0..3 {
        let mut random = Random::new(seed);
        let mut operations = model::Operations::default();
        let mut next_reply = 1;
        let id = |saga: u32| Uuid::from_u128((u128::from(seed) << 32) | (u128::from(saga) + 1));
        let ids: Vec<Uuid> = (0..SAGAS).map(id).collect();
        for transaction in 0..TRANSACTIONS {
            let commands = batch(&mut random, &mut next_reply);
            let mut tx = pool.begin().await.unwrap();
            let mut in_table = load(&mut tx, &ids).await;
            let mut in_model = model::Barrier::load(&operations, |_| true);
            let from_table = ask_table(&mut in_table, id, &commands);
            let from_model = ask_model(&mut in_model, &commands);
            assert_eq!(
                from_model, from_table,
                "seed {seed}, transaction {transaction}: {commands:?}"
            );
            for (how, _) in &from_model {
                *met.entry(how.clone()).or_insert(0) += 1;
            }
            in_table.save(&mut tx).await.unwrap();
            if random.chance(30) {
                tx.rollback().await.unwrap();
            } else {
                tx.commit().await.unwrap();
                in_model.save(&mut operations).unwrap();
            }
            // Now and then everything is forgotten that this seed has done, so that there is something fresh to do.
            if transaction % 20 == 19 {
                sqlx::query("delete from operation").execute(&pool).await.unwrap();
                operations = model::Operations::default();
            }
        }
    }
    assert!(
        met.len() == 3 && met.values().all(|times| *times > 100),
        "{met:?}"
    );
}

/// Two instances read before either writes: the second to write is refused, and finds the first one's answer next time.
#[tokio::test]
async fn the_model_of_the_barrier_collides_where_the_tables_do() {
    let database = testkit::Database::create("payments", &NONE).await;
    let pool = database.pool();
    let mut random = Random::new(7);
    let mut next_reply = 1;
    let (mut collided, mut passed) = (0, 0);
    for round in 0..60_u32 {
        let id = |saga: u32| Uuid::from_u128((u128::from(round) << 32) | (u128::from(saga) + 1));
        let ids: Vec<Uuid> = (0..SAGAS).map(id).collect();
        let mut operations = model::Operations::default();
        let (first, second) = (
            batch(&mut random, &mut next_reply),
            batch(&mut random, &mut next_reply),
        );
        let (mut one, mut other) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
        let (mut one_table, mut other_table) = (load(&mut one, &ids).await, load(&mut other, &ids).await);
        let mut one_model = model::Barrier::load(&operations, |_| true);
        let mut other_model = model::Barrier::load(&operations, |_| true);
        assert_eq!(
            ask_model(&mut one_model, &first),
            ask_table(&mut one_table, id, &first)
        );
        assert_eq!(
            ask_model(&mut other_model, &second),
            ask_table(&mut other_table, id, &second)
        );
        one_table.save(&mut one).await.unwrap();
        one.commit().await.unwrap();
        one_model.save(&mut operations).unwrap();
        let written = other_table.save(&mut other).await;
        match other_model.save(&mut operations) {
            Ok(()) => {
                passed += 1;
                written.unwrap();
                other.commit().await.unwrap();
            }
            Err(model::Collision) => {
                collided += 1;
                assert!(
                    written.unwrap_err().is_transient(),
                    "a lost race is worth another try"
                );
            }
        }
    }
    assert!(collided > 5 && passed > 5, "{collided} and {passed}");
}
