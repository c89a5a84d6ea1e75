{{/*
What the pods of operator, credentials hook, registry and MLflow have in common: account, security, pull Secrets, place.
Call with (dict "root" $ "component" "registry" "token" false "placement" .Values.registry); token says whether the pod talks
to the API server, placement holds priorityClassName, nodeSelector and tolerations, as far as the values have them.
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
Part of a container: image, resources, security. Call with
(dict "root" $ "image" "mlflow" "resources" .Values.mlflow.resources); image is a name of values.images.
*/}}
{{- define "tunegate.container" -}}
image: {{ include "tunegate.image" (dict "root" .root "name" .image) }}
resources: {{- toYaml .resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}
