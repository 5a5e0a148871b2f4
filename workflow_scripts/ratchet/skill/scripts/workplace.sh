# shellcheck shell=bash
# Where the skill works, and with whose programs. The scripts beside this file read it.
#
# find_workplace sets
#   kind      checkout (of Ratchet), or clone (of karpathy/autoresearch or a fork)
#   folder    the checkout or the clone
#   root      folder with results and store: $RATCHET_ROOT, or else the checkout itself, or
#             CLONE-ratchet beside a clone, where git clean and git reset do not reach
#   harness   the checkout of Ratchet whose workflow is run
#   settings  words KEY=VALUE after --config: those that were given, and a clone as the task

# fail STATUS MESSAGE: end with one line on standard error.
fail() {
    printf '%s: %s\n' "${0##*/}" "$2" >&2
    exit "$1"
}

# Print the comment at the head of the script.
show_help() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

# unknown_option WORD
unknown_option() {
    fail 64 "expected an option or KEY=VALUE, found '$1'; see $0 --help"
}

# value_of OPTION VALUE...: refuse an option at the end of the line.
value_of() {
    [[ $# -ge 2 && -n $2 ]] || fail 64 "$1: expected a value, found none; see $0 --help"
    printf '%s' "$2"
}

# count_of OPTION VALUE...: refuse what is no whole number above 0.
count_of() {
    [[ ${2:-} =~ ^[1-9][0-9]{0,4}$ ]] \
        || fail 64 "$1: expected a whole number from 1 to 99999, found '${2:-}'; see $0 --help"
    printf '%s' "$2"
}

is_checkout() {
    [[ -f $1/Snakefile && -f $1/config/schema.yaml && -d $1/workflow_scripts/ratchet ]]
}

# A path as a YAML string.
quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# find_folder: set kind, folder and root. Nothing of Ratchet has to be installed.
find_folder() {
    local top
    top=$(git rev-parse --show-toplevel 2>/dev/null) || top=$PWD
    if is_checkout "$top"; then
        kind=checkout folder=$top root=${RATCHET_ROOT:-$top}
        return
    fi
    for folder in "$PWD" "$top"; do
        [[ ! -f $folder/BRIEF.md || ! -f $folder/TRIED.tsv ]] \
            || fail 64 "$folder: is the folder of one proposal, which Ratchet runs itself; edit, write proposal.json, and end"
        if [[ -f $folder/program.md ]] && compgen -G "$folder/*.py" >/dev/null; then
            kind=clone root=${RATCHET_ROOT:-$folder-ratchet}
            return
        fi
    done
    fail 66 "$PWD: expected a checkout of Ratchet, or a clone of autoresearch with program.md and train.py, found neither; go there with cd"
}

# find_programs: put Ratchet's programs on the PATH.
find_programs() {
    local home=${RATCHET_HARNESS:-}
    [[ -n $home || $kind == clone ]] || home=$folder
    if ! command -v ratchet >/dev/null && [[ -n $home ]]; then
        PATH=$home/.venv/bin:$PATH
    fi
    command -v ratchet >/dev/null \
        || fail 66 "expected the program ratchet on the PATH, found none; in a checkout of Ratchet type: make env; then: source .venv/bin/activate, or name the checkout: export RATCHET_HARNESS=/path/to/ratchet"
    python=$(dirname "$(readlink -f "$(command -v ratchet)")")/python
}

# find_workplace [KEY=VALUE ...]: see above.
find_workplace() {
    find_folder
    find_programs
    mkdir -p "$root" || fail 74 "$root: cannot be made; name another folder: export RATCHET_ROOT=/path"
    root=$(cd "$root" && pwd)
    harness=$("$python" -c 'import sys
from pathlib import Path
from ratchet.base.errors import RatchetError
from ratchet.cli.sessions import harness_folder
try:
    print(harness_folder(Path(sys.argv[1])).resolve())
except RatchetError as error:
    sys.exit(str(error))' "$root") || fail 66 "Ratchet's workflow was not found"
    settings=("$@")
    if [[ $kind == clone && " $*" != *" task="* ]]; then
        local named=
        [[ ! -f $root/definition ]] || named=", \"definition\": $(quoted "$(<"$root/definition")")"
        settings+=("task={\"repo\": $(quoted "$folder")$named}")
    fi
    if [[ ${#settings[@]} -gt 0 ]]; then
        settings=(--config "${settings[@]}")
    fi
}

# run_workflow TARGET: end as Snakemake with the settings; results and store are in root.
run_workflow() {
    cd "$root" || fail 74 "$root: cannot be entered"
    exec snakemake --snakefile "$harness/Snakefile" --cores 1 "$1" ${settings[@]+"${settings[@]}"}
}

# ratchet_here COMMAND WORD...: a command of Ratchet with the settings.
ratchet_here() {
    (cd "$root" && ratchet "$@" ${settings[@]+"${settings[@]}"})
}

# session_name: of the session that the settings mean; it must have a baseline.
session_name() {
    ratchet_here runs --json | "$python" -c 'import json, sys; print(json.load(sys.stdin)["session"])'
}
