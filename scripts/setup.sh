# Sourced by the scripts here: finds missing packages and installs them.
#
# It checks each need as the build uses it (a command, a pkg-config module, a header), so packages from other sources count too. It
# installs only on Debian and its derivatives, as root or with sudo. Elsewhere it prints the command that installs the packages.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
self=scripts/$(basename "$0")
# By default nothing is written outside the build directory.
export CCACHE_DIR=${CCACHE_DIR:-$root/build/ccache} CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1
# The build calls ccache itself, and the builder takes a single word.
case ${CXX:-} in ccache\ * | */ccache\ *) export CXX=${CXX#*ccache } ;; esac

# kind:name. scripts/packages names the packages.
build_needs=(
  command:g++ command:cmake command:ninja command:pkg-config command:git command:protoc command:grpc_cpp_plugin
  module:grpc++_unsecure module:protobuf module:libcrypto module:zlib module:libcurl module:libgit2 module:spdlog module:fmt
  header:CLI/CLI.hpp header:asio.hpp
)
# These only save time. They are installed together with a missing need, and not required.
time_savers=(command:mold command:ccache)
test_needs=(
  header:doctest/doctest.h command:grpc_python_plugin
  python:grpc python:google.protobuf python:pytest python:cryptography python:yaml
  command:nginx command:fcgiwrap command:sshd command:ssh command:pgrep command:strace command:shellcheck command:systemd-analyze
  command:make command:clang-format command:go command:openssl command:etcd command:npm command:unzip
  command:chromium command:java command:prometheus
)
# To build images and to run pods on this machine.
container_needs=(command:podman command:runc command:catatonit command:debootstrap)
# For the test that compiles a plugin in the upstream mock's layout, whose modules are Debian's. It runs only if it is asked for.
upstream_mock_needs=(gosource:github.com/ThalesIgnite/crypto11 gosource:golang.org/x/net header:p11-kit-1/p11-kit/pkcs11.h)
clang_needs=(command:clang++)
package_needs=(command:dpkg-shlibdeps command:dpkg-deb command:gzip)

# Root may run a script in another user's checkout. A clone needs the option of upload_pack too.
git() { command git -c 'safe.directory=*' "$@"; }
upload_pack='git -c safe.directory=* upload-pack'

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
    command) [ -x "$(PATH=$PATH:/usr/sbin:/sbin type -P "$2")" ] ;;
    module) pkg-config --exists "$2" 2>/dev/null ;;
    header) [ -e "/usr/include/$2" ] || [ -e "/usr/local/include/$2" ] ;;
    gosource) [ -d "/usr/share/gocode/src/$2" ] ;;
    python) /usr/bin/python3 -c "import $2" 2>/dev/null ;;
  esac
}

os_release() { # os_release NAME: prints a value of os-release(5). The file is not run, because it may be malformed
  { cat /etc/os-release || cat /usr/lib/os-release || true; } 2>/dev/null |
    sed -nE "s/[[:space:]]+\$//; s/^$1=([\"']?)(.*)\\1\$/\\2/p" | tail -n 1
}

# The name for messages, and the package manager of the family.
distribution='this system' manager=
read_distribution() {
  local ID VERSION_ID PRETTY_NAME id
  ID=$(os_release ID) VERSION_ID=$(os_release VERSION_ID) PRETTY_NAME=$(os_release PRETTY_NAME)
  distribution=${PRETTY_NAME:-${ID:-this system}}
  for id in $ID $(os_release ID_LIKE); do
    case $id in
      debian | ubuntu) manager=apt ;;
      fedora | rhel | centos) manager=dnf ;;
      suse | opensuse*) manager=zypper ;;
      alpine) manager=apk ;;
      arch) manager=pacman ;;
      *) continue ;;
    esac
    break
  done
  oldest=''
  case $ID in debian) oldest=12 ;; ubuntu) oldest=24.04 ;; esac
  [ -z "$oldest" ] || ! older "${VERSION_ID:-$oldest}" "$oldest" || too_old=1
}

older() { # older VERSION THAN
  [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}
too_old='' oldest=''
read_distribution

is_debian() { [ "$manager" = apt ] && command -v apt-get >/dev/null; }

packages_of() { # packages_of NEED...: of this distribution's package manager, each once
  local column
  case $manager in apt) column=2 ;; dnf) column=3 ;; zypper) column=4 ;; apk) column=5 ;; pacman) column=6 ;; *) column=2 ;; esac
  printf '%s\n' "$@" | awk -v column=$column '
    NR == FNR { package[$1] = $column; next }
    package[$1] != "-" && !seen[package[$1]]++ { print package[$1] }' "$root/scripts/packages" - | paste -sd ' '
}

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
install_packages() { # install_packages SUDO PACKAGE...: the reason of a failure is in $reason
  local sudo=$1 log=build/packages.log
  shift
  cd "$root"
  exec 9</var/lib/dpkg
  flock -n 9 || { say "waiting for another script that installs packages" && step flock 9; }
  new_log $log
  if [ ! -e $policy ]; then
    policy_remover="$sudo rm -f $policy"
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod 755 $policy
  fi
  local code=0
  reason=
  {
    $sudo apt-get update -q && has_space "$sudo" "$@" &&
      $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -o DPkg::Lock::Timeout=600 -q -y --no-install-recommends "$@"
  } >>$log 2>&1 || code=$?
  remove_policy
  exec 9<&-
  [ $code = 0 ] || [ -n "$reason" ] || reason="apt-get failed: $(grep '^E: ' $log | tail -n 1 | cut -c4-); see $log"
  return $code
}

# dpkg leaves packages half installed on a full disk. So the space is compared before.
has_space() { # has_space SUDO PACKAGE...
  local sudo=$1 needed free
  shift
  needed=$($sudo env LC_ALL=C apt-get install --assume-no --no-install-recommends "$@" 2>&1 | awk '
    BEGIN { unit["B"] = 1; unit["kB"] = 1e3; unit["MB"] = 1e6; unit["GB"] = 1e9 }
    /^(Need to get|After this operation,)/ && !/freed/ {
      for (i = 2; i <= NF; i++) if ($i ~ /^[0-9.,]+$/) { gsub(",", "", $i); sub("/.*", "", $(i + 1)); sum += $i * unit[$(i + 1)]; next }
    }
    END { printf "%.0f", sum / 1e6 }') || true
  free=$(df --output=avail -B 1000000 /usr /var | awk 'NR > 1 && (!free || $1 < free) { free = $1 } END { print free + 0 }')
  [ "$needed" -lt "$free" ] && return 0
  reason="they need $needed MB and the disk has $free MB; free some space"
  return 1
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
  require command:npm
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

require() { # require NEED...: as kind:name
  local need sudo packages list missing
  mapfile -t missing < <(missing_of "$@")
  if [ ${#missing[@]} -gt 0 ]; then
    list=
    for need in "${missing[@]}"; do
      packages=$(packages_of "$need")
      list+=", ${need#*:} (${need%%:*}"
      [ -n "$packages" ] || list+=", no package"
      list+=")"
    done
    list="missing: ${list:2}"
    packages=$(packages_of "${missing[@]}")
    [ -z "$too_old" ] || fail 2 "$list; $distribution is too old: it needs version $oldest or newer"
    [ -n "$packages" ] || fail 2 "$list; $distribution does not package it: install it in another way and start again"
    case $manager in
      apt) command -v apt-get >/dev/null || fail 2 "$list; $distribution has no apt-get: install $packages and start again" ;;
      dnf | zypper) fail 2 "$list; install with: $manager install $packages" ;;
      apk) fail 2 "$list; install with: apk add $packages" ;;
      pacman) fail 2 "$list; install with: pacman -S --needed $packages" ;;
      *) fail 2 "$list; $distribution is not supported: install what provides them (Debian's packages: $packages) and start again" ;;
    esac
    sudo=$(as_root) || fail 2 "$list; without root and sudo nothing can be installed: run as root: apt-get install $packages"
    mapfile -t -O ${#missing[@]} missing < <(missing_of "${time_savers[@]}")
    packages=$(packages_of "${missing[@]}")
    say "installing $packages (log: build/packages.log)"
    # shellcheck disable=SC2086 # one word per package
    install_packages "$sudo" $packages || fail 1 "cannot install $packages: $reason"
    mapfile -t missing < <(missing_of "$@")
    [ ${#missing[@]} = 0 ] || fail 1 "installed $packages, but ${missing[*]} is still missing; remove what hides it"
  fi
  check_tools "$@"
}

missing_of() { # missing_of NEED...
  local need
  for need in "$@"; do is_there "${need%%:*}" "${need#*:}" || echo "$need"; done
}

check_tools() { # check_tools NEED...: ends the script if CMake or the compiler is too old
  local version oldest=12 name=GCC compiler advice='install GCC 12, clang 14 or newer, and name it by CXX'
  case " $* " in *' command:cmake '*) ;; *) return 0 ;; esac
  version=$(cd "$root" && cmake --version | sed -n '1s/^cmake version //p')
  ! older "${version:-3.22}" 3.22 || fail 2 "CMake $version is too old; install CMake 3.22 or newer"
  read -ra compiler <<<"${CXX:-c++}" # CMake too takes the words after the first as arguments
  case " $* " in *' command:clang++ '*) compiler=(clang++) advice='install clang 14 or newer as clang++' ;; esac # a preset names it
  ! "${compiler[@]}" --version 2>/dev/null | grep -q clang || { name=clang oldest=14; }
  version=$("${compiler[@]}" -dumpfullversion -dumpversion 2>/dev/null) || fail 2 "the compiler ${compiler[*]} does not run; $advice"
  ! older "${version:-$oldest}" $oldest || fail 2 "$name $version is too old; $advice"
}
