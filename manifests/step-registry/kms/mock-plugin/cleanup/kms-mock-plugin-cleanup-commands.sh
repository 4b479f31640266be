#!/bin/bash
# Written by scripts/steps; edit manifests/step-templates or manifests/overlays instead.
# Keeps the evidence, turns encryption off if KMS_DECRYPT_FIRST asks for it, and removes the objects of the deploy step. The nodes keep
# /var/lib/mock-kms-plugin/{cache,state}, and the socket of a pod that was deleted after its supervisor was killed: no pod is left there
# that could remove them.
set -euo pipefail

# Shared by all steps: log, client, nodes and pods, JUnit file.

step=kms-mock-plugin-cleanup
# Defaults of variables that the job did not set.
KMS_MODE=${KMS_MODE-daemonset}
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
# Shows whether data is stored or written under a KMS provider: by etcd, by the API servers' metrics and by the plugin's journal.

kms_prefix=k8s:enc:kms: # of v1 and v2

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

# The resources in etcd that have values under a KMS provider, as "COUNT RESOURCE" lines. Fails if no etcd can be read. A value begins
# on the line after its key; a value that merely contains such a line is counted too, which errs on the safe side.
encrypted_in_etcd() {
  local node prefix dump=${scratch}/etcd
  local prefixes=(/registry/)
  if is_openshift; then prefixes=(/kubernetes.io/ /openshift.io/); fi
  for node in $(control_plane_nodes); do
    : >"${dump}"
    for prefix in "${prefixes[@]}"; do
      etcdctl_on "${node}" get "${prefix}" --prefix >>"${dump}" 2>/dev/null || continue 2
    done
    grep -aq "^${prefixes[0]}" "${dump}" || continue # an API server always has objects, so this is another etcd
    LC_ALL=C grep -a -B 1 "^${kms_prefix}" "${dump}" | tr -d '\000' | LC_ALL=C sed -n 's,^/[^/]*/\([^/]*\)/.*,\1,p' | sort | uniq -c || true
    return 0
  done
  return 1
}

# "ADDRESS:PORT" of each API server.
api_servers() {
  kube -n default get endpointslices -l kubernetes.io/service-name=kubernetes \
    -o 'jsonpath={range .items[*]}{range .endpoints[*]}{.addresses[0]} {end}{.ports[0].port}{"\n"}{end}' |
    awk '{ for (i = 1; i < NF; ++i) print ($i ~ /:/ ? "[" $i "]" : $i) ":" $NF }'
}

# by_server ADDRESS:PORT: sets `by` to the client's options that reach one API server
by_server() { by=(--server "https://$1" --tls-server-name kubernetes.default.svc); }

# "RESOURCE DIRECTION COUNT" for each resource that one API server transformed by a KMS provider; DIRECTION is to_storage or
# from_storage. What the server reads for its caches has the resource "-". Without options: of the server that the client talks to.
kms_transformations() { # kms_transformations [CLIENT OPTION...]
  kube "$@" get --raw /metrics | awk -v prefix="${kms_prefix}" '
    function label(name) { return match($0, name "=\"[^\"]*\"") ? substr($0, RSTART + length(name) + 2, RLENGTH - length(name) - 3) : "" }
    /^apiserver_/ { answered = 1 }
    /^apiserver_storage_transformation_operations_total\{/ && index(label("transformer_prefix"), prefix) == 1 {
      resource = label("resource")
      counts[(resource == "" ? "-" : resource) " " label("transformation_type")] += $NF
    }
    END { for (key in counts) print key, counts[key]; exit !answered }'
}

# "SERVER RESOURCE DIRECTION COUNT" lines of all API servers. If one server cannot be read, prints its name and fails.
all_kms_transformations() {
  local server lines servers by
  if ! servers=$(api_servers) || [ -z "${servers}" ]; then
    echo "the API servers (endpoints of service default/kubernetes)"
    return 1
  fi
  for server in ${servers}; do
    if [ "$(wc -w <<<"${servers}")" = 1 ]; then by=(); else by_server "${server}"; fi
    lines=$(kms_transformations ${by[@]+"${by[@]}"}) || {
      echo "API server ${server}"
      return 1
    }
    sed "/./s,^,${server} ," <<<"${lines}"
  done
}

# "SERVER VERB COUNT RESOURCE" lines: what was read or written between two outputs of all_kms_transformations. A lower count is that of
# a restarted server, which began at 0.
transformed_since() { # transformed_since BEFORE AFTER
  awk 'NR == FNR { before[$1 $2 $3] = $4; next }
    NF == 4 && $4 != before[$1 $2 $3] + 0 {
      old = before[$1 $2 $3] + 0
      print $1, ($3 == "to_storage" ? "wrote" : "read"), ($4 > old ? $4 - old : $4), $2
    }' <(echo "$1") <(echo "$2")
}

# "POD COUNT" lines: the Encrypt calls of each plugin that answers.
encrypt_calls() { # encrypt_calls TABLE
  local pod _ counts
  while read -r pod _; do
    [ -n "${pod}" ] || continue
    counts=$(in_pod "${pod}" mock-kms-provider journal --counts </dev/null 2>/dev/null) || continue
    awk -v pod="${pod}" '$1 == "Encrypt" { calls += $3 } END { print pod, calls + 0 }' <<<"${counts}"
  done <<<"$1"
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
# Puts back what was there before the configure step, in the operators' way.

log_of_sidecar() { # log_of_sidecar NAMESPACE/POD/CONTAINER [OPTION]
  local namespace pod container
  IFS=/ read -r namespace pod container <<<"$1"
  timeout 60 "${client}" -n "${namespace}" logs "${pod}" -c "${container}" "${@:2}"
}

collect_sidecars() { # sets `sidecars`
  local namespace sidecar directory
  sidecars=()
  deadline=$((SECONDS + 60))
  for namespace in $(sidecar_namespaces); do
    for sidecar in $(sidecars_in "${namespace}" 2>/dev/null || true); do
      [ "${sidecar##*/}" != '' ] || continue
      sidecars+=("${sidecar}")
      directory=${evidence}/${sidecar}
      keep "${directory}/supervisor.log" log_of_sidecar "${sidecar}"
      log_of_sidecar "${sidecar}" --previous >"${directory}/supervisor-previous.log" 2>/dev/null </dev/null ||
        rm -f "${directory}/supervisor-previous.log" # exists only after a restart
      keep "${directory}/status.json" in_sidecar "${sidecar}" supervisor status -o json
      keep "${directory}/events.json" in_sidecar "${sidecar}" supervisor events -o json
      keep "${directory}/journal.json" in_sidecar "${sidecar}" mock-kms-provider journal -o json
      keep "${directory}/counts.txt" in_sidecar "${sidecar}" mock-kms-provider journal --counts
      keep "${directory}/provider-metrics.txt" in_sidecar "${sidecar}" mock-kms-provider metrics
      keep "${directory}/supervisor-metrics.txt" in_sidecar "${sidecar}" supervisor metrics
      keep "${directory}/build-info.json" in_sidecar "${sidecar}" cat /usr/libexec/mock-kms-plugin/build-info.json
    done
  done
}

# Waits until the operators report the end and etcd, if it can be read, has no value under KMS. An operator may still report the
# end of an earlier migration, so both must hold.
wait_until_restored() { # wait_until_restored REASONS
  local until=$((SECONDS + migration_length))
  while :; do
    wait_for_operators "$1" || return 1
    ! prove_nothing_is_stored trust_the_operators || return 0
    [ ${SECONDS} -lt "${until}" ] || return 1
    pause
  done
}

clean_up_operator() {
  local sidecars before='{}' answer reasons='DecryptionCompleted|EncryptionDisabled'
  collect_sidecars
  make_report in_sidecar ${sidecars[@]+"${sidecars[@]}"}
  if [ -s "$(previous_encryption)" ]; then before=$(<"$(previous_encryption)"); else
    say "configure left no kms-previous-encryption.json in SHARED_DIR; encryption is turned off"
  fi
  case ${before} in '{}' | '{"type":"identity"}' | '{"type":""}') ;; *) reasons=EncryptionCompleted ;; esac
  deadline=$((SECONDS + migration_length))
  say "putting back spec.encryption of apiserver/cluster: ${before}"
  answer=$(set_encryption "${before}" 2>&1) || {
    failed "previous encryption" "apiserver/cluster refuses the patch: $(tail -n 1 <<<"${answer}")"
    stop 1 "apiserver/cluster refuses the patch: $(tail -n 1 <<<"${answer}")"
  }
  if [ "${KMS_DECRYPT_FIRST}" != true ]; then
    skipped "migration" "KMS_DECRYPT_FIRST is not true: the operators go on with it and need the image until its end"
    say "the operators rewrite everything now, and need the image until they are done; the AppRole Secret stays in openshift-config"
  elif wait_until_restored "${reasons}"; then
    passed "migration"
    kube -n openshift-config delete secrets -l app=mock-kms-plugin --ignore-not-found >/dev/null || failed "removal of the Secret" "it cannot be deleted"
    rm -f "$(previous_encryption)"
  else
    failed "migration" "${progress}"
    stop 1 "the migration back is not complete within ${KMS_MIGRATION_TIMEOUT}: ${progress}. The AppRole Secret stays in openshift-config"
  fi
  [ "${failures}" = 0 ] || stop 1 "not everything was removed; see above"
  finish "done"
}

must_match KMS_DECRYPT_FIRST 'true|false' 'true or false'
seconds_of KMS_CLEANUP_TIMEOUT
cleanup_length=${length}
reach_cluster
evidence=${ARTIFACT_DIR}/kms-mock-plugin

keep() { # keep FILE COMMAND...: keeps a command's output and errors; a failure affects only this file
  local file=$1
  shift
  mkdir -p "${file%/*}"
  "$@" >"${file}" 2>&1 </dev/null || say "incomplete: ${file#"${ARTIFACT_DIR}/"}"
}

log_of() { # log_of POD CONTAINER [OPTION]
  timeout 60 "${client}" -n "${KMS_PLUGIN_NAMESPACE}" logs "$1" -c "${@:2}"
}

objects() { # without credentials in the address of a repository
  in_namespace get daemonsets,pods,configmaps -o yaml | sed -E 's,(://)[^/[:space:]"]*@,\1***@,g'
}

collect() {
  local pod node phase _ directory table
  deadline=$((SECONDS + 60))
  keep "${evidence}/objects.yaml" objects
  keep "${evidence}/events.txt" in_namespace get events --sort-by=.lastTimestamp
  table=$(pod_table app=mock-kms-plugin 2>/dev/null) || table=
  while read -r pod node phase _; do
    [ -n "${pod}" ] || continue
    [ -n "${phase}" ] || node=no-node # the line is "POD PHASE"
    directory=${evidence}/${node}/${pod}
    keep "${directory}/build-plugin.log" log_of "${pod}" build-plugin
    keep "${directory}/supervisor.log" log_of "${pod}" supervisor
    log_of "${pod}" supervisor --previous >"${directory}/supervisor-previous.log" 2>/dev/null </dev/null ||
      rm -f "${directory}/supervisor-previous.log" # exists only after a restart
    keep "${directory}/status.json" in_pod "${pod}" supervisor status -o json
    keep "${directory}/events.json" in_pod "${pod}" supervisor events -o json
    keep "${directory}/journal.json" in_pod "${pod}" mock-kms-provider journal -o json
    keep "${directory}/counts.txt" in_pod "${pod}" mock-kms-provider journal --counts
    keep "${directory}/provider-metrics.txt" in_pod "${pod}" mock-kms-provider metrics
    keep "${directory}/supervisor-metrics.txt" in_pod "${pod}" supervisor metrics
    keep "${directory}/build-info.json" in_pod "${pod}" cat /plugin/build-info.json
  done <<<"${table}"
}

# Makes one page of the evidence. Only the containers have `supervisor`, so one of them reads it as a tar archive; none needs a file of
# it. The seed in objects.yaml stays here.
make_report() { # make_report RUN PLACE...: RUN is in_pod or in_sidecar
  local run=$1 place page=${ARTIFACT_DIR}/kms-mock-plugin-summary.html # Prow's Spyglass shows *-summary*.html as a page
  deadline=$((SECONDS + 60))
  tar -c -C "${evidence}" --exclude=./objects.yaml . >"${scratch}/evidence.tar"
  for place in "${@:2}"; do
    "${run}" "${place}" supervisor report - --output - <"${scratch}/evidence.tar" >"${scratch}/page" 2>/dev/null || continue
    cp "${scratch}/page" "${page}"
    property report "${page#"${ARTIFACT_DIR}/"}"
    say "the report is ${page}"
    return
  done
  say "no report: no supervisor answers; make one with: supervisor report kms-mock-plugin --output report.html"
}

encryption_type() { kube get apiserver cluster -o 'jsonpath={.spec.encryption.type}' 2>/dev/null || true; }

# Each prove_ function sets `progress` to the cause and the next step, and fails, unless it has its proof.

prove_nothing_is_stored() { # prove_nothing_is_stored COMMAND...: COMMAND is the proof if no etcd can be read
  local left
  if ! left=$(encrypted_in_etcd); then
    "$@"
  elif [ -n "${left}" ]; then
    progress="etcd still has values under KMS ($(awk '{ printf "%s%s %s", NR == 1 ? "" : ", ", $1, $2 }' <<<"${left}")); put identity first in the EncryptionConfiguration of every API server, and name these resources in KMS_RESOURCES"
    return 1
  fi
}

trust_the_operators() { say "etcd cannot be read; the proof is that the operators report the end"; }

read_transformations() { # sets `transformations`
  transformations=$(all_kms_transformations) || {
    progress="the metrics of ${transformations##*$'\n'} cannot be read; give the job access to each API server, and permission to get /metrics"
    return 1
  }
}

# Rewrites everything once more, by each API server. A server that has identity first, and finds nothing under KMS, does nothing with
# KMS. A server that has it first stores the objects under it again, or reads those that are stored so.
prove_each_server_decrypts() {
  local server servers count nodes by before found
  read_transformations || return 1
  before=${transformations}
  if ! servers=$(api_servers) || [ -z "${servers}" ]; then
    progress="the API servers (endpoints of service default/kubernetes) cannot be listed"
    return 1
  fi
  count=$(wc -w <<<"${servers}")
  nodes=$(control_plane_nodes | wc -l) || {
    progress="the nodes cannot be listed"
    return 1
  }
  [ "${count}" -ge "${nodes}" ] || {
    progress="there are ${nodes} control-plane nodes, but ${count} API server(s) in the endpoints of service default/kubernetes (${servers//$'\n'/ }); each must be reached by its own address there"
    return 1
  }
  for server in ${servers}; do
    say "checking API server ${server}"
    if [ "${count}" = 1 ]; then by=(); else by_server "${server}"; fi
    rewrite_resources ${by[@]+"${by[@]}"} || return 1
  done
  read_transformations || return 1
  # Others may read what is not in KMS_RESOURCES.
  found=$(transformed_since "${before}" "${transformations}" | awk -v resources=",${KMS_RESOURCES}," '$2 == "wrote" || index(resources, "," $4 ",")')
  [ -z "${found}" ] || {
    progress="$(awk '{ printf "%sAPI server %s %s %s %s under KMS", NR == 1 ? "" : ", ", $1, $2, $3, $4 }' <<<"${found}") after the decryption; put identity first in the EncryptionConfiguration of each, and wait until it has reloaded the file"
    return 1
  }
}

prove_no_plugin_encrypted() { # since `calls_before`
  local found
  found=$(awk 'NR == FNR { before[$1] = $2; next } ($1 in before) && $2 > before[$1] { print $1; exit }' <(echo "${calls_before}") <(encrypt_calls "${table}"))
  if [ -n "${found}" ]; then
    progress="an API server called Encrypt of ${found} during the decryption; put identity first in its EncryptionConfiguration, and run this step again"
    return 1
  fi
}

# A list of objects to get, as YAML.
identities='jsonpath={range .items[*]}{"---\napiVersion: "}{.apiVersion}{"\nkind: "}{.kind}{"\nmetadata: {name: \""}{.metadata.name}{"\", namespace: \""}{.metadata.namespace}{"\"}\n"}{end}'

# Reads each object of every resource by its name. A list may come from a cache, but such a read comes from etcd, and the metrics show
# whether the value was under KMS.
prove_nothing_is_read_under_kms() {
  local resources before found deadline=${deadline}
  say "etcd cannot be read; reading every object by its name instead"
  read_transformations || return 1
  before=${transformations}
  resources=$(kube api-resources --verbs=list,get -o name 2>"${scratch}/error") || {
    progress="the resources of the API server cannot be listed: $(tail -n 1 "${scratch}/error")"
    return 1
  }
  deadline=$((SECONDS + 60)) # an object that cannot be decrypted stays so
  if ! kube get "${resources//$'\n'/,}" --all-namespaces -o "${identities}" >"${scratch}/objects" 2>"${scratch}/error" ||
    ! kube_input get --ignore-not-found -o name -f - <"${scratch}/objects" >/dev/null 2>"${scratch}/error"; then
    progress="not every object can be read, so some may be under KMS: $(tail -n 1 "${scratch}/error")"
    return 1
  fi
  read_transformations || return 1
  found=$(transformed_since "${before}" "${transformations}" | awk '$4 != "-" { print $4 }' | sort -u | tr '\n' ' ')
  [ -z "${found}" ] || {
    progress="the API servers still read ${found}under KMS; put identity first for them in the EncryptionConfiguration of every API server, and name them in KMS_RESOURCES"
    return 1
  }
}

decrypt_first() {
  local answer table calls_before transformations='' tries=1
  deadline=$((SECONDS + migration_length))
  if is_openshift; then
    # The API refuses a kms beside another type than KMS.
    answer=$(kube patch apiserver cluster --type=merge -p '{"spec":{"encryption":{"type":"identity","kms":null}}}' 2>&1) || {
      progress="apiserver/cluster refuses the patch: $(tail -n 1 <<<"${answer}")"
      return 1
    }
    wait_for_operators 'DecryptionCompleted|EncryptionDisabled' || return 1 # the second one if the cluster was never encrypted
    prove_nothing_is_stored trust_the_operators
    return
  fi
  table=$(pod_table app=mock-kms-plugin) || table=
  read_transformations || return 1
  calls_before=$(encrypt_calls "${table}")
  # An API server that has no object to write would pass every check. These go with the namespace.
  [[ ,${KMS_RESOURCES}, != *,secrets,* ]] || in_namespace create secret generic kms-cleanup-probe >/dev/null 2>&1 || true
  [[ ,${KMS_RESOURCES}, != *,configmaps,* ]] || in_namespace create configmap kms-cleanup-probe >/dev/null 2>&1 || true
  # The step cannot change kube-apiserver's file. If identity is first there, rewriting everything decrypts it.
  rewrite_resources || return 1
  # A watch may read the value before a rewrite a moment later. Nothing writes it.
  until prove_each_server_decrypts; do
    if [[ ${progress} == *" wrote "* ]] || [ ${tries} = 3 ] || [ ${SECONDS} -ge "${deadline}" ]; then return 1; fi
    tries=$((tries + 1))
    pause
  done
  prove_no_plugin_encrypted && prove_nothing_is_stored prove_nothing_is_read_under_kms
}

plugin_in_use() { # why the plugin may be in use, or nothing
  local found
  if is_openshift; then
    found=$(encryption_type)
    case ${found} in '' | identity) ;; *) echo "encryption is still on (type ${found})" ;; esac
  elif found=$(encrypted_in_etcd); then
    [ -z "${found}" ] || echo "etcd has values under KMS"
  elif found=$(kms_transformations 2>/dev/null); then
    [ -z "${found}" ] || echo "kube-apiserver has read or written objects under KMS"
  else
    echo "the plugin may be in use: neither etcd nor kube-apiserver's metrics can be read"
  fi
}

say "keeping the evidence in ${evidence}"
mkdir -p "${evidence}"
if operator_mode; then
  need_openshift
  clean_up_operator
  exit 0
fi
collect
# shellcheck disable=SC2046 # one word per pod
make_report in_pod $(pod_table app=mock-kms-plugin 2>/dev/null | awk '{ print $1 }' || true)

if [ "${KMS_DECRYPT_FIRST}" = true ]; then
  if decrypt_first; then
    passed "decryption"
  else
    failed "decryption" "${progress}"
    stop 1 "it is not proven that everything is decrypted: ${progress}. Nothing was removed: objects that only the plugin can decrypt would be lost"
  fi
else
  deadline=$((SECONDS + 60))
  reason=$(plugin_in_use)
  if [ -n "${reason}" ]; then
    say "WARNING: ${reason}. Without the plugin everything that it encrypted is unreadable. KMS_DECRYPT_FIRST=true decrypts it first"
    say "to read it again, run the deploy step with the same seed; it is kept as mock-kms.test/seed in ${evidence}/objects.yaml, and in SHARED_DIR/kms-plugin-seed"
  fi
fi

deadline=$((SECONDS + cleanup_length))
# Each may be gone already. The pods go with the namespace, and each supervisor removes its socket when it ends.
kube delete clusterrolebindings,clusterroles -l app=mock-kms-plugin --ignore-not-found >/dev/null || failed "removal of cluster-scoped bindings" "they cannot be deleted"
if kube delete namespace "${KMS_PLUGIN_NAMESPACE}" --ignore-not-found --wait=true "--timeout=${cleanup_length}s"; then
  passed "removal of namespace ${KMS_PLUGIN_NAMESPACE}"
else
  why=$(kube get namespace "${KMS_PLUGIN_NAMESPACE}" -o 'jsonpath={range .status.conditions[?(@.status=="True")]}{.message}{"; "}{end}' 2>&1 || true)
  failed "removal of namespace ${KMS_PLUGIN_NAMESPACE}" "${why}"
  stop 1 "namespace ${KMS_PLUGIN_NAMESPACE} is not gone within ${KMS_CLEANUP_TIMEOUT}: ${why:-no condition says why}"
fi
rm -f "${SHARED_DIR}/kms-plugin-socket-path" "${SHARED_DIR}/kms-plugin-namespace" "${SHARED_DIR}/kms-plugin-version"
[ "${failures}" = 0 ] || stop 1 "not everything was removed; see above"
finish "done"
