#!/bin/sh
# Set everything up on a fresh machine and show the meter: a clip of synthesised speech goes through
# the same streaming path as a microphone. Options go to `ser-stream demo`, e.g. --fast.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
setup "libportaudio2 python3-venv" .
exec .venv/bin/ser-stream demo "$@"
