# What nothing overrides.
package chaperone.floor

import rego.v1

path := lower(input.path)

decision := {
	"effect": "deny",
	"reasons": ["floor_persistence"],
	"advice": "this opens a lasting way into the person's account and is never done by an agent",
} if {
	input.action in {"commit", "write", "append", "rename"}
	persistent
}

persistent if endswith(path, "/authorized_keys")

persistent if endswith(path, "/authorized_keys2")

persistent if endswith(path, "/etc/shadow")

persistent if contains(path, "/etc/sudoers")

persistent if contains(path, "/etc/pam.d/")

persistent if endswith(path, "/ld.so.preload")
