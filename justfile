# Shortcuts; each is one command that also works without `just`.

# List the shortcuts
default:
    @just --list

# Run the server with what .env and the environment say
run *args:
    cargo run --locked --package mesh-server -- {{args}}

# Run every test; arguments go to `cargo test`
test *args:
    ./test {{args}}

# Everything that CI runs
ci:
    .ci/run

# Format the code and write the generated files
fix:
    cargo fmt --all
    cargo xtask gen

# Lints and import rules
check:
    cargo clippy --workspace --all-targets
    cargo xtask tidy
    cargo xtask gen --check
