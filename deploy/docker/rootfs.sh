#!/bin/sh
# Lays out a root in $2 with the binary $1, the libraries that it is linked with, the system's certificate authorities, and a
# user. Nothing in it needs to be writable.
set -eu
binary=$1 root=$2
mkdir -p "$root/etc/ssl/certs"
install -m 0755 "$binary" "$root/postrider"
# `ldd` prints "name => path (address)" for libraries and "path (address)" for the loader.
for library in $(ldd "$binary" | sed -n 's/^.* => \(\/[^ ]*\) .*$/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*$/\1/p'); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'postrider:x:65532:65532:postrider:/:/none' > "$root/etc/passwd"
echo 'postrider:x:65532:' > "$root/etc/group"
# The C library resolves the names of the broker and the database; without this file it would use DNS only.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
for licence in LICENSE-MIT LICENSE-APACHE; do
    if [ -f "$licence" ]; then cp "$licence" "$root/"; fi
done
