//! How quickly the edge answers reads: `purchase(id)` and `products(first: 20)`, each at a fixed rate, and a bare axum handler at
//! the same rate in the same run, so that what the machine and the client cost is seen beside what the edge costs.
//!
//! An open loop: a request is due every 1/rate seconds whatever became of the earlier ones, and its latency is from the time
//! when it was due. `make bench ARGS=edge` runs it against a system of its own; system, bare handler and client are processes of
//! their own. Prints figures and judges nothing but wrong answers: how quiet the machine was is in the figures too.

use std::{
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitCode, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, ensure};
use axum::{Router, routing::post};
use belay::data_dir::DataDir;
use clap::Parser;
use e2e::customer::Customer;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Before anything is counted: connections are made, and statements are planned.
const WARM_UP: Duration = Duration::from_secs(3);
/// The longest that a request may take.
const LIMIT: Duration = Duration::from_secs(10);

const PRODUCTS: &str = "{ products(first: 20) { nodes { id sku name price { amount currency } availability } pageInfo { hasNextPage endCursor } } }";
const PURCHASE: &str = "query ($id: ID!) { purchase(id: $id) { reference state version total { amount currency } lines { name quantity } } }";

/// What can be said of a run.
#[derive(Debug, Parser)]
struct Bench {
    /// The data directory of the running system.
    #[arg(long, required_unless_present = "bare")]
    data: Option<PathBuf>,
    /// A customer's token for it.
    #[arg(long, env = "BELAY_BENCH_TOKEN", hide_env_values = true, default_value = "")]
    token: String,
    /// Requests per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    rate: u32,
    /// For how long each is asked, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    duration: u32,
    /// Be the bare handler.
    #[arg(long, hide = true)]
    bare: bool,
}

/// What is asked again and again, and how to tell that it was answered.
struct Asked {
    name: &'static str,
    url: String,
    body: String,
    token: String,
    /// In every right answer.
    holds: &'static str,
}

struct Measured {
    name: &'static str,
    microseconds: Histogram<u64>,
    wrong: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let bench = Bench::parse();
    if bench.bare {
        return bare().await;
    }
    let data = bench.data.as_deref().context("--data is needed")?;
    let http = DataDir::open(data)?.system()?.http;
    let (_bare, bare_at) = start_bare().await?;
    let customer = Customer::new(&http, bench.token.clone());
    let product = customer
        .find_product("LAMP")
        .await
        .context("the seed has a lamp")?;
    let id = customer.submit(&[(product.as_str(), 1)], "tok_ok").await;
    customer.ended(&id).await;

    let url = format!("{http}/graphql");
    let asked = |name, url: &str, body: Value, holds| Asked {
        name,
        url: url.to_owned(),
        body: body.to_string(),
        token: bench.token.clone(),
        holds,
    };
    let purchase = json!({ "query": PURCHASE, "variables": { "id": id } });
    let mut rows = Vec::new();
    for asked in [
        asked(
            "bare handler",
            &bare_at,
            json!({ "query": PRODUCTS }),
            "reference",
        ),
        asked(
            "products(first: 20)",
            &url,
            json!({ "query": PRODUCTS }),
            "endCursor",
        ),
        asked("purchase(id)", &url, purchase, "COMPLETED"),
    ] {
        rows.push(measure(asked, &bench).await?);
    }
    report(&bench, &rows)?;
    let right = rows.iter().all(|row| row.wrong == 0);
    Ok(if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Asks at the rate, first to warm up, then to count.
async fn measure(asked: Asked, bench: &Bench) -> anyhow::Result<Measured> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .timeout(LIMIT)
        .build()?;
    let asked = Arc::new(asked);
    let latencies = Histogram::<u64>::new_with_max(20_000_000, 3)?;
    let measured = Arc::new(Mutex::new((latencies, 0_u64)));
    let pause = Duration::from_secs(1) / bench.rate;
    let start = Instant::now();
    let counted_from = start + WARM_UP;
    let end = counted_from + Duration::from_secs(u64::from(bench.duration));
    let mut open = JoinSet::new();
    let mut due = start;
    while due < end {
        sleep_until(due).await;
        let (asked, client, measured) = (asked.clone(), client.clone(), measured.clone());
        open.spawn(async move {
            let good = ask(&asked, &client).await.is_ok_and(|good| good);
            if due >= counted_from {
                let took = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
                let mut measured = measured.lock().expect("nothing panics while it holds this lock");
                measured.0.saturating_record(took);
                measured.1 += u64::from(!good);
            }
        });
        // What has ended is forgotten.
        while open.try_join_next().is_some() {}
        due += pause;
    }
    while open.join_next().await.is_some() {}
    let (microseconds, wrong) = Arc::into_inner(measured)
        .context("a request is still under way")?
        .into_inner()
        .expect("nothing panics while it holds this lock");
    Ok(Measured {
        name: asked.name,
        microseconds,
        wrong,
    })
}

/// Whether the answer is what it should be.
async fn ask(asked: &Asked, client: &reqwest::Client) -> reqwest::Result<bool> {
    let request = client
        .post(&asked.url)
        .header("content-type", "application/json")
        .bearer_auth(&asked.token);
    let response = request.body(asked.body.clone()).send().await?;
    let right = response.status().is_success();
    let text = response.text().await?;
    Ok(right && text.contains(asked.holds) && !text.contains("\"errors\""))
}

fn report(bench: &Bench, rows: &[Measured]) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?;
    // Linux alone tells; elsewhere the reader looks himself.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split(' ').take(2).collect();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} requests/s for {} s each, {cores} cores, load average at the end {} (1 min) {} (5 min)",
        bench.rate,
        bench.duration,
        load.first().unwrap_or(&"unknown"),
        load.get(1).unwrap_or(&"unknown"),
    )?;
    writeln!(
        out,
        "{:<22}{:>9}{:>7}{:>10}{:>10}{:>10}{:>10}",
        "", "requests", "wrong", "p50 ms", "p90 ms", "p99 ms", "max ms"
    )?;
    for row in rows {
        // Exact: ten seconds have fewer microseconds than 2^52.
        let at = |quantile| row.microseconds.value_at_quantile(quantile) as f64 / 1000.0;
        writeln!(
            out,
            "{:<22}{:>9}{:>7}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
            row.name,
            row.microseconds.len(),
            row.wrong,
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
        )?;
    }
    Ok(())
}

/// Starts the bare handler as a process, which ends when it is dropped.
async fn start_bare() -> anyhow::Result<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--bare")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let told = child.stdout.take().context("its output is piped")?;
    let address = BufReader::new(told).lines().next_line().await?;
    let address = address.context("the bare handler did not start")?;
    Ok((child, address))
}

/// A handler that reads a request and answers about as much as the edge does.
async fn bare() -> anyhow::Result<ExitCode> {
    let answer = json!({ "data": { "purchase": { "reference": "P-0000000", "text": "x".repeat(600) } } });
    let answer = Arc::<str>::from(answer.to_string());
    let handler = async move |body: axum::body::Bytes| {
        drop(serde_json::from_slice::<Value>(&body));
        ([("content-type", "application/json")], answer.to_string())
    };
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    ensure!(address.port() != 0, "a port was chosen");
    writeln!(std::io::stdout(), "http://{address}/")?;
    axum::serve(listener, Router::new().route("/", post(handler))).await?;
    Ok(ExitCode::SUCCESS)
}
