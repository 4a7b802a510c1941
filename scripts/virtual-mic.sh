#!/bin/sh
# A microphone without hardware, for tests and benchmarks: whatever is played into the PulseAudio
# sink "ser_mic" comes out of the input devices "pulse" and "default" of PortAudio.
#   scripts/virtual-mic.sh start | stop
# Debian packages: pulseaudio pulseaudio-utils libasound2-plugins libportaudio2
set -eu
case "${1:-}" in
start)
    if [ ! -f "$HOME/.asoundrc" ]; then
        printf 'pcm.!default { type pulse }\nctl.!default { type pulse }\n' > "$HOME/.asoundrc"
    fi
    pulseaudio --check 2> /dev/null || pulseaudio --start --exit-idle-time=-1 2> /dev/null
    pactl list short sinks | grep -q ser_mic ||
        pactl load-module module-null-sink sink_name=ser_mic > /dev/null
    pactl set-default-source ser_mic.monitor
    ;;
stop) pulseaudio --kill 2> /dev/null || true ;;
*)
    sed -n '2,5p' "$0"
    exit 2
    ;;
esac
