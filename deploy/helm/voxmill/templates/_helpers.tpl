{{- define "voxmill.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}

{{- define "voxmill.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "voxmill.secretVariable" -}}
- name: {{ printf "VOXMILL_%s" (upper .key) }}
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}, optional: {{ .optional }}}}
{{- end }}

{{- /* The keys of the Secret: those that every process needs, those that it may have, and those of the api alone. */ -}}
{{- define "voxmill.secretKeys" -}}
needed: [database_url, redis_url]
optional: [s3_access_key, s3_secret_key, metrics_token]
neededByApi: [token_secret, url_secret]
optionalForApi: [smtp_url, internal_key, livekit_api_secret]
{{- end }}

{{- /* A value as the program reads it from its environment. Helm has large whole numbers of a file as 1.073741824e+11. */ -}}
{{- define "voxmill.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}
{{- else if kindIs "slice" . }}{{ join "," . }}
{{- else if kindIs "map" . }}
{{- $pairs := list }}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $key (include "voxmill.text" $value)) }}{{ end }}
{{- join "," $pairs }}
{{- else }}{{ toString . }}
{{- end }}
{{- end }}

{{- define "voxmill.environment" -}}
{{- $secret := .root.Values.secret }}
{{- $keys := include "voxmill.secretKeys" . | fromYaml }}
{{- range $keys.needed }}
{{ include "voxmill.secretVariable" (dict "secret" $secret "key" . "optional" false) }}
{{- end }}
{{- range $keys.optional }}
{{ include "voxmill.secretVariable" (dict "secret" $secret "key" . "optional" true) }}
{{- end }}
{{- if eq .part "api" }}
{{- range $keys.neededByApi }}
{{ include "voxmill.secretVariable" (dict "secret" $secret "key" . "optional" false) }}
{{- end }}
{{- range $keys.optionalForApi }}
{{ include "voxmill.secretVariable" (dict "secret" $secret "key" . "optional" true) }}
{{- end }}
{{- end }}
{{- with .root.Values.s3 }}
- {name: VOXMILL_S3_BUCKET, value: {{ .bucket | quote }}}
- {name: VOXMILL_S3_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: VOXMILL_S3_REGION, value: {{ .region | quote }}}
- {name: VOXMILL_S3_PREFIX, value: {{ .prefix | quote }}}
- {name: VOXMILL_S3_PUBLIC_ENDPOINT, value: {{ .publicEndpoint | quote }}}
{{- end }}
- {name: VOXMILL_GRACE_SECONDS, value: {{ .root.Values.graceSeconds | quote }}}
{{- range $key, $value := merge (dict) (default (dict) .of.settings) .root.Values.settings }}
{{- if has $key (concat $keys.needed $keys.optional $keys.neededByApi $keys.optionalForApi) }}
{{- fail (printf "%s is a secret: put it into the Secret %s" $key $secret) }}
{{- end }}
- {name: {{ printf "VOXMILL_%s" (upper $key) }}, value: {{ include "voxmill.text" $value | quote }}}
{{- end }}
{{- end }}

{{- define "voxmill.hardening" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "voxmill.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* The pod of the api and of a pool: root, part, arguments, and what the part says of itself. */ -}}
{{- define "voxmill.pod" -}}
{{- $values := .root.Values }}
{{- $image := default $values.image .of.image }}
{{- /* The api asks the workers. */ -}}
{{- $models := and (ne .part "api") (not $values.models.inImage) }}
metadata:
  labels:
    {{- include "voxmill.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
  annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8000", prometheus.io/path: /metrics}
spec:
  serviceAccountName: {{ default (include "voxmill.name" .root) $values.serviceAccount.name }}
  automountServiceAccountToken: false
  {{- with $values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  # A job that does not stop when told has half a minute more, and its worker some seconds to say so. The api takes some
  # seconds before it begins to stop.
  terminationGracePeriodSeconds: {{ add $values.graceSeconds 50 }}
  securityContext: {{- include "voxmill.podSecurity" . | nindent 4 }}
  {{- with .of.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .of.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          app.kubernetes.io/instance: {{ .root.Release.Name }}
          app.kubernetes.io/component: {{ .part }}
  {{- if and $models (not $values.models.claim) }}
  initContainers:
    - name: models
      image: {{ printf "%s:%s" $values.models.image.repository $values.models.image.tag }}
      args: {{ concat (list "models" "pull") $values.models.names | toJson }}
      securityContext: {{- include "voxmill.hardening" . | nindent 8 }}
      volumeMounts: [{name: models, mountPath: /models}, {name: data, mountPath: /data}, {name: tmp, mountPath: /tmp}]
  {{- end }}
  containers:
    - name: voxmill
      image: {{ printf "%s:%s" $image.repository $image.tag }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: {{ .arguments | toJson }}
      env: {{- include "voxmill.environment" . | nindent 8 }}
      ports: [{name: http, containerPort: 8000}]
      {{- if eq .part "api" }}
      # As long as it takes until nobody sends it requests any more.
      lifecycle: {preStop: {exec: {command: [sleep, "5"]}}}
      {{- end }}
      securityContext: {{- include "voxmill.hardening" . | nindent 8 }}
      startupProbe: {httpGet: {path: /health, port: http}, periodSeconds: 2, failureThreshold: 60}
      livenessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
      # Not /readiness: what all pods share takes no single one of them out, and an answer that says so is better than none.
      readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 5, timeoutSeconds: 5}
      resources: {{ toYaml .of.resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /data}
        - {name: tmp, mountPath: /tmp}
        {{- if $models }}
        - {name: models, mountPath: /models, readOnly: true}
        {{- end }}
  volumes:
    - {name: data, emptyDir: {sizeLimit: {{ .of.dataSize }}}}
    - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
    {{- if and $models $values.models.claim }}
    - {name: models, persistentVolumeClaim: {claimName: {{ $values.models.claim }}, readOnly: true}}
    {{- else if $models }}
    - {name: models, emptyDir: {}}
    {{- end }}
{{- end }}
