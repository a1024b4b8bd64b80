//! product-admin as a process of its own.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    host::program::run::<product_admin::Config, _>(product_admin::start).await
}
