# shellcheck shell=bash
# What every script shares: talking, packages, processes, ports. Sourced, never run.
#
# A script prints what it does on stderr and its result on stdout. The variables below are read by the scripts.

set -euo pipefail

# The checkout and the folder for everything that a development machine keeps: database, blobs, secrets, logs.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck disable=SC2034 # read by the scripts
dev=$root/.dev

say() { printf '%s\n' "$*" >&2; }

# fail MESSAGE [WHAT TO DO NEXT]
fail() {
  say "error: $1"
  [ $# -lt 2 ] || say "hint: $2"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# A plain `return` in a function that an exit trap calls gives the status from before the trap: write `return 0`.

# The comment at the top of a script is its help.
usage() { sed -n '2,/^[^#]/{/^#/{s/^# \{0,1\}//;p}}' "$0"; }

# --- packages -----------------------------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    fail "root is needed for: $*" "run this as root, install sudo, or have somebody run that command for you"
  fi
}

apt_install() {
  local options=(-y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  have apt-get || fail "missing: $*, and there is no apt-get here to install it" "install it by other means"
  say "installing with apt-get: $*"
  # The package lists of a fresh machine are empty or old; then they are fetched first.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" >&2 || {
    say "refreshing the package lists"
    as_root apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@" >&2
  } || fail "apt-get could not install: $*"
}

compiles_c() { have cc && printf '#include <stdlib.h>\n' | cc -fsyntax-only -x c - 2>/dev/null; }

# What a build needs beside Rust: a C compiler that also links (aws-lc-sys and zstd-sys hold C; neither needs cmake), make
# for jemalloc, git, which importing calls, and certificates for cargo's downloads.
need_build_tools() {
  local packages=()
  compiles_c || packages+=(gcc libc6-dev)
  have make || packages+=(make)
  have git || packages+=(git)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || ! have apt-get || packages+=(ca-certificates)
  [ ${#packages[@]} -eq 0 ] || apt_install "${packages[@]}"
  have cargo || PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  have cargo || fail "Rust is not installed" "see https://rustup.rs"
}

# cargo_executables ARGUMENTS: builds, and prints the paths of the programs it built.
cargo_executables() { cargo build "$@" --message-format=json-render-diagnostics 9>&- | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'; }

# --- processes and ports --------------------------------------------------------------------------------------------

# The moment a process started, which together with its number names it for ever: numbers are used again.
process_birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# remember_process FILE PID
remember_process() { printf '%s %s\n' "$2" "$(process_birth "$2")" >"$1"; }

# Prints the number of the process that FILE remembers, if it still runs.
remembered_process() {
  local pid birth
  [ -r "$1" ] && read -r pid birth <"$1" && [ -n "$birth" ] || return 1
  [ "$(process_birth "$pid")" = "$birth" ] && process_runs "$pid" || return 1
  printf '%s\n' "$pid"
}

process_runs() { [ -d "/proc/$1" ] && [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" != Z ]; }

# stop_process PID SECONDS: asks it to finish, then insists.
stop_process() {
  local tenths=$(($2 * 10))
  kill -TERM "$1" 2>/dev/null || return 0
  while process_runs "$1" && [ $tenths -gt 0 ]; do
    sleep 0.1
    tenths=$((tenths - 1))
  done
  ! process_runs "$1" || { say "process $1 did not finish within $2 seconds; killing it" && kill -KILL "$1"; }
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port FROM: the first port at or after FROM on which nobody answers.
free_port() {
  local port
  for ((port = $1; port < $1 + 200; port++)); do
    ! port_is_free "$port" || { printf '%s\n' "$port" && return 0; }
  done
  fail "no free port between $1 and $((port - 1))"
}

# A number between 0 and 9999 that stays the same for the same text: checkouts side by side get ports of their own.
# Ports made from it lie below 32768, where the kernel begins to hand out ports for outgoing connections.
stable_number() { printf '%s\n' "$(($(printf '%s' "$1" | cksum | cut -d' ' -f1) % 10000))"; }

# http_status PORT PATH: the status that a local server answers with, or nothing.
http_status() {
  local version status
  { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 0
  printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$2" >&3 2>/dev/null || true
  read -r -t 5 version status _ <&3 || true
  exec 3>&-
  [ -z "${version:-}" ] || printf '%s\n' "$status"
}

# wait_until_ready PID PORT PATH SECONDS: until the process answers 200; false when it ended or the time is up.
wait_until_ready() {
  local tenths=$(($4 * 10))
  until [ "$(http_status "$2" "$3")" = 200 ]; do
    process_runs "$1" && [ $tenths -gt 0 ] || return 1
    sleep 0.1
    tenths=$((tenths - 1))
  done
}
