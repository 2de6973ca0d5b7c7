#!/bin/sh
# The part of the official PostgreSQL image's entry point that the platform relies on. No *_FILE variables, no
# /docker-entrypoint-initdb.d.
set -eu

case "${1:--}" in -*) set -- postgres "$@" ;; esac
if [ "$1" != postgres ]; then
    exec "$@"
fi

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    exec /usr/bin/setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo "PGDATA ($PGDATA) holds no database and POSTGRES_PASSWORD is empty: set it to initialise one." >&2
        exit 1
    fi
    echo "$POSTGRES_PASSWORD" |
        initdb -D "$PGDATA" --username="$user" --pwfile=/dev/stdin --encoding=UTF8 --auth-local=trust --auth-host=scram-sha-256
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    if [ "$database" != postgres ]; then
        quoted=$(printf '%s' "$database" | sed 's/"/""/g')
        echo "CREATE DATABASE \"$quoted\"" | postgres --single -D "$PGDATA" postgres >/dev/null
    fi
fi
exec "$@"
