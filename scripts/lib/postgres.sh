# shellcheck shell=bash
# A private PostgreSQL: found, or installed, then started in a folder of its own. Sourced after common.sh.
#
# It listens on a free loopback port and nowhere else, and asks for a password that only this folder knows, because
# a superuser without one would give every local user this user's rights. There is no unix socket: its path may
# have 107 bytes at most, which a deep checkout exceeds. PostgreSQL refuses to run as root; then everything that
# touches the folder runs as the user `postgres`, or `nobody` where there is none.
#
#   pg_need                       PG_BIN is set, with the distribution's server installed if there was none
#   pg_create FOLDER [initdb …]   makes a cluster unless there is one
#   pg_start FOLDER [-c NAME=VALUE …]
#   pg_url FOLDER DATABASE        where it answers
#   pg_stop FOLDER

PG_VERSION_MIN=15
pg_as=()  # the command that drops to the user PostgreSQL runs as; empty when that is us
pg_user=$(id -un 2>/dev/null || id -u)

# The caller's own settings for psql and friends would lead them to another server.
unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS PGDATA

pg_version() { # BIN: the major version of the server in it, or nothing
  local version
  version=$("$1/postgres" --version 2>/dev/null) && version=${version##*PostgreSQL) } && printf '%s\n' "${version%%[!0-9]*}"
}

pg_find() {
  local bin version found=()
  if [ -n "${PG_BIN:-}" ]; then
    found=("$PG_BIN")
  else
    ! have postgres || found=("$(dirname "$(readlink -f "$(command -v postgres)")")")
    for bin in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do found+=("$bin"); done
  fi
  for bin in "${found[@]}"; do
    version=$(pg_version "$bin") && [ "${version:-0}" -ge $PG_VERSION_MIN ] && [ -x "$bin/initdb" ] || continue
    PG_BIN=$bin
    return 0
  done
  return 1
}

pg_need() {
  if ! pg_find; then
    [ -z "${PG_BIN:-}" ] || fail "PG_BIN=$PG_BIN holds no PostgreSQL $PG_VERSION_MIN or newer"
    pg_install
    pg_find || fail "the distribution's PostgreSQL is older than $PG_VERSION_MIN" \
      "install a newer one and set PG_BIN to its bin folder, or set DATABASE_URL"
  fi
  pg_become
}

# Chooses the user that PostgreSQL runs as.
pg_become() {
  [ "$(id -u)" -eq 0 ] || return 0
  pg_user=postgres
  id -u "$pg_user" >/dev/null 2>&1 || pg_user=nobody
  pg_as=(setpriv "--reuid=$pg_user" "--regid=$(id -g "$pg_user")" --clear-groups)
  have setpriv || pg_as=(runuser -u "$pg_user" --)
  pg_run true || fail "cannot become the user $pg_user, and PostgreSQL refuses to run as root" "run this as another user"
}

pg_install() {
  local switch=/etc/postgresql-common/createcluster.d/docstore.conf
  say "no PostgreSQL $PG_VERSION_MIN or newer found"
  # Debian's package makes a cluster and starts it. We need the programs only, and leave nothing running.
  as_root mkdir -p "${switch%/*}"
  printf 'create_main_cluster = false\n' | as_root tee "$switch" >/dev/null
  apt_install postgresql
  as_root rm -f "$switch"
}

# Runs a command as PostgreSQL's user, in a folder which that user can enter. Descriptor 9 is the scripts' lock.
pg_run() { (cd / && exec "${pg_as[@]}" "$@" 9>&-); }

# pg_folder FOLDER: makes it PostgreSQL's. Where that user cannot reach it, below /root for one, it becomes a link to
# a place that it can reach.
pg_folder() {
  local place
  if [ ! -d "$1" ]; then
    [ ! -L "$1" ] || rm "$1"
    mkdir -p "$1"
    chmod 700 "$1"
    chown "$pg_user" "$1"
    if ! pg_run test -w "$1"; then
      rmdir "$1"
      place=$(mktemp -d /var/tmp/docstore-postgres.XXXXXX)
      chown "$pg_user" "$place"
      pg_run test -w "$place" || fail "the user $pg_user can write neither below $1 nor in /var/tmp"
      ln -s "$place" "$1"
    fi
  fi
  pg_run test -w "$(readlink -f "$1")" || fail "$1 belongs to $(stat -L -c %U "$1")" "run this as the user who made it"
}

pg_create() {
  local folder=$1
  shift
  pg_folder "$folder"
  folder=$(readlink -f "$folder")
  [ ! -e "$folder/complete" ] || return 0
  say "creating a database cluster in $folder"
  pg_run rm -rf "$folder/data"
  # shellcheck disable=SC2016 # the inner shell expands it
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | pg_run sh -c 'umask 077 && cat >"$1"' sh "$folder/password"
  pg_run env LC_ALL=C.UTF-8 "$PG_BIN/initdb" -D "$folder/data" -U docstore --pwfile="$folder/password" --auth=password \
    --encoding=UTF8 --locale=C.UTF-8 "$@" >/dev/null || fail "initdb failed"
  pg_run touch "$folder/complete"
}

# True when the cluster's own postmaster runs; a crash leaves a file whose number may be anybody's by now.
pg_runs() {
  local pid folder
  folder=$(readlink -f "$1") && [ -e "$folder/data/postmaster.pid" ] || return 1
  pid=$(head -n 1 "$folder/data/postmaster.pid")
  [ "$(readlink -f "/proc/$pid/cwd")" = "$folder/data" ]
}

pg_port() { sed -n 4p "$1/data/postmaster.pid"; }

pg_start() {
  local folder port attempt options
  folder=$(readlink -f "$1")
  ! pg_runs "$folder" || return 0
  [ "$(cat "$folder/data/PG_VERSION")" = "$(pg_version "$PG_BIN")" ] || pg_same_version "$folder"
  rm -f "$folder/data/postmaster.pid"
  options=(-c listen_addresses=127.0.0.1 -c unix_socket_directories= "${@:2}")
  # The port of last time if it is free, so that a noted URL stays true.
  port=$(cat "$folder/port" 2>/dev/null) || port=$((20000 + $(stable_number "$folder")))
  for attempt in 1 2 3 4 5; do
    port=$(free_port "$port")
    [ ! -e "$folder/log" ] || pg_run mv -f "$folder/log" "$folder/log.previous"
    if pg_run env LC_ALL=C.UTF-8 "$PG_BIN/pg_ctl" -s -w -t 60 -D "$folder/data" -l "$folder/log" \
      -o "-p $port ${options[*]}" start; then
      printf '%s\n' "$port" >"$folder/port"
      return 0
    fi
    case $(cat "$folder/log" 2>/dev/null) in
      *'Address already in use'*) port=$((port + 1)) ;;
      *'shared memory block'*) ;; # of a crashed one, whose children may still be going
      *) break ;;
    esac
    say "PostgreSQL did not start (attempt $attempt); trying again"
    sleep 1
  done
  tail -n 20 "$folder/log" >&2 || true
  fail "PostgreSQL did not start; its log is $folder/log"
}

# A cluster can only be opened by the version that made it.
pg_same_version() {
  local made
  made=$(cat "$1/data/PG_VERSION")
  [ -x "/usr/lib/postgresql/$made/bin/postgres" ] || fail "$1 was made by PostgreSQL $made, which is not here any more" \
    "install it, or start afresh with scripts/dev reset"
  PG_BIN=/usr/lib/postgresql/$made/bin
}

pg_url() { printf 'postgres://docstore:%s@127.0.0.1:%s/%s\n' "$(cat "$1/password")" "$(pg_port "$1")" "$2"; }

pg_stop() {
  pg_runs "$1" || return 0
  pg_run "$PG_BIN/pg_ctl" -s -w -t 30 -m fast -D "$(readlink -f "$1")/data" stop >/dev/null 2>&1 ||
    pg_run "$PG_BIN/pg_ctl" -s -w -t 30 -m immediate -D "$(readlink -f "$1")/data" stop ||
    say "PostgreSQL in $1 could not be stopped"
}

# pg_remove FOLDER: the cluster and, where the folder is a link, the place it leads to.
pg_remove() {
  local place
  [ -e "$1" ] || [ -L "$1" ] || return 0
  pg_stop "$1"
  place=$(readlink -f "$1")
  rm -rf "$place" "$1"
}

# pg_query URL [psql …]
pg_query() {
  local psql=$PG_BIN/psql
  [ -x "$psql" ] || psql=$(command -v psql) || fail "there is no psql in $PG_BIN or on the PATH" "install postgresql-client"
  PGCONNECT_TIMEOUT=10 "$psql" -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" "${@:2}"
}

# pg_ensure_database FOLDER NAME
pg_ensure_database() {
  local server
  server=$(pg_url "$1" postgres)
  [ "$(pg_query "$server" -c "select count(*) from pg_database where datname = '$2'")" = 1 ] ||
    pg_query "$server" -c "create database \"$2\""
}
