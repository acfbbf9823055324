package chaperone.tools_test

import data.chaperone.tools
import rego.v1

test_what_acts_on_the_session_alone_is_allowed if {
	some tool in {"list_capabilities", "list_allowed_hosts", "attenuate_capability", "stage_blob"}
	tools.decision.effect == "allow" with input as {"action": "tool", "tool": tool}
}

test_another_tool_gets_no_vote_here if {
	not tools.decision with input as {"action": "tool", "tool": "sudo"}
}
