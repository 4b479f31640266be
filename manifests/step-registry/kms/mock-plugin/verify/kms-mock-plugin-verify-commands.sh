#!/bin/bash
# Written by scripts/steps; edit manifests/step-templates or manifests/overlays instead.
# Checks that each node's plugin works, and that it encrypts a fresh Secret in etcd.
set -euo pipefail

# Shared by all steps: log, client, nodes and pods, JUnit file.

step=kms-mock-plugin-verify
# Defaults of variables that the job did not set.
KMS_MODE=${KMS_MODE-daemonset}
KMS_PLUGIN_NAMESPACE=${KMS_PLUGIN_NAMESPACE-kms-plugin-test}
KMS_PROVIDER_NAME=${KMS_PROVIDER_NAME-mock-kms}
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

unfinished='it ended before it was done; its log may say why' # the failure in the JUnit file, unless the step is done
stop() { # stop CODE TEXT...: prints the cause and the next step on one line
  local code=$1
  shift
  unfinished=$*
  say "$@" >&2
  exit "${code}"
}
finish() { # finish TEXT: ends a successful step
  unfinished=
  say "$@"
}

xml() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g' | tr -d '\000-\010\013\014\016-\037'; }

# Each call adds a JUnit case: passed NAME, failed NAME TEXT, skipped NAME TEXT. write_junit writes the file when the step ends,
# for any reason. A failed step always has a failure in the file.
cases=() properties=() failures=0 skips=0
property() { properties+=("    <property name=\"$1\" value=\"$(xml <<<"$2")\"/>"); } # property NAME VALUE: of the whole suite
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
  [ -z "${unfinished}" ] || [ "${failures}" -gt 0 ] || failed "${step}" "${unfinished}"
  {
    echo '<?xml version="1.0" encoding="UTF-8"?>'
    echo "<testsuite name=\"${step}\" tests=\"${#cases[@]}\" failures=\"${failures}\" skipped=\"${skips}\" time=\"${SECONDS}\">"
    [ ${#properties[@]} = 0 ] || printf '%s\n' '  <properties>' "${properties[@]}" '  </properties>'
    [ ${#cases[@]} = 0 ] || printf '%s\n' "${cases[@]}"
    echo '</testsuite>'
  } >"${ARTIFACT_DIR}/junit_${step}.xml"
}
scratch=$(mktemp -d)
end_step() {
  write_junit
  rm -rf "${scratch}"
}
trap end_step EXIT

client=$(command -v oc || command -v kubectl) || stop 2 "there is neither oc nor kubectl in PATH; use an image that has one"

# Errors that pass by themselves: an API server or etcd that restarts, elects a leader or is overloaded.
transient='leader changed|[Rr]equest timed out|too many requests|EOF|connection refused|was refused - did you|connection reset'
transient+='|TLS handshake timeout|i/o timeout|Client.Timeout exceeded|deadline exceeded|connection lost|\(Timeout\)|\(ServerTimeout\)'
transient+='|\((TooManyRequests|InternalError|ServiceUnavailable|BadGateway|GatewayTimeout)\)|unable to handle the request|etcdserver:'
transient+='|error dialing backend|no leader|apiserver not ready'

# An error of the client is transient. An error of a program that the client ran in a pod is not.
is_transient() { ! grep -q '^command terminated with exit code ' "$1" && grep -qE "${transient}" "$1"; }

exec {messages}>&2  # the step's own stderr, also for a call whose errors are captured
deadline=${SECONDS} # until then calls are tried again; each step sets its own

# call COMMAND...: runs a client's command, and again with pauses while its error is transient, until the deadline. Prints the output
# and the errors of the last try only. Each try reads the whole input.
call() {
  local code files=${scratch}/${BASHPID}
  cat >"${files}.in"
  while :; do
    code=0
    "$@" <"${files}.in" >"${files}.out" 2>"${files}.err" || code=$?
    if [ "${code}" = 0 ] || [ "${SECONDS}" -ge "${deadline}" ] || ! is_transient "${files}.err"; then break; fi
    say "trying again: $(tail -n 1 "${files}.err")" >&"${messages}"
    pause
  done
  cat "${files}.out"
  cat "${files}.err" >&2
  rm -f "${files}".*
  return "${code}"
}
kube() { call "${client}" "$@" </dev/null; }
kube_input() { call "${client}" "$@"; } # for a command that reads its input
in_namespace() { kube -n "${KMS_PLUGIN_NAMESPACE}" "$@"; }
in_pod() { # in_pod POD COMMAND...: passes the input on; a node that does not answer blocks for a minute
  local pod=$1
  shift
  call timeout 60 "${client}" -n "${KMS_PLUGIN_NAMESPACE}" exec -i "${pod}" -c supervisor -- "$@"
}
program_output() { sed '/^command terminated with exit code /d'; } # removes the line that the client adds to a program's errors
last_error_of() { { "$@" 2>&1 >/dev/null || true; } | program_output | tail -n 1; } # last_error_of in_pod POD COMMAND...

# Asks the cluster once for its API groups. A server that does not answer for a moment must not pass for another kind of cluster.
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

must_match() { # must_match VARIABLE PATTERN EXPECTED: stops the step unless the whole value matches
  [[ ${!1-} =~ ^($2)$ ]] || stop 2 "$1='${!1-}' is not $3"
}

seconds_of() { # seconds_of VARIABLE: sets `length` to its duration in seconds
  must_match "$1" '[0-9]{1,6}[smh]?' 'a duration; write it as 90s, 15m or 1h'
  length=$((10#${!1//[smh]/}))
  case ${!1} in
    *h) length=$((length * 3600)) ;;
    *m) length=$((length * 60)) ;;
  esac
}

: "${KMS_POLL_SECONDS:=5}"
must_match KMS_POLL_SECONDS '[0-9]{1,4}' 'a number of seconds'
must_match KMS_PLUGIN_NAMESPACE '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?' 'the name of a namespace'
pause() { sleep "${KMS_POLL_SECONDS}"; }

control_plane_nodes() { # one name per line
  {
    kube get nodes -l node-role.kubernetes.io/control-plane -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' &&
      kube get nodes -l node-role.kubernetes.io/master -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}'
  } | sort -u | sed '/^$/d'
}

# pod_table SELECTOR: one line "POD NODE PHASE DELETION_TIME" for each pod; the last field only if it is being deleted. There may be
# pods of a second instance beside those of the deploy step.
pod_table() {
  in_namespace get pods -l "$1" -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.spec.nodeName}{" "}{.status.phase}{" "}{.metadata.deletionTimestamp}{"\n"}{end}'
}

pod_on() { # pod_on NODE TABLE: its pod that is not being deleted, or nothing
  awk -v node="$1" '$2 == node && $4 == "" { print $1; exit }' <<<"$2"
}
# etcdctl_on NODE ARGUMENT...: runs etcdctl in the etcd pod of OpenShift or kubeadm.
etcdctl_on() {
  local node=$1
  shift
  if is_openshift; then
    kube -n openshift-etcd exec "etcd-${node}" -c etcdctl -- etcdctl "$@"
  else
    kube -n kube-system exec "etcd-${node}" -- etcdctl --cacert /etc/kubernetes/pki/etcd/ca.crt \
      --cert /etc/kubernetes/pki/etcd/server.crt --key /etc/kubernetes/pki/etcd/server.key "$@"
  fi
}
# KMS_MODE=operator: OpenShift's operators take the plugin's image from apiserver/cluster and add it to each API server as a sidecar.

must_match KMS_MODE 'daemonset|operator' 'daemonset or operator'

previous_encryption() { echo "${SHARED_DIR}/kms-previous-encryption.json"; } # the file
sidecar_namespaces() { printf '%s\n' openshift-kube-apiserver openshift-apiserver openshift-oauth-apiserver; }
operator_mode() { [ "${KMS_MODE}" = operator ]; }

need_openshift() {
  is_openshift || stop 2 "KMS_MODE=operator needs OpenShift, whose operators run the plugin; use KMS_MODE=daemonset here"
}

# The sidecars of one namespace's API servers, as "NAMESPACE/POD/CONTAINER" lines, and NAMESPACE/POD/ for a pod without one. The
# operators call them vault-kms-plugin-N; N is the number in kms-N.sock.
sidecars_in() { # sidecars_in NAMESPACE
  kube -n "$1" get pods -l apiserver=true \
    -o 'jsonpath={range .items[*]}{.metadata.name}/{.metadata.deletionTimestamp}/{range .spec.initContainers[*]}{.name} {end}{"\n"}{end}' |
    awk -F/ -v namespace="$1" 'NF < 3 || $2 != "" { next } {
      found = 0
      count = split($3, names, " ")
      for (i = 1; i <= count; ++i) if (names[i] ~ /^vault-kms-plugin-/) { found = 1; print namespace "/" $1 "/" names[i] }
      if (!found) print namespace "/" $1 "/"
    }'
}

in_sidecar() { # in_sidecar NAMESPACE/POD/CONTAINER COMMAND...: passes the input on
  local namespace pod container
  IFS=/ read -r namespace pod container <<<"$1"
  shift
  call timeout 60 "${client}" -n "${namespace}" exec -i "${pod}" -c "${container}" -- \
    env "MOCK_KMS_SOCKET=unix:///var/run/kmsplugin/kms-${container##*-}.sock" "$@"
}

set_encryption() { # set_encryption JSON: replaces spec.encryption of apiserver/cluster as a whole
  kube patch apiserver cluster --type=json -p "[{\"op\":\"add\",\"path\":\"/spec/encryption\",\"value\":$1}]"
}

must_match KMS_PROVIDER_NAME '[A-Za-z0-9._-]*' "a provider's name"

text="verify-$(head -c 12 /dev/urandom | od -An -v -tx1 | tr -d ' \n')"
secret="kms-verify-${text:7:8}"
trap 'in_namespace delete secret "${secret}" --ignore-not-found >/dev/null 2>&1 || true; end_step' EXIT

# Each plugin must be healthy and decrypt what the first one encrypted.
verify_node() { # verify_node NODE POD
  local answer
  if [ -z "$2" ]; then
    failed "plugin on $1" "there is no pod on this node"
  elif ! answer=$(in_pod "$2" supervisor status </dev/null 2>&1); then
    answer=$(program_output <<<"${answer}")
    failed "plugin on $1" "${answer}"
  elif ! sealed=${sealed:-$(printf '%s' "${text}" | in_pod "$2" mock-kms-provider encrypt)}; then
    answer="it does not encrypt"
    failed "plugin on $1" "${answer}"
  elif ! answer=$(in_pod "$2" mock-kms-provider decrypt <<<"${sealed}" 2>/dev/null) || [ "${answer}" != "${text}" ]; then
    answer="no round trip: $(last_error_of in_pod "$2" mock-kms-provider decrypt <<<"${sealed}")"
    failed "plugin on $1" "${answer}"
  else
    passed "plugin on $1"
    return 0
  fi
  say "$1: ${answer:-there is no pod on this node}"
}

etcdctl_get() { # etcdctl_get NODE KEY: the stored value in base64
  local response
  response=$(etcdctl_on "$1" get "$2" -w json) || return 1
  sed -n 's/.*"value":"\([^"]*\)".*/\1/p' <<<"${response}"
}

verify_secret() { # verify_secret NODE POD
  local prefix=/registry raw head answer key
  is_openshift && prefix=/kubernetes.io
  key=${prefix}/secrets/${KMS_PLUGIN_NAMESPACE}/${secret}
  in_namespace create secret generic "${secret}" "--from-literal=text=${text}" >/dev/null || {
    # A try whose answer was lost may have created it.
    in_namespace get secret "${secret}" >/dev/null || {
      failed "a fresh Secret" "it cannot be created"
      return 0
    }
  }
  if ! raw=$(etcdctl_get "$1" "${key}" 2>/dev/null) || [ -z "${raw}" ]; then
    skipped "a fresh Secret in etcd" "etcd of $1 cannot be read: no etcd pod there, or no permission"
    say "etcd of $1 cannot be read; the Secret there was not checked"
    return 0
  fi
  head=$(base64 -d <<<"${raw}" | head -c 64 | tr -d '\000')
  case ${head} in
    "k8s:enc:kms:v2:${KMS_PROVIDER_NAME}:"*) ;;
    k8s:enc:kms:v2:*) [ -z "${KMS_PROVIDER_NAME}" ] || is_openshift || {
      failed "a fresh Secret in etcd" "it is encrypted by a provider other than ${KMS_PROVIDER_NAME}: ${head%%[!a-zA-Z0-9:._-]*}"
      return 0
    } ;;
    *)
      failed "a fresh Secret in etcd" "it is not encrypted by KMS v2; turn that on by the kms-mock-plugin-configure step"
      say "a fresh Secret is stored without KMS v2"
      return 0
      ;;
  esac
  if in_pod "$2" cat /plugin/build-info.json </dev/null 2>/dev/null | grep '"target": *"mock-kms-plugin"' >/dev/null; then
    passed "a fresh Secret in etcd"
    say "a fresh Secret is stored by KMS v2; inspect cannot open what the upstream mock encrypts"
    return 0
  fi
  # Only the plugin that encrypted the value can decrypt it.
  if answer=$(in_pod "$2" mock-kms-provider inspect --encoding base64 --key "${key}" <<<"${raw}" 2>&1); then
    passed "a fresh Secret in etcd"
    say "a fresh Secret is stored under $(sed -n 's/^key_id *//p' <<<"${answer}")"
  else
    failed "a fresh Secret in etcd" "${answer}"
    say "a fresh Secret in etcd: ${answer}"
  fi
}

verify_daemonset() { # sets first_node and first_pod
  local table node pod
  table=$(pod_table app=mock-kms-plugin,app.kubernetes.io/instance=mock-kms-plugin) || table=
  for node in ${nodes}; do
    pod=$(pod_on "${node}" "${table}")
    verify_node "${node}" "${pod}"
    if [ -z "${first_node}" ] && [ -n "${pod}" ]; then first_node=${node} first_pod=${pod}; fi
  done
}

# Each sidecar of the three API servers must be healthy and decrypt what the first one of the same number encrypted.
verify_sidecars() { # sets first_node and first_pod
  local namespace lines sidecar number
  declare -A sealed_by=()
  for namespace in $(sidecar_namespaces); do
    lines=$(sidecars_in "${namespace}") || lines=
    [ -n "${lines}" ] || failed "sidecars of ${namespace}" "no API server was found there"
    for sidecar in ${lines}; do
      if [ "${sidecar##*/}" = '' ]; then
        failed "plugin on ${sidecar%/}" "the pod has no container vault-kms-plugin-N; the operator has not rolled it out, see 'oc get kubeapiserver.operator.openshift.io cluster -o yaml'"
        say "${sidecar%/}: no sidecar"
        continue
      fi
      number=${sidecar##*-}
      sealed=${sealed_by[${number}]:-}
      verify_node "${sidecar}" "${sidecar}"
      sealed_by[${number}]=${sealed}
      if [ -z "${first_pod}" ]; then first_node=${nodes%%$'\n'*} first_pod=${sidecar}; fi
    done
  done
}

reach_cluster
deadline=$((SECONDS + 300))
nodes=$(control_plane_nodes) || stop 1 "cannot list the nodes; see the client's message above"
sealed='' first_node='' first_pod=''
if operator_mode; then
  need_openshift
  in_pod() { in_sidecar "$@"; }
  KMS_PLUGIN_NAMESPACE=default # of the fresh Secret
  verify_sidecars
else
  verify_daemonset
fi
if [ -n "${first_node}" ]; then verify_secret "${first_node}" "${first_pod}"; else failed "a fresh Secret" "no node has a plugin"; fi
[ "${failures}" = 0 ] || stop 1 "${failures} of ${#cases[@]} checks failed; they are in ${ARTIFACT_DIR}/junit_${step}.xml"
finish "$((${#cases[@]} - skips)) checks passed, ${skips} skipped"
