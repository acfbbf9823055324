# Which findings count, for whoever decides on content.
package chaperone.findings

import rego.v1

grave := {"critical", "high", "medium"}

# What everybody's documents are full of counts only in bulk.
common := {"email_address", "ip_address", "phone_number", "url"}

bulk := 20

# What leaves is judged by all that was found. Reading and keeping are interrupted by what is certain alone: in source code
# most of the rest is code. A profile may draw the line lower (`[inspection] reads = "likely"`).
weighs(finding) if input.host

weighs(finding) if object.get(finding, "certainty", "certain") == "certain"

weighs(finding) if {
	finding.certainty == "likely"
	input.session.reads == "likely"
}

personal if {
	some finding in input.findings
	finding.category == "pii"
	finding.severity in grave
	finding.confidence >= 0.5
	not finding.detector in common
	weighs(finding)
}

# Different values count: a licence repeats its author in every file.
personal if {
	values := [object.get(finding, "distinct", finding.count) |
		some finding in input.findings
		finding.category == "pii"
		finding.detector in common
		weighs(finding)
	]
	sum(values) >= bulk
}

secret if {
	some finding in input.findings
	finding.category == "secret"
	finding.severity in grave
	finding.confidence >= 0.5
	weighs(finding)
}

# A part could not be looked into: encrypted, damaged, beyond the limits, of a kind that is not known.
unread if count(input.unread) > 0

# Data in disguise: what no program writes unless something is to be hidden.
hidden if {
	some finding in input.findings
	finding.category == "covert"
	finding.severity in grave
	finding.confidence >= 0.5
}
