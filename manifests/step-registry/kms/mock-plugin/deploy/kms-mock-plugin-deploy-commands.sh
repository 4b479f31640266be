#!/bin/bash
# Written by scripts/steps; edit manifests/step-templates or manifests/overlays instead.
# Deploys the plugin to every control-plane node, and waits until each is healthy and all have the same key.
set -euo pipefail

# Shared by all steps: log, client, nodes and pods, JUnit file.

step=kms-mock-plugin-deploy
# Defaults of variables that the job did not set.
KMS_MODE=${KMS_MODE-daemonset}
KMS_PLUGIN_BUILDER_IMAGE=${KMS_PLUGIN_BUILDER_IMAGE-}
KMS_PLUGIN_RUNTIME_IMAGE=${KMS_PLUGIN_RUNTIME_IMAGE-}
KMS_PLUGIN_NAMESPACE=${KMS_PLUGIN_NAMESPACE-kms-plugin-test}
KMS_KEY_VERSION=${KMS_KEY_VERSION-1}
KMS_SEED=${KMS_SEED-}
KMS_FAULT=${KMS_FAULT-}
KMS_PLUGIN_PROFILE=${KMS_PLUGIN_PROFILE-}
KMS_PLUGIN_REPO=${KMS_PLUGIN_REPO-}
KMS_PLUGIN_PATH=${KMS_PLUGIN_PATH-}
KMS_PLUGIN_REF=${KMS_PLUGIN_REF-HEAD}
KMS_PLUGIN_COMMIT=${KMS_PLUGIN_COMMIT-}
KMS_DEPLOY_TIMEOUT=${KMS_DEPLOY_TIMEOUT-15m}
KMS_BUILD_TRIES=${KMS_BUILD_TRIES-3}
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

must_match KMS_MODE 'daemonset|operator' 'daemonset or operator'
if [ "${KMS_MODE}" = operator ]; then
  skipped "plugin on every node" "KMS_MODE=operator: the operators run the plugin"
  finish "nothing to deploy: with KMS_MODE=operator OpenShift's operators run the plugin as a sidecar"
  exit 0
fi
must_match KMS_PLUGIN_PROFILE '(embedded|openshift)?' "embedded or openshift"
if [ "${KMS_PLUGIN_PROFILE}" = openshift ]; then
  [ -n "${KMS_PLUGIN_BUILDER_IMAGE}" ] || stop 2 "KMS_PLUGIN_BUILDER_IMAGE is not set; name the image that 'scripts/image builder-go' built"
else
  for variable in KMS_PLUGIN_BUILDER_IMAGE KMS_PLUGIN_RUNTIME_IMAGE; do
    [ -n "${!variable}" ] || stop 2 "${variable} is not set; name the image that scripts/image built"
  done
fi
must_match KMS_BUILD_TRIES '[1-9][0-9]{0,3}' 'a number from 1'
must_match KMS_KEY_VERSION '[1-9][0-9]{0,9}' 'a number from 1'
seconds_of KMS_DEPLOY_TIMEOUT
reach_cluster
deadline=$((SECONDS + length))
needs_master_term=

quoted() { # quoted TEXT: prints it as a YAML string on one line
  local line=${1//$'\n'/ }
  printf "'%s'" "${line//\'/\'\'}"
}

# Kubernetes warns about the label node-role.kubernetes.io/master, so it is only selected if a node has no newer one.
select_nodes() {
  if [ -n "${needs_master_term}" ]; then cat; else sed '/^ *- matchExpressions:$/{N;N;/node-role.kubernetes.io\/master/d}'; fi
}

own_manifest() {
  cat <<MANIFEST
apiVersion: v1
kind: Namespace
metadata:
  labels:
    app: mock-kms-plugin
    app.kubernetes.io/component: kms-plugin
    app.kubernetes.io/instance: mock-kms-plugin
    app.kubernetes.io/managed-by: kustomize
    app.kubernetes.io/name: mock-kms-plugin
    app.kubernetes.io/part-of: encryption-at-rest-tests
    app.kubernetes.io/version: 0.1.0
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/warn: privileged
    security.openshift.io/scc.podSecurityLabelSync: 'false'
  name: ${KMS_PLUGIN_NAMESPACE}
---
apiVersion: v1
automountServiceAccountToken: false
kind: ServiceAccount
metadata:
  labels:
    app: mock-kms-plugin
    app.kubernetes.io/component: kms-plugin
    app.kubernetes.io/instance: mock-kms-plugin
    app.kubernetes.io/managed-by: kustomize
    app.kubernetes.io/name: mock-kms-plugin
    app.kubernetes.io/part-of: encryption-at-rest-tests
    app.kubernetes.io/version: 0.1.0
  name: mock-kms-plugin
  namespace: ${KMS_PLUGIN_NAMESPACE}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  labels:
    app: mock-kms-plugin
    app.kubernetes.io/component: kms-plugin
    app.kubernetes.io/instance: mock-kms-plugin
    app.kubernetes.io/managed-by: kustomize
    app.kubernetes.io/name: mock-kms-plugin
    app.kubernetes.io/part-of: encryption-at-rest-tests
    app.kubernetes.io/version: 0.1.0
  name: mock-kms-plugin
  namespace: ${KMS_PLUGIN_NAMESPACE}
spec:
  selector:
    matchLabels:
      app: mock-kms-plugin
      app.kubernetes.io/instance: mock-kms-plugin
  template:
    metadata:
      annotations:
        kubectl.kubernetes.io/default-container: supervisor
        mock-kms.test/seed: $(quoted "${seed}")
        openshift.io/required-scc: privileged
      labels:
        app: mock-kms-plugin
        app.kubernetes.io/component: kms-plugin
        app.kubernetes.io/instance: mock-kms-plugin
        app.kubernetes.io/managed-by: kustomize
        app.kubernetes.io/name: mock-kms-plugin
        app.kubernetes.io/part-of: encryption-at-rest-tests
        app.kubernetes.io/version: 0.1.0
    spec:
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions:
              - key: node-role.kubernetes.io/control-plane
                operator: Exists
            - matchExpressions:
              - key: node-role.kubernetes.io/master
                operator: Exists
      automountServiceAccountToken: false
      containers:
      - args:
        - run
        - --
        - /plugin/mock-kms-provider
        env:
        - name: SUPERVISOR_SOCKET
          value: unix:///var/run/kmsplugin/kms.sock
        - name: SUPERVISOR_CONTROL_SOCKET
          value: unix:///run/mock-kms/supervisor.sock
        - name: MOCK_KMS_LISTEN_ADDR
          value: unix:///var/run/kmsplugin/kms.sock
        - name: MOCK_KMS_SOCKET
          value: unix:///var/run/kmsplugin/kms.sock
        - name: MOCK_KMS_SEED_FILE
          value: /etc/mock-kms/seed
        - name: MOCK_KMS_STATE_DIR
          value: /var/lib/mock-kms-plugin/state
        - name: MOCK_KMS_INSTANCE
          value: default
        - name: MOCK_KMS_KEY_VERSION
          value: $(quoted "${KMS_KEY_VERSION}")
        - name: MOCK_KMS_FAULT
          value: $(quoted "${KMS_FAULT}")
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        image: ${KMS_PLUGIN_RUNTIME_IMAGE}
        imagePullPolicy: IfNotPresent
        lifecycle:
          preStop:
            exec:
              command:
              - supervisor
              - stop
              - --timeout=15s
        livenessProbe:
          exec:
            command:
            - supervisor
            - status
            - --live
          failureThreshold: 3
          periodSeconds: 30
          timeoutSeconds: 5
        name: supervisor
        readinessProbe:
          exec:
            command:
            - supervisor
            - status
            - --ready
          periodSeconds: 15
          timeoutSeconds: 5
        resources:
          requests:
            cpu: 10m
            memory: 40Mi
        securityContext:
          allowPrivilegeEscalation: false
          capabilities:
            drop:
            - ALL
          readOnlyRootFilesystem: true
        startupProbe:
          exec:
            command:
            - supervisor
            - status
            - --ready
          failureThreshold: 60
          periodSeconds: 1
          timeoutSeconds: 5
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
        - mountPath: /var/run/kmsplugin
          name: socket
        - mountPath: /run/mock-kms
          name: control
        - mountPath: /plugin
          name: plugin
          readOnly: true
        - mountPath: /etc/mock-kms
          name: seed
          readOnly: true
        - mountPath: /var/lib/mock-kms-plugin/state
          name: state
      dnsPolicy: Default
      enableServiceLinks: false
      hostNetwork: true
      initContainers:
      - args:
        - build
        env:
        - name: BUILDER_PROFILE
          value: $(quoted "${KMS_PLUGIN_PROFILE}")
        - name: BUILDER_REPO
          value: $(quoted "${KMS_PLUGIN_REPO}")
        - name: BUILDER_PATH
          value: $(quoted "${KMS_PLUGIN_PATH}")
        - name: BUILDER_REF
          value: $(quoted "${KMS_PLUGIN_REF}")
        - name: BUILDER_COMMIT
          value: $(quoted "${KMS_PLUGIN_COMMIT}")
        - name: BUILDER_OUTPUT
          value: /plugin/
        - name: BUILDER_BUILD_DIR
          value: /var/lib/mock-kms-plugin/cache
        - name: HOME
          value: /tmp
        image: ${KMS_PLUGIN_BUILDER_IMAGE}
        imagePullPolicy: IfNotPresent
        name: build-plugin
        resources:
          requests:
            cpu: 500m
            memory: 512Mi
        securityContext:
          allowPrivilegeEscalation: false
          capabilities:
            drop:
            - ALL
          readOnlyRootFilesystem: true
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
        - mountPath: /plugin
          name: plugin
        - mountPath: /var/lib/mock-kms-plugin/cache
          name: cache
        - mountPath: /tmp
          name: tmp
      priorityClassName: system-node-critical
      securityContext:
        runAsGroup: 0
        runAsUser: 0
        seLinuxOptions:
          type: spc_t
        seccompProfile:
          type: RuntimeDefault
      serviceAccountName: mock-kms-plugin
      terminationGracePeriodSeconds: 30
      tolerations:
      - operator: Exists
      volumes:
      - hostPath:
          path: /var/run/kmsplugin
          type: DirectoryOrCreate
        name: socket
      - emptyDir:
          medium: Memory
          sizeLimit: 1Mi
        name: control
      - emptyDir: {}
        name: plugin
      - emptyDir: {}
        name: tmp
      - downwardAPI:
          defaultMode: 256
          items:
          - fieldRef:
              fieldPath: metadata.annotations['mock-kms.test/seed']
            path: seed
        name: seed
      - hostPath:
          path: /var/lib/mock-kms-plugin/cache
          type: DirectoryOrCreate
        name: cache
      - hostPath:
          path: /var/lib/mock-kms-plugin/state
          type: DirectoryOrCreate
        name: state
  updateStrategy:
    rollingUpdate:
      maxUnavailable: 1
    type: RollingUpdate
MANIFEST
}

# The same with the mock that Kubernetes' own tests use.
upstream_manifest() {
  cat <<MANIFEST
apiVersion: v1
kind: Namespace
metadata:
  labels:
    app: mock-kms-plugin
    app.kubernetes.io/component: kms-plugin
    app.kubernetes.io/instance: mock-kms-plugin
    app.kubernetes.io/managed-by: kustomize
    app.kubernetes.io/name: mock-kms-plugin
    app.kubernetes.io/part-of: encryption-at-rest-tests
    app.kubernetes.io/version: 0.1.0
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/warn: privileged
    security.openshift.io/scc.podSecurityLabelSync: 'false'
  name: ${KMS_PLUGIN_NAMESPACE}
---
apiVersion: v1
automountServiceAccountToken: false
kind: ServiceAccount
metadata:
  labels:
    app: mock-kms-plugin
    app.kubernetes.io/component: kms-plugin
    app.kubernetes.io/instance: mock-kms-plugin
    app.kubernetes.io/managed-by: kustomize
    app.kubernetes.io/name: mock-kms-plugin
    app.kubernetes.io/part-of: encryption-at-rest-tests
    app.kubernetes.io/version: 0.1.0
  name: mock-kms-plugin
  namespace: ${KMS_PLUGIN_NAMESPACE}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  labels:
    app: mock-kms-plugin
    app.kubernetes.io/component: kms-plugin
    app.kubernetes.io/instance: mock-kms-plugin
    app.kubernetes.io/managed-by: kustomize
    app.kubernetes.io/name: mock-kms-plugin
    app.kubernetes.io/part-of: encryption-at-rest-tests
    app.kubernetes.io/version: 0.1.0
  name: mock-kms-plugin
  namespace: ${KMS_PLUGIN_NAMESPACE}
spec:
  selector:
    matchLabels:
      app: mock-kms-plugin
      app.kubernetes.io/instance: mock-kms-plugin
  template:
    metadata:
      annotations:
        kubectl.kubernetes.io/default-container: supervisor
        mock-kms.test/seed: $(quoted "${seed}")
        openshift.io/required-scc: privileged
      labels:
        app: mock-kms-plugin
        app.kubernetes.io/component: kms-plugin
        app.kubernetes.io/instance: mock-kms-plugin
        app.kubernetes.io/managed-by: kustomize
        app.kubernetes.io/name: mock-kms-plugin
        app.kubernetes.io/part-of: encryption-at-rest-tests
        app.kubernetes.io/version: 0.1.0
    spec:
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions:
              - key: node-role.kubernetes.io/control-plane
                operator: Exists
            - matchExpressions:
              - key: node-role.kubernetes.io/master
                operator: Exists
      automountServiceAccountToken: false
      containers:
      - args:
        - run
        - --
        - /plugin/mock-kms-plugin
        - -listen-addr=unix:///var/run/kmsplugin/kms.sock
        - -config-file-path=/plugin/softhsm-config.json
        command:
        - supervisor
        env:
        - name: SUPERVISOR_SOCKET
          value: unix:///var/run/kmsplugin/kms.sock
        - name: SUPERVISOR_CONTROL_SOCKET
          value: unix:///run/mock-kms/supervisor.sock
        - name: MOCK_KMS_LISTEN_ADDR
          value: unix:///var/run/kmsplugin/kms.sock
        - name: MOCK_KMS_SOCKET
          value: unix:///var/run/kmsplugin/kms.sock
        - name: MOCK_KMS_SEED_FILE
          value: /etc/mock-kms/seed
        - name: MOCK_KMS_STATE_DIR
          value: /var/lib/mock-kms-plugin/state
        - name: MOCK_KMS_INSTANCE
          value: default
        - name: MOCK_KMS_KEY_VERSION
          value: $(quoted "${KMS_KEY_VERSION}")
        - name: MOCK_KMS_FAULT
          value: $(quoted "${KMS_FAULT}")
        - name: NODE_NAME
          valueFrom:
            fieldRef:
              fieldPath: spec.nodeName
        image: ${KMS_PLUGIN_BUILDER_IMAGE}
        imagePullPolicy: IfNotPresent
        lifecycle:
          preStop:
            exec:
              command:
              - supervisor
              - stop
              - --timeout=15s
        livenessProbe:
          exec:
            command:
            - supervisor
            - status
            - --live
          failureThreshold: 3
          periodSeconds: 30
          timeoutSeconds: 5
        name: supervisor
        readinessProbe:
          exec:
            command:
            - supervisor
            - status
            - --ready
          periodSeconds: 15
          timeoutSeconds: 5
        resources:
          requests:
            cpu: 10m
            memory: 40Mi
        securityContext:
          allowPrivilegeEscalation: false
          capabilities:
            drop:
            - ALL
          readOnlyRootFilesystem: true
        startupProbe:
          exec:
            command:
            - supervisor
            - status
            - --ready
          failureThreshold: 60
          periodSeconds: 1
          timeoutSeconds: 5
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
        - mountPath: /var/lib/softhsm/tokens
          name: tokens
        - mountPath: /var/run/kmsplugin
          name: socket
        - mountPath: /run/mock-kms
          name: control
        - mountPath: /plugin
          name: plugin
          readOnly: true
        - mountPath: /etc/mock-kms
          name: seed
          readOnly: true
        - mountPath: /var/lib/mock-kms-plugin/state
          name: state
      dnsPolicy: Default
      enableServiceLinks: false
      hostNetwork: true
      initContainers:
      - args:
        - build
        env:
        - name: BUILDER_PROFILE
          value: $(quoted "${KMS_PLUGIN_PROFILE}")
        - name: BUILDER_REPO
          value: $(quoted "${KMS_PLUGIN_REPO}")
        - name: BUILDER_PATH
          value: $(quoted "${KMS_PLUGIN_PATH}")
        - name: BUILDER_REF
          value: $(quoted "${KMS_PLUGIN_REF}")
        - name: BUILDER_COMMIT
          value: $(quoted "${KMS_PLUGIN_COMMIT}")
        - name: BUILDER_OUTPUT
          value: /plugin/
        - name: BUILDER_BUILD_DIR
          value: /var/lib/mock-kms-plugin/cache
        - name: HOME
          value: /tmp
        image: ${KMS_PLUGIN_BUILDER_IMAGE}
        imagePullPolicy: IfNotPresent
        name: build-plugin
        resources:
          requests:
            cpu: 500m
            memory: 512Mi
        securityContext:
          allowPrivilegeEscalation: false
          capabilities:
            drop:
            - ALL
          readOnlyRootFilesystem: true
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
        - mountPath: /plugin
          name: plugin
        - mountPath: /var/lib/mock-kms-plugin/cache
          name: cache
        - mountPath: /tmp
          name: tmp
      - args:
        - /plugin/softhsm-config.json
        - /etc/mock-kms/seed
        command:
        - /usr/libexec/mock-kms-plugin/softhsm-token
        env: []
        image: ${KMS_PLUGIN_BUILDER_IMAGE}
        imagePullPolicy: IfNotPresent
        name: make-token
        resources:
          requests:
            cpu: 10m
            memory: 16Mi
        securityContext:
          allowPrivilegeEscalation: false
          capabilities:
            drop:
            - ALL
          readOnlyRootFilesystem: true
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
        - mountPath: /plugin
          name: plugin
          readOnly: true
        - mountPath: /etc/mock-kms
          name: seed
          readOnly: true
        - mountPath: /var/lib/softhsm/tokens
          name: tokens
      priorityClassName: system-node-critical
      securityContext:
        runAsGroup: 0
        runAsUser: 0
        seLinuxOptions:
          type: spc_t
        seccompProfile:
          type: RuntimeDefault
      serviceAccountName: mock-kms-plugin
      terminationGracePeriodSeconds: 30
      tolerations:
      - operator: Exists
      volumes:
      - emptyDir:
          medium: Memory
          sizeLimit: 1Mi
        name: tokens
      - hostPath:
          path: /var/run/kmsplugin
          type: DirectoryOrCreate
        name: socket
      - emptyDir:
          medium: Memory
          sizeLimit: 1Mi
        name: control
      - emptyDir: {}
        name: plugin
      - emptyDir: {}
        name: tmp
      - downwardAPI:
          defaultMode: 256
          items:
          - fieldRef:
              fieldPath: metadata.annotations['mock-kms.test/seed']
            path: seed
        name: seed
      - hostPath:
          path: /var/lib/mock-kms-plugin/cache
          type: DirectoryOrCreate
        name: cache
      - hostPath:
          path: /var/lib/mock-kms-plugin/state
          type: DirectoryOrCreate
        name: state
  updateStrategy:
    rollingUpdate:
      maxUnavailable: 1
    type: RollingUpdate
MANIFEST
}

manifest() { if [ "${KMS_PLUGIN_PROFILE}" = openshift ]; then upstream_manifest; else own_manifest; fi | select_nodes; }

scc_binding() {
  cat <<MANIFEST
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  labels:
    app: mock-kms-plugin
    app.kubernetes.io/component: kms-plugin
    app.kubernetes.io/instance: mock-kms-plugin
    app.kubernetes.io/managed-by: kustomize
    app.kubernetes.io/name: mock-kms-plugin
    app.kubernetes.io/part-of: encryption-at-rest-tests
    app.kubernetes.io/version: 0.1.0
  name: mock-kms-plugin-scc-privileged
  namespace: ${KMS_PLUGIN_NAMESPACE}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: system:openshift:scc:privileged
subjects:
- kind: ServiceAccount
  name: mock-kms-plugin
  namespace: ${KMS_PLUGIN_NAMESPACE}
MANIFEST
}

# Another seed makes everything encrypted before unreadable. So the cluster's seed comes first, then the one of this job.
choose_seed() {
  local annotation='jsonpath={.spec.template.metadata.annotations.mock-kms\.test/seed}'
  seed=$(in_namespace get daemonset mock-kms-plugin --ignore-not-found -o "${annotation}") ||
    stop 1 "cannot read the DaemonSet of an earlier deployment; see the client's message above"
  if [ -n "${KMS_SEED}" ]; then
    [ -z "${seed}" ] || [ "${seed}" = "${KMS_SEED}" ] ||
      say "WARNING: KMS_SEED differs from the deployed seed; everything encrypted under that one becomes unreadable"
    seed=${KMS_SEED}
  fi
  if [ -z "${seed}" ] && [ -s "${SHARED_DIR}/kms-plugin-seed" ]; then seed=$(<"${SHARED_DIR}/kms-plugin-seed"); fi
  if [ -z "${seed}" ]; then seed=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'); fi
  [[ ${seed} =~ ^[0-9a-fA-F]{64}$ ]] || stop 2 "KMS_SEED is not 64 hexadecimal digits; make one by: head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n'"
}

phase_of() { awk -v pod="$1" '$1 == pod { print $3; exit }' <<<"$2"; } # phase_of POD TABLE

build_failures() { # build_failures POD: how often the compile failed, if it has not succeeded since
  local restarts reason code
  IFS=/ read -r restarts reason code < <(in_namespace get pod "$1" -o 'jsonpath={range .status.initContainerStatuses[?(@.name=="build-plugin")]}{.restartCount}/{.state.waiting.reason}/{.state.terminated.exitCode}{end}' 2>/dev/null) || true
  if [ "${reason:-}" = CrashLoopBackOff ] || [ "${code:-0}" != 0 ]; then echo $((restarts + 1)); fi
}

build_cause() { # build_cause POD: the line that names the cause of a failed build, of this try or the previous one
  local message
  message=$(in_namespace logs "$1" -c build-plugin --tail=50 2>/dev/null || true)
  grep -q '[^[:space:]]' <<<"${message}" || message=$(in_namespace logs "$1" -c build-plugin --previous --tail=50 2>/dev/null || true)
  grep -E '^builder: ' <<<"${message}" | tail -n 1 || tail -n 1 <<<"${message}"
}

# The kubelet's reason for a container that does not start, such as "build-plugin: ErrImagePull: MESSAGE". Nothing for a container
# that is being created, or that failed and will be started again.
waiting_reason() { # waiting_reason POD
  in_namespace get pod "$1" -o 'jsonpath={range .status.initContainerStatuses[*]}{.name}: {.state.waiting.reason}: {.state.waiting.message}{"\n"}{end}{range .status.containerStatuses[*]}{.name}: {.state.waiting.reason}: {.state.waiting.message}{"\n"}{end}' 2>/dev/null |
    grep -E '^[^:]+: [A-Za-z]' | grep -vE '^[^:]+: (PodInitializing|ContainerCreating|CrashLoopBackOff)\b' | head -n 1
}

pending_cause() { # pending_cause POD: the kubelet's reason, else the build's cause
  local reason
  if reason=$(waiting_reason "$1") && [ -n "${reason}" ]; then echo "${reason}"; else echo "the build says: $(build_cause "$1")"; fi
}

# Sets `why` to the reason why a node is not done, in one line; empties it if the node is done. A socket file proves nothing, so
# it asks the plugin. Each plugin must decrypt what the first one encrypted, and have the same key; other_keys counts nodes that fail
# only the latter. With KMS_FAULT an answer is enough, because the fault may prevent the rest.
check_node() { # check_node POD PHASE
  local answer status
  why=
  if [ -z "$1" ]; then
    why="no pod yet"
  elif [ "$2" != Running ]; then
    why="its pod is ${2}; $(pending_cause "$1")"
  elif ! answer=$(in_pod "$1" supervisor status --ready </dev/null 2>&1); then
    why=$(program_output <<<"${answer}" | tail -n 1)
    why=${why:-it does not answer}
  elif [ -n "${KMS_FAULT}" ]; then
    return 0
  elif ! status=$(in_pod "$1" supervisor status </dev/null 2>&1); then
    why=$(awk 'NR == 1 { first = $0 } sub(/^ *reason */, "") { reason = $0; exit } END { print reason != "" ? reason : first }' <<<"${status}")
  elif ! sealed=${sealed:-$(printf 'round trip' | in_pod "$1" mock-kms-provider encrypt)}; then
    why="it does not encrypt"
  elif ! answer=$(in_pod "$1" mock-kms-provider decrypt <<<"${sealed}" 2>/dev/null); then
    why="it does not decrypt what another node encrypted: $(last_error_of in_pod "$1" mock-kms-provider decrypt <<<"${sealed}")"
  elif [ "${answer}" != 'round trip' ]; then
    why="it decrypts to something else"
  else
    key=$(sed -n 's/^  kms .*, key_id //p' <<<"${status}")
    [ "${key}" != "${first_key:=${key}}" ] || return 0
    why="its key is ${key}, and that of another node ${first_key}; make one version current on all by 'mock-kms-provider rotate --to N' in the pods"
    other_keys=$((other_keys + 1))
  fi
}

rollout_left() { # the rest of a rollout; nothing if every pod has the applied template
  local generation observed desired updated
  read -r generation observed desired updated < <(in_namespace get daemonset mock-kms-plugin \
    -o 'jsonpath={.metadata.generation} {.status.observedGeneration} {.status.desiredNumberScheduled} {.status.updatedNumberScheduled}' 2>/dev/null) || true
  if [ "${observed:-0}" -lt "${generation:-1}" ]; then
    echo "the cluster has not noticed it yet"
  elif [ "${updated:-0}" -lt "${desired:-1}" ]; then
    echo "${updated:-0} of ${desired:-0} pods are new"
  fi
}

diagnose() { # diagnose NODE POD WHY
  echo "---- ${1}: ${3}"
  if [ -z "$2" ]; then
    echo "no pod runs on this node; the events of the namespace:"
    in_namespace get events --sort-by=.lastTimestamp 2>&1 | tail -n 10 | sed 's/^/  /' || true
    return 0
  fi
  echo "pod ${2}, phase $(in_namespace get pod "$2" -o 'jsonpath={.status.phase}' 2>&1 || true)"
  echo "build: $(build_cause "$2")"
  echo "supervisor status:"
  { in_pod "$2" supervisor status </dev/null 2>&1 || true; } | program_output | sed 's/^/  /'
  echo "events:"
  in_namespace get events --field-selector "involvedObject.name=$2" --sort-by=.lastTimestamp 2>&1 | tail -n 10 | sed 's/^/  /' || true
}

# namespace_removal: the time since which the namespace is being removed, or nothing
namespace_removal() { kube get namespace "${KMS_PLUGIN_NAMESPACE}" --ignore-not-found -o 'jsonpath={.metadata.deletionTimestamp}'; }

# Objects that are applied to a namespace that is being removed go with it.
wait_for_removal() {
  local since
  while :; do
    since=$(namespace_removal) || stop 1 "cannot read namespace ${KMS_PLUGIN_NAMESPACE}; see the client's message above"
    [ -n "${since}" ] || return 0
    [ ${SECONDS} -lt "${deadline}" ] ||
      stop 1 "namespace ${KMS_PLUGIN_NAMESPACE} is still being removed after ${KMS_DEPLOY_TIMEOUT}; see why: ${client##*/} get namespace ${KMS_PLUGIN_NAMESPACE} -o yaml"
    say "waiting until namespace ${KMS_PLUGIN_NAMESPACE} is removed (since ${since})"
    pause
  done
}

say "deploying to namespace ${KMS_PLUGIN_NAMESPACE} with ${client##*/}"
wait_for_removal
nodes=$(control_plane_nodes) || stop 1 "cannot list the nodes; see the client's message above"
[ -n "${nodes}" ] || stop 1 "no node has the label node-role.kubernetes.io/control-plane or .../master; label the nodes of the API servers"
needs_master_term=$(kube get nodes -l 'node-role.kubernetes.io/master,!node-role.kubernetes.io/control-plane' -o 'jsonpath={.items[*].metadata.name}') ||
  stop 1 "cannot list the nodes; see the client's message above"
seed=
choose_seed
manifest | kube_input apply -f - || stop 1 "cannot apply the manifests; see the client's message above"
if is_openshift; then scc_binding | kube_input apply -f - || stop 1 "cannot bind the privileged SCC; see the client's message above"; fi
# Written now, because from now on data may be encrypted under the seed.
printf '%s' "${seed}" >"${SHARED_DIR}/kms-plugin-seed"
printf '%s' "${KMS_PLUGIN_NAMESPACE}" >"${SHARED_DIR}/kms-plugin-namespace"

given_up=
while :; do
  rollout=$(rollout_left) # before the pods are checked, or they may be old ones
  table=$(pod_table app=mock-kms-plugin,app.kubernetes.io/instance=mock-kms-plugin) || table=
  waiting=() sealed='' first_key='' other_keys=0
  for node in ${nodes}; do
    pod=$(pod_on "${node}" "${table}")
    check_node "${pod}" "$(phase_of "${pod}" "${table}")"
    [ -n "${why}" ] || continue
    say "waiting for ${node}: ${why}"
    waiting+=("${node}|${pod}|${why}")
    if [ -n "${pod}" ]; then
      tries=$(build_failures "${pod}")
      if [ "${tries:-0}" -ge "${KMS_BUILD_TRIES}" ]; then given_up="the build failed ${tries} times on ${node}"; fi
    fi
  done
  if [ ${#waiting[@]} = ${other_keys} ]; then # the keys are the only difference
    if [ -n "${rollout}" ]; then
      say "waiting for the rollout: ${rollout}"
    elif [ ${other_keys} = 0 ]; then
      [ -z "$(namespace_removal)" ] || stop 1 "namespace ${KMS_PLUGIN_NAMESPACE} is being removed by something other than this step; deploy again when it is gone"
      break
    else
      given_up="the nodes serve different keys"
    fi
  fi
  [ -z "${given_up}" ] || break
  if [ ${SECONDS} -ge "${deadline}" ]; then
    [ ${#waiting[@]} -gt 0 ] || stop 1 "the rollout is not done within ${KMS_DEPLOY_TIMEOUT}: ${rollout}; see '${client##*/} describe daemonset -n ${KMS_PLUGIN_NAMESPACE} mock-kms-plugin'"
    given_up="not healthy within ${KMS_DEPLOY_TIMEOUT}"
    break
  fi
  pause
done

for node in ${nodes}; do
  found=
  for entry in ${waiting[@]+"${waiting[@]}"}; do [ "${entry%%|*}" != "${node}" ] || found=${entry}; done
  if [ -z "${found}" ]; then
    passed "plugin on ${node}"
  else
    rest=${found#*|}
    report=$(diagnose "${node}" "${rest%%|*}" "${rest#*|}")
    echo "${report}"
    failed "plugin on ${node}" "${report}"
  fi
done
[ -z "${given_up}" ] || stop 1 "${#waiting[@]} of $(wc -w <<<"${nodes}") nodes have no healthy plugin: ${given_up}; the causes are above"

first=$(pod_on "${nodes%%$'\n'*}" "${table}")
printf '%s' /var/run/kmsplugin/kms.sock >"${SHARED_DIR}/kms-plugin-socket-path"
if [ "${KMS_PLUGIN_PROFILE}" = openshift ]; then # it knows no version of its own
  in_pod "${first}" cat /plugin/build-info.json </dev/null | sed -n 's/^ *"commit": *"\([0-9a-f]*\)".*/mock-kms-plugin \1/p' | head -n 1 >"${SHARED_DIR}/kms-plugin-version"
else
  in_pod "${first}" /plugin/mock-kms-provider --version </dev/null | head -n 1 >"${SHARED_DIR}/kms-plugin-version"
fi
[ -z "${KMS_FAULT}" ] || say "KMS_FAULT is set: the step only checked that each plugin answers"
finish "the plugin $([ -z "${KMS_FAULT}" ] && echo "is healthy" || echo "answers") on $(wc -w <<<"${nodes}") nodes, $(<"${SHARED_DIR}/kms-plugin-version")"
