package chaperone.floor_test

import rego.v1

base := {
	"action": "read", "path": "/workspace/notes.txt", "content": true, "inspected": true, "findings": [],
	"mount_actions": ["read", "list", "write", "append", "delete", "rename"],
	"session": {"profile": "default", "counters": {"deletes": 0}},
}

decided(change) := d if {
	d := data.chaperone.floor.decision with input as object.union(base, change)
}

test_lasting_ways_in_are_denied if {
	every path in ["/workspace/.ssh/Authorized_Keys", "/etc/passwd", "/workspace/etc/shadow", "/workspace/sudoers", "/workspace/etc/sudoers.d/x", "/workspace/ld.so.preload"] {
		decided({"action": "commit", "path": path}).reasons == ["floor_persistence"]
	}
}

test_a_rename_to_one_is_denied if decided({"action": "rename", "to": "/workspace/.ssh/authorized_keys"}).effect == "deny"

test_ordinary_files_are_not_spoken_of if not decided({"action": "commit"})
