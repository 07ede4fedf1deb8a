#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The initramfs' first process: loads the modules in order, then goes on to the root disk, or opens a session here.
PATH=/bin:/sbin:/usr/bin:/usr/sbin
export PATH
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null || [ -c /dev/console ]
mount -t tmpfs run /run
mkdir -p /dev/pts && mount -t devpts pts /dev/pts
exec </dev/console >/dev/console 2>&1
words=$(cat /proc/cmdline)

say() { echo "virtio-crq: $*"; }

value() { # the last NAME=… of the command line
    found=
    for word in $words; do case $word in "$1"=*) found=${word#*=} ;; esac; done
    echo "$found"
}

options() { # what the command line says to a module: NAME.option=…
    for word in $words; do case $word in "$1".*=*) echo "${word#*.}" ;; esac; done
}

load() {
    for file in /lib/modules/*.ko; do
        [ -e "$file" ] || continue
        name=${file##*/???-}
        name=${name%.ko}
        [ "$name" = virtio_crq ] && [ "$(value virtio_crq.load)" = no ] && continue
        # shellcheck disable=SC2046
        insmod "$file" $(options "$name" | grep -v '^load=') || say "module $name could not be loaded"
    done
}

found_root() { # the device that root= means, once it is there
    case $1 in UUID=* | LABEL=*) findfs "$1" 2>/dev/null ;; *) [ -b "$1" ] && echo "$1" ;; esac
}

go_on() { # to the root disk; returns only when that cannot be
    waited=0
    until device=$(found_root "$1"); do
        waited=$((waited + 1))
        [ $waited -gt 300 ] && { say "no disk $1 after 30 s; there are: $(cd /sys/block && echo *)"; return; }
        usleep 100000
    done
    mode=rw
    for word in $words; do case $word in ro | rw) mode=$word ;; esac; done
    flags=$(value rootflags)
    type=$(value rootfstype)
    mkdir -p /target
    mount -t "${type:-ext4}" -o "$mode${flags:+,$flags}" "$device" /target || { say "$device cannot be mounted"; return; }
    program=$(value init)
    program=${program:-/sbin/init}
    [ -x "/target$program" ] || [ -L "/target$program" ] || { say "$device has no $program"; return; }
    for place in dev proc sys run; do
        mkdir -p "/target/$place" 2>/dev/null
        mount -o move "/$place" "/target/$place"
    done
    exec switch_root /target "$program"
}

load
root=$(value root)
[ -n "$root" ] && go_on "$root"
exec /bin/busybox init
