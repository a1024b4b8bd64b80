//! The notifications service as a process of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    host::program::run_checked(notifications::start, notifications::check).await
}
