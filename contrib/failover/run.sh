#!/usr/bin/env bash
# Shows what two servers do while the primary of their highly available PostgreSQL fails in several
# ways: nothing acknowledged is lost, and nothing that was used up or ended is accepted again. It
# takes five to six minutes.
#
#     contrib/failover/run.sh PROGRAM [DIR [ARGUMENT…]]
#
# Fetches what is missing: Debian's postgresql (as root), and below DIR Debian's etcd and Patroni of
# PyPI. ARGUMENTs are those of run.py, such as `--faults kill,switchover`.
set -euo pipefail
[ "$#" -ge 1 ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
program=$(realpath "$1")
[ -x "$program" ] || { echo "there is no program $program: run cargo build first" >&2; exit 2; }
# Not a folder of mktemp: those are closed to the user postgres, which the cluster runs as.
folder=${2:-/tmp/accounts-failover}
shift "$(($# < 2 ? $# : 2))"
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
python3 "$here/cluster.py" install "$folder"
exec python3 "$here/run.py" "$program" "$folder" "$@"
