#!/usr/bin/env bash
# Puts the images that the tests need into the cluster of ../shared/cluster, where it does not hold them yet, and prints
# the gateway's: localhost/moongate:TREE, after the files that it is made of; localhost/moongate:dev is the same one.
# The article's traefik/whoami:v1.6.0 and nginx are stand-ins of ours, under the names that its manifests have.
# Starts ../shared/docker's engine where no other answers, and stops it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
shared=${MOONGATE_SHARED:-$PWD/../shared}
. "$shared/cluster/env.sh"

# What .dockerignore lets into the image, and how it is made.
tree=$(find Dockerfile .dockerignore app middleware routes LICENSE README.md pyproject.toml requirements.lock \
  requirements-build.lock -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
image=localhost/moongate:${tree:0:16}
standins=(docker.io/traefik/whoami:v1.6.0 docker.io/library/nginx:latest)

absent() {
  local there
  there=$(ctr images ls -q)
  ! grep -qxF "$1" <<<"$there"
}

build() {
  local exports engine_is_ours=""
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  if ! docker info >/dev/null 2>&1; then
    touch "$scratch/before"
    exports=$("$shared/docker/engine-up.sh")
    eval "$exports"
    # An engine makes its socket when it starts. One that ran before us is somebody else's: it stays.
    if [[ ${DOCKER_HOST#unix://} -nt $scratch/before ]]; then
      engine_is_ours=yes
      trap '"$shared/docker/engine-down.sh"; rm -rf "$scratch"' EXIT
    fi
  fi
  "$shared/docker/make-base-images.sh" >/dev/null
  docker build --quiet --tag "$image" --tag localhost/moongate:dev .
  # Pods may not open ports below 1024 but as root.
  docker build --quiet --tag traefik/whoami:v1.6.0 - <<DOCKERFILE
FROM $image
USER 0
ENTRYPOINT ["moongate", "whoami", "--host", "0.0.0.0", "--port", "80"]
CMD []
DOCKERFILE
  docker save "$image" localhost/moongate:dev traefik/whoami:v1.6.0 nginx:latest >"$scratch/images.tar"
  if [[ -n $engine_is_ours ]]; then
    trap 'rm -rf "$scratch"' EXIT
    "$shared/docker/engine-down.sh"
  fi
  "$shared/cluster/load-image.sh" <"$scratch/images.tar"
}

for each in "$image" "${standins[@]}"; do
  if absent "$each"; then
    build >&2
    break
  fi
done
echo "$image"
