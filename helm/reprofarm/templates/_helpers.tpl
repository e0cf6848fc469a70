{{- define "reprofarm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "reprofarm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "reprofarm.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of everything the chart makes. */}}
{{- define "reprofarm.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "reprofarm.selector" . }}
{{- end -}}

{{- define "reprofarm.selector" -}}
app.kubernetes.io/name: {{ include "reprofarm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels and annotations of a pod. Arguments: (dict "component" "api" "root" $), and further "labels" and "annotations". */}}
{{- define "reprofarm.podMetadata" -}}
{{- /* Selectors and the chart go by its own, so they win. */}}
{{- $own := include "reprofarm.labels" .root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/component" .component -}}
labels: {{ merge $own (.labels | default dict) .root.Values.podLabels | toYaml | nindent 2 }}
{{- with merge dict (.annotations | default dict) .root.Values.podAnnotations }}
annotations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Arguments: (dict "image" .Values.images.control "root" $). */}}
{{- define "reprofarm.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}
{{- end -}}

{{/* Pools by name, each with what poolDefaults and `workers` give it, as YAML. Key by key: Sprig's merge takes 0 and [] for
left out. */}}
{{- define "reprofarm.pools" -}}
{{- $pools := dict -}}
{{- range $name, $given := .Values.pools | default (dict "gpu-80" dict) -}}
{{- $pool := pick $.Values.workers "maxUnavailable" "terminationGracePeriodSeconds" "handBackSeconds" -}}
{{- range list $.Values.poolDefaults $given -}}
{{- range $key, $value := . -}}
{{- $_ := set $pool $key $value -}}
{{- end -}}
{{- end -}}
{{- $_ := set $pools $name $pool -}}
{{- end -}}
{{- toYaml $pools -}}
{{- end -}}

{{/* The policy file: what the operator wrote, with the pools that the chart deploys. One source, so that no pool lacks workers. */}}
{{- define "reprofarm.policy" -}}
{{- if hasKey .Values.policy "pools" -}}
{{- fail "policy.pools follows from `pools`: set those instead" -}}
{{- end -}}
{{- $pools := list -}}
{{- range $name, $pool := include "reprofarm.pools" . | fromYaml -}}
{{- $gpus := ternary (int $pool.gpus) 0 (eq $pool.device "gpu") -}}
{{- $capability := hasKey $pool "computeCapability" | ternary (dict "compute_capability" $pool.computeCapability) dict -}}
{{- $sizes := dict "name" $name "device" $pool.device "gpus" $gpus "memory_gib" $pool.memoryGib -}}
{{- $pools = append $pools (merge $sizes $capability) -}}
{{- end -}}
{{- toYaml (merge (dict "pools" $pools) (deepCopy .Values.policy)) -}}
{{- end -}}

{{- define "reprofarm.databaseSecret" -}}
{{- if .Values.database.urlSecret -}}{{ .Values.database.urlSecret }}
{{- else if .Values.postgresql.enabled -}}{{ default (printf "%s-database" (include "reprofarm.fullname" .)) .Values.postgresql.existingSecret }}
{{- else -}}{{- fail "database.urlSecret is needed where postgresql.enabled is false" -}}
{{- end -}}
{{- end -}}

{{- define "reprofarm.brokerSecret" -}}
{{- if .Values.broker.urlSecret -}}{{ .Values.broker.urlSecret }}
{{- else if .Values.redis.enabled -}}{{ default (printf "%s-broker" (include "reprofarm.fullname" .)) .Values.redis.existingSecret }}
{{- else -}}{{- fail "broker.urlSecret is needed where redis.enabled is false" -}}
{{- end -}}
{{- end -}}

{{/* A bundled service's password: the one that the release has, else a new one. Without a cluster to look at (`helm
template`, Argo CD) it is a new one each time. */}}
{{- define "reprofarm.keptPassword" -}}
{{- $found := lookup "v1" "Secret" .root.Release.Namespace .secret -}}
{{- if and $found $found.data (hasKey $found.data "password") -}}
{{- index $found.data "password" | b64dec -}}
{{- else -}}
{{- randAlphaNum 32 -}}
{{- end -}}
{{- end -}}

{{/* A variable's value. Helm reads the numbers of a file as floats, and would write a million as 1e+06. */}}
{{- define "reprofarm.envValue" -}}
{{- kindIs "string" . | ternary . (toJson .) | quote -}}
{{- end -}}

{{- define "reprofarm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Of every process that tells of traces. */}}
{{- define "reprofarm.tracingEnv" -}}
{{- with .Values.tracing }}
{{- if .endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
{{- if .headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ .headersSecret }}, key: headers}}
{{- end }}
{{- range $name, $value := .env }}
- {name: {{ $name }}, value: {{ include "reprofarm.envValue" $value }}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Of every process of the farm: a cluster's own variables, and whom to trust. Arguments: (dict "env" … "root" $). */}}
{{- define "reprofarm.commonEnv" -}}
{{- range $name, $value := .env }}
- {name: {{ $name }}, value: {{ include "reprofarm.envValue" $value }}}
{{- end }}
{{- if .root.Values.trustedCaConfigMap }}
{{- /* Python's ssl, requests, and the client of S3. */}}
{{- range list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "AWS_CA_BUNDLE" }}
- {name: {{ . }}, value: /etc/ssl/reprofarm/ca.crt}
{{- end }}
{{- end }}
{{- end -}}

{{- define "reprofarm.trustMount" -}}
{{- if .Values.trustedCaConfigMap }}
- {name: trusted-ca, mountPath: /etc/ssl/reprofarm, readOnly: true}
{{- end }}
{{- end -}}

{{- define "reprofarm.trustVolume" -}}
{{- if .Values.trustedCaConfigMap }}
- name: trusted-ca
  configMap: {name: {{ .Values.trustedCaConfigMap }}, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}
{{- end -}}

{{/* Where a pod runs that needs no GPU. Arguments: (dict "root" $), and further "tolerations". */}}
{{- define "reprofarm.placement" -}}
{{- with .root.Values.scheduling }}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with concat ($.tolerations | default list) .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Two of a kind are on two nodes if that can be: one node's end is not both's. Arguments: (dict "part" "api" "root" $). */}}
{{- define "reprofarm.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "reprofarm.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{/* Settings of every process of the control plane. */}}
{{- define "reprofarm.controlEnv" -}}
- name: REPROFARM_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ include "reprofarm.databaseSecret" . }}, key: url}}
- name: REPROFARM_BROKER_URL
  valueFrom: {secretKeyRef: {name: {{ include "reprofarm.brokerSecret" . }}, key: url}}
- {name: REPROFARM_HUB_ENDPOINT, value: {{ .Values.hub.endpoint | quote }}}
- {name: REPROFARM_EVIDENCE_URL, value: {{ .Values.evidence.url | quote }}}
- {name: REPROFARM_PUBLIC_URL, value: {{ required "publicUrl is needed: badges name it for ever" .Values.publicUrl | quote }}}
- {name: REPROFARM_POLICY, value: /etc/reprofarm/policy.yaml}
- {name: REPROFARM_SIGNING_KEY, value: /var/run/reprofarm/keys/signing.pem}
- {name: REPROFARM_RETIRED_KEYS, value: /var/run/reprofarm/retired}
- {name: REPROFARM_LOG_FORMAT, value: {{ .Values.logs.format }}}
{{- include "reprofarm.commonEnv" (dict "env" .Values.env "root" $) }}
{{- include "reprofarm.tracingEnv" . }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ include "reprofarm.envValue" $value }}}
{{- end }}
{{- end -}}

{{- define "reprofarm.evidenceEnvFrom" -}}
{{- if .Values.evidence.credentialsSecret }}
envFrom:
  - secretRef: {name: {{ .Values.evidence.credentialsSecret }}}
{{- end }}
{{- end -}}

{{- define "reprofarm.retiredKeysVolume" -}}
- name: retired-keys
  # There is none before the first rotation; one that comes later is seen by pods that run.
  configMap: {name: {{ .Values.signing.retiredKeysConfigMap }}, optional: true}
{{- end -}}

{{- define "reprofarm.evidenceVolume" -}}
{{- if .Values.evidence.existingClaim }}
- name: evidence
  persistentVolumeClaim: {claimName: {{ .Values.evidence.existingClaim }}}
{{- else if hasPrefix "file:" .Values.evidence.url }}
{{- fail "evidence.existingClaim is needed for a file:// evidence.url: workers and control plane share it" }}
{{- end }}
{{- end -}}

{{- define "reprofarm.evidenceMount" -}}
{{- if .Values.evidence.existingClaim }}
- {name: evidence, mountPath: /evidence}
{{- end }}
{{- end -}}

{{- define "reprofarm.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* A quantity of Kubernetes', in GiB. */ -}}
{{- define "reprofarm.gibibytes" -}}
{{- $unit := regexFind "[A-Za-z]*$" . }}
{{- $bytes := get (dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976) $unit }}
{{- divf (mulf (trimSuffix $unit . | float64) (float64 $bytes)) 1073741824 }}
{{- end -}}
