#!/usr/bin/env bash
# keys.sh: the keys of a cluster's daemons and of its trainings, in base/keys, where kustomize makes Secrets of them.
# One pair for all daemons: their endpoints differ by their hosts' names. Needs carlactl, or CARLACTL=... that is one.
set -euo pipefail
cd "$(dirname "$0")/base"
read -r -a carlactl <<<"${CARLACTL:-carlactl}"

if [ -e keys ]; then
    echo "keys.sh: cannot make keys: there are some in $PWD/keys; move them away to replace them" >&2
    exit 1
fi
umask 077
made=$(mktemp -d ./keys.XXXXXX)
trap 'rm -rf "$made"' EXIT
printf '[remote]\nlisten = ["tcp://127.0.0.1:7000"]\nkeys_dir = "%s"\n' "$PWD/${made#./}" >"$made/carlad.toml"
"${carlactl[@]}" keygen --server --config "$made/carlad.toml" --json >/dev/null
CARLAD_KEY="$made/trainer.key_secret" "${carlactl[@]}" keygen --json >/dev/null
rm -rf "$made/carlad.toml" "$made/clients"
mv "$made" keys
trap - EXIT
echo "made $PWD/keys; the trainings of this cluster are the user \"trainer\" to its daemons"
