# What leaves the machine: names, connections, requests. `input.net` says what the broker found out (docs/policy.md).
package chaperone.network

import rego.v1

outbound := {"resolve", "connect", "request"}

decision := {"effect": "deny", "reasons": denials, "obligations": suspensions, "advice": advice} if {
	input.action in outbound
	count(denials) > 0
}

decision := {"effect": "ask", "reasons": asks, "advice": advice} if {
	input.action in outbound
	count(denials) == 0
	count(asks) > 0
}

decision := {"effect": "allow", "reasons": ["host_allowed"]} if {
	input.action in outbound
	count(denials) == 0
	count(asks) == 0
}

# The person named the port when the session began.
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

# Nothing is denied by these alone; what is denied for another reason and goes on and on ends the agent's run.
suspensions contains {"kind": "suspend"} if input.net.untrusted_recent > 40

# Mail goes to people, in the person's name.
asks contains "message_to_people" if {
	input.action == "connect"
	input.port in {25, 465, 587}
}

default advice := "list_allowed_hosts shows what can be reached; request_elevation asks the person for more"

advice := "the person is shown the host and may allow it" if {
	count(denials) == 0
	count(asks) > 0
}
