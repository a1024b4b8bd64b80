//! The edge as a program of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    host::program::run::<bff::Config, _>(bff::start).await
}
