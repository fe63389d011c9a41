{{- define "cartwheel.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{ $name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "cartwheel.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Of one component: (dict "root" $ "component" "storage"). */}}
{{- define "cartwheel.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "cartwheel.labels" -}}
{{ include "cartwheel.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Of pods: without versions of the chart, of which a new one would restart all of them. */}}
{{- define "cartwheel.podLabels" -}}
{{ include "cartwheel.selector" . }}
{{- with .values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What everybody gossips with first: membership, and the first storage nodes for when that is away. */}}
{{- define "cartwheel.seeds" -}}
{{- $name := include "cartwheel.name" . -}}
{{ include "cartwheel.membershipAddresses" . }},{{ $name }}-storage-0.{{ $name }}-storage:7411,{{ $name }}-storage-1.{{ $name }}-storage:7411
{{- end }}

{{- define "cartwheel.membershipAddresses" -}}
{{- $name := include "cartwheel.name" . -}}
{{- range $i, $_ := until (int .Values.membership.replicas) }}{{ if $i }},{{ end }}{{ $name }}-membership-{{ $i }}.{{ $name }}-membership:7441{{ end }}
{{- end }}

{{/* As a storage pod advertises itself; {} is its number. */}}
{{- define "cartwheel.storageAddress" -}}
{{- $name := printf "%s-storage" (include "cartwheel.name" .) -}}
{{ $name }}-{}.{{ $name }}.{{ .Release.Namespace }}.svc:7411
{{- end }}

{{/* Whether storage pods ask Kubernetes for the zone of their node: empty where they do not. */}}
{{- define "cartwheel.zoneFromLabel" -}}
{{- if and (not .Values.storage.zone) .Values.storage.zoneLabel }}true{{ end -}}
{{- end }}

{{/* What is not of a namespace, of this release. No namespace has a point in it: two releases never share a name. */}}
{{- define "cartwheel.clusterName" -}}
{{ .Release.Namespace }}.{{ include "cartwheel.name" . }}
{{- end }}

{{/* Of a service account, as it would be mounted into every container: only those get it that ask Kubernetes something. */}}
{{- define "cartwheel.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3607 }
      - configMap: { name: kube-root-ca.crt, items: [{ key: ca.crt, path: ca.crt }] }
      - downwardAPI: { items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }] }
{{- end }}

{{- define "cartwheel.tokenMount" -}}
- { name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true }
{{- end }}

{{/* Flags from a map of settings, in the order of their names. A whole number from YAML is a float, printed as 1e+06. */}}
{{- define "cartwheel.flags" -}}
{{- range $flag, $value := . }}
{{- $text := ternary (int64 $value | toString) (toString $value) (and (kindIs "float64" $value) (eq (toString (float64 (int64 $value))) (toString $value))) }}
- {{ printf "--%s=%s" $flag $text | quote }}
{{- end }}
{{- end }}

{{/* Of routers and storage nodes. */}}
{{- define "cartwheel.traceFlags" -}}
{{- with .Values.tracing }}
{{- if .endpoint }}
- {{ printf "--trace-endpoint=%s" .endpoint | quote }}
- {{ printf "--trace-ratio=%v" .ratio | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "cartwheel.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "cartwheel.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/*
Startup waits for the process, ready for a ring; live asks only whether the process answers: it never depends on others.
*/}}
{{- define "cartwheel.probes" -}}
startupProbe:
  httpGet: { path: /startupz, port: admin }
  periodSeconds: 1
  failureThreshold: 300
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
  timeoutSeconds: 3
# Two minutes: a process on a machine that is too busy answers late, and to kill it would make that worse for all.
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 12
{{- end }}

{{/* Where pods may run: (dict "root" $ "component" … "values" …). */}}
{{- define "cartwheel.scheduling" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- else }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "cartwheel.selector" . | nindent 8 }}
{{- end }}
{{- if .values.affinity }}
affinity: {{- toYaml .values.affinity | nindent 2 }}
{{- else }}
affinity:
  podAntiAffinity:
    {{- if eq (dig "hostAntiAffinity" "preferred" .values) "required" }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "cartwheel.selector" . | nindent 12 }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "cartwheel.selector" . | nindent 14 }}
    {{- end }}
{{- end }}
{{- end }}

{{/* Of a pod that comes and goes with a command of helm: where a component's run, and without their spread. */}}
{{- define "cartwheel.hookScheduling" -}}
{{- range $key := list "priorityClassName" "nodeSelector" "tolerations" "affinity" }}
{{- with get $.values $key }}
{{ $key }}: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "cartwheel.podMetadata" -}}
labels: {{- include "cartwheel.podLabels" . | nindent 2 }}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .adminPort | quote }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Of one component, as cartwheel.scheduling: a document of its own. */}}
{{- define "cartwheel.podDisruptionBudget" }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "cartwheel.name" .root }}-{{ .component }}
  labels: {{- include "cartwheel.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .values.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready may go in any case. But for storage: it may still be the replica that others count on.
  unhealthyPodEvictionPolicy: {{ ternary "IfHealthyBudget" "AlwaysAllow" (eq .component "storage") }}
  selector:
    matchLabels: {{- include "cartwheel.selector" . | nindent 6 }}
{{- end }}

{{/* What no schema can say, each with the path of its key. */}}
{{- define "cartwheel.check" -}}
{{- $n := int .Values.ring.replicas }}
{{- $q := int .Values.ring.partitions }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "cartwheel.name" .)) }}
{{- fail (printf "the release is called %s, and its Services would be %s: that takes small letters, digits and -, and begins with a letter" .Release.Name (include "cartwheel.name" .)) }}
{{- end }}
{{- if lt (int .Values.storage.replicas) $n }}
{{- fail (printf "storage.replicas is %d and ring.replicas is %d: each key has %d replicas on as many nodes. Nothing was changed; the least is --set storage.replicas=%d" (int .Values.storage.replicas) $n $n $n) }}
{{- end }}
{{- if ne (len (regexFindAll "1" (printf "%b" $q) -1)) 1 }}
{{- fail (printf "ring.partitions is %d; it must be a power of two, for example 1024" $q) }}
{{- end }}
{{- if .Values.router.autoscaling.enabled }}
{{- if lt (int .Values.router.autoscaling.maxReplicas) (int .Values.router.autoscaling.minReplicas) }}
{{- fail (printf "router.autoscaling.maxReplicas is %d and router.autoscaling.minReplicas is %d" (int .Values.router.autoscaling.maxReplicas) (int .Values.router.autoscaling.minReplicas)) }}
{{- end }}
{{- end }}
{{- $away := toString .Values.storage.podDisruptionBudget.maxUnavailable }}
{{- $pods := int $away }}
{{- if hasSuffix "%" $away }}{{ $pods = divf (mulf (trimSuffix "%" $away | float64) (int .Values.storage.replicas)) 100 | ceil | int }}{{ end }}
{{- if and (gt $n 1) (ge $pods $n) }}
{{- fail (printf "storage.podDisruptionBudget.maxUnavailable is %s, %d of %d pods, and ring.replicas is %d: all homes of a key could be taken down at once. The most is %d" $away $pods (int .Values.storage.replicas) $n (sub $n 1)) }}
{{- end }}
{{- if and .Values.storage.affinity (eq .Values.storage.hostAntiAffinity "required") }}
{{- fail "storage.hostAntiAffinity is required, and storage.affinity is in its place: have one of the two" }}
{{- end }}
{{- range $component := list "storage" "membership" }}
{{- $persistence := (get $.Values $component).persistence }}
{{- $name := printf "%s-%s" (include "cartwheel.name" $) $component }}
{{- with lookup "apps/v1" "StatefulSet" $.Release.Namespace $name }}
{{- $claim := (index .spec.volumeClaimTemplates 0).spec }}
{{- $size := $claim.resources.requests.storage }}
{{- if ne (include "cartwheel.bytes" $size) (include "cartwheel.bytes" $persistence.size) }}
{{- fail (printf "%s.persistence.size is %s, and %s makes volumes of %s: Kubernetes lets nobody change that of a StatefulSet. Nothing was changed; docs/operate/volumes.md says how they grow" $component $persistence.size $name $size) }}
{{- end }}
{{- if and $persistence.storageClass (ne $persistence.storageClass (get $claim "storageClassName" | default "")) }}
{{- fail (printf "%s.persistence.storageClass is %s, and %s makes volumes of %s: Kubernetes lets nobody change that of a StatefulSet. Nothing was changed; docs/operate/volumes.md says how they move" $component $persistence.storageClass $name (get $claim "storageClassName" | default "the default class")) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A size as Kubernetes writes it, which may write another one for the same. */}}
{{- define "cartwheel.bytes" -}}
{{- $text := toString . }}
{{- $units := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 }}
{{- $unit := regexFind "[A-Za-z]+$" $text }}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit | default 1) | printf "%.0f" }}
{{- end }}
