{{/* All groups of entries of `people`, as a JSON list. */}}
{{- define "tunegate.groups" -}}
{{- $groups := list -}}
{{- range . }}{{ $groups = concat $groups .groups }}{{ end -}}
{{- $groups | toJson -}}
{{- end }}

{{/*
The binding of a role to groups, under the role's name; nothing for no groups. Call with
(dict "root" $ "namespace" "team-a" "kind" "ClusterRole" "role" "tunegate-requester" "groups" $groups); without a namespace it
holds in the whole cluster. kind is that of the role.
*/}}
{{- define "tunegate.binding" -}}
{{- if .groups }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (hasKey . "namespace") }}
metadata:
  name: {{ .role }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels: {{- include "tunegate.labels" (dict "root" .root "component" "people") | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .role }}
subjects:
  {{- range uniq .groups }}
  - apiGroup: rbac.authorization.k8s.io
    kind: Group
    name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}
