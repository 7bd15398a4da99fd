#!/usr/bin/env bash
# Separates what is new or changed in an archive, for cron: prints why something needs attention,
# or nothing, and keeps everything else in a dated log. Two runs never overlap. Needs no rights
# but those of the user. Copy it, and change these paths.
set -uo pipefail

python=$HOME/spleeter-beam/.venv/bin/python
input="$HOME/calls/**.wav"
output=$HOME/separated
logs=$HOME/.local/state/separate_archive

readonly STILL_RUNNING=75

with_dates() {
    while IFS= read -r line; do
        printf '%(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$line"
    done
}

separate() {
    flock --nonblock --conflict-exit-code "$STILL_RUNNING" "$logs/lock" \
        "$python" -m beam_jobs.separate_archive --input="$input" --output="$output" --report
    local status=$?
    if [[ $status -eq $STILL_RUNNING ]]; then
        echo "the previous run is still going on: nothing to do"
    else
        echo "exit status $status"
    fi
    return "$status"
}

mkdir -p "$logs" || exit
separate 2>&1 | with_dates >> "$logs/log"
status=${PIPESTATUS[0]}
case $status in
    0 | "$STILL_RUNNING") exit 0 ;;
    3) echo "separate_archive: exit status 3, some files were rejected: see $output/rejected.jsonl" ;;
    *) echo "separate_archive: exit status $status, the run failed: see $logs/log" ;;
esac
exit "$status"
