package chaperone.mounts_test

import rego.v1

base := {
	"action": "read", "path": "/workspace/notes.txt", "content": true, "inspected": true, "findings": [],
	"mount_actions": ["read", "list", "write", "append", "delete", "rename"],
	"session": {"profile": "default", "counters": {"deletes": 0}},
}

decided(change) := d if {
	d := data.chaperone.mounts.decision with input as object.union(base, change)
}

test_a_read_only_mount_refuses_writes if {
	d := decided({"action": "write", "mount_actions": ["read", "list"]})
	d.reasons == ["not_in_profile"]
	contains(d.advice, "read, list")
}

test_append_is_part_of_write if not decided({"action": "append", "mount_actions": ["write"]})

test_stat_is_part_of_list if not decided({"action": "stat", "mount_actions": ["list"]})

test_a_path_in_no_mount_is_refused if decided({"mount_actions": []}).effect == "deny"

test_without_a_list_nothing_is_permitted if {
	d := data.chaperone.mounts.decision with input as {"action": "read", "path": "/workspace/a"}
	d.effect == "deny"
}

test_commits_and_elevation_are_not_the_mounts_business if {
	not decided({"action": "commit", "mount_actions": ["read"]})
	not decided({"action": "elevate", "mount_actions": []})
}
