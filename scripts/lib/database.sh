# shellcheck shell=bash
# Migrations and query metadata, by way of psql and cargo check. Sourced after postgres.sh.
# shellcheck disable=SC2154 # common.sh sets root

# migrate_up URL: every migration on an empty database. Not by way of our own migrator: it is in the crate whose
# queries may not compile before their metadata is made.
migrate_up() {
  local file
  for file in "$root"/migrations/*.up.sql; do pg_query "$1" -f "$file" || return 1; done
}

# The schema as text. Newer versions of pg_dump print a random word, which is left out.
schema() { "$PG_BIN/pg_dump" --schema-only --dbname="$1" | grep -v '^\\\(un\)\?restrict '; }

# migrations_both_ways URL: every migration goes up, down and up again, and leaves no trace when it is down.
migrations_both_ways() {
  local up down work
  work=$(mktemp -d)
  for up in "$root"/migrations/*.up.sql; do
    down=${up%.up.sql}.down.sql
    schema "$1" >"$work/before"
    pg_query "$1" -f "$up"
    schema "$1" >"$work/up"
    pg_query "$1" -f "$down"
    schema "$1" >"$work/after"
    diff -u "$work/before" "$work/after" || { say "$down does not undo $up" && return 1; }
    pg_query "$1" -f "$up"
    schema "$1" >"$work/after"
    diff -u "$work/up" "$work/after" || { say "$up gives another schema the second time" && return 1; }
    say "$(basename "${up%.up.sql}"): up, down, up"
  done
  rm -rf "$work"
}

# Cargo sees no reason to compile a query again when only the database, or what is known of it, has changed. The file
# that embeds the migrations is among them.
touch_queries() { grep -rlZE '(query(_as|_scalar|_file\w*)?|migrate)!' --include='*.rs' "$root/crates" | xargs -0r touch; }

# collect_query_metadata URL FOLDER CARGO-ARGUMENTS…: runs cargo with every query checked against the database, and
# leaves what the database says about each in the folder.
collect_query_metadata() {
  local url=$1 folder=$2
  shift 2
  touch_queries
  SQLX_OFFLINE=false DATABASE_URL=$url SQLX_OFFLINE_DIR=$folder cargo "$@" || return 1
  touch_queries
}

# query_metadata_is_fresh FOLDER: what was collected is what is committed.
query_metadata_is_fresh() {
  mkdir -p "$root/.sqlx"
  diff -r "$root/.sqlx" "$1" || { say ".sqlx is not what the queries need; scripts/generate makes it so" && return 1; }
}
