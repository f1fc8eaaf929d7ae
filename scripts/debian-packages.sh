#!/bin/sh
# Usage: debian-packages.sh PROGRAM[:PACKAGE] ...
# Makes sure that the programs (or files, when they begin with a slash) are there: installs their Debian packages as root, else says which
# are missing and how to get them.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing=""
for wanted in "$@"; do
  program=${wanted%%:*}
  package=${wanted#*:}
  if ! [ -f "$program" ] && ! command -v "$program" >/dev/null 2>&1; then
    case " $missing " in *" $package "*) ;; *) missing="$missing $package" ;; esac
  fi
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing Debian packages:$missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # a list of package names
  if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/tmp/cistern-apt.log 2>&1; then
    tail -5 /tmp/cistern-apt.log >&2
    echo "Cannot install:$missing" >&2
    exit 1
  fi
else
  echo "Missing programs. Please install their Debian packages:" >&2
  echo "  sudo apt-get install --no-install-recommends$missing" >&2
  exit 1
fi
