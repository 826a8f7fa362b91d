//! What the server says of itself.

use mesh_protocol::{
    FEATURES, PROTOCOL_VERSION,
    rest::{Info, RegistrationMode},
};

use crate::{app::App, config::Registration};

/// The server's version, SemVer.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, or `unknown`: see `build.rs`.
pub const COMMIT: &str = env!("MESH_BUILD_COMMIT");

/// What `--version` says: the version, the commit and its date.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MESH_BUILD"), ")");

/// `GET /api/info`.
pub fn info(app: &App) -> Info {
    Info {
        name: "Mesh Server".to_owned(),
        version: VERSION.to_owned(),
        protocol: PROTOCOL_VERSION,
        registration: match app.config.registration {
            Registration::Open => RegistrationMode::Open,
            Registration::Invite => RegistrationMode::Invite,
            Registration::Closed => RegistrationMode::Closed,
        },
        features: FEATURES.iter().map(|f| (*f).to_owned()).collect(),
    }
}
