#!/bin/sh
# Copies the workspace at the current folder to $1 without its code: manifests, the lock file, and an empty file where each
# target's code begins. It compiles, so that the dependencies can be built from it, and changes only with them.
set -eu
to=$1
mkdir -p "$to"
cp -R Cargo.toml Cargo.lock .cargo "$to"/
for manifest in services/*/Cargo.toml shared/*/Cargo.toml tests/Cargo.toml bench/Cargo.toml xtask/Cargo.toml; do
    crate=$(dirname "$manifest")
    mkdir -p "$to/$crate/src"
    cp "$manifest" "$to/$crate/"
    if [ -f "$crate/src/lib.rs" ]; then : > "$to/$crate/src/lib.rs"; fi
    if [ -f "$crate/src/main.rs" ]; then echo 'fn main() {}' > "$to/$crate/src/main.rs"; fi
    # Targets that a manifest names by their path.
    sed -n 's/^path = "\([^"]*\.rs\)"$/\1/p' "$manifest" | while read -r path; do
        mkdir -p "$to/$crate/$(dirname "$path")"
        echo 'fn main() {}' > "$to/$crate/$path"
    done
done
