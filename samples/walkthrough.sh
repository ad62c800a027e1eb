#!/usr/bin/env bash
# Plays one of the pages in this folder: runs its commands and checks their output.
set -uo pipefail

usage() {
  cat <<'TEXT'
Usage: samples/walkthrough.sh PAGE [--offline] [--pause] [--keep]

PAGE is a walk-through: https, tls-origination, books-only, both,
egress-gateway, ambient, envoy, or a Markdown file with a section "Clean up".
All but envoy run in kubectl's current context and namespace, where Bookinfo
must be installed.

  --offline  use the stand-in for Google Books: play offline.md first, and use
             deploy/offline/X for deploy/X
  --pause    for an audience: show the text and the YAML of the page too, and
             wait for Enter before each command
  --keep     leave everything but background programs in place at the end, even
             after a failure
  --help     show this text

Each shell block at the left margin is run. If a text block follows it, the
output must match: "…" stands for any text in a line, and a line of "…" for any
lines. A block that changes nothing is repeated until its output matches, for at
most WALKTHROUGH_WAIT seconds (90). The page's section "Clean up" is also run
after a failure or Ctrl-C. A page whose first line is <!-- needs: PROGRAM… -->
needs these programs, but no cluster.

Exit status: 0 everything matched, 1 something did not, 2 nothing was started,
130 Ctrl-C.
TEXT
}

refuse() {
  settle
  echo "walkthrough: $*" >&2
  exit 2
}

# await WHAT [SECONDS [stream]] says what the script waits for and for how long, until settle is called. On a terminal,
# it rewrites a line every second. Elsewhere, it prints a line every ten seconds. It says nothing about short waits.
# With "stream", it also prints the output of the command as it comes.
await() {
  ticker=$((ticker + 1)) ticking=true
  (tick "$SECONDS" "$@" <&6 &) # in a subshell, so that a page can use $! and wait
}

settle() {
  [[ $ticking == true ]] || return 0
  echo "$ticker" >&6
  until [[ $ended == "$ticker" ]]; do read -r -t 2 ended <&5 || break; done # wait until tick has ended
  ticking=false
}

tick() {
  local start=$1 what=$2 limit=${3:-} mode=${4:-} end=$ticker line rest='' text room shown=false next=10
  trap '' HUP INT TERM # after Ctrl-C, clear the line, too
  while kill -0 $$ 2>/dev/null; do # end with the script, however it ends
    line=''
    read -r -t 1 line
    [[ $shown == false ]] || printf '\r\033[K' >&3
    shown=false
    while [[ $mode == stream ]] && { IFS= read -r text <&7 || { rest+=$text && false; }; }; do
      printf '%s\n' "$rest$text" >&3
      rest=''
    done
    [[ $line != "$end" ]] || break
    text=" ($((SECONDS - start)) s${limit:+ of $limit s})"
    if [[ $terminal == false ]] && ((SECONDS - start >= next)); then
      printf 'waiting for%s%s\n' "$what" "$text" >&3
      next=$((next + 10))
    elif [[ $terminal == true ]] && ((SECONDS - start >= 2)); then
      room=$((columns - ${#text} - 13))
      ((room <= 0 || ${#what} <= room)) || what=${what:0:room}…
      printf 'waiting for%s%s' "$what" "$text" >&3
      shown=true
    fi
  done
  printf '%s' "$rest" >&3
  echo "$end" >&5
}

# run evaluates a command in this shell, so that functions and variables persist.
run() {
  : >"$scratch/output"
  exec 7<"$scratch/output" # shared with tick, which reads it first
  await ": $(last "$1")" '' stream
  eval "$1" </dev/null >>"$scratch/output" 2>&1
  local status=$?
  settle
  cat <&7
  [[ -z $(tail -c 1 "$scratch/output") ]] || echo
  return "$status"
}

# last prints the last command of a block.
last() { sed -n -e '/^[^ }]/h' -e '${' -e 'g' -e 'p' -e '}' <<<"$1"; }

newline=$'\n' tab=$'\t'
commands=() expected=() headings=() slides=() clean_ups=()

# read_page appends the blocks of a page. Blocks in lists and quotations are for the reader only.
read_page() {
  local line heading='' fence='' text='' prose='' below=false
  while IFS= read -r line; do
    if [[ -z $fence ]]; then
      case $line in
        '## '*) heading=${line#'## '} line="== $heading" ;;
        '```'?*) fence=${line#'```'} text='' line='' ;;
        '') ;;
        *) below=false ;; # a text block belongs to a command only if no prose is in between
      esac
      prose+=$line$newline
    elif [[ $line != '```' ]]; then
      text+=$line$newline
    else
      case $fence in
        sh | "sh $network")
          [[ $heading != 'Clean up' ]] || clean_ups=("${#commands[@]}" ${clean_ups[@]+"${clean_ups[@]}"})
          text=$(use_stand_in <<<"$text")
          headings+=("$heading") commands+=("$text") expected+=('') slides+=("$prose$newline$(mark "$(show "$text")")")
          prose='' below=true
          ;;
        yaml)
          if [[ $below == true ]]; then slides[${#slides[@]} - 1]+=$newline$newline$(mark "$text"); else prose+=$(mark "$text")$newline; fi
          ;;
        text | json)
          if [[ $below == true ]]; then expected[${#commands[@]} - 1]=$text; else prose+=$(mark "$text")$newline; fi
          below=false
          ;;
        *) below=false ;;
      esac
      fence=''
    fi
  done <"$1"
}

# use_stand_in replaces deploy/X with deploy/offline/X if that folder exists.
use_stand_in() {
  local path twins=''
  [[ $network == offline ]] || { cat && return; }
  while IFS= read -r path; do
    twins+="|${path#deploy/offline/}"
  done < <(find deploy/offline -mindepth 2 -name kustomization.yaml -exec dirname {} \;)
  sed -E "s#deploy/(${twins#|})([^[:alnum:]_./-]|\$)#deploy/offline/\1\2#g"
}

# mark begins each line of code with a tab.
mark() {
  local text=${1%"$newline"}
  printf '%s\n' "$tab${text//"$newline"/$newline$tab}"
}

# slide prints a step for an audience. It folds prose to the width of the terminal, but neither code nor tables.
slide() {
  local line
  plain <<<"$1" | while IFS= read -r line; do
    if [[ $line != ["$tab|"]* ]] && ((${#line} > columns)); then
      fold -s -w "$columns" <<<"$line"
    else
      printf '%s\n' "${line#"$tab"}"
    fi
  done
}

# plain removes comments, fences, images and the targets of links from Markdown.
plain() {
  sed -e '/^<!--/d' -e '/^[> ]*```/d' | sed -e ':all' -e '$!{' -e 'N' -e 'b all' -e '}' \
    -e 's/!\[[^]]*\]([^)]*)//g' -e 's/\[\([^]]*\)\]([^)]*)/\1/g' | sed -e '/./,$!d' | cat -s
}

# uniform replaces what differs between two runs: times, ids, addresses, sizes, ages and the wording of kubectl.
uniform() {
  sed -E -e '/^Waiting for deployment /d' -e '/Warning: Sorting order is set /d' -e 's/ from [a-z0-9-]+ namespace$//' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/TIME/g' -e 's/ [0-9]+[smhd]([0-9]+[smhd])?$/ AGE/' \
    -e 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}/ID/g' \
    -e 's/[0-9]{1,3}(\.[0-9]{1,3}){3}(:[0-9]+)?/ADDRESS/g' \
    -e 's/,"trace_id":"[^"]*"//g' -e 's/"(bytes|ms|upstream_ms)":[0-9.]+/"\1":SIZE/g' \
    -e 's/bytes=[0-9]+/bytes=SIZE/g' \
    -e 's/ "-" [0-9]+ [0-9]+ [0-9]+ ([0-9]+|-) "/ "-" SIZES "/g'
}

# matches compares an output with the expected lines.
matches() {
  local line pattern=''
  while IFS= read -r line; do
    if [[ $line == … ]]; then
      pattern+="([^$newline]*$newline)*"
    else
      pattern+="${line//…/[^$newline]*}$newline"
    fi
  done < <(uniform <<<"${2%"$newline"}" | sed -e 's/[][\\.*^$+?(){}|]/\\&/g')
  [[ "$(uniform <<<"$1")$newline" =~ ^$pattern$ ]]
}

# shellcheck disable=SC2001 # sed, because bash replaces nothing at the start of each line
show() { sed -e 's/^[^ }]/$ &/' <<<"$1"; }
indent() { sed -e 's/^/    /'; }

# play runs a block until its output matches.
play() {
  local command=${commands[$1]} want=${expected[$1]} output status deadline=$((SECONDS + wait))
  if [[ $pause == true ]]; then
    echo
    slide "${slides[$1]}"
    [[ -z $(sed -E '/^[a-z_]+\(\) \{|^[ }]/d' <<<"$command") ]] || read -r -p '[Enter] ' _ # not before a definition
  else
    [[ ${headings[$1]} == "$heading" ]] || printf '\n== %s\n' "${headings[$1]}"
    heading=${headings[$1]}
    show "$command"
  fi
  if [[ $command =~ $changes ]]; then
    run "$command"
    status=$?
    output=$(<"$scratch/output")
    passes "$output" "$want" "$status" || fail "$output" "$want" "$status" streamed
  else
    await " the expected output of: $(last "$command")" "$wait"
    until
      : >"$scratch/output"
      eval "$command" </dev/null >>"$scratch/output" 2>&1
      status=$?
      output=$(<"$scratch/output")
      passes "$output" "$want" "$status"
    do
      ((SECONDS < deadline)) || fail "$output" "$want" "$status"
      sleep 2
    done
    settle
    [[ -z $output ]] || echo "$output"
  fi
  [[ -z $want ]] || echo 'PASS'
}

# passes OUTPUT WANT STATUS reports whether a block did what the page says.
passes() { if [[ -n $2 ]]; then matches "$1" "$2"; else ((!$3)); fi; }

# A block that matches this changes something, so it is not repeated.
changes='kubectl (annotate|apply|create|delete|label|patch|rollout|scale|set|wait) |go (build|run) |make |kill |\(\) \{'

fail() {
  settle
  if [[ -n $2 ]]; then
    printf 'FAIL Expected:\n%s\n' "$(indent <<<"${2%"$newline"}")"
  else
    printf 'FAIL Exit status %s\n' "$3"
  fi
  [[ -n ${4:-} ]] || printf 'The last output was:\n%s\n' "$(indent <<<"$1")"
  if [[ $needs != cluster ]]; then
    tail -n 5 "bin/$(basename "$page" .md)"/*.log 2>/dev/null | indent
    exit 1
  fi
  echo 'Pods, details, and the proxy:'
  await ' the cluster'
  {
    kubectl get pods -l 'app in (details, books-emulator)' -A
    kubectl logs -l app=details,version=v2 -c details --tail=3
    kubectl logs -l app=details,version=v2 -c istio-proxy --tail=5 || kubectl logs -n bookinfo-egress deployment/waypoint --tail=5
  } >"$scratch/output" 2>&1
  settle
  indent <"$scratch/output"
  exit 1
}

preflight() {
  local word hint
  for word in $needs; do
    hint=''
    [[ $word != envoy ]] || hint='; run "make envoy", which installs it'
    command -v "$word" >/dev/null || refuse "$word is not on the PATH$hint"
  done
  while IFS=: read -r _ word; do
    ! (: <"/dev/tcp/localhost/$word") 2>/dev/null || refuse "port $word is in use: end the program that listens on it"
  done < <(grep -oE 'localhost:[0-9]+' "$page")
}

preflight_cluster() {
  local words line names # names: the output of kubectl
  command -v kubectl >/dev/null || refuse 'kubectl is not on the PATH'
  [[ ${commands[*]} != *'go run '* ]] || command -v go >/dev/null || refuse '--offline makes a certificate with go, which is not on the PATH'
  await ' the cluster'
  kubectl get --raw=/version --request-timeout=10s >/dev/null 2>&1 || refuse 'kubectl cannot reach a cluster (see: kubectl cluster-info). To create one, run samples/cluster.sh up. To do without, run make envoy'
  names=$(kubectl api-resources --api-group=networking.istio.io -o name 2>/dev/null)
  [[ $names == *serviceentries* ]] || refuse 'Istio is not installed on this cluster: it has no ServiceEntry CRD'
  kubectl get service/details deployment/{productpage,ratings,details}-v1 -o name >/dev/null 2>&1 ||
    refuse "Bookinfo is not in the current namespace; apply Istio's samples/bookinfo/platform/kube/bookinfo.yaml"
  names=$(kubectl get pods -l app=ratings -o 'jsonpath={.items[*].metadata.annotations.ambient\.istio\.io/redirection} {.items[*].spec.containers[*].name} {.items[*].spec.initContainers[*].name}' 2>/dev/null)
  if [[ $page == *ambient.md ]]; then
    [[ $names == *enabled* ]] || refuse "Bookinfo's pods are not in the ambient mesh; label their namespace istio.io/dataplane-mode=ambient"
  else
    [[ $names == *istio-proxy* ]] || refuse "Bookinfo's pods have no sidecar; label their namespace istio-injection=enabled and restart them"
    kubectl get destinationrule/details -o name >/dev/null 2>&1 ||
      refuse "there is no DestinationRule details; apply Istio's samples/bookinfo/networking/destination-rule-all.yaml"
  fi
  names=$(kubectl get configmap/istio -n istio-system -o 'jsonpath={.data.mesh}' 2>/dev/null)
  [[ ! $names =~ accessLogFormat:|accessLogEncoding:\ *JSON ]] ||
    refuse 'the mesh has its own access log format, so its lines differ from those in the pages'
  [[ $network == offline ]] || kubectl get secret/google-books -o name >/dev/null 2>&1 ||
    refuse 'there is no Secret google-books, and Google refuses calls without an API key; see samples/README.md, or use --offline'
  [[ $network != offline || ! -e bin/certs ]] || refuse 'bin/certs already exists, and the page would delete it at the end; delete it first'
  # An object that already exists is not the page's: the page would overwrite it, and delete it at the end.
  while read -ra words; do
    [[ ${words[*]} == 'kubectl delete '* ]] || continue
    line="${words[*]:2}"
    read -ra words <<<"${line/ --cascade=foreground/}"
    names=$(kubectl get "${words[@]}" --ignore-not-found -o name 2>/dev/null) || refuse "the cluster cannot list $line"
    [[ -z $names ]] || refuse "already there, delete first: ${names//$newline/ }"
  done < <(for i in "${clean_ups[@]}"; do echo "${commands[$i]}"; done)
  settle
}

# finish ends the programs that the page has started, and cleans up unless the page was played to its end.
finish() {
  local status=$1 i line
  trap '' HUP INT TERM
  trap - EXIT
  exec >&3 2>&4 # Ctrl-C may arrive while the output of a block is captured
  settle
  # shellcheck disable=SC2046 # one word per process
  kill $(jobs -p) 2>/dev/null
  await ' the programs of the page'
  wait
  settle
  if [[ $begun == true && $keep == true ]]; then
    printf '\nEverything is left in place (--keep).\n'
  elif [[ $begun == true ]]; then
    printf '\n== Clean up\n'
    while IFS= read -r line; do
      [[ $line != 'kill '* ]] || continue
      line=${line/#kubectl delete/kubectl delete --ignore-not-found --timeout=60s}
      show "$line"
      run "$line" || { echo 'FAIL Not everything could be deleted' && status=$((status ? status : 1)); }
    done < <(for i in "${clean_ups[@]}"; do echo "${commands[$i]}"; done)
  fi
  rm -rf "$scratch"
  [[ $begun == false || $played == true ]] || status=$((status ? status : 1)) # a block may have said "exit 0"
  case $status in
    0) ;;
    1) printf '\nFAIL %s\n' "${page#"$PWD/"}" ;;
    *) [[ $begun == false ]] || printf '\nSTOPPED %s\n' "${page#"$PWD/"}" ;;
  esac
  exit "$status"
}

page='' network=online needs=cluster pause=false keep=false begun=false heading='' wait=${WALKTHROUGH_WAIT:-90}
terminal=false ticker=0 ticking=false ended='' played=false
[[ ! -t 1 ]] || terminal=true
columns=$(stty size 2>/dev/null)
columns=${COLUMNS:-${columns#* }}
((columns > 0)) || columns=120
for argument; do
  case $argument in
    --offline) network=offline ;;
    --pause) pause=true ;;
    --keep) keep=true ;;
    --help | -h) usage && exit ;;
    -*) refuse "unknown argument \"$argument\"; see --help" ;;
    *)
      [[ -z $page ]] || refuse 'only one PAGE at a time; see --help'
      page=$argument
      ;;
  esac
done
[[ -n $page ]] || refuse 'missing PAGE; see --help'
[[ $page != *.md || ! -f $page ]] || page=$(cd "$(dirname "$page")" && pwd)/$(basename "$page")
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
[[ ! -d bin/venv ]] || PATH=$PWD/bin/venv/bin:$PATH # of make envoy
[[ $page == /* ]] || page=samples/${page%.md}.md
[[ -f $page ]] || refuse "there is no page $page; the pages are https, tls-origination, books-only, both, egress-gateway, ambient and envoy"
[[ $wait =~ ^[1-9][0-9]*$ ]] || refuse 'WALKTHROUGH_WAIT must be a number of seconds'

first=''
IFS= read -r first <"$page"
if [[ $first == '<!-- needs: '*' -->' ]]; then
  needs=${first#'<!-- needs: '}
  needs=${needs%' -->'} network=online
fi
[[ $network == online ]] || read_page samples/offline.md
read_page "$page"
[[ ${#clean_ups[@]} -gt 0 ]] || refuse "$page is not a walk-through: it has no section \"Clean up\""
scratch=$(mktemp -d)
mkfifo "$scratch/ended" "$scratch/settle"
exec 3>&1 4>&2 5<>"$scratch/ended" 6<>"$scratch/settle"
trap 'finish $?' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
if [[ $needs == cluster ]]; then preflight_cluster; else preflight; fi
begun=true
for i in "${!commands[@]}"; do
  [[ ${headings[$i]} == 'Clean up' ]] || play "$i"
done
if [[ $keep == false ]]; then
  for i in "${clean_ups[@]}"; do play "$i"; done
  begun=false
fi
played=true
printf '\nPASS %s, from end to end\n' "${page#"$PWD/"}"
