# Reading, listing and staging. Content is looked at before it is read.
package chaperone.files

import rego.v1

staging := {"write", "append", "delete", "rename"}

decision := {"effect": "allow", "reasons": ["listing"]} if input.action == "list"

decision := {"effect": "allow", "reasons": ["staged"], "obligations": [{"kind": "stage"}]} if input.action in staging

# First without the content, which must be inspected …
decision := {"effect": "allow", "reasons": ["inspect_first"], "obligations": [{"kind": "inspect"}]} if {
	input.action == "read"
	input.content
	not input.inspected
}

# … the agent's own staged work needs none …
decision := {"effect": "allow", "reasons": ["own_work"]} if {
	input.action == "read"
	not input.content
}

# … then with what was found.
decision := {"effect": "allow", "reasons": ["nothing_found"]} if {
	input.action == "read"
	input.content
	input.inspected
	not personal
	not secret
}

decision := {
	"effect": "ask",
	"reasons": reasons,
	"obligations": [{"kind": "redact"}],
	"advice": "go on without this file, or ask the person for a redacted copy",
} if {
	input.action == "read"
	input.content
	input.inspected
	count(reasons) > 0
}

reasons contains "personal_data" if personal

reasons contains "secret_in_content" if secret

# What everybody's documents are full of counts only in bulk.
common := {"email_address", "ip_address", "phone_number", "date_of_birth", "street_address", "url"}

bulk := 20

personal if {
	some finding in input.findings
	finding.category == "pii"
	finding.severity in {"high", "medium"}
	finding.confidence >= 0.5
	not finding.detector in common
}

personal if {
	sum([finding.count | some finding in input.findings; finding.category == "pii"; finding.detector in common]) >= bulk
}

secret if {
	some finding in input.findings
	finding.category == "secret"
	finding.severity in {"high", "medium"}
	finding.confidence >= 0.5
}
