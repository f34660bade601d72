#!/bin/bash
# Makes a bare base from Debian's packages, builds the image on it with podman, and runs the tests of this folder on that.
# campaign.sh [RELEASE|TAR] [WORKING_FOLDER]; as root, with podman, runc and mmdebstrap. A registry of packages is all it needs.
set -eu
cd "$(dirname "$0")/../.."
base=${1:-trixie} work=${2:-$(mktemp -d)}
engine="podman --root $work/root --runroot $work/run --storage-driver overlay"
if [ ! -e "$base" ]; then
    mmdebstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$base" "$work/base.tar"
    base=$work/base.tar
fi
$engine image exists imageguard-base || $engine import "$base" imageguard-base
given=()
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || given+=(--volume "$file:$file:ro")
done
$engine build --format docker --network host --runtime runc "${given[@]}" --build-arg BASE=localhost/imageguard-base \
    --build-arg BUILD_PACKAGES="gcc libc6-dev python3-dev" --tag imageguard-daemon .
IMAGEGUARD_IMAGE=localhost/imageguard-daemon IMAGEGUARD_ENGINE=$engine IMAGEGUARD_RUN="--runtime runc --ulimit nofile=1024:4096 --ulimit nproc=4096:4096" \
    ${PYTHON:-.venv/bin/python} -m pytest -p no:randomly tests/container
