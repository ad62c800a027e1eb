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
readonly unfinished=bin/cluster-unfinished # exists while kind creates the cluster
readonly images=(examples-bookinfo-details-v2:dev examples-bookinfo-books-emulator:dev)

usage() {
  cat <<TEXT
Usage: samples/cluster.sh up [--ambient | --dns-proxying] | down

  up              create the kind cluster "$name" with the Gateway API, Istio, Bookinfo and this repository's two
                  images, and make it kubectl's current context. After a failure or Ctrl-C, the same command continues.
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

number=0
step() {
  number=$((number + 1))
  echo "cluster: $number/6 $1"
}

sum() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi; }

# download_istio uses the final name only for a complete and verified download.
download_istio() {
  local os=linux arch=amd64 progress=-sS file want got
  [[ ! -d $istio ]] || return 0
  [[ $(uname -s) != Darwin ]] || os=osx
  [[ ! $(uname -m) =~ ^(arm64|aarch64)$ ]] || arch=arm64
  [[ ! -t 2 ]] || progress=--progress-bar
  file=istio-$istio_version-$os-$arch.tar.gz
  rm -rf bin/istio-download
  mkdir -p bin/istio-download
  for file in "$file.sha256" "$file"; do
    curl -fL --retry 3 "$progress" "https://github.com/istio/istio/releases/download/$istio_version/$file" -o "bin/istio-download/$file"
  done
  want=$(cut -d ' ' -f 1 "bin/istio-download/$file.sha256")
  got=$(sum "bin/istio-download/$file" | cut -d ' ' -f 1)
  [[ $got == "$want" ]] || fail "$file has the SHA-256 checksum $got, but its release says $want"
  tar -xzf "bin/istio-download/$file" -C bin/istio-download
  mv "bin/istio-download/istio-$istio_version" "$istio"
  rm -r bin/istio-download
}

create_cluster() {
  local clusters found
  [[ ! -e $unfinished ]] || kind delete cluster --name "$name"
  clusters=$(kind get clusters)
  if ! grep -qx "$name" <<<"$clusters"; then
    touch "$unfinished"
    kind create cluster --name "$name" --wait 120s
    k label namespace default "cluster-mode=$mode"
    rm "$unfinished"
    return
  fi
  kind export kubeconfig --name "$name"
  found=$(k get namespace default --request-timeout=10s -o 'jsonpath={.metadata.labels.cluster-mode}')
  [[ $found == "$mode" ]] ||
    fail "the kind cluster \"$name\" was created for the mode \"${found:-unknown}\", not \"$mode\"; run \"samples/cluster.sh down\" first"
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

# A step that is already done does nothing, or the same again.
up() {
  need docker go make kubectl curl
  docker buildx version >/dev/null 2>&1 || fail 'Docker has no buildx plugin'
  mkdir -p bin
  trap 'stopped $?' EXIT
  step 'Build the two images'
  make image TAG=dev HUB= PUSH= PLATFORMS=
  step "Download Istio $istio_version and check its checksum"
  download_istio
  step "Create the kind cluster \"$name\" (the first time, this takes minutes: it compiles kind and pulls its node image)"
  create_cluster
  step 'Load the two images into the cluster'
  kind load docker-image --name "$name" "${images[@]}"
  step "Install the Gateway API and Istio with the profile $profile (this takes a minute or two)"
  install_istio
  step 'Install Bookinfo and wait until it runs (this takes minutes: the cluster pulls its images)'
  install_bookinfo
  echo "cluster: ready; try: samples/walkthrough.sh $page --offline"
}

stopped() {
  (($1 == 0)) || echo "cluster: stopped in step $number/6. To continue, fix the cause and run the command again." >&2
}

mode=sidecar profile=minimal dns=false label=istio-injection=enabled page=https
case "$*" in
  up) up ;;
  'up --dns-proxying')
    mode=dns-proxying dns=true
    up
    ;;
  'up --ambient')
    mode=ambient profile=ambient label=istio.io/dataplane-mode=ambient page=ambient
    up
    ;;
  down)
    need docker go
    kind delete cluster --name "$name"
    rm -f "$unfinished"
    ;;
  --help) usage ;;
  *)
    fail "want up or down, not \"$*\"; see --help"
    ;;
esac
