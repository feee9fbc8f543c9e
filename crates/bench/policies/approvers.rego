# What everybody builds on takes two approvals.
package docstore.approvers

import data.docstore.lib
import rego.v1

shared_prefixes := {"packages/000-service/", "shared/", "deploy/"}

touches_shared if {
	some path in input.changed_paths
	some prefix in shared_prefixes
	startswith(path, prefix)
}

needed := 2 if touches_shared else := 1

default allow := false

allow if lib.approved_by_at_least(needed)

reason := sprintf("%d of %d approvals", [count(lib.distinct_approvers), needed])
