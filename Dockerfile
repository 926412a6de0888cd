# Moongate as an image: docker build -t moongate .
#
#   docker run --rm --init --read-only -p 127.0.0.1:8000:8000 -v ./manifests:/etc/moongate/manifests:ro moongate
#
# Mount the folder of the manifests, not a file: editors replace files, and a mount keeps to the one that it began with.

FROM python:3.13-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ONLY_BINARY=:all: PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Two environments, filled by the base's own pip: the one that is kept, and one for the build backend.
RUN python -m venv --without-pip /opt/moongate && python -m venv --without-pip /opt/build
WORKDIR /src

# In the order of how seldom they change: after a change of our code alone nothing is installed anew.
COPY requirements-build.lock ./
RUN pip --python /opt/build install --require-hashes --requirement requirements-build.lock
COPY requirements.lock ./
RUN pip --python /opt/moongate install --require-hashes --requirement requirements.lock

COPY . ./
RUN pip --python /opt/build wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && pip --python /opt/moongate install --no-deps --no-index /tmp/wheel/*.whl
# Compiled now, since nothing can be written later; nobody edits these files, so no start has to compare their times.
RUN /opt/moongate/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/moongate/lib


FROM python:3.13-slim

COPY --from=build /opt/moongate /opt/moongate
ENV PATH=/opt/moongate/bin:$PATH
# Python's own library comes without compiled files in some of its images: compile what we import of it.
RUN python -c "import app.serve, app.runtime, app.whoami, http.client, uvicorn.lifespan.on, uvicorn.loops.uvloop"
ENV PYTHONDONTWRITEBYTECODE=1 \
    MOONGATE_HOST=0.0.0.0 \
    MOONGATE_MANIFESTS=/etc/moongate/manifests

# Numeric, so that Kubernetes' runAsNonRoot can tell. It owns no file here and has no need to write any.
USER 65532:65532
EXPOSE 8000 8443

# What `moongate healthcheck` does, without loading anything else: it is asked every few seconds.
HEALTHCHECK --interval=10s --timeout=3s --retries=3 --start-period=15s --start-interval=1s \
  CMD ["python", "-m", "app.healthcheck"]

ENTRYPOINT ["moongate"]
CMD ["run"]

ARG VERSION=dev
LABEL org.opencontainers.image.title="Moongate" \
      org.opencontainers.image.description="The Kubernetes Gateway API as a Python ASGI application" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"
