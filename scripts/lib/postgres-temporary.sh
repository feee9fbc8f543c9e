# shellcheck shell=bash
# A PostgreSQL for one run, which is removed afterwards. Sourced after postgres.sh.

# pg_temporary [-c NAME=VALUE …]: makes pg_temporary_folder and starts a throw-away server in it; the caller's exit trap
# calls pg_temporary_remove. What a killed run left is removed first, with the processes that it remembered there in
# `*.process`. Durability is off: nobody misses its data.
pg_temporary() {
  local base left process
  for left in "${TMPDIR:-/tmp}"/docstore-temporary.* /var/tmp/docstore-temporary.*; do
    [ -O "$left" ] && [ -e "$left/owner" ] && ! remembered_process "$left/owner" >/dev/null || continue
    say "removing what a killed run left in $left"
    for process in "$left"/*.process; do
      ! process=$(remembered_process "$process") || stop_process "$process" 5
    done
    pg_temporary_folder=$left pg_temporary_remove
  done
  for base in "${TMPDIR:-/tmp}" /var/tmp; do
    pg_temporary_folder=$(mktemp -d "$base/docstore-temporary.XXXXXX")
    chmod 755 "$pg_temporary_folder"
    remember_process "$pg_temporary_folder/owner" $$
    ! pg_run test -x "$pg_temporary_folder" || break
    rm -rf "$pg_temporary_folder"
  done
  pg_create "$pg_temporary_folder/postgres" --no-sync
  pg_start "$pg_temporary_folder/postgres" -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c shared_buffers=128MB "$@"
}

pg_temporary_remove() {
  [ -n "${pg_temporary_folder:-}" ] && [ -d "$pg_temporary_folder" ] || return 0
  pg_remove "$pg_temporary_folder/postgres"
  rm -rf "$pg_temporary_folder"
}
