#!/usr/bin/env bash
# helm.sh ARGUMENTS…: helm, either the installed one or one built from its Go module (3 minutes, once per machine).
# helm.sh --path: where it is, without building; fails where there is none.
set -euo pipefail
version=v3.22.0
built=${XDG_CACHE_HOME:-$HOME/.cache}/moongate/bin/helm-$version
helm=$(type -P helm || echo "$built")

if [[ ${1:-} == --path ]]; then
  [[ -x $helm ]] && echo "$helm"
  exit
fi
if [[ ! -x $helm ]]; then
  command -v go >/dev/null || { echo "there is neither helm nor Go to build it with" >&2; exit 1; }
  echo "building helm $version" >&2
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  helm3=helm.sh/helm/v3 # what Helm's own Makefile sets: its version, and that of Kubernetes where there is no cluster
  flags="-X $helm3/internal/version.version=$version -X $helm3/pkg/chartutil.k8sVersionMajor=1"
  flags+=" -X $helm3/pkg/chartutil.k8sVersionMinor=37 -X $helm3/pkg/lint/rules.k8sVersionMajor=1"
  flags+=" -X $helm3/pkg/lint/rules.k8sVersionMinor=37"
  GOBIN=$scratch GOFLAGS=-buildvcs=false nice go install -trimpath -ldflags="-s -w $flags" "$helm3/cmd/helm@$version" >&2
  mkdir -p "${built%/*}"
  mv "$scratch/helm" "$built" # in one step: another run may be looking for it
  rm -rf "$scratch"
fi
exec "$helm" "$@"
