#!/usr/bin/env bash
# Runs one of the walk-throughs beside this file on the current cluster, and checks each of its steps.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
Usage: samples/walkthrough.sh MODE [--offline] [--keep]

MODE is the walk-through to run in kubectl's current context and namespace, where Bookinfo runs:
  https            details encrypts by itself; the mesh sees a name
  tls-origination  the sidecar encrypts; the mesh sees each request
  books-only       the same, and nothing but the Books API leaves
  ambient          a waypoint encrypts, for all pods without a sidecar

  --offline  call a stand-in in the cluster instead of Google (needs go)
  --keep     leave everything in place at the end, also after a failure
  --help     this text

Every command is shown before it runs, every check says PASS or FAIL. Whatever was applied is deleted at the end,
after a failure and on Ctrl-C. WALKTHROUGH_WAIT (90) is the time in seconds that a step may take.

Exit status: 0 all steps passed, 1 one did not, 2 nothing was begun, 130 Ctrl-C.
TEXT
}

# refuse ends the program before anything was changed.
refuse() {
  echo "walkthrough: $*" >&2
  exit 2
}

# fail ends it, with what the clean-up would take away: the state of the pod and its last words.
fail() {
  echo "FAIL $*"
  kubectl get pods -l app=details,version=v2 || true
  kubectl logs -l app=details,version=v2 -c details --tail=2 || true
  exit 1
}

step() { printf '\n== %s\n' "$*"; }

# show writes a command so that it can be pasted.
show() {
  local word line='+'
  for word; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@+-]+$ ]] || word="'$word'"
    line+=" $word"
  done
  echo "$line"
}

run() {
  show "$@"
  "$@" || fail "$*"
}

# attempt is run for what must not end the clean-up.
attempt() {
  show "$@"
  "$@"
}

# expect WHAT TEXT COMMAND... asks until the command's output holds the text.
expect() {
  local what=$1 text=$2 output='' deadline=$((SECONDS + wait))
  shift 2
  show "$@"
  while true; do
    output=$("$@" 2>&1) || true
    if [[ $output == *"$text"* ]]; then
      echo "PASS $what: $text"
      return
    fi
    ((SECONDS < deadline)) || break
    sleep 2
  done
  tail -n 5 <<<"$output"
  fail "$what: no \"$text\" within $wait s; its last answer ends as above"
}

from_ratings() { # WHAT TEXT CURL-ARGUMENTS...: a pod of the mesh that has curl
  expect "$1" "$2" kubectl exec deployment/ratings-v1 -c ratings -- curl -sS --max-time 10 "${@:3}"
}
page_says() { from_ratings 'productpage shows' "$1" http://productpage:9080/productpage; }
details_says() {
  from_ratings 'details answers' "$1" http://details:9080/details/0
  expect 'details logs' "$1" kubectl logs -l app=details,version=v2 -c details --tail=100
}
rolled_out() {
  run kubectl rollout status "$@" "--timeout=${wait}s"
  echo "PASS $1 runs"
}

# google_refused WHAT URL...: a request that the policy must not let out. The address belongs to nobody (TEST-NET-1): a
# sidecar goes by the name, and needs none that resolves; ztunnel goes by addresses.
google_refused() {
  local resolve=(--resolve www.googleapis.com:80:192.0.2.1)
  [[ $mode != ambient ]] || resolve=()
  from_ratings "$1" "$refusal" ${resolve[@]+"${resolve[@]}"} "${@:2}"
}

preflight() {
  local names object words
  command -v kubectl >/dev/null || refuse 'there is no kubectl on the PATH'
  kubectl get --raw=/version --request-timeout=10s >/dev/null 2>&1 ||
    refuse 'kubectl reaches no cluster; look at: kubectl cluster-info'
  names=$(kubectl api-resources --api-group=networking.istio.io -o name 2>/dev/null || true)
  [[ $names == *serviceentries* ]] || refuse 'Istio is not installed on this cluster: it knows no ServiceEntry'
  kubectl get service/details deployment/{productpage,ratings,details}-v1 -o name >/dev/null 2>&1 ||
    refuse "Bookinfo does not run in the current namespace; apply Istio's samples/bookinfo/platform/kube/bookinfo.yaml"

  if [[ $mode == ambient ]]; then
    names=$(kubectl get pods -l app=ratings -o 'jsonpath={.items[*].metadata.annotations.ambient\.istio\.io/redirection}' 2>/dev/null || true)
    [[ $names == *enabled* ]] || refuse 'the pods of Bookinfo are not in the ambient mesh; label their namespace istio.io/dataplane-mode=ambient'
    kubectl get gatewayclass/istio-waypoint -o name >/dev/null 2>&1 ||
      refuse 'there is no GatewayClass istio-waypoint; install the Gateway API and Istio with the ambient profile'
  else
    names=$(kubectl get pods -l app=ratings -o 'jsonpath={.items[*].spec.containers[*].name} {.items[*].spec.initContainers[*].name}' 2>/dev/null || true)
    [[ $names == *istio-proxy* ]] || refuse 'the pods of Bookinfo have no sidecar; label their namespace istio-injection=enabled and restart them'
    kubectl get destinationrule/details -o name >/dev/null 2>&1 ||
      refuse "there is no DestinationRule details; apply Istio's samples/bookinfo/networking/destination-rule-all.yaml"
  fi

  if [[ $offline == true ]]; then
    command -v go >/dev/null || refuse '--offline makes a certificate with go, which is not on the PATH'
  else
    kubectl get secret/google-books -o name >/dev/null 2>&1 ||
      refuse 'there is no Secret google-books, and Google answers nobody without an API key; samples/README.md has the line, or take --offline'
  fi

  # What is there already is somebody's: it would be overwritten, and deleted at the end.
  for object in "${objects[@]}"; do
    read -ra words <<<"$object"
    names=$(kubectl get "${words[@]}" --ignore-not-found -o name 2>/dev/null) || refuse "the cluster does not know every kind of $object"
    [[ -z $names ]] || refuse "already there, delete first: ${names//$'\n'/ }"
  done
}

clean_up() {
  local object words failed=false
  step 'Clean up'
  for object in "${objects[@]}"; do
    read -ra words <<<"$object"
    attempt kubectl delete "${words[@]}" --ignore-not-found --timeout=60s || failed=true
  done
  if [[ $mode == ambient ]]; then
    attempt kubectl scale deployment/details-v1 --replicas=1 || failed=true
  fi
  [[ $failed == false ]]
}

finish() {
  local status=$1
  trap '' INT TERM
  trap - EXIT
  [[ -z $certs ]] || rm -rf "$certs"
  if [[ $begun == true && $keep == true ]]; then
    printf '\nEverything is left in place, as --keep says.\n'
  elif [[ $begun == true ]] && ! clean_up; then
    echo 'FAIL not everything could be deleted'
    ((status != 0)) || status=1
  fi
  exit "$status"
}

stand_in() {
  step 'Bring the stand-in for Google Books'
  certs=$(mktemp -d)
  run go run ./cmd/books-emulator certs --out "$certs"
  run kubectl apply -k deploy/offline/emulator
  run kubectl create secret tls books-emulator-tls -n books-emulator "--cert=$certs/tls.crt" "--key=$certs/tls.key"
  if [[ $mode == ambient ]]; then
    run kubectl apply -f deploy/ambient/namespace.yaml
    run kubectl create configmap books-emulator-ca -n istio-egress "--from-file=ca.crt=$certs/ca.pem"
  else
    run kubectl create configmap books-emulator-ca "--from-file=$certs/ca.pem"
  fi
  rolled_out deployment/books-emulator -n books-emulator
}

deploy() {
  step 'Deploy details v2'
  if [[ $mode == ambient ]]; then
    # ztunnel follows no VirtualService: v2 alone has to be there. And what it sends now leaves in clear text: no key.
    run kubectl scale deployment/details-v1 --replicas=0
    echo "+ kubectl set env --local -f deploy/details-v2/deployment.yaml GOOGLE_BOOKS_API_KEY- -o yaml | kubectl apply -f -"
    kubectl set env --local -f deploy/details-v2/deployment.yaml GOOGLE_BOOKS_API_KEY- -o yaml | kubectl apply -f - || fail 'details v2 without a key'
  else
    # The block first: nothing leaves before the mesh encrypts.
    run kubectl apply -f deploy/books-only/sidecar.yaml
    run kubectl apply -k deploy/access-log
    run kubectl apply -k "$workload"
    if [[ $mode == https && $offline == true ]]; then
      run kubectl set env deployment/details-v2 DO_NOT_ENCRYPT=false
    fi
  fi
  rolled_out deployment/details-v2
}

fix() {
  run kubectl apply -k "$egress"
  if [[ $mode == ambient ]]; then
    run kubectl wait -n istio-egress --for=condition=Programmed gateways.gateway.networking.k8s.io/waypoint "--timeout=${wait}s"
    run kubectl apply -f deploy/details-v2/deployment.yaml
    rolled_out deployment/details-v2
  fi
  page_says 0486424618
}

look() {
  step 'Look at what the mesh saw'
  case $mode in
    https) expect 'the sidecar logs a name' 'outbound|443||www.googleapis.com' kubectl logs -l app=details,version=v2 -c istio-proxy --tail=100 ;;
    ambient) expect 'the waypoint logs the request' "$request" kubectl logs -n istio-egress deployment/waypoint --tail=100 ;;
    *) expect 'the sidecar logs the request' "$request" kubectl logs -l app=details,version=v2 -c istio-proxy --tail=100 ;;
  esac
}

try_the_policy() {
  step 'Try what may not leave'
  google_refused 'another API is refused' http://www.googleapis.com/calendar/v3/users/me/calendarList
  google_refused 'another path is refused' http://www.googleapis.com/books/v1/volumes/sampleComed1
  google_refused 'another method is refused' -X POST http://www.googleapis.com/books/v1/volumes
  if [[ $mode == books-only ]]; then
    step "Go round it with HTTPS of the service's own"
    run kubectl set env deployment/details-v2 DO_NOT_ENCRYPT=false
    rolled_out deployment/details-v2
    page_says "$sorry"
    details_says 'nothing answered for www.googleapis.com:443'
    run kubectl set env deployment/details-v2 DO_NOT_ENCRYPT=true
    rolled_out deployment/details-v2
    page_says 0486424618
  fi
}

take_away() {
  step 'Take the way to Google away'
  if [[ $mode == ambient ]]; then
    run kubectl set env deployment/details-v2 GOOGLE_BOOKS_API_KEY-
    rolled_out deployment/details-v2
    run kubectl delete serviceentry googleapis -n istio-egress
  else
    run kubectl delete serviceentry googleapis
  fi
  page_says "$sorry"
}

mode='' offline=false keep=false begun=false certs='' wait=${WALKTHROUGH_WAIT:-90}
for argument; do
  case $argument in
    https | tls-origination | books-only | ambient)
      [[ -z $mode ]] || refuse "one mode at a time; --help tells more"
      mode=$argument
      ;;
    --offline) offline=true ;;
    --keep) keep=true ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) refuse "what is $argument? --help tells what there is" ;;
  esac
done
[[ -n $mode ]] || refuse 'which mode? https, tls-origination, books-only or ambient; --help tells more'
[[ $wait =~ ^[1-9][0-9]*$ ]] || refuse 'WALKTHROUGH_WAIT is a number of seconds'

sorry='Error fetching product details'
request='GET /books/v1/volumes?q=isbn:0486424618'
refusal='egress policy: only GET /books/v1/volumes may leave'
reason='nothing answered for www.googleapis.com:80'
egress=deploy/$mode workload=deploy/details-v2
case $mode in
  https) reason='nothing answered for www.googleapis.com:443' workload=deploy/details-v2-https ;;
  ambient) reason=sslRequired refusal='RBAC: access denied' ;;
esac
if [[ $offline == true ]]; then
  egress=deploy/offline/$mode workload=deploy/offline/details-v2
  [[ $mode != ambient ]] || reason='"error":' # without internet it is another one
fi

# Everything that is applied, as arguments for kubectl get and delete, in the order in which it is deleted: the workload
# first, because without the mesh's objects it might send clear text to Google.
objects=("-k $workload" "-k $egress")
[[ $mode != ambient ]] || objects=('-f deploy/details-v2/deployment.yaml' "-k $egress")
case $mode in
  https | tls-origination) objects+=('-k deploy/access-log' '-f deploy/books-only/sidecar.yaml') ;;
  books-only) objects+=('-k deploy/access-log') ;;
esac
if [[ $offline == true ]]; then
  objects+=('-k deploy/offline/emulator')
  [[ $mode == ambient ]] || objects+=(configmap/books-emulator-ca) # there it goes with its namespace
fi

trap 'finish $?' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
preflight
begun=true
[[ $offline == false ]] || stand_in
deploy
step 'See the error'
page_says "$sorry"
details_says "$reason"
step 'Fix it'
fix
look
case $mode in books-only | ambient) try_the_policy ;; esac
take_away
step 'Bring it back'
fix
printf '\nPASS the %s walk-through, from end to end\n' "$mode"
