# Tools that act on the session itself: to see what it may do, to give a part of that on, to hand over a blob.
package chaperone.tools

import rego.v1

session_tools := {
	"list_capabilities", "list_allowed_hosts", "list_directory", "attenuate_capability", "stage_blob",
}

decision := {"effect": "allow", "reasons": ["session_tool"]} if {
	input.action == "tool"
	input.tool in session_tools
}
