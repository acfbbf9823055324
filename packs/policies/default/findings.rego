# Which findings count, for whoever decides on content.
package chaperone.findings

import data.chaperone.issuers
import rego.v1

grave := {"critical", "high", "medium"}

# What everybody's documents are full of counts only in bulk.
common := {"email_address", "ip_address", "phone_number", "url"}

bulk := 20

# What leaves is judged by all that was found. Reading and keeping are interrupted by what is certain alone: in source code
# most of the rest is code. A profile may draw the line lower (`[inspection] reads = "likely"`).
weighs(finding) if {
	input.host
	not logs_in(finding)
}

# Who tests a server of the user's own, at a port that the user named, logs in to it: a short form with what may be a password.
logs_in(finding) if {
	finding.detector == "generic_password"
	finding.certainty != "certain"
	input.method == "POST"
	input.net.bytes <= 4096
	input.net.named
	input.net.reaches == "loopback"
	is_this_machine(input.host)
}

is_this_machine(host) if host in {"localhost", "[::1]"}

is_this_machine(host) if endswith(host, ".localhost")

is_this_machine(host) if regex.match(`^127(\.[0-9]{1,3}){3}$`, host)

# Every log is full of the addresses of machines: who reads is not asked for them alone.
machines := {"ip_address", "mac_address"}

weighs(finding) if {
	object.get(finding, "certainty", "certain") == "certain"
	not finding.detector in machines
}

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
	not is_of_an_example(finding)
}

# A date of birth or an account of a currency, and nothing else of a person but what everybody's documents are full of: what is made up
# for a test says it, and a page that asks for gifts. What leaves is judged with it.
lone := {"date_of_birth", "crypto"}

few := 3

is_of_an_example(finding) if {
	not input.host
	finding.detector in lone
	object.get(finding, "distinct", finding.count) < few
	count([other |
		some other in input.findings
		other.category == "pii"
		not other.detector in common
		not other.detector in machines
		not other.detector in lone
	]) == 0
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
	finding.detector != "random_path"
	finding.severity in grave
	finding.confidence >= 0.5
}

# In a path so may an id be, of a document or an invitation: whose services have such ids is known, others are asked about.
random_path if {
	some finding in input.findings
	finding.detector == "random_path"
	not is_this_machine(input.host)
	not has_ids(input.host)
}

has_ids(host) if {
	some domain in [
		"airtable.com", "asana.com", "atlassian.net", "box.com", "canva.com", "clickup.com", "discord.com", "dropbox.com", "figma.com",
		"github.com", "gitlab.com", "google.com", "linear.app", "loom.com", "miro.com", "notion.so", "office.com", "openai.com",
		"sharepoint.com", "slack.com", "spotify.com", "stripe.com", "trello.com", "typeform.com", "zoom.us",
	]
	issuers.is_at(host, domain)
}

