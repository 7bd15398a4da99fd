#!/usr/bin/env bash
# Installs the programs that the tests need and that are missing here.
set -euo pipefail

missing=()
command -v chromium > /dev/null || missing+=(chromium fonts-liberation)
command -v chromedriver > /dev/null || missing+=(chromium-driver)
command -v java > /dev/null || missing+=(openjdk-17-jre-headless)
command -v mvn > /dev/null || missing+=(maven)
command -v make > /dev/null || missing+=(make)
# It checks the units of deploy/schedules.
command -v systemd-analyze > /dev/null || missing+=(systemd)
# Stock Spleeter calls both.
command -v ffmpeg > /dev/null && command -v ffprobe > /dev/null || missing+=(ffmpeg)
if [[ ${#missing[@]} -eq 0 ]]; then
    exit
fi

if [[ $EUID -eq 0 ]]; then
    as_root=()
elif sudo --non-interactive true 2> /dev/null; then
    as_root=(sudo --non-interactive)
else
    echo "missing programs: run 'apt-get install ${missing[*]}' as root, then try again" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update --quiet=2
"${as_root[@]}" apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}"
