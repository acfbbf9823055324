# What nothing overrides.
package chaperone.floor

import rego.v1

paths := {lower(path) | some path in [object.get(input, "path", ""), object.get(input, "to", "")]}

decision := {
	"effect": "deny",
	"reasons": ["floor_persistence"],
	"obligations": [{"kind": "alert", "severity": "high"}],
	"advice": "this opens a lasting way into the user's account and is never done by an agent",
} if {
	input.action in {"commit", "write", "append", "rename"}
	persistent
}

persistent if strings.any_suffix_match(
	paths,
	["/authorized_keys", "/authorized_keys2", "/etc/shadow", "/etc/gshadow", "/ld.so.preload", "/sudoers"],
)

persistent if {
	some path in paths
	some part in ["/etc/sudoers", "/etc/pam.d/", "/sudoers.d/"]
	contains(path, part)
}

persistent if strings.any_prefix_match(paths, "/etc/")
