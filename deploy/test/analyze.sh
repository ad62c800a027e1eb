#!/usr/bin/env bash
# Runs `istioctl analyze` without a cluster, over every mode in testdata/modes. Any message is a failure.
#
# ISTIOCTL is the program to use. If it is unset, the script builds the version below, which takes five to eight
# minutes, and keeps it in the user's cache folder.
set -euo pipefail

readonly version=v0.0.0-20260827124520-eed52ebb66ad
readonly bin=${XDG_CACHE_HOME:-$HOME/.cache}/bookinfo/istioctl-$version
readonly istioctl=${ISTIOCTL:-$bin/istioctl}

if [[ -z ${ISTIOCTL:-} && ! -x $istioctl ]]; then
  echo "analyze: compiling istioctl $version into $bin. The first run takes five to eight minutes." >&2
  (cd / && GOBIN=$bin GOFLAGS='' go install "istio.io/istio/istioctl/cmd/istioctl@$version")
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# objects NAME... prints the objects in folders and files. It sets the namespace default on objects without a namespace,
# because istioctl does not: `analyze -A` would report exportTo ".", and `analyze -n default` skips other namespaces.
objects() {
  local name
  for name in "$@" test/testdata/bookinfo.yaml; do
    if [[ -d $name ]]; then kubectl kustomize "$name"; else cat "$name"; fi
    echo ---
  done | awk 'BEGIN { RS = "---\n" }
    !/(^|\n)kind: Namespace\n/ && !/\n  namespace: / { sub(/\nmetadata:\n/, "\nmetadata:\n  namespace: default\n") }
    NF { printf "---\n%s", $0 }'
}

analyze() {
  "$istioctl" analyze --use-kube=false --failure-threshold=Info --color=false -A - 2>&1
}

failed=0
while read -ra mode; do
  if report=$(objects "${mode[@]}" | analyze); then
    echo "analyze: ${mode[*]}: no message"
  else
    echo "analyze: ${mode[*]}: $report"
    failed=1
  fi
done <test/testdata/modes

# Two deliberate mistakes. If istioctl does not report them, it analyzed nothing above.
[[ $(objects egress/https egress/tls-origination | analyze) == *IST0109* ]] || { echo 'analyze: no IST0109 for two modes'; failed=1; }
[[ $(objects egress/ambient | grep -v caCertificates | analyze) == *IST0129* ]] || { echo 'analyze: no IST0129 in ambient'; failed=1; }

exit "$failed"
