#!/bin/sh
# Sets up a clone of this repository.
#
#   setup.sh python     the packages of the .[dev] extra into .venv
#   setup.sh services   Java 17+, Maven, redis-server and mosquitto, by apt-get where it may be used; else it says what
#                       to type
#
# Settings, from the environment:
#   SETUP_TORCH=auto     let uv choose the build of torch that suits this machine (default)
#   SETUP_TORCH=plain    the build that the configured package index gives
#   SETUP_PYTHON=python3.12   the Python to use
#   SETUP_SBIN=/usr/sbin      where servers may lie outside of PATH
#   REQUIRE_SERVICES=1   fail, instead of going on with a warning, when a service is missing
set -eu

cd "$(dirname "$0")/../.."
VENV=.venv
STAMP=$VENV/setup-stamp
TORCH=${SETUP_TORCH:-auto}

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
has_server() { has "$1" || [ -x "${SETUP_SBIN:-/usr/sbin}/$1" ]; }

# --- apt-get, as root or through sudo without a password --------------------------------------------------------------

may_apt() {
    has apt-get && { [ "$(id -u)" = 0 ] || { has sudo && sudo -n true 2>/dev/null; }; }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install() {
    say "apt-get install $*"
    # Lists may be missing altogether (container images) or old: refresh them only when the first try fails.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
        { as_root apt-get update -qq >/dev/null &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
}

# --- Python -----------------------------------------------------------------------------------------------------------

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

find_python() {
    for candidate in ${SETUP_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        if has "$candidate" && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Debian splits venv and ensurepip off into a package of their own.
can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

make_venv() {
    python=$(find_python) || {
        may_apt && apt_install python3 python3-venv && python=$(find_python)
    } || fail "Python 3.10 or later is needed. Install it: sudo apt-get install -y python3 python3-venv"
    if ! can_make_venv "$python"; then
        version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        { may_apt && apt_install "$version" && can_make_venv "$python"; } ||
            fail "$python has no venv module. Install it: sudo apt-get install -y $version"
    fi
    say "$("$python" --version) ($python) -> $VENV"
    "$python" -m venv "$VENV"
}

# What was installed, so that a second run has nothing to do.
fingerprint() { { cat pyproject.toml deploy/local/setup.sh; echo "$TORCH"; pwd; } | cksum; }

install_with() {
    "$VENV/bin/uv" pip install --quiet --python "$VENV/bin/python" "$@" --editable '.[dev]'
}

install_packages() {
    "$VENV/bin/python" -m pip install --quiet --upgrade uv
    if has nvidia-smi && nvidia-smi >/dev/null 2>&1; then say "found an NVIDIA GPU"; else say "found no NVIDIA GPU"; fi
    if [ "$TORCH" = auto ]; then
        say "installing packages (some minutes the first time); uv chooses the build of torch"
        install_with --torch-backend=auto && return
        say "that build could not be had; now the one of the configured package index"
    fi
    say "installing packages (some minutes the first time)"
    install_with || "$VENV/bin/python" -m pip install --quiet --editable '.[dev]'
}

setup_python() {
    if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ] && [ -x "$VENV/bin/python" ]; then
        return
    fi
    [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || make_venv
    install_packages || fail "the packages could not be installed; the reason stands above"
    fingerprint >"$STAMP"
    say "ready: $("$VENV/bin/python" --version), torch $("$VENV/bin/python" -c 'import torch; print(torch.__version__)')"
}

# --- Services ---------------------------------------------------------------------------------------------------------

java_version() {
    java=java
    [ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
    "$java" -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1
}

has_java() { [ "$(java_version)" -ge 17 ] 2>/dev/null; }

# Debian and Ubuntu releases differ in which Java is the default one, and in which others they have.
install_java() {
    for package in default-jre-headless openjdk-21-jre-headless openjdk-17-jre-headless; do
        if apt_install "$package" && has_java; then return; fi
    done
    return 1
}

missing_services() {
    has_java || printf ' default-jre-headless'
    has mvn || printf ' maven'
    has redis-server || printf ' redis-server'
    has_server mosquitto || printf ' mosquitto'
}

setup_services() {
    [ -n "$(missing_services)" ] || return 0
    if may_apt; then
        has_java || install_java || say "no Java 17 or later could be installed"
        has mvn || apt_install maven || say "Maven could not be installed"
        has redis-server || apt_install redis-server || say "redis-server could not be installed"
        has_server mosquitto || apt_install mosquitto || say "mosquitto could not be installed"
    fi
    missing=$(missing_services)
    [ -n "$missing" ] || return 0
    if [ "$(uname)" = Darwin ]; then line="brew install openjdk maven redis mosquitto"; else line="sudo apt-get install -y$missing"; fi
    [ "${REQUIRE_SERVICES:-0}" = 1 ] && fail "Kafka, Redis and MQTT need more. Install it: $line"
    say "tests that need Kafka, Redis or MQTT will be skipped. To have them: $line"
}

case "${1:-}" in
    python) setup_python ;;
    services) setup_services ;;
    *) fail "say what to set up: python or services" ;;
esac
