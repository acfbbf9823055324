package chaperone.credentials_test

import rego.v1

base := {
	"action": "read", "path": "/workspace/notes.txt", "content": true, "inspected": true, "findings": [],
	"mount_actions": ["read", "list", "write", "append", "delete", "rename"],
	"session": {"profile": "default", "counters": {"deletes": 0}},
}

decided(change) := d if {
	d := data.chaperone.credentials.decision with input as object.union(base, change)
}

test_stores_are_denied_in_any_case if {
	every path in [
		"/workspace/Backup/.SSH/ID_RSA", "/workspace/id_ed25519", "/workspace/CERT.P12", "/workspace/cert.pfx", "/workspace/pass.kdbx", "/workspace/.aws/credentials",
		"/workspace/.netrc", "/workspace/.git-credentials", "/workspace/chrome/Login Data", "/workspace/ff/Cookies",
		"/workspace/ff/logins.json", "/workspace/ff/key4.db", "/workspace/.local/share/keyrings/login.keyring",
		"/workspace/.gnupg/trustdb.gpg", "/workspace/.kube/config", "/workspace/.docker/config.json",
		"/workspace/.password-store/mail.gpg", "/workspace/etc/shadow",
	] {
		decided({"path": path}).reasons == ["credential_store"]
	}
}

test_no_action_on_a_store_is_let_through if {
	every action in ["read", "write", "append", "delete", "rename"] {
		decided({"action": action, "path": "/workspace/.ssh/id_rsa"}).effect == "deny"
	}
}

test_the_folder_of_a_store_stays_where_it_is if decided({"action": "rename", "path": "/workspace/.ssh"}).effect == "deny"

test_a_store_may_be_listed if not decided({"action": "list", "path": "/workspace/.ssh"})

test_dotenv_asks if {
	every path in ["/workspace/.env", "/workspace/app/.ENV.production"] {
		d := decided({"path": path})
		d.effect == "ask"
		d.reasons == ["dotenv"]
	}
}

test_a_dotenv_of_plain_settings_does_not if {
	plain := {"path": "/workspace/.env", "unread": []}
	not decided(plain)
	every change in [
		{"inspected": false}, {"unread": ["it is damaged"]},
		{"findings": [{"detector": "opaque_setting", "category": "secret", "certainty": "possible", "severity": "medium", "confidence": 0.6, "count": 1}]},
		{"findings": [{"detector": "generic_password", "category": "secret", "certainty": "likely", "severity": "high", "confidence": 0.9, "count": 1}]},
	] {
		decided(object.union(plain, change)).reasons == ["dotenv"]
	}
}

test_an_example_dotenv_does_not if not decided({"path": "/workspace/.env.example"})

suspects := [
	"/workspace/ca.pem", "/workspace/certifi/cacert.pem", "/workspace/site.crt", "/workspace/.docker/Dockerfile",
	"/workspace/talk.key", "/workspace/keyrings/debian-archive.gpg", "/workspace/identity", "/workspace/.npmrc",
	"/workspace/.yarnrc.yml", "/workspace/.pypirc", "/workspace/css/shadow", "/workspace/tests/credentials.json", "/workspace/service-account.json",
]

test_a_name_alone_decides_nothing if {
	every path in suspects {
		every action in ["read", "write", "append", "delete", "rename"] {
			not decided({"action": action, "path": path})
		}
	}
}

token(certainty) := [{"detector": "generic_secret", "category": "secret", "severity": "high", "confidence": 0.7, "certainty": certainty, "count": 1}]

test_under_a_suspect_name_a_likely_secret_is_asked_about if {
	every path in ["/workspace/ca.pem", "/workspace/talk.key", "/workspace/identity", "/workspace/.npmrc", "/workspace/.yarnrc.yml", "/workspace/credentials.json"] {
		d := decided({"path": path, "findings": token("likely")})
		d.effect == "ask"
		d.reasons == ["secret_in_content"]
		not decided({"path": path, "findings": token("possible")})
	}
	not decided({"path": "/workspace/main.py", "findings": token("likely")})
}

test_what_held_credentials_of_docker_asks if decided({"path": "/workspace/.dockercfg"}).reasons == ["tokens_file"]

test_ordinary_files_are_not_spoken_of if not decided({"path": "/workspace/keynote.txt"})
