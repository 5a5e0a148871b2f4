#!/usr/bin/env bash
# Usage: check-hardware.sh
#
# This machine as one JSON object: processors, memory, disk, GPUs, and what fits on them. Needs
# nothing but bash, so it can be called before anything is set up. ratchet doctor says more.
#
#   accelerator        cuda, rocm, mps or none
#   gpus               name, memory, used memory (MiB) and driver of each; a program that uses a
#                      GPU slows experiments down and changes their results
#   preset             preset of tasks/gpt for this memory; null: none fits
#   definition         how a clone of autoresearch, or the fork for this machine, is run
#   device_batch_size  largest DEVICE_BATCH_SIZE of upstream's train.py that should fit, by
#                      references/hardware.md: an estimate, to be tried; null: unknown or none
#
# Exit status: 0 printed; 64 usage.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/workplace.sh"

case ${1:-} in
    '') ;;
    -h | --help) show_help; exit 0 ;;
    *) fail 64 "expected no option but --help, found '$1'" ;;
esac

# A JSON string; what no name has is left out.
string() {
    quoted "$(printf '%s' "$1" | tr -d '\000-\037\177')"
}

# A JSON number, or null for what is none.
number() {
    if [[ ${1:-} =~ ^[0-9]+$ ]]; then printf '%s' "$1"; else printf null; fi
}

system=$(uname -s) machine=$(uname -m)
processors=$(getconf _NPROCESSORS_ONLN 2>/dev/null || true)
if [[ $system == Darwin ]]; then
    memory=$(($(sysctl -n hw.memsize) / 1048576))
else
    memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo 2>/dev/null || true)
fi
disk=$(df -Pk . | awk 'NR == 2 {print int($4 / 1024)}')

accelerator=none definition='' gpus='' least=''
# add_gpu NAME MEMORY USED DRIVER
add_gpu() {
    gpus+="${gpus:+, }{\"name\": $(string "$1"), \"memory_mb\": $(number "$2"), \"used_mb\": $(number "$3"), \"driver\": $(string "$4")}"
    if [[ $2 =~ ^[0-9]+$ && (-z $least || $2 -lt $least) ]]; then least=$2; fi
}

fields=name,memory.total,memory.used,driver_version
if listed=$(nvidia-smi --query-gpu="$fields" --format=csv,noheader,nounits 2>/dev/null) && [[ -n $listed ]]; then
    accelerator=cuda definition=upstream
    while IFS=, read -r name total used driver; do
        add_gpu "$name" "${total// /}" "${used// /}" "${driver// /}"
        [[ $name != *GeForce* ]] || definition=rtx
    done <<<"$listed"
elif compgen -G '/sys/class/drm/card*/device/mem_info_vram_total' >/dev/null; then
    accelerator=rocm definition=rocm
    for told in /sys/class/drm/card*/device/mem_info_vram_total; do
        used=$(cat "${told%total}used" 2>/dev/null || echo 0)
        add_gpu "$(cat "${told%/*}/product_name" 2>/dev/null || echo AMD)" "$(($(<"$told") / 1048576))" "$((used / 1048576))" ''
    done
elif [[ $system == Darwin && $machine == arm64 ]]; then
    accelerator=mps definition=macos
fi

# Gigabytes of a GPU, preset of tasks/gpt, rows of upstream's train.py at once.
fits='141 gpu-141gb 128
80 gpu-80gb 128
48 gpu-40gb 64
40 gpu-40gb 64
24 gpu-24gb 32
16 gpu-16gb 32
12 gpu-12gb 16
8 gpu-8gb 8
6 gpu-6gb null'
preset='' rows=null
if [[ $accelerator == cuda && -n $least ]]; then
    while read -r gigabytes name most; do
        if [[ $((least * 1048576)) -ge ${gigabytes}000000000 ]]; then
            preset=$name rows=$most
            break
        fi
    done <<<"$fits"
elif [[ $accelerator == none ]]; then
    preset=cpu-tiny
fi

# A name, or null.
name_or_null() {
    if [[ -n $1 ]]; then string "$1"; else printf null; fi
}

cat <<JSON
{
  "system": $(string "$system"),
  "machine": $(string "$machine"),
  "processors": $(number "$processors"),
  "memory_mb": $(number "$memory"),
  "disk_free_mb": $(number "$disk"),
  "accelerator": "$accelerator",
  "gpus": [$gpus],
  "preset": $(name_or_null "$preset"),
  "definition": $(name_or_null "$definition"),
  "device_batch_size": $rows
}
JSON
