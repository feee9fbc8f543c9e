# Every check that reported on the head, or is expected to, has passed.
package docstore.checks

import data.docstore.lib
import rego.v1

default allow := false

allow if lib.checks_passed

reason := sprintf("not passed: %s", [concat(", ", sort(lib.failed_checks | lib.pending_checks))])
