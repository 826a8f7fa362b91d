//! What the server says of itself.

use mesh_protocol::{
    FEATURES, PROTOCOL_VERSION,
    rest::{Info, RegistrationMode},
};

use crate::{app::App, config::Registration};

/// The server's version, SemVer.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

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
