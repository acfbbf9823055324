# Stores of credentials inside a workspace.
package chaperone.credentials

import rego.v1

path := lower(input.path)

parts := split(path, "/")

name := parts[count(parts) - 1]

above := {part | some part in array.slice(parts, 0, count(parts) - 1)}

files := {"read", "write", "append", "delete", "rename"}

# By name alone only what is a store of credentials by construction: of anything else the content decides.
folders := {
	".ssh", ".gnupg", ".aws", ".azure", ".kube", ".password-store", ".mozilla", "google-chrome", ".pki",
}

deeper_folders := ["/chromium/default/", "/.config/gcloud/", "/.config/gh/", "/.local/share/keyrings/"]

# Files with what stands above them.
deeper_names := ["/.docker/config.json", "/etc/shadow", "/etc/gshadow"]

names := {
	".netrc", "_netrc", ".git-credentials", ".pgpass", ".my.cnf", "id_rsa", "id_dsa", "id_ecdsa",
	"id_ed25519", "key4.db", "logins.json", "cookies", "cookies.sqlite", "login data", "web data",
	"wallet.dat", "keystore", ".vault-token", "accesstokens.json",
}

# Containers of keys, which nobody can look into.
endings := [".p12", ".pfx", ".kdbx", ".kdb", ".jks", ".keystore", ".ppk", ".agilekeychain", ".opvault"]

# Names that certificates, keyrings of distributions and documents have as well: there a likely secret counts like a certain one.
suspect_names := {
	"identity", ".npmrc", ".pypirc", ".yarnrc.yml", "config.json", "auth.json", "credentials.json", "service-account.json",
	"wpa_supplicant.conf",
}

suspect_endings := [".nmconnection", ".pem", ".key", ".gpg", ".crt", ".cer", ".der", ".asc", ".pub"]

tokens := {".dockercfg"}

suspect if name in suspect_names

suspect if strings.any_suffix_match(name, suspect_endings)

store if strings.any_suffix_match(path, deeper_names)

store if count(above & folders) > 0

store if {
	some folder in deeper_folders
	contains(path, folder)
}

store if name in names

store if strings.any_suffix_match(name, endings)

# A directory of credentials itself, when it is renamed or deleted.
store if {
	input.action in {"rename", "delete"}
	name in folders
}

store if {
	input.action in {"rename", "delete"}
	strings.any_suffix_match(concat("", [path, "/"]), deeper_folders)
}

dotenv if name == ".env"

dotenv if {
	startswith(name, ".env.")
	not name in {".env.example", ".env.sample", ".env.template"}
}

# All that is set in it is plainly a setting: what is not is a finding there, under whatever name it stands.
plain_settings if {
	input.inspected
	count(input.unread) == 0
	not any_secret
}

any_secret if {
	some finding in input.findings
	finding.category == "secret"
}

decision := {
	"effect": "deny",
	"reasons": ["credential_store"],
	"obligations": [{"kind": "alert", "severity": "high"}],
	"advice": "credentials are not given to agents; ask the user to do the step that needs them",
} if {
	input.action in files
	store
}

decision := {
	"effect": "ask",
	"reasons": ["dotenv"],
	"obligations": [{"kind": "redact"}],
	"advice": "work with .env.example, or ask the user for a redacted copy",
} if {
	input.action == "read"
	input.content
	not store
	dotenv
	not plain_settings
}

decision := {
	"effect": "ask",
	"reasons": ["tokens_file"],
	"obligations": [{"kind": "redact"}],
	"advice": "this file usually holds a token; go on without it",
} if {
	input.action == "read"
	input.content
	not store
	not dotenv
	name in tokens
}

decision := {
	"effect": "ask",
	"reasons": ["secret_in_content"],
	"obligations": [{"kind": "redact"}, {"kind": "alert", "severity": "high"}],
	"advice": "this file holds what looks like a key or token; go on without it, or ask the user for a redacted copy",
} if {
	input.action == "read"
	input.content
	input.inspected
	not store
	not dotenv
	suspect
	likely_secret
}

likely_secret if {
	some finding in input.findings
	finding.category == "secret"
	object.get(finding, "certainty", "certain") in {"certain", "likely"}
}
