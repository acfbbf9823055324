# More than the capability gives, and what does not exist yet.
package chaperone.requests

import rego.v1

decision := {
	"effect": "ask",
	"reasons": ["elevation"],
	"advice": "go on with what list_capabilities says until the person answers",
} if input.action == "elevate"

decision := {
	"effect": "deny",
	"reasons": ["no_network"],
	"advice": "a cell has no network; ask the person for the file or the answer you need",
} if input.action in {"connect", "resolve", "request", "publish"}
