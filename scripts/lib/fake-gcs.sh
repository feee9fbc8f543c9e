# shellcheck shell=bash
# shellcheck disable=SC2154 # postgres-temporary.sh sets pg_temporary_folder
# An emulator of Google Cloud Storage, for the tests of the blob store. Sourced after
# postgres-temporary.sh, in whose folder it notes its process.
#
# fake-gcs-server is a Go program. With Go on the machine it is built once and kept in the user's cache; without, the
# tests use their own stand-in, which speaks the same protocol but was written by us.

FAKE_GCS_VERSION=v1.56.1
fake_gcs_folder=${XDG_CACHE_HOME:-$HOME/.cache}/docstore-tools/fake-gcs-server-$FAKE_GCS_VERSION
fake_gcs_process=

# fake_gcs_start [build]: sets DOCSTORE_TEST_GCS_ENDPOINT, or says why not. With `build` it may take a minute, once.
fake_gcs_start() {
  local port program=$fake_gcs_folder/fake-gcs-server
  if [ ! -x "$program" ]; then
    [ "${1:-}" = build ] || { say "fake-gcs-server is not built yet; the stand-in is used" && return 0; }
    have go || { say "no Go to build fake-gcs-server with; the stand-in is used" && return 0; }
    say "building fake-gcs-server $FAKE_GCS_VERSION"
    GOBIN=$fake_gcs_folder go install "github.com/fsouza/fake-gcs-server@$FAKE_GCS_VERSION" ||
      { say "fake-gcs-server could not be built; the stand-in is used" && return 0; }
  fi
  port=$(free_port $((30000 + $$ % 2000)))
  "$program" -scheme http -host 127.0.0.1 -port "$port" -public-host "127.0.0.1:$port" -backend memory \
    -log-level error </dev/null >&2 &
  fake_gcs_process=$!
  remember_process "$pg_temporary_folder/fake-gcs.process" "$fake_gcs_process"
  if wait_until_ready "$fake_gcs_process" "$port" /_internal/healthcheck 30; then
    export DOCSTORE_TEST_GCS_ENDPOINT=http://127.0.0.1:$port
    say "fake-gcs-server answers at $DOCSTORE_TEST_GCS_ENDPOINT"
  else
    say "fake-gcs-server did not start; the stand-in is used"
    fake_gcs_stop
  fi
}

fake_gcs_stop() {
  [ -n "$fake_gcs_process" ] || return 0
  stop_process "$fake_gcs_process" 5
  fake_gcs_process=
}
