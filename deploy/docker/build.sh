#!/bin/sh
# Builds the binary of the workspace at the current folder and lays out the image's root in $1.
set -eu
# Cargo compares times: the sources must be newer than the dependencies that were built before.
find services shared -name '*.rs' -exec touch {} +
cargo build --release --locked
exec sh "$(dirname "$0")/rootfs.sh" "${CARGO_TARGET_DIR:-target}/release/postrider" "$1"
