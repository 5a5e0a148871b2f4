#!/usr/bin/env bash
# Usage: setup.sh [--install] [--definition NAME] [--baseline] [KEY=VALUE ...]
#
# Is everything here ready for experiments? Works in a checkout of Ratchet and in a clone of
# karpathy/autoresearch or a fork. Without options it only looks (ratchet doctor).
#
#   --install          first make what is missing: the environment of a checkout (make env), or
#                      environment and data of a clone (uv sync, uv run prepare.py)
#   --definition NAME  how a fork runs (upstream, rtx, rocm, macos, mlx, trader, or a file of your
#                      own); remembered for all scripts
#   --baseline         if all is ready, measure the unchanged files, once per session
#   KEY=VALUE          settings, such as session=night or task=tasks/gpt
#
# Results of a clone are in CLONE-ratchet beside it; RATCHET_ROOT names another folder.
#
# Exit status: 0 ready, and the baseline is there if it was asked for; 1 not ready, or the baseline
# failed; 64 usage; 66 no checkout or clone here, or a program is missing; others are Ratchet's.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/workplace.sh"

install='' definition='' baseline='' given=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) show_help; exit 0 ;;
        --install) install=yes ;;
        --baseline) baseline=yes ;;
        --definition) definition=$(value_of "$@"); shift ;;
        [a-z]*=*) given+=("$1") ;;
        *) unknown_option "$1" ;;
    esac
    shift
done

find_folder
if [[ -n $install && $kind == checkout ]]; then
    make -C "$folder" env
elif [[ -n $install ]]; then
    command -v uv >/dev/null \
        || fail 66 "expected the program uv, with which the clone makes its environment, found none; see its README"
    (cd "$folder" && uv sync)
    [[ -d ${HOME:-}/.cache/autoresearch ]] || (cd "$folder" && uv run prepare.py)
fi
if [[ -n $definition ]]; then
    [[ $kind == clone ]] || fail 64 "--definition: expected a clone, found a checkout of Ratchet; name a task: task=tasks/gpt"
    [[ ! -f $definition ]] || definition=$(cd "$(dirname "$definition")" && pwd)/$(basename "$definition")
    mkdir -p "$root"
    printf '%s\n' "$definition" >"$root/definition"
fi

find_workplace ${given[@]+"${given[@]}"}
ratchet_here doctor
[[ -z $baseline ]] || run_workflow baseline
