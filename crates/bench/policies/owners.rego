# Each changed path that has owners was approved by one of them.
package docstore.owners

import data.docstore.lib
import rego.v1

default allow := false

allow if lib.owners_approved

reason := sprintf("owners have not approved: %s", [concat(", ", sort(lib.unapproved_paths))])

requirements := lib.owner_requirements
