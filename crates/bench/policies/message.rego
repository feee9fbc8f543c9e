# There is a proposal, and its title says which part it is about.
package docstore.message

import rego.v1

default allow := false

allow if {
	regex.match(`^[a-z][a-z0-9 -]*: [^ ].*[^.]$`, input.proposal.title)
}

reason := "the proposal's title should read like 'area: what it does'"
