{{/* All groups in a list of `people`, as JSON. */}}
{{- define "tunegate.groups" -}}
{{- $groups := list -}}
{{- range . }}{{ $groups = concat $groups .groups }}{{ end -}}
{{- $groups | toJson -}}
{{- end }}

{{/*
A binding of a role to groups, with the role's name; empty without groups. Call with
(dict "root" $ "namespace" "team-a" "kind" "ClusterRole" "role" "tunegate-requester" "groups" $groups). "kind": the role's kind.
Without "namespace" the binding applies to the whole cluster.
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
