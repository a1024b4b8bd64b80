//! The payments service as a process of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    host::program::run::<payments::Config, _>(payments::start).await
}
