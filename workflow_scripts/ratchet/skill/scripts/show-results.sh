#!/usr/bin/env bash
# Usage: show-results.sh [--top N] [--json] [--results FILE] [KEY=VALUE ...]
#
# What was found: the session's state, its N best experiments, and where its report is (ratchet
# status, ratchet runs). Where no session was run, a results.tsv is judged as it is (autojudge).
# Nothing is changed.
#
#   --top N         as many of the best experiments (default 10)
#   --json          one JSON object
#   --results FILE  a log; default: results.tsv of the clone, if there is no session
#   KEY=VALUE       settings, such as session=night
#
# Exit status: 0 shown; 64 usage; 65 a log that cannot be understood; 66 nothing to show.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/workplace.sh"

top=10 json='' log='' given=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) show_help; exit 0 ;;
        --top) top=$(count_of "$@"); shift ;;
        --json) json=--json ;;
        --results) log=$(value_of "$@"); shift ;;
        [a-z]*=*) given+=("$1") ;;
        *) unknown_option "$1" ;;
    esac
    shift
done

show_session() {
    local name
    if [[ -n $json ]]; then
        ratchet_here runs --top "$top" --json
        return
    fi
    name=$(session_name)
    # It says with its status that a session is at rest, which is nothing wrong here.
    (cd "$root" && ratchet status "$name") || true
    printf '\nthe best %s, best first:\n' "$top"
    ratchet_here runs --top "$top"
    if [[ -f $root/results/$name/report.html ]]; then
        printf '\nreport: %s\n' "$root/results/$name/report.html"
    else
        printf '\nno report yet: nothing is confirmed\n'
    fi
}

show_log() {
    autojudge --results "$log" --all --json | "$python" -c '
import json, sys

from ratchet.base.text import one_line

found, top = json.load(sys.stdin), int(sys.argv[1])
sign = -1 if found["direction"] == "maximize" else 1
measured = [row for row in found["rows"] if row["value"] is not None]
best = sorted(measured, key=lambda row: sign * row["value"])[:top]
if sys.argv[2:]:
    print(json.dumps({**found, "rows": best}, indent=2))
    sys.exit()
print(one_line("row  verdict      P(better)  logged   " + found["metric"] + "  description"))
for row in best:
    sure = "-" if row["confidence"] is None else format(row["confidence"], ".2f")
    head = "{:>3}  {:<11}  {:>9}  {:<7}  {:.6g}  ".format(
        row["index"], row["verdict"], sure, row["status"] or "-", row["value"]
    )
    print(one_line(head + row["description"][:60]))
false_keeps = found["expected_false_keeps"]
print("{} kept, of which luck alone explains {:.1f}; nothing is confirmed".format(found["keeps"], false_keeps))
' "$top" $json
}

if [[ -n $log ]]; then
    [[ -f $log ]] || fail 66 "$log: there is no such file"
    kind=clone
    find_programs
    show_log
    exit
fi
find_workplace ${given[@]+"${given[@]}"}
if compgen -G "$root/results/*/manifest.json" >/dev/null; then
    show_session
elif [[ -f $folder/results.tsv ]]; then
    log=$folder/results.tsv
    show_log
else
    fail 66 "expected a session in $root/results or $folder/results.tsv, found neither; begin with: $(dirname "$0")/setup.sh --baseline"
fi
