# What leaves the machine: names, connections, requests. `input.net` says what the broker found out (docs/policy.md).
package chaperone.network

import data.chaperone.findings
import data.chaperone.issuers
import data.chaperone.methods
import data.chaperone.relays
import rego.v1

outbound := {"resolve", "connect", "request"}

decision := {"effect": "deny", "reasons": denials, "obligations": suspensions | alerts(denials), "advice": advice} if {
	input.action in outbound
	count(denials) > 0
}

decision := {"effect": "ask", "reasons": asks, "obligations": alerts(asks), "advice": advice} if {
	input.action in outbound
	count(denials) == 0
	count(asks) > 0
}

decision := {"effect": "allow", "reasons": ["host_allowed"]} if {
	input.action in outbound
	count(denials) == 0
	count(asks) == 0
}

# The user named the port when the session began.
decision := {"effect": "allow", "reasons": ["port_published"]} if input.action == "publish"

denials contains "host_not_allowed" if not input.net.allowed

denials contains "metadata_address" if {
	input.net.reaches == "metadata"
	not input.net.named
}

denials contains "private_address" if {
	input.action != "resolve"
	not input.net.reaches in {"public", "metadata"}
	not input.net.named
}

denials contains "dns_tunnel" if is_string(input.net.tunnel)

denials contains "over_budget" if input.net.budget == "over"

denials contains "request_not_allowed" if {
	input.action == "request"
	not input.net.request_allowed
}

# What nobody sends by accident.
denials contains "secret_leaves" if {
	input.action == "request"
	findings.secret
}

# Where credentials belong, a key may go to its own issuer, and one that the profile gives the agent to every allowed host.
denials contains "secret_leaves" if {
	input.action == "request"
	some credential in input.net.credentials
	not credential.own
	not issuers.may_go(credential.detector, input.host)
}

denials contains "registered_value_leaves" if input.net.registered > 0

denials contains "hidden_data_leaves" if {
	input.action == "request"
	findings.hidden
}

# Of what is refused, what no program does by accident.
alarming := {
	"secret_leaves", "registered_value_leaves", "hidden_data_leaves", "passage_leaves", "dns_tunnel",
	"metadata_address", "private_address", "over_budget",
}

alerts(reasons) := {{"kind": "alert", "severity": "high"} | count(reasons & alarming) > 0}

# Nothing is denied by these alone; what is denied for another reason and goes on and on ends the agent's run.
suspensions contains {"kind": "suspend"} if input.net.untrusted_recent > 40

# Mail goes to people, in the user's name.
asks contains "message_to_people" if {
	input.action == "connect"
	input.port in {25, 465, 587}
}

asks contains "message_to_people" if {
	input.action == "request"
	input.method in {"POST", "PUT"}
	some service in messaging
	regex.match(service, lower(input.url))
}

asks contains "hidden_data_leaves" if {
	input.action == "request"
	findings.random_path
}

# What the agent read of the user's files.
asks contains "passage_leaves" if input.net.passages > 0

asks contains "personal_data_leaves" if {
	input.action == "request"
	findings.personal
}

# A method is a word that the agent chooses: what no program uses is a message, unless the user's rule names it.
asks contains "unusual_method" if {
	input.action == "request"
	not input.method in methods.usual
	not input.net.method_named
}

# What a path says makes the server talk to a host that nobody allowed.
asks contains "relayed_request" if {
	input.action == "request"
	relays.reaches_further(input.host, input.url)
}

asks contains "cannot_inspect" if count(input.net.unread) > 0

# Services that carry what is sent to people.
messaging := [
	`^https://(www\.)?slack\.com(:\d+)?/api/(chat|files|conversations\.open)`,
	`^https://hooks\.slack\.com(:\d+)?/`,
	`^https://(ptb\.|canary\.)?discord(app)?\.com(:\d+)?/api/.*(messages|webhooks)`,
	`^https://api\.telegram\.org(:\d+)?/bot[^/]*/send`,
	`^https://(gmail|www)\.googleapis\.com(:\d+)?/.*/(messages|drafts)/send`,
	`^https://chat\.googleapis\.com(:\d+)?/`,
	`^https://graph\.microsoft\.com(:\d+)?/.*(sendmail|/messages|/reply|/forward)`,
	`^https://[^/]*\.webhook\.office\.com(:\d+)?/`,
	`^https://api\.(sendgrid\.com|mailgun\.net|eu\.mailgun\.net|postmarkapp\.com|resend\.com|brevo\.com|sparkpost\.com)(:\d+)?/`,
	`^https://api\.twilio\.com(:\d+)?/.*/messages`,
	`^https://graph\.facebook\.com(:\d+)?/.*/messages`,
	`^https://api\.(x|twitter)\.com(:\d+)?/.*(tweets|dm_)`,
	`/_matrix/client/[^/]*/rooms/[^/]*/send`,
]

default advice := "list_allowed_hosts shows what can be reached; request_elevation asks the user for more"

advice := "the user can start the session with --allow-host for the name and for its address, each with the port" if {
	"private_address" in denials
}

advice := "the user is shown the host and may allow it" if {
	count(denials) == 0
	count(asks) > 0
	not is_model_here
}

# Whoever talks to a model of the user's own is asked at every turn.
advice := "a server of yours that is the agent's model, and may have what the agent reads, is allowed as tcp://HOST:PORT" if {
	is_model_here
}

is_model_here if {
	count(denials) == 0
	"passage_leaves" in asks
	input.net.reaches == "loopback"
	input.method == "POST"
}
