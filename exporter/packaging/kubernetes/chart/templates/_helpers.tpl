{{- define "estiba-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "estiba-exporter.fullname" -}}
{{- $name := include "estiba-exporter.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "estiba-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "estiba-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "estiba-exporter.podLabels" -}}
{{ include "estiba-exporter.selectorLabels" . }}
app.kubernetes.io/component: exporter
app.kubernetes.io/part-of: estiba
{{- end }}

{{- define "estiba-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "estiba-exporter.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "estiba-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "estiba-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "estiba-exporter.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository .Values.image.tag }}
{{- end }}
{{- end }}

{{- /* A probe by HTTP; with TLS and passwords by the program, which knows of both. */}}
{{- define "estiba-exporter.probe" -}}
{{- if .root.Values.webConfig.secretName -}}
exec:
  command: [/exporter, healthcheck, --web.config.file=/etc/estiba/web.yml]
{{- else -}}
httpGet:
  path: {{ .path }}
  port: metrics
{{- end }}
{{- with .times }}
{{ toYaml . }}
{{- end }}
{{- end }}
