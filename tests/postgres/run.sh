#!/usr/bin/env bash
# Runs the tests that touch the store on PostgreSQL too: Debian's server, on a free port of the
# loopback, in a folder of its own that is removed afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || [ ! -x /usr/sbin/pgbouncer ]; then
    # No cluster of its own beside ours.
    mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    apt-get update && apt-get install -y --no-install-recommends postgresql pgbouncer
fi
bin=$(dirname "$(ls -d /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)")
folder=$(mktemp -d /tmp/accounts-postgres.XXXXXX)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        runuser -u postgres -- "$@"
    else
        "$@"
    fi
}
if [ "$(id -u)" = 0 ]; then
    chown postgres "$folder"
fi
stop() {
    as_postgres "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT

(cd / && as_postgres "$bin/initdb" -D "$folder/data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 >/dev/null)
# Nothing here has to survive.
cat >> "$folder/data/postgresql.conf" <<CONF
port = $port
listen_addresses = '127.0.0.1'
unix_socket_directories = '$folder'
max_connections = 300
max_locks_per_transaction = 256
fsync = off
full_page_writes = off
autovacuum = off
CONF
(cd / && as_postgres "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w start >/dev/null)
export ACCOUNTS_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres"

cargo test --locked --lib store::postgres
# `cargo test` has run those on SQLite.
cargo test --locked --test store -- on_postgres races:: same:: list::
cargo test --locked --test cli postgres::
# Modules of the API in which the store decides. The others look into files, or take too long. What a server
# that died has claimed is left to it here until the lease ends, as it may be another one.
cargo test --locked --test api -- --test-threads 2 \
    sign_up:: sessions:: tokens:: otp:: passwords:: audit_log:: email_undo:: \
    address_change:: deletion:: invitations:: reauthentication:: factors:: passkeys:: \
    authorize:: client_tokens:: client_sign_out:: mail_queue:: events:: profile:: webhook_events:: webhook_management:: \
    --skip tokens::no_secret_is_stored_in_plain_text \
    --skip client_tokens::refresh_asks_for_account_client_and_consent \
    --skip deletion::no_personal_data_stays_in_the_files \
    --skip webhook_events::ten_thousand_events_of_a_dead_endpoint_delay_nobody \
    --skip webhook_events::waiting_events_survive_a_restart
