{{- define "weft.labels" -}}
app.kubernetes.io/name: weft
{{- end }}

{{- /* net-conf.json */}}
{{- define "weft.netConf" -}}
{{- $lines := list }}
{{- with .Values.network }}
{{- if not (or .ipv4 .ipv6) }}
{{- fail "network.ipv4 and network.ipv6 are both empty: pods would have no address" }}
{{- end }}
{{- if .ipv4 }}
{{- $lines = append $lines (printf `"Network": %s` (toJson .ipv4)) }}
{{- else }}
{{- $lines = append $lines `"EnableIPv4": false` }}
{{- end }}
{{- if .ipv6 }}
{{- $lines = append $lines `"EnableIPv6": true` }}
{{- $lines = append $lines (printf `"IPv6Network": %s` (toJson .ipv6)) }}
{{- end }}
{{- $further := list }}
{{- range .further }}
{{- $further = append $further (dict (ternary "IPv6Network" "Network" (contains ":" .)) .) }}
{{- end }}
{{- if $further }}
{{- $lines = append $lines (printf `"Networks": %s` (toJson $further)) }}
{{- end }}
{{- if .noMasquerade }}
{{- $lines = append $lines (printf `"NoMasquerade": %s` (toJson .noMasquerade)) }}
{{- end }}
{{- end }}
{{- $lines = append $lines (printf `"Backend": %s` (toJson .Values.backend)) }}
{{- printf "{\n  %s\n}" (join ",\n  " $lines) }}
{{- end }}

{{- /* What the policies have alike. */}}
{{- define "weft.policy" -}}
failurePolicy: Fail
# Nobody else's requests are looked at.
matchConditions:
  - name: weft
    expression: "request.userInfo.username == 'system:serviceaccount:{{ .Values.namespace.name }}:weft'"
variables:
  # Where the agent runs: its token is bound to its pod, and the pod to a node.
  - name: node
    expression: "request.userInfo.extra[?'authentication.kubernetes.io/node-name'][?0].orValue('')"
  - name: who
    expression: "variables.node == '' ? 'an agent whose token names no node' : 'the agent on node ' + variables.node"
{{- end }}
