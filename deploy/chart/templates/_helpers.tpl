{{- define "moongate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for what is put behind it in names of 63 characters. */}}
{{- define "moongate.fullname" -}}
{{- $name := include "moongate.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* For what belongs to no namespace. */}}
{{- define "moongate.clusterName" -}}
{{- printf "%s-%s" (include "moongate.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "moongate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "moongate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "moongate.labels" -}}
{{ include "moongate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "moongate.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "moongate.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "moongate.fullname" .) }}
{{- end }}

{{- define "moongate.replicasService" -}}
{{- printf "%s-replicas" (include "moongate.fullname" .) }}
{{- end }}

{{- define "moongate.sessionSecret" -}}
{{- .Values.sessionKey.existingSecret | default (printf "%s-session" (include "moongate.fullname" .)) }}
{{- end }}

{{/* Not empty where the API is installed, in the release that is served: v1, and v1alpha1 of 2021. */}}
{{- define "moongate.hasV1" -}}
{{- if .Capabilities.APIVersions.Has "gateway.networking.k8s.io/v1" }}yes{{ end }}
{{- end }}

{{- define "moongate.hasV1alpha1" -}}
{{- if .Capabilities.APIVersions.Has "networking.x-k8s.io/v1alpha1" }}yes{{ end }}
{{- end }}

{{- define "moongate.gatewayName" -}}
{{- .Values.gateway.name | default (include "moongate.fullname" .) }}
{{- end }}

{{- define "moongate.gatewayNamespace" -}}
{{- .Values.gateway.namespace | default .Release.Namespace }}
{{- end }}

{{/* The chart's own environment, less what `env` has as well: of two entries of a name, an upgrade could lose one. */}}
{{- define "moongate.env" -}}
{{- $host := .Values.host }}
{{- $admin := printf "%s:9000" (contains ":" $host | ternary (printf "[%s]" $host) $host) }}
{{- $own := list
  (dict "name" "MOONGATE_PROVIDER" "value" "kubernetes")
  (dict "name" "MOONGATE_CONTROLLER_NAME" "value" .Values.controllerName)
  (dict "name" "MOONGATE_HOST" "value" $host)
  (dict "name" "MOONGATE_ADMIN" "value" $admin)
  (dict "name" "MOONGATE_LEASE" "value" (include "moongate.fullname" .))
  (dict "name" "MOONGATE_REPLICAS_SERVICE" "value" (include "moongate.replicasService" .))
  (dict "name" "MOONGATE_SERVICE_TYPE" "value" .Values.service.type)
  (dict "name" "MOONGATE_DRAIN_DELAY" "value" (toString .Values.deployment.drainDelaySeconds))
  (dict "name" "MOONGATE_SESSION_KEY" "valueFrom" (dict "secretKeyRef" (dict "name" (include "moongate.sessionSecret" .) "key" "key")))
}}
{{- with .Values.providers.kubernetesGateway.namespaces }}
{{- $own = append $own (dict "name" "MOONGATE_NAMESPACES" "value" (join "," .)) }}
{{- end }}
{{- with .Values.service.staticAddresses }}
{{- $own = append $own (dict "name" "MOONGATE_STATIC_ADDRESSES" "value" (join "," .)) }}
{{- end }}
{{- if .Values.logs.access.enabled }}
{{- $own = append $own (dict "name" "MOONGATE_ACCESS_LOG" "value" .Values.logs.access.format) }}
{{- end }}
{{- $theirs := dict }}
{{- range .Values.env }}{{ $_ := set $theirs .name true }}{{ end }}
{{- $all := list }}
{{- range $own }}{{ if not (hasKey $theirs .name) }}{{ $all = append $all . }}{{ end }}{{ end }}
{{- toYaml (concat $all .Values.env) }}
{{- end }}

{{/* Rules for what belongs to a namespace. */}}
{{- define "moongate.namespacedRules" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies, gateways, httproutes, listenersets]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies/status, gateways/status, httproutes/status, listenersets/status]
  verbs: [patch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [list, watch]
- apiGroups: [networking.x-k8s.io]
  resources: [gateways, httproutes]
  verbs: [get, list, watch]
- apiGroups: [networking.x-k8s.io]
  resources: [gateways/status, httproutes/status]
  verbs: [patch]
# Certificates and authorities.
- apiGroups: [""]
  resources: [configmaps, secrets]
  verbs: [list, watch]
# Backends; and the Services and EndpointSlices that are made for Gateways, in the Gateways' namespaces.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch, delete]
{{- with .Values.rbac.extraRules }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Rules for what belongs to no namespace. */}}
{{- define "moongate.clusterRules" -}}
- apiGroups: [gateway.networking.k8s.io, networking.x-k8s.io]
  resources: [gatewayclasses]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io, networking.x-k8s.io]
  resources: [gatewayclasses/status]
  verbs: [patch]
# Their labels, by which listeners choose whose routes they take.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
# Which versions of the Gateway API are installed.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
{{- end }}
