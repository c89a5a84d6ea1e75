{{/* Configuration of CNCF distribution 3. */}}
{{- define "tunegate.registryConfig" -}}
version: 0.1
log: {level: info, formatter: json}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  # Approved artifacts must stay readable: but for maintenance nothing can be deleted over HTTP, and then only with a token that
  # names the repository and this action, which no stage and no server has.
  delete: {enabled: {{ eq .Values.registry.maintenance "Delete" }}}
  maintenance:
    uploadpurging: {enabled: true, age: 24h, interval: 6h, dryrun: false}
    {{- if eq .Values.registry.maintenance "Collect" }}
    readonly: {enabled: true}
    {{- end }}
http:
  addr: :5000
  tls: {certificate: /etc/tunegate/tls/tls.crt, key: /etc/tunegate/tls/tls.key, minimumtls: tls1.2}
health:
  storagedriver: {enabled: true, interval: 30s, threshold: 3}
auth:
  token:
    # Programs bring a token that the operator signed. People get one here, for a Kubernetes token.
    realm: {{ .Values.exchange.address | default (printf "https://tunegate-exchange.%s.svc:8443" .Release.Namespace) }}/token
    service: tunegate-registry
    issuer: tunegate-operator
    rootcertbundle: /etc/tunegate/token/tls.crt
    signingalgorithms: [RS256]
{{- end }}
