# More than the capability gives.
package chaperone.requests

import rego.v1

decision := {
	"effect": "ask",
	"reasons": ["elevation"],
	"advice": "go on with what list_capabilities says until the user answers",
} if {
	input.action == "elevate"
	count(denials) == 0
}

decision := {
	"effect": "deny",
	"reasons": denials,
	"obligations": {{"kind": "alert", "severity": "high"}},
	"advice": "ask for one public host; whatever else is to be reached, the user names with --allow-host",
} if {
	input.action == "elevate"
	count(denials) > 0
}

# Nobody who reads a range knows what is in it.
denials contains "wide_network" if input.change.elevate.wide

denials contains "metadata_address" if {
	input.change.elevate.reaches == "metadata"
	not input.change.elevate.named
}

# What is not public is named by the user beforehand, on some port, or not at all.
denials contains "private_address" if {
	input.change.elevate.action == "connect"
	not input.change.elevate.reaches in {"public", "metadata"}
	not input.change.elevate.named
}
