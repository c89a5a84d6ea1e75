{{/* Labels of everything that the chart makes. Call with (dict "root" $ "component" "operator"). */}}
{{- define "tunegate.labels" -}}
app.kubernetes.io/name: tunegate
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "tunegate.selector" -}}
app.kubernetes.io/name: tunegate
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* An image of values.images that must be there. Call with (dict "root" $ "name" "operator"). */}}
{{- define "tunegate.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- if not $image -}}
{{- fail (printf "images.%s is empty: give it by digest, for example --set images.%s=registry.example.org/tunegate/%s@sha256:<digest>" .name .name .name) -}}
{{- end -}}
{{- $image -}}
{{- end }}

{{- define "tunegate.registryHost" -}}
{{- if .Values.registry.enabled -}}
tunegate-registry.{{ .Release.Namespace }}.svc:5000
{{- else -}}
{{- .Values.registry.external.host -}}
{{- end -}}
{{- end }}

{{- define "tunegate.mlflowUri" -}}
{{- if .Values.mlflow.enabled -}}
https://tunegate-mlflow.{{ .Release.Namespace }}.svc:5000
{{- else -}}
{{- .Values.mlflow.external.uri -}}
{{- end -}}
{{- end }}

{{/* True if pods must trust an authority besides those of their image. */}}
{{- define "tunegate.hasCA" -}}
{{- if or .Values.registry.enabled .Values.mlflow.enabled .Values.caBundle -}}true{{- end -}}
{{- end }}

{{/* Annotations of the hook that makes credentials. Call with its weight: the lowest runs first. */}}
{{- define "tunegate.credentialsHook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
