# For other scripts: a server to test against, and a virtual environment with pinned packages. Everything below target/.
SERVER_PROGRAM="$(realpath "${SERVER_PROGRAM:-target/debug/accounts-server}")"
[ -x "$SERVER_PROGRAM" ] || { echo "there is no $SERVER_PROGRAM: run cargo build first" >&2; exit 1; }
SERVER_PID=

# Starts a server that ends with this script; its address is in SERVER.
start_server() {
    local said
    said=$(mktemp)
    "$SERVER_PROGRAM" --dev --ephemeral --exit-with-parent --listen 127.0.0.1:0 --mail-transport file \
        --mail-dir target/test-mails "$@" >"$said" 2>target/test-server.log &
    SERVER_PID=$!
    for _ in $(seq 300); do
        SERVER=$(sed -n 's/^accounts-server listening on //p' "$said")
        [ -z "$SERVER" ] || break
        kill -0 "$SERVER_PID" 2>/dev/null || { cat target/test-server.log >&2; exit 1; }
        sleep 0.1
    done
    rm -f "$said"
    export SERVER
}

stop_server() {
    [ -z "$SERVER_PID" ] || { kill "$SERVER_PID" && wait "$SERVER_PID" || true; }
    SERVER_PID=
}
trap stop_server EXIT

# Makes a virtual environment of this name with the packages of a requirements file, once; its path is in VENV.
venv() {
    VENV="target/venv/$1"
    if ! cmp -s "$2" "$VENV/requirements.txt"; then
        rm -rf "$VENV"
        python3 -m venv "$VENV"
        "$VENV/bin/pip" install --quiet --disable-pip-version-check --requirement "$2"
        cp "$2" "$VENV/requirements.txt"
    fi
    VENV="$(realpath "$VENV")"
}
