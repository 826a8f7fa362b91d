//! The server's figures, for whoever watches it.

use std::sync::Arc;

use super::{health, info};
use crate::{
    app::App,
    error::{Error, Result},
    metrics::{Format, Kind, Text, write_process},
};

/// Everything that is counted, as a scraper reads it.
///
/// # Errors
/// `internal` where writing it panicked.
pub async fn scrape(app: &Arc<App>, format: Format) -> Result<String> {
    let house = app.clone();
    // The system's own figures are read from files.
    let written = app.tasks.blocking(move || {
        let mut text = Text::new(format);
        house.metrics.write(&mut text);
        let every = house.config.backup_dir.as_ref().map_or(0, |_| u64::from(house.config.backup_every_hours) * 3_600);
        house.metrics.backups.write(&mut text, every);
        house.db.figures().write(&mut text, house.db.waiting());
        text.gauge("mesh_passwords_waiting", "Passwords that wait to be compared or hashed.", house.hasher.waiting());
        let help = "1 while the server takes work, as far as is known without asking the database.";
        text.gauge("mesh_ready", help, u8::from(health::trouble(&house).is_none()));
        text.family("mesh_build", Kind::Info, "What is running.");
        text.sample("_info", &[("version", info::VERSION), ("commit", info::COMMIT)], 1);
        write_process(&mut text, house.started_ms);
        text.finish()
    });
    written.await.ok_or_else(|| Error::internal("writing the figures panicked"))
}
