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
: >data
echo
echo READY
whole() { base64 -d <data >decoded 2>/dev/null; [ "$(($(wc -c <decoded)))" = "$1" ]; }
while IFS= read -r line; do
    case $line in
    N) : >data ;;
    "D "*) printf '%s\n' "${line#D }" >>data ;;
    "R "*)
        # shellcheck disable=SC2086
        set -- $line
        if whole "$3"; then
            (cd / && exec timeout -s KILL "$4" sh $place/decoded) </dev/null >output 2>&1
            status=$?
            head -c "$5" output | base64 | sed 's/^/O /'
            echo "E $2 $status $(($(wc -c <output)))"
            rm -f output
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
