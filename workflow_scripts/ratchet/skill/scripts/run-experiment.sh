#!/usr/bin/env bash
# Usage: run-experiment.sh --message WHY [--category NAME] [--max N] [options] [KEY=VALUE ...]
#        run-experiment.sh --again [options] [KEY=VALUE ...]
#
# One experiment: run the edit that lies in the mutable files (train.py), judge it, and put the
# incumbent's files back, so that the next edit starts from what was kept (ratchet try). The
# first one needs a baseline: setup.sh --baseline.
#
#   -m, --message WHY  what was changed and why, in one line
#   --category NAME    what it is about (default: found from the edit)
#   --max N            refuse if the session, with those that go on from it, has N experiments
#   --again            measure the edit that was tried last once more
#   --keep-edit        leave the edit in place, also if it was not kept
#   --json             the verdict as one JSON object
#   KEY=VALUE          settings, as for setup.sh
#
# Exit status: 0 kept; 1 discarded or crashed; 2 undecided, so not kept; 3 the session has --max
# experiments; 64 usage, or nothing was edited; 66 no session, clone or program; 75 busy, or stopped early.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/workplace.sh"

most='' asked='' restore=yes given=() try=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) show_help; exit 0 ;;
        -m | --message) asked=yes; try+=("--message=$(value_of "$@")"); shift ;;
        --category) try+=("--category=$(value_of "$@")"); shift ;;
        --max) most=$(count_of "$@"); shift ;;
        --again) asked=yes; try+=("$1") ;;
        --json) try+=("$1") ;;
        --keep-edit) restore= ;;
        [a-z]*=*) given+=("$1") ;;
        *) unknown_option "$1" ;;
    esac
    shift
done
[[ -n $asked ]] \
    || fail 64 "expected what was changed and why, found nothing; try: $0 --message '...'"

find_workplace ${given[@]+"${given[@]}"}
if [[ -n $most ]]; then
    name=$(session_name 2>/dev/null) \
        || fail 66 "there is no session yet; first: $(dirname "$0")/setup.sh --baseline"
    tried=0
    # Where a session is finished, edits go to NAME-2, NAME-3 and so on.
    for log in "$root/results/$name/results.tsv" "$root/results/$name"-[0-9]*/results.tsv; do
        # A line of names and one of the baseline come first.
        [[ ! -f $log ]] || tried=$((tried + $(wc -l <"$log") - 2))
    done
    [[ $tried -lt $most ]] \
        || fail 3 "session $name has $tried of at most $most experiments; stop here and show the results"
fi
status=0
ratchet_here try "${try[@]}" || status=$?
if [[ -n $restore && $status -le 2 ]]; then
    ratchet_here try --restore
fi
exit "$status"
