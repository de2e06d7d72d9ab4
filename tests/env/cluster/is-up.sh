#!/usr/bin/env bash
# Whether the test cluster was brought up; it need not be well.
. "$(dirname "$0")/lib.sh"
[ -e "$STATE/admin.kubeconfig" ]
