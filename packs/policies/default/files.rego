# Reading, listing and staging. Content is looked at before it is read.
package chaperone.files

import data.chaperone.findings
import rego.v1

staging := {"write", "append", "delete", "rename"}

decision := {"effect": "allow", "reasons": ["listing"]} if input.action in {"list", "stat"}

decision := {"effect": "allow", "reasons": ["staged"], "obligations": [{"kind": "stage"}]} if input.action in staging

# First without the content, which must be inspected …
decision := {"effect": "allow", "reasons": ["inspect_first"], "obligations": [{"kind": "inspect"}]} if {
	input.action == "read"
	input.content
	not input.inspected
}

# … opening without content (the agent's own staged work) needs none …
decision := {"effect": "allow", "reasons": ["own_work"]} if {
	input.action == "read"
	not input.content
}

# … then with what was found.
decision := {"effect": "allow", "reasons": ["nothing_found"]} if {
	input.action == "read"
	input.content
	input.inspected
	not findings.personal
	not findings.secret
	not findings.unread
}

decision := {
	"effect": "ask",
	"reasons": reasons,
	"obligations": array.concat(redaction, alerts),
	"advice": advice,
} if {
	input.action == "read"
	input.content
	input.inspected
	count(reasons) > 0
}

# What could not be read whole cannot be redacted either.
redaction := [] if {
	findings.unread
} else := [{"kind": "redact"}]

advice := "go on without this file, or ask the user for a copy that can be looked into" if {
	findings.unread
} else := "go on without this file, or ask the user for a redacted copy"

# Raised when it is refused.
alerts := [{"kind": "alert", "severity": "high"}] if {
	"secret_in_content" in reasons
} else := []

reasons contains "personal_data" if findings.personal

reasons contains "secret_in_content" if findings.secret

reasons contains "cannot_look_inside" if findings.unread
