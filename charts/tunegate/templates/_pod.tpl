{{/*
The common part of the pods of operator, credentials hook, registry and MLflow: account, security, pull Secrets, placement.
Call with (dict "root" $ "component" "registry" "token" false "placement" .Values.registry). "token": whether the pod calls the
API server. "placement": values with priorityClassName, nodeSelector and tolerations, each optional.
*/}}
{{- define "tunegate.pod" -}}
serviceAccountName: tunegate-{{ .component }}
automountServiceAccountToken: {{ .token }}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .placement.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .placement.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .placement.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
The common part of a container: image, resources, security. Call with
(dict "root" $ "image" "mlflow" "resources" .Values.mlflow.resources). "image": a key of values.images.
*/}}
{{- define "tunegate.container" -}}
image: {{ include "tunegate.image" (dict "root" .root "name" .image) }}
resources: {{- toYaml .resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
