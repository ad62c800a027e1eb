#!/usr/bin/env bash
# Runs `istioctl analyze`, without a cluster, over every mode together with what Bookinfo itself brings: any message, an
# informational one too, is a failure.
#
# ISTIOCTL names the program to use. Without it one is built, at the version below, and kept in the user's cache folder:
# five to eight minutes, once.
set -euo pipefail

readonly version=v0.0.0-20260827124520-eed52ebb66ad

test_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly test_dir
readonly deploy_dir=$test_dir/..

istioctl=${ISTIOCTL:-}
if [[ -z $istioctl ]]; then
  bin=${XDG_CACHE_HOME:-$HOME/.cache}/bookinfo/istioctl-$version
  istioctl=$bin/istioctl
  if [[ ! -x $istioctl ]]; then
    echo "analyze: building istioctl $version into $bin" >&2
    (cd / && GOBIN=$bin GOFLAGS='' go install "istio.io/istio/istioctl/cmd/istioctl@$version")
  fi
fi

work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

failed=0

# analyze NAME FILE... reports on these files, and counts a message as a failure.
analyze() {
  local name=$1 report
  shift
  if report=$("$istioctl" analyze --use-kube=false --failure-threshold=Info --color=false -n default \
    "$test_dir/testdata/bookinfo.yaml" "$@" 2>&1); then
    echo "analyze: $name: no message"
  else
    echo "analyze: $name:" "$report" >&2
    failed=1
  fi
}

# mode FOLDER... analyzes what one cluster holds after these folders are applied.
mode() {
  local files=() folder
  for folder in "$@"; do
    kubectl kustomize "$deploy_dir/$folder" >"$work/${folder//\//-}.yaml"
    files+=("$work/${folder//\//-}.yaml")
  done
  analyze "$*" "${files[@]}"
}

mode details-v2
mode details-v2-https
mode details-v2-https https
mode details-v2 tls-origination
mode details-v2 both
mode details-v2-https both
mode details-v2 books-only
mode details-v2 ambient
mode details-v2 tls-origination access-log
mode details-v2 scale
mode offline
mode offline/emulator offline/details-v2 offline/https
mode offline/emulator offline/details-v2 offline/tls-origination
mode offline/emulator offline/details-v2 offline/both
mode offline/emulator offline/details-v2 offline/books-only

# Of the workload the Deployment alone: the route takes the place of its VirtualService.
kubectl kustomize "$deploy_dir/gateway-api" >"$work/gateway-api.yaml"
analyze 'details-v2/deployment.yaml gateway-api' "$deploy_dir/details-v2/deployment.yaml" "$work/gateway-api.yaml"

# Two modes at once are known to conflict (IST0109). If that goes unreported, nothing above was analyzed.
cat "$work/https.yaml" <(echo ---) "$work/tls-origination.yaml" >"$work/conflict.yaml"
if report=$("$istioctl" analyze --use-kube=false --color=false -n default "$work/conflict.yaml" 2>&1) || [[ $report != *IST0109* ]]; then
  echo "analyze: istioctl does not report a known conflict:" >&2
  echo "$report" >&2
  exit 1
fi

exit "$failed"
