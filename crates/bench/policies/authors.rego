# What an agent or a job wrote is merged by a person, and who answers for it is known.
package docstore.authors

import data.docstore.lib
import rego.v1

machines contains identity if {
	some identity in lib.contributors
	lib.kind(identity) != "person"
}

unknown contains identity if {
	some identity in machines
	lib.kind(identity) == "agent"
	lib.principal_of(identity) == identity
}

default allow := false

allow if {
	count(unknown) == 0
	count(machines) == 0
}

allow if {
	count(unknown) == 0
	input.actor_kind == "person"
}

reason := "a person must merge what machines wrote"
