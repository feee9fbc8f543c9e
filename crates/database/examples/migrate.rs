//! Runs the migrations on the database of `DATABASE_URL`, as the server does at its start.

use docstore_database::{Settings, migrate};
use docstore_settings::Environment;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings::from_environment(&Environment::of_process())?;
    migrate(&settings).await?;
    Ok(())
}
