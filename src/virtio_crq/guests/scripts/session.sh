#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a guest without an init of its own: the agent on hvc1, a shell on the console. The machine is
# switched off when the shell ends, and when busybox' poweroff, halt or reboot asks its init for it.
PATH=/bin:/sbin:/usr/bin:/usr/sbin
HOME=/root
TERM=${TERM:-linux}
PS1='guest# '
export PATH HOME TERM PS1
cd /
[ -e /proc/mounts ] || mount -t proc proc /proc
[ -e /sys/block ] || mount -t sysfs sysfs /sys
[ -e /dev/pts ] || { mkdir -p /dev/pts && mount -t devpts pts /dev/pts; }
[ -w /run ] || mount -t tmpfs run /run
exec </dev/console >/dev/console 2>&1

finish() {
    trap '' TERM USR1 USR2
    sync
    umount -a -r 2>/dev/null
    /bin/busybox "$1" -f # by its path: without /proc the shell finds no applet of its own
}
trap 'finish reboot' TERM
trap 'finish halt' USR1
trap 'finish poweroff' USR2

# A terminal opened by the leader of a session becomes its own: Ctrl-C reaches what runs in the shell.
on_terminal() { terminal=$1; shift; setsid sh -c "exec $* <$terminal >$terminal 2>&1"; }

if (: </dev/hvc1) 2>/dev/null; then
    while :; do on_terminal /dev/hvc1 /sbin/virtio-crq-agent; sleep 1; done &
fi
active=$(cat /sys/class/tty/console/active 2>/dev/null)
console=/dev/${active##* }
[ -c "$console" ] || console=/dev/console
echo "virtio-crq: a shell on ${console#/dev/}; its end switches the guest off"
on_terminal "$console" sh -i &
shell=$!
while kill -0 $shell 2>/dev/null; do wait $shell; done
finish poweroff
