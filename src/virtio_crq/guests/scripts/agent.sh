#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs what the host asks for on the terminal that is stdin and stdout. A line begins by a letter:
#   N                     forget the data so far
#   D BASE64              more data
#   R ID BYTES SECONDS LIMIT   run the data as a shell script; answer at most LIMIT bytes of its output
#   W ID BYTES            keep the data as the file "put"
# and the answers:
#   READY
#   O BASE64              output
#   E ID STATUS BYTES     the end: its status, and how long the whole output was; STATUS "again": data was lost
stty raw -echo 2>/dev/null
PATH=/bin:/sbin:/usr/bin:/usr/sbin
export PATH
umask 077
place=/run/virtio-crq-agent
mkdir -p $place && cd $place || exit 1
umask 022
rm -f output.*
: >data
have=0
echo
echo READY
# A process that is started costs an emulated processor 15 ms: what the shell can do by itself, it does.
whole() { [ "$have" = "$1" ] && base64 -d <data >decoded 2>/dev/null; }
more() { # a line of data, and how many bytes it stands for
    printf '%s\n' "$1" >>data
    have=$((have + ${#1} / 4 * 3))
    case $1 in *==) have=$((have - 2)) ;; *=) have=$((have - 1)) ;; esac
}
tell() { # at most $2 bytes of file $1
    bytes=0
    [ -s "$1" ] || return
    bytes=$(wc -c <"$1")
    bytes=$((bytes))
    if [ $bytes -gt "$2" ]; then head -c "$2" "$1" | base64 >encoded; else base64 <"$1" >encoded; fi
    while IFS= read -r piece; do echo "O $piece"; done <encoded
}
while IFS= read -r line; do
    case $line in
    N) : >data; have=0 ;;
    "D "*) more "${line#D }" ;;
    "R "*)
        # shellcheck disable=SC2086
        set -- $line
        if whole "$3"; then
            # Each has a file of its own: one that still runs in the background may write to it later.
            (cd / && exec timeout -s KILL "$4" sh $place/decoded) </dev/null >"output.$2" 2>&1
            status=$?
            tell "output.$2" "$5"
            echo "E $2 $status $bytes"
            case $2 in *0) rm -f output.* ;; esac
        else
            echo "E $2 again 0"
        fi
        ;;
    "W "*)
        # shellcheck disable=SC2086
        set -- $line
        if whole "$3"; then mv decoded put && echo "E $2 0 0"; else echo "E $2 again 0"; fi
        ;;
    esac
done
