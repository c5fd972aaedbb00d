#!/bin/sh
# Runs a server in a container, and starts it again where that can help. Exit codes that need a
# person end the container with that code: 2 and 64, the command line or the configuration is wrong;
# 65, data on disk are refused. No restart policy of a container engine tells exit codes apart.
set -u

restarts_max=20
restarts=0
server=
stopped=

stop() {
    stopped=yes
    [ -z "$server" ] || kill -TERM "$server" 2>/dev/null
}
trap stop TERM INT

while :; do
    started=$(date +%s)
    bailiwick "$@" &
    server=$!
    # A signal ends `wait` while the server still drains.
    while :; do
        wait "$server"
        code=$?
        kill -0 "$server" 2>/dev/null || break
    done
    server=
    case $code in 0 | 2 | 64 | 65) exit "$code" ;; esac
    [ -z "$stopped" ] || exit "$code"
    # Whoever ran for ten minutes begins to count anew.
    [ $(($(date +%s) - started)) -lt 600 ] || restarts=0
    restarts=$((restarts + 1))
    [ "$restarts" -le "$restarts_max" ] || exit "$code"
    sleep 1 &
    wait $!
    [ -z "$stopped" ] || exit "$code"
done
