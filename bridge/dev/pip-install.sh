#!/bin/sh
# pip-install.sh VENV ARGUMENTS...: pip install, shown as one line that grows. All that pip says is kept in
# VENV/pip.log; its end is shown where pip fails.
set -eu

venv=$1
shift
log=$venv/pip.log
terminal=0
[ ! -t 1 ] || terminal=1

{
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off "$@" 2>&1 && : >"$venv/pip.done"
} | tee "$log" | awk -v terminal="$terminal" '
    function show(text) {
        if (terminal) { printf "\r\033[K    %s", text; fflush() }
    }
    /^ *Collecting / { show(++count " packages: " $2) }
    /^ *(Building|Preparing|Installing) / { show(count " packages: " tolower($1) " ...") }
    /^ *Successfully installed / { installed = NF - 2 }
    END { if (terminal) printf "\r\033[K"; if (installed) print "    " installed " packages" }
'

if [ -e "$venv/pip.done" ]; then
    rm "$venv/pip.done"
else
    tail -n 15 "$log" >&2
    echo "colloque: pip could not install; all it said: $log" >&2
    exit 1
fi
