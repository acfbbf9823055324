# Stores of credentials inside a workspace.
package chaperone.credentials

import rego.v1

path := lower(input.path)

parts := split(path, "/")

name := parts[count(parts) - 1]

above := {part | some part in array.slice(parts, 0, count(parts) - 1)}

files := {"read", "write", "append", "delete", "rename"}

folders := {
	".ssh", ".gnupg", ".aws", ".azure", ".kube", ".password-store", ".docker", "keyrings", ".mozilla",
	"google-chrome", ".pki",
}

deeper_folders := ["/chromium/default/", "/.config/gcloud/", "/.config/gh/"]

names := {
	".netrc", "_netrc", ".git-credentials", ".pgpass", ".my.cnf", "credentials.json", "shadow", "gshadow", "id_rsa",
	"id_dsa", "id_ecdsa", "id_ed25519", "identity", "key4.db", "logins.json", "cookies", "cookies.sqlite", "login data", "web data",
	"wallet.dat", "keystore", ".vault-token", "service-account.json", "accesstokens.json",
}

endings := [".pem", ".key", ".p12", ".pfx", ".kdbx", ".kdb", ".jks", ".keystore", ".ppk", ".gpg", ".agilekeychain", ".opvault"]

tokens := {".npmrc", ".pypirc", ".dockercfg", ".yarnrc.yml"}

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
