# A change that nobody can read is not reviewed.
package docstore.size

import rego.v1

files_max := 500

changed := count(object.get(input, "changed_paths", []))

default allow := false

allow if changed <= files_max

reason := sprintf("%d files; at most %d are read with care", [changed, files_max])
