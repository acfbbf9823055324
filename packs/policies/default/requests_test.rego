package chaperone.requests_test

import rego.v1

base := {
	"action": "read", "path": "/workspace/notes.txt", "content": true, "inspected": true, "findings": [],
	"mount_actions": ["read", "list", "write", "append", "delete", "rename"],
	"session": {"profile": "default", "counters": {"deletes": 0}},
}

decided(action) := d if {
	d := data.chaperone.requests.decision with input as object.union(base, {"action": action})
}

test_elevation_asks if decided("elevate").reasons == ["elevation"]

wished(host) := d if {
	wish := object.union({"action": "connect", "reaches": "public", "named": false, "wide": false}, host)
	d := data.chaperone.requests.decision with input as object.union(base, {"action": "elevate", "change": {"elevate": wish}})
}

test_one_public_host_may_be_asked_for if wished({}).effect == "ask"

test_what_is_not_public_is_refused if {
	wished({"reaches": "loopback"}).effect == "deny"
	wished({"reaches": "loopback"}).reasons == {"private_address"}
	wished({"reaches": "link_local"}).reasons == {"private_address"}
	wished({"reaches": "metadata"}).reasons == {"metadata_address"}
}

test_what_the_user_named_beforehand_may_be_asked_for if wished({"reaches": "loopback", "named": true}).effect == "ask"

test_a_wide_network_is_refused if wished({"wide": true}).reasons == {"wide_network"}

test_a_folder_may_be_asked_for if {
	d := data.chaperone.requests.decision with input as object.union(base, {"action": "elevate", "change": {"elevate": {"action": "write", "pattern": "/workspace/*", "seconds": 600}}})
	d.effect == "ask"
}

test_files_are_not_spoken_of if not decided("read")
