{{/* Addresses of the API server: from the values, or as the cluster publishes them (the endpoints and the Service). */}}
{{- define "tunegate.apiServerPeers" -}}
{{- $cidrs := .Values.networkPolicies.apiServerCIDRs -}}
{{- if not $cidrs -}}
{{- $cidrs = list -}}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes").endpoints -}}
{{- range .addresses -}}
{{- $cidrs = append $cidrs (printf "%s/%s" . (ternary "128" "32" (contains ":" .))) -}}
{{- end -}}
{{- end -}}
{{- range ((lookup "v1" "Service" "default" "kubernetes").spec | default dict).clusterIPs -}}
{{- $cidrs = append $cidrs (printf "%s/%s" . (ternary "128" "32" (contains ":" .))) -}}
{{- end -}}
{{- end -}}
{{- range $cidrs | uniq }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end }}

{{/* Egress rules of every pod that uses the network: DNS, and the API server if "api" is true. */}}
{{- define "tunegate.egressDNS" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "tunegate.egressAPI" -}}
{{- $peers := include "tunegate.apiServerPeers" . | trim -}}
- ports:
    - {port: 443, protocol: TCP}
    - {port: 6443, protocol: TCP}
  {{- with $peers }}
  to: {{- . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Egress to one of the chart's stores. Call with (dict "root" $ "store" "registry"). */}}
{{- define "tunegate.egressStore" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .root.Release.Namespace }}}}
      podSelector: {matchLabels: {app.kubernetes.io/name: tunegate, app.kubernetes.io/component: {{ .store }}}}
  ports: [{port: 5000, protocol: TCP}]
{{- end }}
