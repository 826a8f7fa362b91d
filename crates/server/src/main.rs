//! The one binary: see `mesh-server --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_server::cli::main()
}
