#!/bin/sh
# Runs as an init container before every start of PostgreSQL. On a volume without a database it makes one, with the password
# that Vault holds, all or nothing. Everything is built in a directory beside $PGDATA that is renamed at the very end, so a
# kill at any moment leaves either no $PGDATA (the next start begins again) or a whole one. The image's own entry point finds
# PG_VERSION afterwards and makes nothing itself.
#
# A database that exists keeps its password, whatever Vault holds: the services that are connected would not expect another.
#
# The role is not a superuser and owns its one database. The superuser "postgres" has no password: it is reached only over
# the socket inside the container (peer), by whoever may read the data files anyway.
#
# Must work with busybox ash and dash. The password travels by the pipe of a here-document, never in an argument.
set -eu
. /vault/secrets/database
: "${POSTGRES_USER:?}" "${POSTGRES_PASSWORD:?}" "${POSTGRES_DB:?}"

quoted() { # quoted MARK TEXT: TEXT as an SQL literal (MARK ') or name (MARK ")
    printf '%s' "$2" | sed "s/$1/$1$1/g; 1s/^/$1/; \$s/\$/$1/"
}

# Runs the statements of standard input, one a line, in a server that listens nowhere; the first error is fatal, and is
# reported without the statement, which may hold the password. Not to be used in a pipeline: the lock file of a killed
# server names process 1, which is taken for another running server unless it is this one's parent.
sql() { # sql DATA_DIRECTORY DATABASE
    postgres --single -D "$1" -c exit_on_error=on -c log_min_error_statement=panic -c log_checkpoints=off "$2" >/dev/null
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -d "$PGDATA" ] && ! rmdir "$PGDATA" 2>/dev/null; then
        echo "$PGDATA holds files but no database (no PG_VERSION)." \
            "Move them away from the volume, or delete the volume claim to start anew." >&2
        exit 1
    fi
    new=$PGDATA.new
    rm -rf "$new"
    initdb -D "$new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=peer --auth-host=scram-sha-256 --no-instructions
    echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$new/postgresql.conf"
    role=$(quoted '"' "$POSTGRES_USER")
    sql "$new" postgres <<END
CREATE ROLE $role LOGIN PASSWORD $(quoted "'" "$POSTGRES_PASSWORD")
CREATE DATABASE $(quoted '"' "$POSTGRES_DB") OWNER $role
END
    sync
    mv "$new" "$PGDATA"
fi

# A volume's fsGroup may have opened the directory for the group, which PostgreSQL refuses.
chmod 0700 "$PGDATA"
