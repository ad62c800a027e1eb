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

# in_default gives the namespace default to what names none, as `kubectl apply` would. Without it, `istioctl analyze -A`
# takes exportTo "." for an error, and `-n default` passes over the messages of all other namespaces.
in_default() {
  awk 'BEGIN { RS = "---\n" }
    !/(^|\n)kind: Namespace\n/ && !/\n  namespace: / { sub(/\nmetadata:\n/, "\nmetadata:\n  namespace: default\n") }
    { printf "---\n%s", $0 }'
}

# analyze NAME FILE... reports on these files, and counts a message as a failure.
analyze() {
  local name=$1 report
  shift
  if report=$("$istioctl" analyze --use-kube=false --failure-threshold=Info --color=false -A \
    "$work/bookinfo.yaml" "$@" 2>&1); then
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
    kubectl kustomize "$deploy_dir/$folder" | in_default >"$work/${folder//\//-}.yaml"
    files+=("$work/${folder//\//-}.yaml")
  done
  analyze "$*" "${files[@]}"
}

in_default <"$test_dir/testdata/bookinfo.yaml" >"$work/bookinfo.yaml"

mode details-v2
mode details-v2-https
mode details-v2-https https
mode details-v2 tls-origination
mode details-v2 both
mode details-v2-https both
mode details-v2 books-only
mode details-v2 egress-gateway network-policy
mode details-v2 ambient
mode details-v2 tls-origination access-log
mode details-v2 scale
mode offline
mode offline/emulator offline/details-v2-https offline/https
mode offline/emulator offline/details-v2 offline/tls-origination
mode offline/emulator offline/details-v2 offline/both
mode offline/emulator offline/details-v2 offline/books-only
mode offline/emulator offline/details-v2 offline/egress-gateway
mode offline/emulator details-v2 offline/ambient

# Of the workload the Deployment alone: the route takes the place of its VirtualService.
kubectl kustomize "$deploy_dir/gateway-api" | in_default >"$work/gateway-api.yaml"
in_default <"$deploy_dir/details-v2/deployment.yaml" >"$work/deployment.yaml"
analyze 'details-v2/deployment.yaml gateway-api' "$work/deployment.yaml" "$work/gateway-api.yaml"

# must_report CODE WHAT FILE...: what is known to be wrong. If that goes unreported, nothing above was analyzed.
must_report() {
  local code=$1 what=$2 report
  shift 2
  if report=$("$istioctl" analyze --use-kube=false --failure-threshold=Info --color=false -A "$@" 2>&1) || [[ $report != *$code* ]]; then
    echo "analyze: istioctl does not report $what ($code):" >&2
    echo "$report" >&2
    exit 1
  fi
}

cat "$work/https.yaml" "$work/tls-origination.yaml" >"$work/conflict.yaml"
must_report IST0109 'two modes at once' "$work/conflict.yaml"
grep -v caCertificates "$work/ambient.yaml" >"$work/unchecked.yaml"
must_report IST0129 'a mistake in another namespace' "$work/unchecked.yaml"

exit "$failed"
