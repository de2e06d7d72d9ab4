#!/usr/bin/env bash
# Prints the chart as plain manifests, with its default values, for those who have no Helm. `make manifests` writes them.
set -euo pipefail
cd "$(dirname "$0")/../.."
cat <<'YAML'
# Rendered from deploy/helm/ignite by `make manifests`; not edited by hand.
#
# Put your registry in the place of registry.example.com, then: kubectl apply --filename ignite.yaml
---
apiVersion: v1
kind: Namespace
metadata:
  name: ignite
  labels:
    pod-security.kubernetes.io/enforce: restricted
YAML
"$(sed -n 's/^HELM=//p' .cache/paths)" template ignite deploy/helm/ignite --namespace ignite
