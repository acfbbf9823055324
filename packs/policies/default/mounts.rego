# What a profile's mount does not list does not happen there.
package chaperone.mounts

import rego.v1

exempt := {"commit", "elevate", "connect", "resolve", "request", "publish", "exec", "tool"}

decision := {
	"effect": "deny",
	"reasons": ["not_in_profile"],
	"advice": advice,
} if {
	not input.action in exempt
	not permitted
}

permitted if input.action in input.mount_actions

# The user granted it, for a while.
permitted if input.elevated

permitted if {
	input.action == "append"
	"write" in input.mount_actions
}

permitted if {
	input.action == "stat"
	"list" in input.mount_actions
}

default advice := "this path is in no directory of the profile; use request_elevation"

advice := sprintf("this directory allows %s; write where the profile says, or use request_elevation", [concat(", ", input.mount_actions)]) if {
	count(input.mount_actions) > 0
}
