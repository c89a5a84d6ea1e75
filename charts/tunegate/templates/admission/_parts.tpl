{{/* The operator's user name: the only writer of status and ledger. */}}
{{- define "tunegate.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:tunegate-operator
{{- end }}

{{/* CEL: the caller is one of the chart's own programs. RBAC says what each may do; system.yaml says who may run as one. */}}
{{- define "tunegate.isOwnProgram" -}}
request.userInfo.username.startsWith('system:serviceaccount:{{ .Release.Namespace }}:tunegate-')
{{- end }}

{{/* CEL: the caller is a controller or the scheduler of Kubernetes. */}}
{{- define "tunegate.isKubernetes" -}}
(request.userInfo.username.startsWith('system:serviceaccount:kube-system:') ||
request.userInfo.username in ['system:kube-controller-manager', 'system:kube-scheduler'])
{{- end }}

{{/* CEL: the caller maintains this installation: a separate RBAC verb, cluster-wide, which neither `edit` nor `admin` has. */}}
{{- define "tunegate.mayMaintain" -}}
authorizer.group('tunegate.io').resource('installations').name('tunegate').check('maintain').allowed()
{{- end }}

{{/* Name of a rule. Rules that the API server reads from files have an ending that is forbidden for objects made through the API. */}}
{{- define "tunegate.ruleName" -}}
{{ .name }}{{ if .root.Values.admission.asFiles }}.static.k8s.io{{ end }}
{{- end }}

{{/* Head of a policy. Call with (dict "root" $ "name" "tunegate-…"). */}}
{{- define "tunegate.policyHead" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "tunegate.ruleName" . }}
  labels:
    {{- include "tunegate.labels" (dict "root" .root "component" "admission") | nindent 4 }}
{{- end }}

{{/* Binding of a policy. "namespaces": list of names it holds in, "outside": of names it does not hold in; absent: everywhere.
     Names, not labels: a name cannot be edited. "actions": Deny and Audit if absent. "params": name of the object in the
     request's namespace that the policy reads; if there is no such object, it refuses nothing. */}}
{{- define "tunegate.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "tunegate.ruleName" . }}
  labels:
    {{- include "tunegate.labels" (dict "root" .root "component" "admission") | nindent 4 }}
spec:
  policyName: {{ include "tunegate.ruleName" . }}
  {{- with .params }}
  paramRef: {name: {{ . }}, parameterNotFoundAction: Allow}
  {{- end }}
  validationActions: [{{ .actions | default (list "Deny" "Audit") | join ", " }}]
  {{- range $key, $operator := dict "namespaces" "In" "outside" "NotIn" }}
  {{- if hasKey $ $key }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: {{ $operator }}
          values: {{ toJson (get $ $key) }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* Variables of a policy: what the API server knows about the caller. Each extra holds one value or none. */}}
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

{{/* CEL: variables.claimed names the caller. Nothing is added, and only groups may be left out. */}}
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

{{/* JSON list of Secrets and claims that only the operator uses and whose names the site chose. */}}
{{- define "tunegate.givenNames" -}}
{{- $names := list -}}
{{- range list .Values.ledger.keySecret .Values.ledger.anchorBucket.secret .Values.ledger.anchorClaim .Values.registry.external.authSecret -}}
{{- if . -}}{{- $names = append $names . -}}{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end }}

{{/* CEL: `of` names an object of the chart, one that the site gave it, or Helm's record of the release, which holds its keys and
     says what an upgrade removes. Call with (dict "root" $ "of" "…"). */}}
{{- define "tunegate.isOwnName" -}}
({{ .of }}.startsWith('tunegate-') || {{ .of }}.startsWith('sh.helm.release.v1.{{ .root.Release.Name }}') || {{ .of }} in {{ include "tunegate.celList" (include "tunegate.givenNames" .root | fromJsonArray) }})
{{- end }}

{{/* CEL: an object, or null, carries a label by which the operator finds its own objects. Call with the expression of the object. */}}
{{- define "tunegate.hasOwnLabel" -}}
({{ . }} != null && has({{ . }}.metadata.labels) && {{ . }}.metadata.labels.exists(key,
key == 'app.kubernetes.io/managed-by' && {{ . }}.metadata.labels[key] == 'tunegate' ||
key in {{ include "tunegate.celList" (include "tunegate.ownLabels" $ | fromJsonArray) }}))
{{- end }}

{{/* CEL: an update changes neither the content nor the owner of a claim or pod. Storage drivers and network plugins may add
     annotations and finalizers. An owner would let the garbage collector delete it, and annotations of `pv.kubernetes.io/` tell
     Kubernetes that a claim is bound, and who chose the volume. */}}
{{- define "tunegate.contentUntouched" -}}
request.operation == 'UPDATE' && object.spec == oldObject.spec &&
has(object.metadata.labels) && has(oldObject.metadata.labels) && object.metadata.labels == oldObject.metadata.labels &&
(has(object.metadata.ownerReferences) ? object.metadata.ownerReferences : []) ==
(has(oldObject.metadata.ownerReferences) ? oldObject.metadata.ownerReferences : []) &&
['bind-completed', 'bound-by-controller'].map(word, 'pv.kubernetes.io/' + word).all(key,
(has(object.metadata.annotations) && key in object.metadata.annotations ? object.metadata.annotations[key] : '') ==
(has(oldObject.metadata.annotations) && key in oldObject.metadata.annotations ? oldObject.metadata.annotations[key] : ''))
{{- end }}

{{/* JSON list of the labels that say which job or server owns an object. People may set the labels that open an object to jobs or servers. */}}
{{- define "tunegate.ownLabels" -}}
["tunegate.io/job", "tunegate.io/job-uid", "tunegate.io/stage", "tunegate.io/attempt", "tunegate.io/server", "tunegate.io/release", "tunegate.io/base-model"]
{{- end }}

{{/* CEL: the pod spec of a pod, or of an object that makes pods. */}}
{{- define "tunegate.podSpec" -}}
request.kind.kind == 'Pod' ? object.spec :
request.kind.kind == 'PodTemplate' ? object.template.spec :
request.kind.kind == 'CronJob' ? object.spec.jobTemplate.spec.template.spec : object.spec.template.spec
{{- end }}

{{/* Rules of a policy that matches pods and everything that makes pods. */}}
{{- define "tunegate.podRules" -}}
- apiGroups: [""]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  resources: [pods, podtemplates, replicationcontrollers]
- apiGroups: [apps]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  resources: [deployments, replicasets, statefulsets, daemonsets]
- apiGroups: [batch]
  apiVersions: ["*"]
  operations: [CREATE, UPDATE]
  resources: [jobs, cronjobs]
{{- end }}

{{/* CEL list of a JSON list of plain names. */}}
{{- define "tunegate.celList" -}}
[{{ range $index, $name := . }}{{ if $index }}, {{ end }}'{{ $name }}'{{ end }}]
{{- end }}

{{/* All admission policies and bindings as one document: what the operator compares with the live ones. */}}
{{- define "tunegate.admissionRules" -}}
{{- range list "addresses" "approver" "engines" "impersonation" "installed" "managed" "network" "outside" "quotas" "records" "requester" "roots" "system" "workloads" }}
---
{{ include (printf "%s/admission/%s.yaml" $.Template.BasePath .) $ }}
{{- end }}
{{- end }}

{{- define "tunegate.admissionRulesName" -}}
tunegate-admission-rules-{{ include "tunegate.admissionRules" . | sha256sum | trunc 8 }}
{{- end }}
