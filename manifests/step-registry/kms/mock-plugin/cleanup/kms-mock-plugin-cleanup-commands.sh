#!/bin/bash
# Written by scripts/steps; edit manifests/step-templates or manifests/overlays instead.
# Keeps the evidence, turns encryption off where that is asked for, and removes what the deploy step made in the cluster. On
# the nodes stay /var/lib/mock-kms-plugin/{cache,state}, and the socket of a pod whose supervisor was killed and was not
# running again when the pod went: nothing runs there any more that could be asked to remove it.
set -euo pipefail

# What every step has: its log, its client, the nodes and their pods, and a JUnit file.

step=kms-mock-plugin-cleanup
# What the job left open.
KMS_PLUGIN_NAMESPACE=${KMS_PLUGIN_NAMESPACE-kms-plugin-test}
KMS_RESOURCES=${KMS_RESOURCES-secrets}
KMS_DECRYPT_FIRST=${KMS_DECRYPT_FIRST-false}
KMS_MIGRATION_TIMEOUT=${KMS_MIGRATION_TIMEOUT-60m}
KMS_CLEANUP_TIMEOUT=${KMS_CLEANUP_TIMEOUT-5m}
KMS_POLL_SECONDS=${KMS_POLL_SECONDS-5}
for directory in SHARED_DIR ARTIFACT_DIR; do
  [ -d "${!directory:-}" ] || {
    echo "${step}: ${directory} is not a directory; the step registry sets it, elsewhere name any directory" >&2
    exit 2
  }
done
if [ -f "${SHARED_DIR}/proxy-conf.sh" ]; then
  # shellcheck source=/dev/null
  source "${SHARED_DIR}/proxy-conf.sh"
fi

say() { printf '%s %s: %s\n' "$(date -u +%H:%M:%SZ)" "${step}" "$*"; }

last_words='it ended before it was done; its log may say why'
stop() { # stop CODE TEXT...: the cause and the next step on one line
  local code=$1
  shift
  last_words=$*
  say "$@" >&2
  exit "${code}"
}
finish() { # finish TEXT: the last thing that a step does
  last_words=
  say "$@"
}

xml() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g' | tr -d '\000-\010\013\014\016-\037'; }

# A JUnit case for each call: passed NAME, failed NAME TEXT, skipped NAME TEXT. The file is written at the end of the step,
# whatever it is; a step that failed has a failure in it.
cases=() failures=0 skips=0
passed() { cases+=("  <testcase classname=\"${step}\" name=\"$(xml <<<"$1")\"/>"); }
failed() {
  failures=$((failures + 1))
  cases+=("  <testcase classname=\"${step}\" name=\"$(xml <<<"$1")\"><failure>$(xml <<<"$2")</failure></testcase>")
}
skipped() {
  skips=$((skips + 1))
  cases+=("  <testcase classname=\"${step}\" name=\"$(xml <<<"$1")\"><skipped message=\"$(xml <<<"$2")\"/></testcase>")
}
write_junit() {
  [ -z "${last_words}" ] || [ "${failures}" -gt 0 ] || failed "${step}" "${last_words}"
  {
    echo '<?xml version="1.0" encoding="UTF-8"?>'
    echo "<testsuite name=\"${step}\" tests=\"${#cases[@]}\" failures=\"${failures}\" skipped=\"${skips}\" time=\"${SECONDS}\">"
    [ ${#cases[@]} = 0 ] || printf '%s\n' "${cases[@]}"
    echo '</testsuite>'
  } >"${ARTIFACT_DIR}/junit_${step}.xml"
}
trap write_junit EXIT

client=$(command -v oc || command -v kubectl) || stop 2 "there is neither oc nor kubectl in PATH; use an image that has one"
kube() { "${client}" "$@"; }
in_namespace() { kube -n "${KMS_PLUGIN_NAMESPACE}" "$@"; }
in_pod() { # in_pod POD COMMAND...: input is passed on; a node that does not answer holds nothing up
  local pod=$1
  shift
  timeout 60 "${client}" -n "${KMS_PLUGIN_NAMESPACE}" exec -i "${pod}" -c supervisor -- "$@"
}
words_of_program() { sed '/^command terminated with exit code /d'; } # what in_pod says without the client's own last line
last_error_of() { { "$@" 2>&1 >/dev/null || true; } | words_of_program | tail -n 1; } # last_error_of in_pod POD COMMAND...
# Asks the cluster what it is, once: a server that does not answer for a moment must not pass for another kind of cluster.
api_groups=
reach_cluster() {
  local answer tries=0
  until answer=$(timeout 60 "${client}" get --raw /apis 2>&1); do
    tries=$((tries + 1))
    [ ${tries} -lt 12 ] || stop 3 "no cluster answers: $(tail -n 1 <<<"${answer}"); KUBECONFIG must name one"
    pause
  done
  api_groups=${answer}
}
is_openshift() { [[ ${api_groups} == *'"config.openshift.io"'* ]]; }

must_fit() { # must_fit VARIABLE PATTERN WANTED: stops the step unless the whole value fits
  [[ ${!1-} =~ ^($2)$ ]] || stop 2 "$1='${!1-}' is not $3"
}

seconds_of() { # seconds_of VARIABLE: leaves in `length` the duration that it holds
  must_fit "$1" '[0-9]{1,6}[smh]?' 'a duration; write it as 90s, 15m or 1h'
  length=$((10#${!1//[smh]/}))
  case ${!1} in
    *h) length=$((length * 3600)) ;;
    *m) length=$((length * 60)) ;;
  esac
}

: "${KMS_POLL_SECONDS:=5}"
must_fit KMS_POLL_SECONDS '[0-9]{1,4}' 'a number of seconds'
must_fit KMS_PLUGIN_NAMESPACE '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?' 'the name of a namespace'
pause() { sleep "${KMS_POLL_SECONDS}"; }

control_plane_nodes() { # one name a line
  {
    kube get nodes -l node-role.kubernetes.io/control-plane -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' &&
      kube get nodes -l node-role.kubernetes.io/master -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'
  } | sort -u | sed '/^$/d'
}

# pod_table SELECTOR: "POD NODE PHASE" of each pod, one a line, and behind it since when it is being deleted. There may be
# pods of a second instance beside those that the deploy step made.
pod_table() {
  in_namespace get pods -l "$1" -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.spec.nodeName}{" "}{.status.phase}{" "}{.metadata.deletionTimestamp}{"\n"}{end}'
}

pod_on() { # pod_on NODE TABLE: its pod that stays, or nothing
  awk -v node="$1" '$2 == node && $4 == "" { print $1; exit }' <<<"$2"
}
# How far encryption has come. Both functions leave the last word in `progress`, and have KMS_MIGRATION_TIMEOUT each.

progress='nothing was answered yet'
seconds_of KMS_MIGRATION_TIMEOUT
migration_length=${length}
must_fit KMS_RESOURCES '[a-z0-9.-]+(,[a-z0-9.-]+)*' 'a list of resources; write it as secrets,configmaps'

# wait_for_operators REASONS: until all operators that store encrypted resources give one of these (A|B) in their condition
# Encrypted. An API server that rolls out may not answer for a while.
wait_for_operators() {
  local operator line lacking said='' deadline=$((SECONDS + migration_length))
  while :; do
    lacking=
    for operator in openshiftapiserver kubeapiserver authentication; do # config.openshift.io has an authentication too
      line=$(kube get "${operator}.operator.openshift.io" cluster -o 'jsonpath={range .status.conditions[?(@.type=="Encrypted")]}{.reason}{": "}{.message}{end}' 2>/dev/null) || line='does not answer'
      [[ ${line} =~ ^($1): ]] || lacking+="${operator}: ${line:-has no condition Encrypted yet}. "
    done
    [ -n "${lacking}" ] || return 0
    progress=${lacking% }
    if [ "${progress}" != "${said}" ]; then
      say "${progress}"
      said=${progress}
    fi
    [ ${SECONDS} -lt "${deadline}" ] || return 1
    pause
  done
}

# Writes every object of KMS_RESOURCES again, namespace by namespace, so that it is stored under the present configuration.
rewrite_resources() {
  local resource namespaces namespace count done_count=0 error said='' deadline=$((SECONDS + migration_length))
  namespaces=$(kube get namespaces -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}') || {
    progress='the namespaces cannot be listed'
    return 1
  }
  count=$(wc -w <<<"${namespaces}")
  for namespace in ${namespaces}; do
    for resource in ${KMS_RESOURCES//,/ }; do
      error='the time is up'
      # A write in between is a conflict, and the next try reads the newer object.
      until [ ${SECONDS} -lt "${deadline}" ] && error=$({ kube -n "${namespace}" get "${resource}" -o json | kube replace -f - >/dev/null; } 2>&1); do
        progress="${resource} in namespace ${namespace} cannot be rewritten (${done_count} of ${count} namespaces are done): $(tail -n 1 <<<"${error}")"
        [ ${SECONDS} -lt "${deadline}" ] || return 1
        [ "${progress}" = "${said}" ] || say "${progress}; trying again"
        said=${progress}
        pause
      done
    done
    done_count=$((done_count + 1))
    say "rewritten: ${done_count} of ${count} namespaces"
  done
}

must_fit KMS_DECRYPT_FIRST 'true|false' 'true or false'
seconds_of KMS_CLEANUP_TIMEOUT
reach_cluster
evidence=${ARTIFACT_DIR}/kms-mock-plugin

keep() { # keep FILE COMMAND...: what a command prints, its errors too; a command that fails loses nothing else
  local file=$1
  shift
  mkdir -p "${file%/*}"
  "$@" >"${file}" 2>&1 </dev/null || say "incomplete: ${file#"${ARTIFACT_DIR}/"}"
}

log_of() { # log_of POD CONTAINER [OPTION]
  timeout 60 "${client}" -n "${KMS_PLUGIN_NAMESPACE}" logs "$1" -c "${@:2}"
}

objects() { # without the credentials that the address of a repository may hold
  in_namespace get daemonsets,pods,configmaps -o yaml | sed -E 's,(://)[^/[:space:]"]*@,\1***@,g'
}

collect() {
  local pod node phase _ directory table
  keep "${evidence}/objects.yaml" objects
  keep "${evidence}/events.txt" in_namespace get events --sort-by=.lastTimestamp
  table=$(pod_table app=mock-kms-plugin 2>/dev/null) || table=
  while read -r pod node phase _; do
    [ -n "${pod}" ] || continue
    [ -n "${phase}" ] || node=no-node # such a line is "POD PHASE"
    directory=${evidence}/${node}/${pod}
    keep "${directory}/build-plugin.log" log_of "${pod}" build-plugin
    keep "${directory}/supervisor.log" log_of "${pod}" supervisor
    log_of "${pod}" supervisor --previous >"${directory}/supervisor-previous.log" 2>/dev/null </dev/null ||
      rm -f "${directory}/supervisor-previous.log" # there is one only after a restart
    keep "${directory}/status.json" in_pod "${pod}" supervisor status -o json
    keep "${directory}/events.json" in_pod "${pod}" supervisor events -o json
    keep "${directory}/journal.json" in_pod "${pod}" mock-kms-provider journal -o json
    keep "${directory}/counts.txt" in_pod "${pod}" mock-kms-provider journal --counts
    keep "${directory}/provider-metrics.txt" in_pod "${pod}" mock-kms-provider metrics
    keep "${directory}/supervisor-metrics.txt" in_pod "${pod}" supervisor metrics
    keep "${directory}/build-info.json" in_pod "${pod}" cat /plugin/build-info.json
  done <<<"${table}"
}

encryption_type() { kube get apiserver cluster -o 'jsonpath={.spec.encryption.type}' 2>/dev/null || true; }

decrypt_first() {
  local answer
  if is_openshift; then
    # The API refuses a kms beside another type than KMS.
    answer=$(kube patch apiserver cluster --type=merge -p '{"spec":{"encryption":{"type":"identity","kms":null}}}' 2>&1) || {
      progress="apiserver/cluster refuses the patch: $(tail -n 1 <<<"${answer}")"
      return 1
    }
    wait_for_operators 'DecryptionCompleted|EncryptionDisabled' # the second where nothing ever was encrypted
  else
    # kube-apiserver's file is not ours to change; with identity first, writing everything again decrypts it.
    rewrite_resources
  fi
}

say "keeping the evidence in ${evidence}"
mkdir -p "${evidence}"
collect

if [ "${KMS_DECRYPT_FIRST}" = true ]; then
  if decrypt_first; then
    passed "decryption"
  else
    failed "decryption" "${progress}"
    stop 1 "encryption could not be turned off: ${progress}. The plugin was left running, or nothing encrypted could be read again"
  fi
elif is_openshift; then
  case $(encryption_type) in
    '' | identity) ;;
    *) say "WARNING: encryption is still on; without the plugin what it encrypted cannot be read. KMS_DECRYPT_FIRST=true turns it off first" ;;
  esac
fi

# Each may be gone already. The pods go with the namespace, and a supervisor that ends removes its socket.
kube delete clusterrolebindings,clusterroles -l app=mock-kms-plugin --ignore-not-found >/dev/null || failed "removal of cluster-scoped bindings" "they cannot be deleted"
if kube delete namespace "${KMS_PLUGIN_NAMESPACE}" --ignore-not-found --wait=true "--timeout=${length}s"; then
  passed "removal of namespace ${KMS_PLUGIN_NAMESPACE}"
else
  why=$(kube get namespace "${KMS_PLUGIN_NAMESPACE}" -o 'jsonpath={range .status.conditions[?(@.status=="True")]}{.message}{"; "}{end}' 2>&1 || true)
  failed "removal of namespace ${KMS_PLUGIN_NAMESPACE}" "${why}"
  stop 1 "namespace ${KMS_PLUGIN_NAMESPACE} is not gone within ${KMS_CLEANUP_TIMEOUT}: ${why:-no condition says why}"
fi
rm -f "${SHARED_DIR}/kms-plugin-socket-path" "${SHARED_DIR}/kms-plugin-namespace" "${SHARED_DIR}/kms-plugin-version"
[ "${failures}" = 0 ] || stop 1 "not all was removed; see above"
finish "done"
