#!/usr/bin/env bash
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The start of a container: settings from the variables, then Supervisor, then the logs for as long as it lives.
echo "- Starting up..."
NGINX_USER=$(sed -n 's/^user *\([^ ;]*\).*/\1/p' /etc/nginx/nginx.conf)
export NGINX_USER
if [ "$SKIP_DB_SETUP" != true ] && [ "$TETHYS_DB_ENGINE" = django.db.backends.postgresql ]; then
    echo "- Checking if DB is ready"
    tries=0
    until "$CONDA_HOME/envs/$CONDA_ENV_NAME/bin/pg_isready" -h "$TETHYS_DB_HOST" -p "$TETHYS_DB_PORT" -U postgres; do
        tries=$((tries + 1))
        [ "$tries" -le 25 ] || { echo "DB was not available in time - exiting" >&2; exit 1; }
        sleep 5
    done
fi
echo "- Enforcing start state..."
python "$TETHYS_HOME/states"
# One `chown` for each file, as there: a volume with many foreign files takes its time at every start.
for folder in "$STATIC_ROOT" "$WORKSPACE_ROOT" "$MEDIA_ROOT" "$TETHYS_PERSIST" "$TETHYS_HOME"; do
    find "$folder" ! -user "$NGINX_USER" -print0 | xargs -0 -I{} chown -h "$NGINX_USER:" {}
done
echo "- Starting supervisor"
/usr/bin/supervisord
echo "- Done!"
trap 'kill $(jobs -p)' EXIT
for file in nginx/access.log nginx/error.log supervisor/supervisord.log tethys/tethys.log; do
    tail -qF "/var/log/$file" 2> /dev/null | sed --unbuffered "s|^|$file: |" &
done
wait
