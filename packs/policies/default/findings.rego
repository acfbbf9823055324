# Which findings count, for whoever decides on content.
package chaperone.findings

import rego.v1

grave := {"critical", "high", "medium"}

# What everybody's documents are full of counts only in bulk.
common := {"email_address", "ip_address", "phone_number", "url"}

bulk := 20

personal if {
	some finding in input.findings
	finding.category == "pii"
	finding.severity in grave
	finding.confidence >= 0.5
	not finding.detector in common
}

personal if {
	sum([finding.count | some finding in input.findings; finding.category == "pii"; finding.detector in common]) >= bulk
}

secret if {
	some finding in input.findings
	finding.category == "secret"
	finding.severity in grave
	finding.confidence >= 0.5
}

# Data in disguise: what no program writes unless something is to be hidden.
hidden if {
	some finding in input.findings
	finding.category == "covert"
	finding.severity in grave
	finding.confidence >= 0.5
}
