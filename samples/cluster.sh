#!/usr/bin/env bash
# Creates and deletes a kind cluster with Istio and Bookinfo, for the walk-throughs in this folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly kind_version=v0.33.0
# version MODULE prints a module's version in deploy/test/go.mod, so that the cluster runs what the manifests are tested
# against.
version() { sed -n "s|^\t$1 v||p" deploy/test/go.mod; }
istio_version=$(version istio.io/api)
gateway_api_version=$(version sigs.k8s.io/gateway-api)
readonly istio_version gateway_api_version

readonly name=bookinfo
readonly istio=bin/istio-$istio_version
readonly images=(examples-bookinfo-details-v2:dev examples-bookinfo-books-emulator:dev)

usage() {
  cat <<TEXT
Usage: samples/cluster.sh up [--ambient | --dns-proxying] | down

  up              create the kind cluster "$name" with the Gateway API, Istio, Bookinfo and this repository's two
                  images, and make it kubectl's current context
  --ambient       install Istio in ambient mode instead of with sidecars
  --dns-proxying  let the sidecars answer DNS queries, as many meshes do
  down            delete the cluster

Needs Docker with buildx, Go, make, kubectl and curl. Istio $istio_version is downloaded to bin/.
TEXT
}

fail() {
  echo "cluster: $*" >&2
  exit 2
}

kind() { go run "sigs.k8s.io/kind@$kind_version" "$@"; }
k() { kubectl --context "kind-$name" "$@"; }

need() {
  local program
  for program; do
    command -v "$program" >/dev/null || fail "$program is not on the PATH"
  done
}

download_istio() {
  local os=linux arch=amd64 file
  [[ $(uname -s) != Darwin ]] || os=osx
  [[ ! $(uname -m) =~ ^(arm64|aarch64)$ ]] || arch=arm64
  [[ ! -x $istio/bin/istioctl ]] || return 0
  file=istio-$istio_version-$os-$arch.tar.gz
  mkdir -p bin
  curl -fsSL --retry 3 "https://github.com/istio/istio/releases/download/$istio_version/$file" -o "bin/$file"
  tar -xzf "bin/$file" -C bin
  rm "bin/$file"
}

install_istio() {
  k apply --server-side -f \
    "https://github.com/kubernetes-sigs/gateway-api/releases/download/v$gateway_api_version/standard-install.yaml"
  "$istio/bin/istioctl" install --context "kind-$name" -y --set profile="$profile" \
    --set meshConfig.defaultConfig.proxyMetadata.ISTIO_META_DNS_CAPTURE="$dns"
}

install_bookinfo() {
  k label namespace default --overwrite "$label"
  k apply -f "$istio/samples/bookinfo/platform/kube/bookinfo.yaml"
  k apply -f "$istio/samples/bookinfo/networking/destination-rule-all.yaml"
  k wait --for=condition=Available deployment --all --timeout=600s
}

up() {
  need docker go make kubectl curl
  make image TAG=dev HUB= PUSH= PLATFORMS=
  download_istio
  kind create cluster --name "$name" --wait 120s
  kind load docker-image --name "$name" "${images[@]}"
  install_istio
  install_bookinfo
  echo "cluster: ready; try: samples/walkthrough.sh $page --offline"
}

profile=minimal dns=false label=istio-injection=enabled page=https
case "$*" in
  up) up ;;
  'up --dns-proxying')
    dns=true
    up
    ;;
  'up --ambient')
    profile=ambient label=istio.io/dataplane-mode=ambient page=ambient
    up
    ;;
  down)
    need docker go
    kind delete cluster --name "$name"
    ;;
  --help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
