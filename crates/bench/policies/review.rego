# A person who had no hand in the change has approved it, and nobody rejects it.
package docstore.review

import data.docstore.lib
import rego.v1

default allow := false

allow if {
	lib.approved_by_at_least(1)
	count(lib.rejecters) == 0
}

reason := "nobody else has approved this change"
