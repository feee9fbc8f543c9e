# Every check that reported on the head, or is expected to, has passed.
package docstore.checks

import data.docstore.lib
import rego.v1

default allow := false

allow if lib.checks_passed

reason := sprintf("failed: %s", [concat(", ", sort(lib.failed_checks))]) if {
	count(lib.failed_checks) > 0
} else := sprintf("not finished: %s", [concat(", ", sort(lib.pending_checks))])

requirements contains {
	"kind": "check",
	"what": sprintf("check %s failed", [name]),
	"who": ["role:writer"],
	"command": sprintf("ds retry %s %s", [lib.option("--branch", input.branch), lib.option("--check", name)]),
} if {
	some name in lib.failed_checks
}

requirements contains {
	"kind": "check",
	"what": sprintf("check %s must pass", [name]),
	"who": ["role:writer"],
	"command": sprintf("ds check %s %s --status passed", [
		lib.option("--branch", input.branch),
		lib.option("--name", name),
	]),
} if {
	some name in lib.pending_checks
}
