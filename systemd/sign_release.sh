#!/usr/bin/env bash
# Writes SHA256SUMS of everything in a folder of a release, and its Ed25519 signature.
#
#   openssl genpkey -algorithm ed25519 -out release.key        once; keep it away from the network
#   openssl pkey -in release.key -pubout -out release.pub      for who installs, by another way than the release
#   systemd/sign_release.sh dist release.key
#
# Who installs: openssl pkeyutl -verify -pubin -inkey release.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
#               sha256sum --check --strict SHA256SUMS
set -euo pipefail

folder=${1:?systemd/sign_release.sh FOLDER KEY}
key=$(realpath "${2:?systemd/sign_release.sh FOLDER KEY}")
cd "$folder"
rm -f SHA256SUMS SHA256SUMS.sig
find . -type f -printf '%P\0' | sort -z | xargs -0 --no-run-if-empty sha256sum > ../.sums.$$
[ -s ../.sums.$$ ] || { rm ../.sums.$$; echo "sign_release.sh: nothing to sign in $folder" >&2; exit 2; }
mv ../.sums.$$ SHA256SUMS
openssl pkeyutl -sign -inkey "$key" -rawin -in SHA256SUMS -out SHA256SUMS.sig
echo "$folder/SHA256SUMS: $(wc -l < SHA256SUMS) files, signed"
