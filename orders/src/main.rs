//! The orders service as a process of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    host::program::run::<orders::Config, _>(orders::start).await
}
