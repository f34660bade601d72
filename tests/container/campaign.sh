#!/bin/bash
# Makes a bare base from Debian's packages, builds the image on it, and runs the tests of this folder on that, in a real engine.
# campaign.sh podman|docker [RELEASE|TAR] [WORKING_FOLDER]; as root, with mmdebstrap. A registry of packages is all it needs.
# podman needs runc and netavark; docker its compose (COMPOSE names another), and DOCKER_HOST says where it is if that is elsewhere.
set -eu
cd "$(dirname "$0")/../.."
engine=$1 base=${2:-trixie} work=${3:-$(mktemp -d)}
mkdir -p "$work/given"
if [ "$engine" = podman ]; then
    export CONTAINERS_CONF=$work/containers.conf
    cat >"$CONTAINERS_CONF" <<END
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
END
    printf '#!/bin/sh\nexec %s --root %s --runroot %s --storage-driver overlay "$@"\n' "$(command -v podman)" "$work/root" "$work/run" >"$work/podman"
    chmod 755 "$work/podman"
    build="$work/podman build --format docker" compose=${COMPOSE:-} engine=$work/podman
else
    build="$engine build" compose=${COMPOSE:-docker compose}
fi
if [ ! -e "$base" ]; then
    mmdebstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$base" "$work/base.tar"
    base=$work/base.tar
fi
# Where this machine has packages from and whom it trusts is what the base is given besides.
for file in etc/pip.conf etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "/$file" ] || (cd / && cp --parents "$file" "$work/given/")
done
printf 'FROM imageguard-bare\nCOPY . /\n' >"$work/Dockerfile"
$engine import "$base" imageguard-bare
$build --file "$work/Dockerfile" --tag imageguard-base "$work/given"
$build --network host --build-arg BASE=imageguard-base --build-arg BUILD_PACKAGES="gcc libc6-dev python3-dev" --tag imageguard-daemon .
[ -z "$compose" ] || $build --network host --build-arg BASE=imageguard-base --tag docker.io/library/postgres:17-trixie tests/container/database
$engine version --format "{{.Client.Version}}" && date --utc && uname -r
IMAGEGUARD_IMAGE=imageguard-daemon IMAGEGUARD_ENGINE=$engine IMAGEGUARD_COMPOSE=$compose \
    "${PYTHON:-.venv/bin/python}" -m pytest -v -p no:randomly tests/container
