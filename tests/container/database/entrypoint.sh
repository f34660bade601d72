#!/bin/sh
# Makes the database at the first start, as the official image does, and becomes the server.
set -eu
data=/var/lib/postgresql/data
if [ "$1" = postgres ] && [ ! -s "$data/PG_VERSION" ]; then
    # shellcheck disable=SC2086 # several options in one variable
    initdb --username postgres --pwfile "$POSTGRES_PASSWORD_FILE" --pgdata "$data" $POSTGRES_INITDB_ARGS
    echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
    pg_ctl --pgdata "$data" --options "-c listen_addresses=''" --wait start
    createdb --username postgres "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        psql --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --dbname "$POSTGRES_DB" --file "$script"
    done
    pg_ctl --pgdata "$data" --mode fast --wait stop
fi
exec "$@" -D "$data" -c listen_addresses='*'
