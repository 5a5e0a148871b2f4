#!/usr/bin/env bash
# Usage: run-loop.sh --max N [--proposer NAME] [KEY=VALUE ...]
#
# A session of at most N experiments: Ratchet has them proposed, runs and judges them, certifies
# what was kept, confirms the champion with fresh seeds, and writes the report (snakemake).
# Whatever ends it, the same call goes on; a larger N goes on after a report.
#
#   --max N          experiments of the whole session, those made before included
#   --proposer NAME  who proposes: auto (default), tpe, claude, codex, ...; hand proposes nothing,
#                    so that what was tried with run-experiment.sh is confirmed and reported
#   KEY=VALUE        settings, such as session=night deadline_hours=8 agent_dollars=20
#
# Exit status: 0 finished, with a report; 1 a step failed; 64 usage, as without --max; 66 no clone,
# checkout or program; others are Ratchet's.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/workplace.sh"

most='' given=()
while [[ $# -gt 0 ]]; do
    case $1 in
        -h | --help) show_help; exit 0 ;;
        --max) most=$(count_of "$@"); shift ;;
        --proposer) given+=("proposer=$(value_of "$@")"); shift ;;
        rounds=* | candidates=*) fail 64 "$1: --max is what bounds this loop; for other sizes call snakemake itself" ;;
        [a-z]*=*) given+=("$1") ;;
        *) unknown_option "$1" ;;
    esac
    shift
done
[[ -n $most ]] || fail 64 "expected the number of experiments, found none: a loop is bounded always; try: $0 --max 12"

find_workplace ${given[@]+"${given[@]}"} "rounds=$most" candidates=1
run_workflow all
