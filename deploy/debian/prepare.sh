#!/bin/sh
# Makes the manual pages and completions that the Debian package holds, from the binary that it holds.
#   cargo build --release --locked && deploy/debian/prepare.sh && cargo deb --no-build --locked
set -eu
cd -- "$(dirname -- "$0")/../.."
program=${CARGO_TARGET_DIR:-target}/release/mesh-server
out=target/deb
rm -rf -- $out
mkdir -p $out/man $out/completions
"$program" man $out/man
gzip -9n $out/man/*.1
for shell in bash zsh fish; do "$program" completions $shell >$out/completions/$shell; done
