#!/usr/bin/env bash
# Builds images of Engram by whatever of docker, podman and buildah there is, and starts each of them once.
#
#   deploy/docker/build.sh                          all of them; worker-gpu only by its name
#   deploy/docker/build.sh edge console             some
#   deploy/docker/build.sh edge -- --volume …       further words for the builder: an index, a certificate, a proxy
#
#   BUILDER=buildah    one of the three, or more words ("buildah --storage-driver vfs"); else the first that is found
#   BASE=NAME          an image with Python 3.10 or later and its venv module; else that of the Dockerfile
#   BASE=debian        made here by mmdebstrap (a package of Debian, as root), without any registry of images
#   NAME=engram        of the images; the targets are their tags
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { echo "build.sh: $*" >&2; }

targets=()
while [[ $# -gt 0 && $1 != -- ]]; do
    targets+=("$1")
    shift
done
[[ $# -gt 0 ]] && shift
[[ ${#targets[@]} -gt 0 ]] || targets=(edge coordinator console worker-cpu)

builder=()
if [[ -n ${BUILDER:-} ]]; then
    read -ra builder <<<"$BUILDER"
else
    for each in docker podman buildah; do
        if command -v "$each" >/dev/null; then
            builder=("$each")
            break
        fi
    done
fi
[[ ${#builder[@]} -gt 0 ]] || { say "docker, podman or buildah must be installed, none is"; exit 2; }
kind=$(basename "${builder[0]}")
name=${NAME:-engram}

words=(--file deploy/docker/Dockerfile)
# Without a container engine there is no user namespace to count on; without docker's format no health check.
[[ $kind == buildah ]] && words+=(--isolation chroot)
[[ $kind == docker ]] || words+=(--format docker)

debian_base() {
    local folder container
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' RETURN
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder/base.tar" || return
    if [[ $kind == buildah ]]; then
        container=$("${builder[@]}" from scratch)
        "${builder[@]}" add --quiet "$container" "$folder/base.tar" / >/dev/null
        "${builder[@]}" commit --quiet --rm "$container" "$1" >/dev/null
    else
        "${builder[@]}" import "$folder/base.tar" "$1" >/dev/null
    fi
}

# As it is shipped: its user, its file system, no word of ours but the last.
start() {
    local container status=0
    if [[ $kind == buildah ]]; then
        container=$("${builder[@]}" from "$1")
        "${builder[@]}" run --isolation chroot "$container" -- engram --version || status=$?
        "${builder[@]}" rm "$container" >/dev/null
        return "$status"
    fi
    "${builder[@]}" run --rm --read-only --cap-drop ALL "$1" --version
}

if [[ ${BASE:-} == debian ]]; then
    say "a base by mmdebstrap"
    debian_base "localhost/$name-base:bookworm"
    BASE=localhost/$name-base:bookworm
fi
[[ -n ${BASE:-} ]] && words+=(--build-arg "BASE=$BASE")

for target in "${targets[@]}"; do
    say "$target"
    "${builder[@]}" build "${words[@]}" "$@" --target "$target" --tag "$name:$target" .
    start "$name:$target"
done
"${builder[@]}" images | grep -E "REPOSITORY|(^|/)$name "
