# The library of DocStore's policies: `import data.docstore.lib`. docs/policies.md describes each rule.
package docstore.lib

import rego.v1

# The last word of each reviewer about the head. Reviews come newest first. A document has one of each reviewer; those of
# test cases and of old decisions may have several.
latest_reviews contains review if {
	some index, review in input.reviews
	last_word[review.reviewer] == index
}

# Where the last word of each reviewer is. Of equal keys the later one counts, hence the order.
last_word := object.union_n(array.reverse([{review.reviewer: index} | some index, review in input.reviews]))

# Who rejects the head.
rejecters contains review.reviewer if {
	some review in latest_reviews
	review.status == "rejected"
}

# Who approved the head itself.
head_approvers contains review.reviewer if {
	some review in latest_reviews
	review.status == "approved"
	may_review(review.reviewer)
}

# Who approved an earlier head whose change is byte for byte the same, on paths that main has left alone since.
carried_approvers contains review.reviewer if {
	some review in input.carried_reviews
	review.status == "approved"
	review.identical == true
	count(review.moved_paths) == 0
	not reviewed_head(review.reviewer)
	may_review(review.reviewer)
}

# Who approved an earlier head, and has to look again.
stale_approvers contains review.reviewer if {
	some review in input.carried_reviews
	review.status == "approved"
	not review.reviewer in carried_approvers
	not reviewed_head(review.reviewer)
	may_review(review.reviewer)
}

reviewed_head(reviewer) if last_word[reviewer] >= 0

approvers := head_approvers | carried_approvers

# Everybody who had a hand in the change.
contributors contains identity if {
	some identity in input.authors
}

contributors contains identity if {
	some identity in input.co_authors
}

contributors contains input.last_pusher if {
	is_string(input.last_pusher)
}

# The role that somebody has in the repo now. Documents of before it was told do not say.
role(identity) := object.get(object.get(input.principals, identity, {}), "role", "unknown")

# Whoever lost the role that reviewing takes approves nothing any more. What they rejected stays rejected.
may_review(identity) if not role(identity) in {"none", "reader"}

# The kind of a principal: person, agent, job or system.
kind(identity) := object.get(object.get(input.principals, identity, {}), "kind", "person")

# The person whom an agent works for; for everybody else themselves.
principal_of(identity) := owner if {
	owner := object.get(object.get(input.principals, identity, {}), "on_behalf_of", null)
	is_string(owner)
} else := identity

human(identity) if kind(identity) == "person"

# Neither wrote the change, nor do their agents, nor the agents of the same person, nor the person they work for.
independent(identity) if not involved(identity)

involved(identity) if principal_of(identity) in contributing_principals

contributing_principals contains principal_of(contributor) if {
	some contributor in contributors
}

# The people who may count as a second pair of eyes: human, and independent of the change.
distinct_approvers contains identity if {
	some identity in approvers
	human(identity)
	independent(identity)
}

approved_by_at_least(number) if count(distinct_approvers) >= number

# Changed paths that somebody owns, and none of the owners has approved.
unapproved_paths contains path if {
	some path, owners in input.owners
	is_array(owners)
	not owner_approved(owners)
}

owner_approved(owners) if {
	some owner in owners
	owner in distinct_approvers
}

owners_approved if count(unapproved_paths) == 0

# One requirement for each set of owners that has not approved.
owner_requirements contains requirement if {
	some path in unapproved_paths
	owners := input.owners[path]
	requirement := {
		"kind": "review",
		"what": sprintf("an owner of %s must approve", [path]),
		"who": owners,
		"command": sprintf("ds review --status approved %s", [option("--branch", input.branch)]),
	}
}

failed_checks contains run.check_name if {
	some run in input.check_runs
	run.status == "failed"
}

pending_checks contains run.check_name if {
	some run in input.check_runs
	not run.status in {"passed", "failed"}
}

passed_checks contains run.check_name if {
	some run in input.check_runs
	run.status == "passed"
}

# Every check that reported or is expected has passed.
checks_passed if {
	count(failed_checks) == 0
	count(pending_checks) == 0
}

# These checks have passed, whatever the others say.
checks_passed_for(names) if {
	every name in names {
		name in passed_checks
	}
}

# A text as one word of a shell, so that a name which somebody chose cannot do more than name something.
word(text) := text if {
	regex.match(`^[A-Za-z0-9_./+=,%-]+$`, text)
} else := sprintf("'%s'", [replace(text, "'", `'\''`)])

# An option of a command line with its value, also when that begins with a hyphen.
option(name, value) := sprintf("%s=%s", [name, word(value)]) if {
	startswith(value, "-")
} else := sprintf("%s %s", [name, word(value)])
