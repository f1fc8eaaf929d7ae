#!/bin/sh
# `npm test`: installs what is missing, builds, and runs every test. Works on a clean clone of a Debian
# machine with Node 20; without root it says which packages are missing.
set -eu
cd "$(dirname "$0")/.."

if [ ! -d node_modules/typescript ]; then
  echo "Installing npm packages (once) ..."
  npm ci --no-audit --no-fund --loglevel=error
fi

sh scripts/debian-packages.sh fio nbdinfo:libnbd-bin nbdcopy:libnbd-bin qemu-io:qemu-utils qemu-img:qemu-utils \
  nbdfuse:libnbd-bin qemu-nbd:qemu-utils sqlite3 ip:iproute2 fusermount3:fuse3 mkfs.ext4:e2fsprogs chromium \
  openssl etcd:etcd-server java:default-jre-headless /usr/share/java/zookeeper.jar:libzookeeper-java

node scripts/build.mjs --if-needed
node node_modules/@biomejs/biome/bin/biome check .
exec node scripts/run-tests.mjs "$@"
