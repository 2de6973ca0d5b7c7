#!/bin/sh
# The part of the official Redis image's entry point that the platform relies on: options alone start redis-server, and
# root becomes the user redis, to whom /data is given.
set -eu

case "${1:-}" in '' | -* | *.conf) set -- redis-server "$@" ;; esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    chown -R redis:redis .
    exec /usr/bin/setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
if [ "$(umask)" = 0022 ]; then
    umask 0077
fi
exec "$@"
