#!/bin/sh
# Set everything up on a fresh machine and run the tests; options go to pytest.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
setup "libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils python3-venv" -e ".[dev]"
if command -v pulseaudio > /dev/null; then
    scripts/virtual-mic.sh start
fi
# Threads that spin for one another make tests on a busy machine ten times slower.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m pytest "$@"
