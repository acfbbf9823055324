# More than the capability gives.
package chaperone.requests

import rego.v1

decision := {
	"effect": "ask",
	"reasons": ["elevation"],
	"advice": "go on with what list_capabilities says until the user answers",
} if input.action == "elevate"
