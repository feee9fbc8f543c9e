# Keys and leftovers do not belong into the tree.
package docstore.places

import rego.v1

unwanted contains path if {
	some path in input.changed_paths
	some suffix in {".pem", ".key", ".p12", ".orig", ".rej", ".DS_Store"}
	endswith(path, suffix)
}

unwanted contains path if {
	some path in input.changed_paths
	regex.match(`(^|/)(\.env|id_rsa|id_ed25519)$`, path)
}

default allow := false

allow if count(unwanted) == 0

reason := sprintf("these do not belong here: %s", [concat(", ", sort(unwanted))])
