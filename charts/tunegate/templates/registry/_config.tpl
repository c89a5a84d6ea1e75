{{/* Configuration of CNCF distribution 3. */}}
{{- define "tunegate.registryConfig" -}}
version: 0.1
log: {level: info, formatter: json}
storage:
  filesystem: {rootdirectory: /var/lib/registry}
  # Approved artifacts must stay readable: nothing can be deleted over HTTP.
  delete: {enabled: false}
  maintenance:
    uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}
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
