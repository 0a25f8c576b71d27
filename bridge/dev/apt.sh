#!/bin/sh
# Install the Debian packages whose command is missing: apt.sh COMMAND=PACKAGE ...
# Exit status 1, with the line to type, where that cannot be done from here.
set -eu

have() {
    command -v "$1" >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1
}

missing=
for pair in "$@"; do
    have "${pair%%=*}" || missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2>/dev/null; then
    as_root=sudo
else
    as_root=no
fi
if [ "$as_root" = no ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "colloque: missing:$missing. Install with: sudo apt-get install$missing" >&2
    exit 1
fi

echo "==> Installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
# The lists may be old or absent; a machine without them downloads them once.
# shellcheck disable=SC2086 - words on purpose
$as_root apt-get install -y --no-install-recommends $missing 2>/dev/null || {
    $as_root apt-get update
    $as_root apt-get install -y --no-install-recommends $missing
}
