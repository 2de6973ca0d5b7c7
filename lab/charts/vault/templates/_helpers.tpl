{{- define "vault.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "vault.fullname" -}}
{{- $name := include "vault.name" . -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "vault.namespace" -}}
{{- .Values.global.namespace | default .Release.Namespace -}}
{{- end -}}

{{- define "vault.externalAddress" -}}
{{- .Values.global.externalVaultAddr | default .Values.injector.externalVaultAddr -}}
{{- end -}}

{{- define "vault.address" -}}
{{- $inCluster := printf "%s://%s.%s.svc:8200" (ternary "http" "https" .Values.global.tlsDisable) (include "vault.fullname" .) (include "vault.namespace" .) -}}
{{- include "vault.externalAddress" . | default $inCluster -}}
{{- end -}}

{{/* A value that is a template in a string, or plain YAML. */}}
{{- define "vault.text" -}}
{{- $value := index . 0 -}}
{{- if $value -}}
{{- if kindIs "string" $value }}{{ tpl $value (index . 1) | trim }}{{ else }}{{ toYaml $value }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* "true" or "": is a part on, whose "-" means "as global.enabled". */}}
{{- define "vault.on" -}}
{{- $switch := index . 0 | toString -}}
{{- if or (eq $switch "true") (and (eq $switch "-") (index . 1).Values.global.enabled) }}true{{ end -}}
{{- end -}}

{{- define "vault.injector.on" -}}
{{- include "vault.on" (list .Values.injector.enabled .) -}}
{{- end -}}

{{- define "vault.injector.leader" -}}
{{- if and (include "vault.injector.on" .) .Values.injector.leaderElector.enabled (gt (int .Values.injector.replicas) 1) }}true{{ end -}}
{{- end -}}

{{/* The server's ServiceAccount follows global.enabled even where server.enabled is false. */}}
{{- define "vault.server.account" -}}
{{- if and .Values.server.serviceAccount.create (or .Values.global.enabled (eq (.Values.server.enabled | toString) "true")) }}true{{ end -}}
{{- end -}}

{{- define "vault.server.delegator" -}}
{{- $account := or .Values.server.serviceAccount.create .Values.server.serviceAccount.name -}}
{{- if and .Values.server.authDelegator.enabled $account (or .Values.global.enabled (eq (.Values.server.enabled | toString) "true")) }}true{{ end -}}
{{- end -}}

{{- define "vault.server.accountName" -}}
{{- .Values.server.serviceAccount.name | default (include "vault.fullname" .) -}}
{{- end -}}

{{- define "vault.server.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/name: {{ include "vault.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "vault.injector.labels" -}}
app.kubernetes.io/name: {{ include "vault.name" . }}-agent-injector
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "vault.injector.selector" -}}
app.kubernetes.io/name: {{ include "vault.name" . }}-agent-injector
app.kubernetes.io/instance: {{ .Release.Name }}
component: webhook
{{- end -}}

{{- define "vault.injector.probe" -}}
httpGet:
  path: /health/ready
  port: {{ (index . 1).Values.injector.port }}
  scheme: HTTPS
{{ toYaml (index . 0) }}
{{- end -}}
