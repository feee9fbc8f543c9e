# Somebody else has read the change: a person who neither wrote it nor owns the agent that did.
package docstore.review

import data.docstore.lib
import rego.v1

default allow := false

allow if {
	lib.approved_by_at_least(1)
	count(lib.rejecters) == 0
}

reason := sprintf("rejected by %s", [concat(", ", sort(lib.rejecters))]) if {
	count(lib.rejecters) > 0
} else := sprintf("the approval by %s is of an earlier change", [concat(", ", sort(lib.stale_approvers))]) if {
	count(lib.stale_approvers) > 0
} else := "nobody else has approved this change"

requirements contains {
	"kind": "review",
	"what": sprintf("%s must withdraw the rejection, or approve", [reviewer]),
	"who": [reviewer],
	"command": sprintf("ds review --status approved %s", [lib.option("--branch", input.branch)]),
} if {
	some reviewer in lib.rejecters
}

requirements contains {
	"kind": "review",
	"what": "a person who had no hand in the change must approve it",
	"who": ["role:writer"],
	"command": sprintf("ds review --status approved %s", [lib.option("--branch", input.branch)]),
} if {
	not lib.approved_by_at_least(1)
}

# An admin who is a person may go ahead, and says why.
allow_override if {
	input.actor_kind == "person"
	"admin" in input.actor_roles
}
