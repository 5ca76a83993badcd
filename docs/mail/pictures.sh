#!/usr/bin/env bash
# Makes the pictures in this folder again: the HTML parts of mails as a phone shows them, in light and in dark.
# Needs Chromium (apt-get install chromium fonts-liberation) and the built program:
#
#     cargo build --release && docs/mail/pictures.sh
#
# PROGRAM and CHROMIUM name others than target/release/accounts-server and chromium.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=${PROGRAM:-$here/../../target/release/accounts-server}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$program" --mail-from "Example <accounts@example.com>" mail preview "$work"

# A phone is 390 pixels wide; the height is that of the mail with a little air.
while read -r mail language height; do
    for scheme in light:1 dark:0; do
        "${CHROMIUM:-chromium}" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
            --disable-background-networking --disable-component-update --disable-sync --disable-lcd-text \
            --user-data-dir="$work/profile" --hide-scrollbars --force-device-scale-factor=1 \
            --blink-settings="preferredColorScheme=${scheme#*:}" --window-size="390,$height" \
            --screenshot="$here/$mail.$language.${scheme%:*}.png" "file://$work/$mail.$language.html" 2>/dev/null
    done
done <<'MAILS'
sign_up en 524
password_reset de 570
address_changed en 522
password_changed fr 482
new_sign_in pt-BR 440
MAILS
ls -l "$here"/*.png
