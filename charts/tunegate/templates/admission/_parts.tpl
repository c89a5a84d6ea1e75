{{/* The operator's user name: the only writer of status and ledger. */}}
{{- define "tunegate.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:tunegate-operator
{{- end }}

{{/* Head of a policy. Call with (dict "root" $ "name" "tunegate-…"). */}}
{{- define "tunegate.policyHead" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ .name }}
  labels:
    {{- include "tunegate.labels" (dict "root" .root "component" "admission") | nindent 4 }}
{{- end }}

{{/* Binding of a policy. "namespaces": list of names it holds in; absent: everywhere. Names, not labels: a name cannot be edited. */}}
{{- define "tunegate.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "tunegate.labels" (dict "root" .root "component" "admission") | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny, Audit]
  {{- if hasKey . "namespaces" }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: {{ toJson .namespaces }}
  {{- end }}
{{- end }}

{{/* JSON list of the governed namespaces' names. */}}
{{- define "tunegate.governedNames" -}}
{{- $names := list -}}
{{- range .Values.governedNamespaces -}}{{- $names = append $names .name -}}{{- end -}}
{{- toJson $names -}}
{{- end }}

{{/* The same and the release namespace. Our cluster-scoped kinds are covered as well: no namespace selector skips them. */}}
{{- define "tunegate.ownNames" -}}
{{- toJson (append (include "tunegate.governedNames" . | fromJsonArray) .Release.Namespace) -}}
{{- end }}

{{/* CEL list of a JSON list of plain names. */}}
{{- define "tunegate.celList" -}}
[{{ range $index, $name := . }}{{ if $index }}, {{ end }}'{{ $name }}'{{ end }}]
{{- end }}

{{/* All admission policies and bindings as one document: what the operator compares with the live ones. */}}
{{- define "tunegate.admissionRules" -}}
{{- range list "approver" "records" "requester" "roots" "workloads" }}
---
{{ include (printf "%s/admission/%s.yaml" $.Template.BasePath .) $ }}
{{- end }}
{{- end }}

{{- define "tunegate.admissionRulesName" -}}
tunegate-admission-rules-{{ include "tunegate.admissionRules" . | sha256sum | trunc 8 }}
{{- end }}
