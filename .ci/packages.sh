#!/usr/bin/env bash
# The Debian packages that the system tests need, where this machine lets us install them: as root, with apt-get.
# Elsewhere those tests are skipped, and say which program is missing.
set -euo pipefail

packages=(
    docker.io iptables debootstrap # an engine, and a Debian that its images are built on
    systemd systemd-container dbus # a machine with a systemd of its own
    user-mode-linux # a kernel with cgroups of version 2
)

[ "$(id -u)" = 0 ] && command -v apt-get dpkg-query >/dev/null || exit 0
missing=()
for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null ||
    echo "packages: cannot install ${missing[*]}: the tests that need them are skipped" >&2
