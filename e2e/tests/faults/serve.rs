//! This program as a service: under the name `orders` it is what the program `orders` is.

use std::{io, path::Path, process::ExitCode, time::Duration};

use saga::RetryPolicy;

/// The services, in the order in which they are started: whom others ask first.
pub const SERVICES: [&str; 7] = [
    "purchase-manager",
    "product-admin",
    "consolidator",
    "orders",
    "payments",
    "bff",
    "notifications",
];

/// Pauses before a command is sent again: shorter than in production, so that what is lost shows soon. Eight sends are some
/// 70 s, more than any fault of the suite lasts.
const RETRY: RetryPolicy = RetryPolicy::fast(Duration::from_secs(3), Duration::from_secs(12), 8);

/// Runs as the service that this program is called by, if it is called by one.
pub fn as_service() -> Option<ExitCode> {
    let called = std::env::args_os().next()?;
    let name = Path::new(&called).file_name()?.to_str()?;
    let service = SERVICES.into_iter().find(|service| *service == name)?;
    // Whoever started it holds the other end of its standard input: without them it has no reason to be.
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(137);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    match runtime.block_on(Box::pin(run(service))) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            println!("{service} ended: {error:#}");
            Some(ExitCode::FAILURE)
        }
    }
}

async fn run(service: &str) -> anyhow::Result<()> {
    match service {
        "purchase-manager" => {
            host::program::run(|mut config: purchase_manager::Config, shutdown| {
                config.retry = RETRY;
                purchase_manager::start(config, shutdown)
            })
            .await
        }
        "product-admin" => host::program::run(product_admin::start).await,
        "consolidator" => host::program::run(consolidator::start).await,
        "orders" => host::program::run(orders::start).await,
        "payments" => host::program::run(payments::start).await,
        "bff" => host::program::run(bff::start).await,
        "notifications" => host::program::run_checked(notifications::start, notifications::check).await,
        other => anyhow::bail!("{other} is no service"),
    }
}
