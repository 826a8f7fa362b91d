//! Sends traces, where somebody wants them.

use crate::{app::App, trace::Exporter};

pub(super) async fn run(app: &App, exporter: Exporter) {
    exporter.run(&app.tasks).await;
}
