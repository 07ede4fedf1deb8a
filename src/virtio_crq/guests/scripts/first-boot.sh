#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a Debian image's first boot: configures the packages that were only unpacked when it was made,
# puts systemd in its own place, and goes on as that.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
HOME=/root
LC_ALL=C.UTF-8
DEBIAN_FRONTEND=noninteractive
DEBCONF_NONINTERACTIVE_SEEN=true
export PATH HOME LC_ALL DEBIAN_FRONTEND DEBCONF_NONINTERACTIVE_SEEN
exec </dev/console >/dev/console 2>&1
[ -e /proc/mounts ] || mount -t proc proc /proc
[ -e /sys/block ] || mount -t sysfs sysfs /sys
mountpoint -q /run || mount -t tmpfs run /run
mount -o remount,rw /
echo "virtio-crq: the first boot of this image: its packages are configured, once"
for try in 1 2; do # a package may need one that is configured after it
    dpkg --configure -a --force-depends --force-unsafe-io </dev/null && break
    echo "virtio-crq: try $try left packages that are not configured"
done
passwd -d root
dpkg --audit
ln -sf /lib/systemd/systemd /usr/sbin/init
sync
echo "virtio-crq: done; from now on this image begins with systemd"
exec /usr/sbin/init
