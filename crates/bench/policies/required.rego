# These checks have passed, whoever forgot to require them.
package docstore.required

import data.docstore.lib
import rego.v1

required := {"build", "test"}

default allow := false

allow if lib.checks_passed_for(required)

reason := sprintf("missing: %s", [concat(", ", sort(required - lib.passed_checks))])
