# A small image of imageguard-daemon: built once as a wheel, run as nobody in particular. docs/containers.md says how to use it.
#
#   docker build -t imageguard-daemon .
#
# Another base with Python 3.11 or later will do as well. On Debian's own: --build-arg BASE=debian:trixie-slim needs python3 in it, and
# --build-arg BUILD_PACKAGES="gcc libc6-dev python3-dev".
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
ARG BUILD_PACKAGES="gcc libc6-dev"
# Without `parquet` (pyarrow, 150 MB): name it here where results or archives are wanted as Parquet.
ARG EXTRAS="web,heic,fleet"
# Whatever compiler the base's release has will do: it leaves nothing in the image but the extension module.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ${BUILD_PACKAGES} \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/imageguard-daemon
ENV PATH=/opt/imageguard-daemon/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# Dependencies first, at the versions that were tested: they change less often than the code, and are then not fetched again.
COPY .ci/requirements-dev.lock pyproject.toml ./
COPY contrib/container/constraints.py ./
RUN python3 constraints.py requirements-dev.lock constraints.txt \
    && python3 constraints.py --dependencies "${EXTRAS}" pyproject.toml requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt
COPY . .
RUN pip wheel --no-deps --wheel-dir /dist . \
    && pip install --no-deps --no-index /dist/*.whl \
    && pip check \
    && pip uninstall -y pip setuptools

FROM ${BASE}
# Numbers of their own, the same in every version: files in volumes stay readable.
RUN groupadd --gid 10001 imageguard \
    && useradd --uid 10001 --gid 10001 --home-dir /srv/ingest --no-create-home --shell /usr/sbin/nologin imageguard \
    && mkdir /srv/ingest \
    && chown imageguard:imageguard /srv/ingest
COPY --from=build /opt/imageguard-daemon /opt/imageguard-daemon
ENV PATH=/opt/imageguard-daemon/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /srv
# One volume for inbox, accepted, quarantine and log: files move by rename within it.
VOLUME ["/srv/ingest"]
# `run` ends in order on SIGTERM; no shell stands between.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=20s --start-period=300s --retries=3 \
    CMD ["imageguard-daemon", "status", "/srv/ingest", "--alive"]
ENTRYPOINT ["imageguard-daemon"]
CMD ["run", "/srv/ingest"]
