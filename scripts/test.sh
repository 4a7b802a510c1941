#!/bin/sh
# Set everything up on a fresh machine and run the tests; options go to pytest.
set -eu
cd "$(dirname "$0")/.."
. scripts/setup.sh
sound="libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils"
window="libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 \
libxcb-shape0 libdbus-1-3"
setup "$sound $window strace python3-venv" -e ".[dev]"
if command -v pulseaudio > /dev/null; then
    scripts/virtual-mic.sh start
fi
# Threads that spin for one another make tests on a busy machine ten times slower.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m pytest -n auto --dist loadgroup "$@"
