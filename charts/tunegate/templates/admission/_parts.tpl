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

{{/* Variables of a policy: what the API server proved of the caller. The extras hold one value each, or none. */}}
{{- define "tunegate.callerVariables" -}}
- name: uid
  expression: "has(request.userInfo.uid) ? request.userInfo.uid : ''"
- name: groups
  expression: "has(request.userInfo.groups) ? request.userInfo.groups : []"
- name: personIds
  expression: >-
    has(request.userInfo.extra) && 'tunegate.io/person-id' in request.userInfo.extra ?
    request.userInfo.extra['tunegate.io/person-id'] : []
- name: authTimes
  expression: >-
    has(request.userInfo.extra) && 'tunegate.io/auth-time' in request.userInfo.extra ?
    request.userInfo.extra['tunegate.io/auth-time'] : []
- name: extras
  expression: >-
    variables.personIds.map(id, ', personId: "' + id + '"').join('') +
    variables.authTimes.map(time, ', authTime: "' + time + '"').join('')
{{- end }}

{{/* CEL: the person that variables.claimed names is the caller, with nothing added and nothing left out but groups. */}}
{{- define "tunegate.claimedIsCaller" -}}
variables.claimed.username == request.userInfo.username &&
(has(variables.claimed.uid) ? variables.claimed.uid : '') == variables.uid &&
(has(variables.claimed.personId) ? [variables.claimed.personId] : []) == variables.personIds &&
(has(variables.claimed.authTime) ? [variables.claimed.authTime] : []) == variables.authTimes
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
