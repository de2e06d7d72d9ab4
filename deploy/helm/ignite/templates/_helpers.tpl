{{- define "ignite.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "ignite.selector" -}}
app.kubernetes.io/name: ignite
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ignite.labels" -}}
{{ include "ignite.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "ignite.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "ignite.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "ignite.name" .) }}
{{- end }}

{{- define "ignite.gatewayUrl" -}}
{{- $scheme := ternary "https" "http" (not (empty .Values.tlsSecret)) -}}
{{ .Values.builds.gatewayUrl | default (printf "%s://%s.%s.svc:%v" $scheme (include "ignite.name" .) .Release.Namespace (int .Values.service.port)) }}
{{- end }}

{{- /* The settings that the chart decides; what `config` says of these is an error. */}}
{{- define "ignite.settings" -}}
listen: 0.0.0.0:8080
{{- if .Values.metrics.enabled }}
metrics_listen: 0.0.0.0:{{ int .Values.metrics.port }}
{{- end }}
data_dir: /var/lib/ignite
{{- if .Values.tokensSecret }}
tokens_file: /etc/ignite/tokens/tokens.toml
{{- end }}
{{- if .Values.masterKeySecret }}
master_key_file: /etc/ignite/master-key/master.key
{{- end }}
{{- if .Values.tlsSecret }}
tls_cert: /etc/ignite/tls/tls.crt
tls_key: /etc/ignite/tls/tls.key
{{- end }}
{{- if .Values.registrySecret }}
registry_docker_config: /etc/ignite/registry/.dockerconfigjson
{{- end }}
{{- if .Values.authorities.registry }}
registry_ca_file: /etc/ignite/authorities/registry.pem
{{- end }}
{{- if .Values.authorities.git }}
git_ca_file: /etc/ignite/authorities/git.pem
{{- end }}
{{- if .Values.standby.enabled }}
standby_lease: {{ .Release.Namespace }}/{{ include "ignite.name" . }}
{{- end }}
executor: kubernetes
kubernetes_namespace: {{ .Values.builds.namespace }}
kubernetes_namespace_per_org: {{ .Values.builds.namespacePerOrg }}
{{- if and .Values.builds.namespacePerOrg .Values.builds.networkPolicy.allow }}
{{- $ranges := list }}
{{- range .Values.builds.networkPolicy.allow }}{{ $ranges = append $ranges .cidr }}{{ end }}
kubernetes_egress_allowed: {{ $ranges | join "," }}
{{- end }}
kubernetes_fetch_image: {{ include "ignite.image" . }}
kubernetes_kaniko_image: {{ .Values.kanikoImage }}
kubernetes_gateway_url: {{ include "ignite.gatewayUrl" . }}
{{- if .Values.builds.podTemplate }}
kubernetes_pod_template: /etc/ignite/config/pod-template.yaml
{{- end }}
{{- if .Values.builds.resourceClasses }}
kubernetes_resource_classes: /etc/ignite/config/resource-classes.toml
{{- end }}
{{- end }}

{{- /* Of a Role for one namespace, and of a ClusterRole where organizations have their own. */}}
{{- define "ignite.buildRules" -}}
# A build is a pod. Its finalizer goes and its go-ahead comes by a patch.
- apiGroups: [""]
  resources: [pods]
  verbs: [create, delete, get, list, patch, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# What it may know is a Secret that its pod owns; of an old one, only whose it is is read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, delete, get]
{{- end }}
