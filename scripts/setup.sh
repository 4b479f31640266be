# Sourced by the scripts here: finds missing packages and installs them.
#
# It checks each need as the build uses it (a command, a pkg-config module, a header), so packages from other sources count too. It
# installs only on Debian, as root or with sudo. Elsewhere it prints the missing packages.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
self=scripts/$(basename "$0")
# By default nothing is written outside the build directory.
export CCACHE_DIR=${CCACHE_DIR:-$root/build/ccache} CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1

# kind:name:Debian package
build_needs=(
  command:g++:g++ command:cmake:cmake command:ninja:ninja-build command:pkg-config:pkg-config command:git:git
  command:protoc:protobuf-compiler command:grpc_cpp_plugin:protobuf-compiler-grpc
  module:grpc++_unsecure:libgrpc++-dev module:protobuf:libprotobuf-dev module:libcrypto:libssl-dev module:zlib:zlib1g-dev
  module:libcurl:libcurl4-openssl-dev module:libgit2:libgit2-dev module:spdlog:libspdlog-dev module:fmt:libfmt-dev
  header:CLI/CLI.hpp:libcli11-dev header:asio.hpp:libasio-dev
)
# These only save time. They are installed together with a missing need, and not required.
time_savers=(command:mold:mold command:ccache:ccache)
test_needs=(
  header:doctest/doctest.h:doctest-dev
  command:grpc_python_plugin:protobuf-compiler-grpc
  python:grpc:python3-grpcio python:google.protobuf:python3-protobuf python:pytest:python3-pytest
  python:cryptography:python3-cryptography python:yaml:python3-yaml
  command:nginx:nginx-light command:fcgiwrap:fcgiwrap command:sshd:openssh-server command:ssh:openssh-client
  command:pgrep:procps command:strace:strace command:shellcheck:shellcheck command:systemd-analyze:systemd
  command:clang-format:clang-format command:go:golang-go command:openssl:openssl command:npm:npm command:unzip:unzip
)
# To build images and to run pods on this machine.
container_needs=(command:podman:podman command:runc:runc command:catatonit:catatonit command:debootstrap:debootstrap)

fuzz_needs=(command:clang++:clang)

say() { printf '%s: %s\n' "$self" "$*" >&2; }

fail() { # fail CODE TEXT...
  local code=$1
  shift
  say "$@"
  exit "$code"
}

# A script runs one step at a time. A step has its own session. So the script handles a signal at once, and ends every process of the
# step.
child=
step() { # step COMMAND...
  local code=0
  setsid "$@" <&0 &
  child=$!
  wait "$child" || code=$?
  child=
  return $code
}

lives() { # lives PID: true if it exists and is no zombie
  local stat=
  { read -r -d '' stat <"/proc/$1/stat" || true; } 2>/dev/null
  stat=${stat##*) }
  [ -n "$stat" ] && [ "${stat:0:1}" != Z ]
}

group_lives() { # group_lives PGID: true if a process group has a process that is no zombie
  local file stat state group
  for file in /proc/[0-9]*/stat; do
    stat=
    { read -r -d '' stat <"$file" || true; } 2>/dev/null
    read -r state _ group _ <<<"${stat##*) }"
    if [ "$group" = "$1" ] && [ "$state" != Z ]; then return 0; fi
  done
  return 1
}

half_made= # a file or directory that is useless unless complete
end_step() {
  local tries
  remove_policy
  [ -z "$half_made" ] || rm -rf "$half_made"
  [ -n "$child" ] || return 0
  trap '' INT TERM HUP
  # Repeated, because a process just forked still has this shell's handlers, which lose the signal.
  for ((tries = 0; tries < 200; tries++)); do
    kill -TERM -- "-$child" 2>/dev/null || kill -TERM "$child" 2>/dev/null || true
    lives "$child" || group_lives "$child" || return 0
    sleep 0.05
  done
  kill -KILL -- "-$child" 2>/dev/null || true
}
trap end_step EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

is_there() { # is_there KIND NAME
  case $1 in
    command) [ -x "$(PATH=$PATH:/usr/sbin:/sbin command -v "$2")" ] ;;
    module) pkg-config --exists "$2" 2>/dev/null ;;
    header) [ -e "/usr/include/$2" ] || [ -e "/usr/local/include/$2" ] ;;
    python) /usr/bin/python3 -c "import $2" 2>/dev/null ;;
  esac
}

is_debian() { [ -r /etc/os-release ] && (. /etc/os-release && [ "${ID:-}" = debian ]) && command -v apt-get >/dev/null; }

as_root() { # prints the prefix that runs a command as root; fails if there is none
  if [ "$(id -u)" = 0 ]; then
    return 0
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    echo sudo
  else
    return 1
  fi
}

# Only tests start services such as nginx and sshd. While packages are installed, Debian's policy hook keeps the services from
# starting.
policy=/usr/sbin/policy-rc.d
policy_remover=
remove_policy() {
  [ -z "$policy_remover" ] || $policy_remover
  policy_remover=
}
install_packages() { # install_packages SUDO PACKAGE...
  local sudo=$1
  shift
  if [ ! -e $policy ]; then
    policy_remover="$sudo rm -f $policy"
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod 755 $policy
  fi
  local code=0
  {
    $sudo apt-get update -q &&
      $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
  } >&2 || code=$?
  remove_policy
  return $code
}

# Held until the script ends; the file contains its pid. Processes that outlive the script close the descriptor (8>&-).
lock() { # lock FILE: fails if another script holds it
  { mkdir -p "$(dirname "$1")" && exec 8<>"$1"; } 2>/dev/null || fail 1 "cannot write $1; run as the user who owns its directory"
  flock -n 8 && echo $$ >"$1"
}

wait_for_build_lock() {
  lock "$root/build/.lock" && return 0
  say "waiting for another build in $root/build"
  flock 8
}

new_log() { # new_log FILE
  if ! { mkdir -p "$(dirname "$1")" && : >"$1"; } 2>/dev/null; then
    fail 1 "cannot write $PWD/$1; run as the user who owns this checkout"
  fi
}

# Unpacks an npm package into build/npm/DIRECTORY. It is used there and never installed.
get_npm() { # get_npm PACKAGE@VERSION DIRECTORY
  local directory=$root/build/npm/$2 work=$root/build/npm/.$2.$$
  [ ! -d "$directory" ] || return 0
  require command:npm:npm
  say "getting $1 from npm"
  half_made=$work
  mkdir -p "$work"
  (cd "$work" && npm pack --silent "$1" && tar -xzf ./*.tgz) >"$work/log" 2>&1 || {
    mv "$work/log" "$root/build/npm/log"
    fail 1 "cannot get $1 from npm; see build/npm/log"
  }
  mv -T "$work/package" "$directory" 2>/dev/null || [ -d "$directory" ] # another run may have been faster
  rm -rf "$work"
}

require() { # require NEED...
  local need kind name package sudo
  local names=() packages=()
  for need in "$@"; do
    IFS=: read -r kind name package <<<"$need"
    is_there "$kind" "$name" && continue
    names+=("$name ($kind)")
    packages+=("$package")
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  local list
  list=$(printf ', %s' "${names[@]}")
  is_debian || fail 2 "missing: ${list:2}; this is not Debian: install what provides them (Debian's packages: ${packages[*]}) and start again"
  sudo=$(as_root) || fail 2 "missing: ${list:2}; without root and sudo nothing can be installed: ask for the packages ${packages[*]} and start again"
  for need in "${time_savers[@]}"; do
    IFS=: read -r kind name package <<<"$need"
    is_there "$kind" "$name" || packages+=("$package")
  done
  say "installing ${packages[*]}"
  install_packages "$sudo" "${packages[@]}" || fail 1 "cannot install ${packages[*]}: apt-get failed; see its messages above"
}
