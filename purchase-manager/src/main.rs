//! The program `purchase-manager`.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    host::program::run(purchase_manager::start).await
}
