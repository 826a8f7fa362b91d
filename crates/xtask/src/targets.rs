//! The list of everything that is generated. To add something, add a line to [`all`].

mod asyncapi;
mod page;
mod protocol;
mod source;

use crate::generate::Target;

/// Every generated file, section and folder, in the order in which they are written.
///
/// ```text
/// Target::file("docs/page.md", || page())                     a whole file
/// Target::section("README.md", "variables", || table())       between <!-- generated:variables --> and <!-- /generated:variables -->
/// Target::folder("docs/schema", || vec![(name, text), …])     a folder in which nothing else may stand
/// ```
pub(crate) fn all() -> Vec<Target> {
    vec![
        whole("docs/protocol_events_v_2.md", page::page),
        whole("crates/server/assets/asyncapi.json", asyncapi::document),
        Target::file("docs/openapi.json", mesh_server::http::openapi_json),
        Target::file(".env.example", mesh_server::config::env_example),
        Target::section("README.md", "config", mesh_server::config::readme_table),
        Target::section("README.fr.md", "config", mesh_server::config::readme_table_fr),
    ]
}

/// A whole file whose text can't always be made; that is a mistake in this repository, which the tests find first.
#[allow(clippy::panic, reason = "nothing may be written, and nothing called fresh, where the text can't be made")]
fn whole(path: &'static str, render: fn() -> Result<String, String>) -> Target {
    Target::file(path, move || render().unwrap_or_else(|problem| panic!("{path}: {problem}")))
}
