#!/bin/bash
# Written by scripts/steps; edit manifests/step-templates or manifests/overlays instead.
# Turns encryption on: on OpenShift by the APIServer resource, elsewhere by a file for kube-apiserver.
set -euo pipefail

# Shared by all steps: log, client, nodes and pods, JUnit file.

step=kms-mock-plugin-configure
# Defaults of variables that the job did not set.
KMS_MODE=${KMS_MODE-daemonset}
KMS_PLUGIN_NAMESPACE=${KMS_PLUGIN_NAMESPACE-kms-plugin-test}
KMS_PLUGIN_SIDECAR_IMAGE=${KMS_PLUGIN_SIDECAR_IMAGE-}
KMS_VAULT_ADDRESS=${KMS_VAULT_ADDRESS-https://vault.mock-kms.test:8200}
KMS_TRANSIT_MOUNT=${KMS_TRANSIT_MOUNT-transit}
KMS_TRANSIT_KEY=${KMS_TRANSIT_KEY-mock-kms}
KMS_VAULT_NAMESPACE=${KMS_VAULT_NAMESPACE-}
KMS_VAULT_AUTH_NAMESPACE=${KMS_VAULT_AUTH_NAMESPACE-}
KMS_APPROLE_SECRET=${KMS_APPROLE_SECRET-mock-kms-approle}
KMS_PROVIDER_NAME=${KMS_PROVIDER_NAME-mock-kms}
KMS_RESOURCES=${KMS_RESOURCES-secrets}
KMS_ENCRYPTION_PATCH=${KMS_ENCRYPTION_PATCH-}
KMS_MIGRATE=${KMS_MIGRATE-false}
KMS_MIGRATION_TIMEOUT=${KMS_MIGRATION_TIMEOUT-60m}
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
  [ -z "${unfinished}" ] || [ "${failures}" -gt 0 ] || failed "${step}" "${unfinished}"
  {
    echo '<?xml version="1.0" encoding="UTF-8"?>'
    echo "<testsuite name=\"${step}\" tests=\"${#cases[@]}\" failures=\"${failures}\" skipped=\"${skips}\" time=\"${SECONDS}\">"
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
# Waits for migrations. Both functions describe the state in `progress`.

progress='the cluster has not answered yet'
seconds_of KMS_MIGRATION_TIMEOUT
migration_length=${length}
must_match KMS_RESOURCES '[a-z0-9.-]+(,[a-z0-9.-]+)*' 'a list of resources; write it as secrets,configmaps'

# wait_for_operators REASONS: waits until all operators that store encrypted resources have one of these reasons (A|B) in their
# condition Encrypted. An API server that rolls out may not answer for a while.
wait_for_operators() {
  local operator line lacking reported=''
  deadline=$((SECONDS + migration_length))
  while :; do
    lacking=
    for operator in openshiftapiserver kubeapiserver authentication; do # config.openshift.io has an authentication too
      line=$(kube get "${operator}.operator.openshift.io" cluster -o 'jsonpath={range .status.conditions[?(@.type=="Encrypted")]}{.reason}{": "}{.message}{end}' 2>/dev/null) || line='does not answer'
      [[ ${line} =~ ^($1): ]] || lacking+="${operator}: ${line:-has no condition Encrypted yet}. "
    done
    [ -n "${lacking}" ] || return 0
    progress=${lacking% }
    if [ "${progress}" != "${reported}" ]; then
      say "${progress}"
      reported=${progress}
    fi
    [ ${SECONDS} -lt "${deadline}" ] || return 1
    pause
  done
}

# rewrite_resources [CLIENT OPTION...]: rewrites every object of KMS_RESOURCES, namespace by namespace, until the deadline. An API server
# then stores an object under its first provider. It skips the write if the object is stored so already.
# shellcheck disable=SC2120 # only cleanup passes options
rewrite_resources() {
  local resource namespaces namespace count done_count=0 error reported=''
  namespaces=$(kube "$@" get namespaces -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}') || {
    progress='the namespaces cannot be listed'
    return 1
  }
  count=$(wc -w <<<"${namespaces}")
  for namespace in ${namespaces}; do
    for resource in ${KMS_RESOURCES//,/ }; do
      error='the time is up'
      # A concurrent write is a conflict. The next try reads the newer object.
      until [ ${SECONDS} -lt "${deadline}" ] && error=$({ kube "$@" -n "${namespace}" get "${resource}" -o json | kube_input "$@" replace -f - >/dev/null; } 2>&1); do
        progress="${resource} in namespace ${namespace} cannot be rewritten (${done_count} of ${count} namespaces are done): $(tail -n 1 <<<"${error}")"
        [ ${SECONDS} -lt "${deadline}" ] || return 1
        [ "${progress}" = "${reported}" ] || say "${progress}; trying again"
        reported=${progress}
        pause
      done
    done
    done_count=$((done_count + 1))
    say "rewritten: ${done_count} of ${count} namespaces"
  done
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
# Turns encryption on in the operators' way.

check_operator_variables() { # before anything is changed; the API has the same rules
  local path='[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*'
  must_match KMS_PLUGIN_SIDECAR_IMAGE '([A-Za-z0-9-]+\.)+[A-Za-z0-9-]+(:[0-9]{2,5})?(/[A-Za-z0-9_.-]+)+@sha256:[a-f0-9]{64}' \
    "an image by digest; write it as registry.example/mock-kms-plugin-vault-stand-in@sha256:DIGEST, without a tag"
  [ ${#KMS_PLUGIN_SIDECAR_IMAGE} -le 447 ] || stop 2 "KMS_PLUGIN_SIDECAR_IMAGE is longer than the 447 characters that the API allows"
  must_match KMS_APPROLE_SECRET '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?' 'the name of a Secret'
  must_match KMS_VAULT_ADDRESS 'https://[A-Za-z0-9.-]+(:[0-9]{1,5})?' 'an https URL without a path; no Vault is contacted'
  must_match KMS_TRANSIT_MOUNT "${path}" 'the mount of a transit engine'
  must_match KMS_TRANSIT_KEY '[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?' 'the name of a transit key'
  must_match KMS_VAULT_NAMESPACE "(${path})?" 'a namespace of Vault'
  must_match KMS_VAULT_AUTH_NAMESPACE "(${path})?" 'a namespace of Vault'
}

# The JSON of spec.encryption for the fields that this cluster's API has.
operator_encryption() {
  local fields vault
  fields=$(kube explain apiserver.spec.encryption.kms.vault --api-version=config.openshift.io/v1 | sed -nE 's/^ +([A-Za-z]+)[[:space:]]+<.*/\1/p') || fields=
  grep -qx kmsPluginImage <<<"${fields}" ||
    stop 1 "this cluster's API has no spec.encryption.kms.vault.kmsPluginImage; it needs a release and a feature gate (KMSEncryption) that have it, see 'oc explain apiserver.spec.encryption.kms'"
  vault="\"kmsPluginImage\":\"${KMS_PLUGIN_SIDECAR_IMAGE}\",\"vaultAddress\":\"${KMS_VAULT_ADDRESS}\""
  vault+=",\"authentication\":{\"type\":\"AppRole\",\"appRole\":{\"secret\":{\"name\":\"${KMS_APPROLE_SECRET}\"}}}"
  if grep -qx vaultKeyPath <<<"${fields}"; then
    vault+=",\"vaultKeyPath\":\"${KMS_TRANSIT_MOUNT}/keys/${KMS_TRANSIT_KEY}\""
  else
    vault+=",\"transitMount\":\"${KMS_TRANSIT_MOUNT}\",\"transitKey\":\"${KMS_TRANSIT_KEY}\""
  fi
  [ -z "${KMS_VAULT_NAMESPACE}" ] || vault+=",\"vaultNamespace\":\"${KMS_VAULT_NAMESPACE}\""
  if [ -n "${KMS_VAULT_AUTH_NAMESPACE}" ]; then
    grep -qx vaultAuthNamespace <<<"${fields}" || stop 1 "this cluster's API has no vaultAuthNamespace; leave KMS_VAULT_AUTH_NAMESPACE empty"
    vault+=",\"vaultAuthNamespace\":\"${KMS_VAULT_AUTH_NAMESPACE}\""
  fi
  echo "{\"type\":\"KMS\",\"kms\":{\"type\":\"Vault\",\"vault\":{${vault}}}}"
}

# The plugin reads that the secret-id is there, and nothing of it.
make_approle_secret() {
  local owner
  if owner=$(kube -n openshift-config get secret "${KMS_APPROLE_SECRET}" -o 'jsonpath={.metadata.name}:{.metadata.labels.app}' 2>/dev/null); then
    [ "${owner#*:}" = mock-kms-plugin ] || stop 1 "there is a Secret ${KMS_APPROLE_SECRET} in openshift-config that is not of this step; choose another KMS_APPROLE_SECRET"
    return 0
  fi
  kube_input apply -f - <<SECRET || stop 1 "the Secret ${KMS_APPROLE_SECRET} cannot be made in openshift-config; see the client's message above"
apiVersion: v1
kind: Secret
metadata:
  name: ${KMS_APPROLE_SECRET}
  namespace: openshift-config
  labels: {app: mock-kms-plugin}
type: Opaque
stringData:
  role-id: mock-kms-plugin
  secret-id: $(head -c 16 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
SECRET
}

configure_operator() {
  local encryption before
  encryption=$(operator_encryption) || exit $?
  before=$(kube get apiserver cluster -o 'jsonpath={.spec.encryption}') || stop 1 "apiserver/cluster cannot be read; see the client's message above"
  if [ ! -e "$(previous_encryption)" ] && [[ ${before} != *"\"${KMS_APPROLE_SECRET}\""* ]]; then
    printf '%s' "${before:-{\}}" >"$(previous_encryption)" # for the cleanup step
  fi
  make_approle_secret
  say "setting spec.encryption of apiserver/cluster: ${encryption}"
  set_encryption "${encryption}" ||
    stop 1 "apiserver/cluster refuses the configuration; see the client's message above and 'oc explain apiserver.spec.encryption.kms.vault'"
}

must_match KMS_PROVIDER_NAME '[A-Za-z0-9._-]+' "a provider's name"
must_match KMS_MIGRATE 'true|false' 'true or false'
if operator_mode; then check_operator_variables; fi
reach_cluster
deadline=$((SECONDS + migration_length))
socket=/var/run/kmsplugin/kms.sock
if [ -s "${SHARED_DIR}/kms-plugin-socket-path" ]; then socket=$(<"${SHARED_DIR}/kms-plugin-socket-path"); fi

write_configuration() { # write_configuration FILE
  {
    echo 'apiVersion: apiserver.config.k8s.io/v1'
    echo 'kind: EncryptionConfiguration'
    echo 'resources:'
    echo "- resources: [${KMS_RESOURCES}]"
    echo '  providers:'
    echo '  - kms:'
    echo '      apiVersion: v2'
    echo "      name: ${KMS_PROVIDER_NAME}"
    echo "      endpoint: unix://${socket}"
    echo '      timeout: 3s'
    echo '  - identity: {}'
  } >"$1"
}

if operator_mode; then need_openshift; fi
if is_openshift; then
  if operator_mode; then
    configure_operator
  else
    [ -n "${KMS_ENCRYPTION_PATCH}" ] ||
      stop 2 "on OpenShift the operators run the plugin's image as a sidecar: set KMS_MODE=operator and KMS_PLUGIN_SIDECAR_IMAGE, or KMS_ENCRYPTION_PATCH for a release that takes another patch"
    say "setting spec.encryption of apiserver/cluster: ${KMS_ENCRYPTION_PATCH}"
    kube patch apiserver cluster --type=merge -p "${KMS_ENCRYPTION_PATCH}" ||
      stop 1 "apiserver/cluster refuses the patch; this release may need another KMS_ENCRYPTION_PATCH, or a feature gate for KMS encryption"
  fi
  if wait_for_operators EncryptionCompleted; then
    passed "encryption of all resources"
  else
    failed "encryption of all resources" "${progress}"
    stop 1 "encryption is not complete within ${KMS_MIGRATION_TIMEOUT}: ${progress}; see 'oc get kubeapiserver.operator.openshift.io cluster -o yaml' and the kms-mock-plugin-verify step"
  fi
else
  write_configuration "${SHARED_DIR}/kms-encryption-configuration.yaml"
  cp "${SHARED_DIR}/kms-encryption-configuration.yaml" "${ARTIFACT_DIR}/"
  say "wrote kms-encryption-configuration.yaml to SHARED_DIR; give it to kube-apiserver by --encryption-provider-config"
  if [ "${KMS_MIGRATE}" = true ]; then
    if rewrite_resources; then
      passed "rewrite of ${KMS_RESOURCES}"
    else
      failed "rewrite of ${KMS_RESOURCES}" "${progress}"
      stop 1 "not all of ${KMS_RESOURCES} were rewritten: ${progress}"
    fi
  else
    skipped "rewrite of ${KMS_RESOURCES}" "KMS_MIGRATE is not true: stored objects stay as they are until they are written again"
  fi
fi
finish "done"
