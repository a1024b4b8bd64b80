//! The two loops: open and closed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use serde_json::json;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, interval_at, sleep_until, timeout_at},
};

use super::{
    api::{self, User},
    feed::{Feed, Heard},
    plan::{Plan, Planner},
    tally::{Ended, Tally},
    target::Target,
};
use crate::{output, token::Role};

/// Purchases that an open loop has open at most. Beyond it the system is hopelessly behind, and every further purchase
/// counts as an error.
const MOST_OPEN: usize = 20_000;

/// How often the progress is told.
const PROGRESS: Duration = Duration::from_secs(5);

/// After what everything is cut off when the wait is over.
const GRACE: Duration = Duration::from_secs(5);

const SUBMIT: &str = "mutation($input: SubmitPurchaseInput!) {
    submitPurchase(input: $input) { purchase { id } userErrors { code message } } }";

/// How purchases follow each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// The next one when one has ended: this many are open.
    InFlight(u32),
    /// This many per second, whatever became of the earlier ones.
    Rate(f64),
}

struct Customer {
    user: Arc<User>,
    feed: Feed,
}

struct Run {
    planner: Planner,
    customers: Vec<Customer>,
    tally: Tally,
    /// No purchase is begun after it.
    end: Instant,
    /// No purchase is waited for after it.
    deadline: Instant,
}

/// Buys for `duration`, then waits for what is open, at most for `wait`.
///
/// # Errors
/// When the HTTP client cannot be made.
pub(super) async fn drive(
    target: &Arc<Target>,
    name: &str,
    planner: Planner,
    pace: Pace,
    customers: u32,
    duration: Duration,
    wait: Duration,
) -> anyhow::Result<Tally> {
    let http = api::client()?;
    let customers = (0..customers).map(|number| {
        let user = Arc::new(User::new(
            target,
            &http,
            Role::Customer,
            format!("load-{name}-{number}"),
        ));
        Customer {
            feed: Feed::start(user.clone()),
            user,
        }
    });
    let customers = customers.collect();
    let start = Instant::now();
    let end = start + duration;
    let run = Arc::new(Run {
        planner,
        customers,
        tally: Tally::new(end),
        end,
        deadline: end + wait,
    });
    let progress = tokio::spawn(tell_progress(run.clone()));
    let mut open = match pace {
        Pace::InFlight(count) => closed_loop(&run, count),
        Pace::Rate(rate) => open_loop(&run, start, rate).await,
    };
    let all_ended = async { while open.join_next().await.is_some() {} };
    // Everything in there keeps to the deadline by itself; this is the belt to it.
    let cut_off = timeout_at(run.deadline + GRACE, all_ended).await.is_err();
    progress.abort();
    drop(progress.await);
    open.shutdown().await;
    let run =
        Arc::into_inner(run).context("a purchase is still under way after all of them were waited for")?;
    if cut_off {
        run.tally.error("purchases were cut off when the wait was over");
    }
    Ok(run.tally)
}

/// As many tasks as purchases may be open, each of which begins the next one when one has ended.
fn closed_loop(run: &Arc<Run>, count: u32) -> JoinSet<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (run, next) = (run.clone(), next.clone());
        tasks.spawn(async move {
            while Instant::now() < run.end {
                let number = next.fetch_add(1, Ordering::Relaxed);
                run.purchase(number, Instant::now()).await;
            }
        });
    }
    tasks
}

/// Begins purchases when they are due, and leaves the tasks of those that are still open.
async fn open_loop(run: &Arc<Run>, start: Instant, rate: f64) -> JoinSet<()> {
    let slots = Arc::new(Semaphore::new(MOST_OPEN));
    let mut tasks = JoinSet::new();
    for number in 0_u64.. {
        // A number is far below 2^52, so it is exact.
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        if due >= run.end {
            break;
        }
        sleep_until(due).await;
        while tasks.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            run.tally.error(&format!(
                "not sent, because {MOST_OPEN} purchases are open already"
            ));
            continue;
        };
        let run = run.clone();
        tasks.spawn(async move {
            run.purchase(number, due).await;
            drop(slot);
        });
    }
    tasks
}

impl Run {
    /// Makes a purchase, follows it to its end, and counts it.
    async fn purchase(&self, number: u64, from: Instant) {
        let plan = self.planner.plan(number);
        let index = usize::try_from(number).unwrap_or_default() % self.customers.len();
        match self.buy(&self.customers[index], &plan).await {
            Ok(Bought { state, failure, at }) => {
                self.tally.ended(Ended {
                    expected: plan.expected,
                    state,
                    failure,
                    at,
                    took: at - from,
                });
            }
            Err(error) => self.tally.error(&format!("{error:#}")),
        }
    }

    async fn buy(&self, customer: &Customer, plan: &Plan) -> anyhow::Result<Bought> {
        let mut input = plan.input.clone();
        input["idempotencyKey"] = json!(contracts::ids::fresh());
        let answer = customer
            .user
            .ask(SUBMIT, &json!({ "input": input }), self.deadline)
            .await?;
        self.tally.submitted(answer.repeated);
        let payload = &answer.data["submitPurchase"];
        if let Some(error) = api::user_error(payload) {
            anyhow::bail!("refused at the edge: {error}");
        }
        let id = payload["purchase"]["id"]
            .as_str()
            .context("a submission was answered without a purchase")?;
        let mut heard = customer.feed.follow(id.to_owned());
        wait_for_end(&mut heard, self.deadline).await
    }
}

struct Bought {
    state: String,
    failure: Option<String>,
    at: Instant,
}

async fn wait_for_end(heard: &mut watch::Receiver<Heard>, deadline: Instant) -> anyhow::Result<Bought> {
    let waited = timeout_at(deadline, heard.wait_for(Heard::is_final))
        .await
        .map(|heard| heard.map(|heard| heard.clone()));
    match waited {
        Ok(Ok(Heard::Ended { state, failure, at })) => Ok(Bought { state, failure, at }),
        Ok(Ok(Heard::Refused(why))) => anyhow::bail!("its subscription was refused: {why}"),
        Ok(Ok(Heard::Nothing | Heard::Open(_)) | Err(_)) => anyhow::bail!("its feed ended"),
        Err(_) => match &*heard.borrow() {
            Heard::Open(state) => anyhow::bail!("not ended when the wait was over, but {state}"),
            Heard::Nothing => anyhow::bail!("nothing was heard of it when the wait was over"),
            Heard::Ended { .. } | Heard::Refused(_) => anyhow::bail!("ended when the wait was over"),
        },
    }
}

async fn tell_progress(run: Arc<Run>) {
    let mut tick = interval_at(Instant::now() + PROGRESS, PROGRESS);
    loop {
        tick.tick().await;
        output::note(&run.tally.progress());
    }
}
