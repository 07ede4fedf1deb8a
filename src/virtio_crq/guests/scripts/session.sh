#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What busybox' init runs in a guest without a system of its own, as scripts/inittab says: the agent on hvc1, and a
# shell on the console, whose end switches the machine off. init has made each of them the leader of a session, so the
# terminal that it opens becomes its own, and Ctrl-C reaches what runs in the shell.
PATH=/bin:/sbin:/usr/bin:/usr/sbin
HOME=/root
TERM=${TERM:-linux}
PS1='guest# '
export PATH HOME TERM PS1
cd /

case $1 in
begin) # what the initramfs has not done
    [ -e /proc/mounts ] || mount -t proc proc /proc
    [ -e /sys/block ] || mount -t sysfs sysfs /sys
    [ -e /dev/pts/ptmx ] || { mkdir -p /dev/pts && mount -t devpts pts /dev/pts; }
    grep -q ' /run ' /proc/mounts || mount -t tmpfs run /run
    ;;
agent)
    # shellcheck disable=SC2217
    (: </dev/hvc1) 2>/dev/null || exec sleep 2147483647 # nobody is at its other end
    exec /sbin/virtio-crq-agent </dev/hvc1 >/dev/hvc1 2>&1
    ;;
shell)
    active=$(cat /sys/class/tty/console/active 2>/dev/null)
    console=/dev/${active##* }
    [ -c "$console" ] || console=/dev/console
    exec <"$console" >"$console" 2>&1
    echo "virtio-crq: a shell on ${console#/dev/}; its end switches the guest off"
    sh -i
    exec poweroff
    ;;
esac
