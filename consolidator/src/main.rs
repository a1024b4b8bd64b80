//! consolidator as a process of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    host::program::run::<consolidator::Config, _>(consolidator::start).await
}
