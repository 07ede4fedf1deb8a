# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by ./check and ./demo from the root of the clone: leaves .venv/ with the project compiled into it.
#   setup EXTRAS COMMAND=PACKAGE…    EXTRAS of pyproject.toml ("" for none); COMMANDs that are needed and the Debian packages that bring them

say() { if [ -t 2 ]; then printf '\033[2m%s\033[0m\n' "$*" >&2; else printf '%s\n' "$*" >&2; fi; }
die() { printf '%s\n' "$@" >&2; exit 1; }

usable_python() { # a Python that can make environments and build extensions
    "$1" - <<'PY' 2>/dev/null
import os, sys, sysconfig
import venv, ensurepip
sys.exit(sys.version_info < (3, 11) or not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
PY
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if command -v "$candidate" >/dev/null && usable_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

compiles() { printf '#include <stdlib.h>\n' | cc -E - >/dev/null 2>&1; }

have() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ]; }

install_packages() { # as root or by sudo without a password; otherwise name the one command
    command -v apt-get >/dev/null || die "Missing: $*" "This is no Debian or Ubuntu: install what these packages are called here, then run $0 again."
    if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo"; else
        die "Some Debian packages are missing. Type this, then run $0 again:" "  sudo apt-get install -y $*"
    fi
    say "installing $*"
    # shellcheck disable=SC2086
    { $sudo apt-get -qq update && $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null; } \
        || die "The packages could not be installed. Type this, then run $0 again:" "  sudo apt-get update && sudo apt-get install -y $*"
}

compiled_files() { # how many C files have been compiled, of how many: each .pxd has a module, and the engine is compiled three times, once with the plugin
    done=$(find build/temp.* -name '*.o' 2>/dev/null | wc -l)
    all=$(($(find src -name '*.pxd' | wc -l) + 3 * $(find src -path '*/hypervisor/engine/*.c' | wc -l) + $(find src -path '*/guests/plugin/*.c' | wc -l)))
    echo "$((done < all ? done : all)) of $all"
}

watched() { # run a command; meanwhile, on a terminal, tell how far it is
    if ! [ -t 2 ]; then "$@"; return; fi
    "$@" &
    work=$!
    # A script's background jobs are deaf to Ctrl-C: end the whole group that the terminal has interrupted.
    trap 'printf "\n" >&2; trap "" TERM; kill -TERM 0; exit 130' INT
    while kill -0 $work 2>/dev/null; do
        printf '\r\033[2mcompiled %s files\033[0m\033[K' "$(compiled_files)" >&2
        sleep 0.5
    done
    trap - INT
    printf '\r\033[K' >&2
    wait $work
}

source_stamp() { # what the installed copy was built from
    find src pyproject.toml setup.py -type f \( -name '*.py' -o -name '*.pyi' -o -name '*.pxd' -o -name '*.h' -o -name '*.toml' -o -name '*.sh' -o -name inittab \
        -o -path '*/hypervisor/engine/*.c' -o -path '*/guests/plugin/*.c' -o -name py.typed \) ! -path '*.egg-info/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
}

build() {
    { .venv/bin/python -m pip --disable-pip-version-check install -q -U 'setuptools>=77' 'cython>=3.2.1' wheel \
        && .venv/bin/python -m pip --disable-pip-version-check install -q --no-build-isolation "$1"; } >build/setup.log 2>&1
}

setup() {
    extras="$1"; shift
    missing=""
    compiles || missing="gcc libc6-dev"
    for need in "$@"; do
        have "${need%%=*}" || missing="$missing ${need#*=}"
    done
    python=$(find_python) || missing="$missing python3 python3-venv python3-dev"
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_packages $missing
    [ -n "$python" ] || python=$(find_python) || die "No Python 3.11 or newer with venv and headers was found." "Set PYTHON=/path/to/python3 and run $0 again."

    .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { say "making .venv/ with $python"; "$python" -m venv --clear .venv; }
    [ -n "$extras" ] && requirement=".[$extras]" || requirement="."
    wanted="$requirement $(source_stamp)"
    # An installation with more extras serves those who need fewer.
    if [ "$(cat .venv/installed 2>/dev/null)" = "$wanted" ] || [ "$(cat .venv/installed 2>/dev/null)" = ".[test] ${wanted#* }" ]; then return; fi

    rm -f .venv/installed
    # build/ keeps compiled objects between runs; modules that left the tree must not stay behind in it.
    for built in build/lib*; do
        [ -d "$built" ] || continue
        (cd "$built" && find . -name '*.py') | while read -r module; do [ -e "src/$module" ] || { rm -rf "$built"; break; }; done
    done
    say "compiling the data plane into .venv/ (about a minute the first time)"
    log=build/setup.log
    mkdir -p build
    watched build "$requirement" \
        || { tail -n 30 "$log" >&2; die "The project could not be built; the whole story is in $log."; }
    printf '%s\n' "$wanted" >.venv/installed
}
