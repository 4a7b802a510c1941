# Sourced by demo.sh and test.sh: system packages and a virtual environment in .venv.
#   setup PACKAGES WHAT...
# PACKAGES are Debian packages, installed where apt-get exists and one is missing; WHAT is given to
# pip, e.g. -e .[dev]

setup() {
    packages=$1
    shift
    missing=""
    if command -v apt-get > /dev/null; then
        for package in $packages; do
            dpkg -s "$package" > /dev/null 2>&1 || missing="$missing $package"
        done
    fi
    if [ -n "$missing" ]; then
        sudo=""
        [ "$(id -u)" = 0 ] || sudo=sudo
        echo "installing system packages:$missing" >&2
        # shellcheck disable=SC2086 # a list of words
        $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends $missing >&2
    fi
    python=""
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" > /dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "error: Python 3.11 or newer is needed" >&2
        return 1
    fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check uv
    .venv/bin/uv pip install --quiet --python .venv/bin/python "$@"
}
