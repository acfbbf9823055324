# What reaches the user's directory: files that will run later, documents that reach out, content that should not be
# there.
package chaperone.commit

import data.chaperone.findings
import rego.v1

path := lower(input.path)

name := regex.replace(path, "^.*/", "")

runs_later_names := {
	"claude.md", "agents.md", "gemini.md", ".cursorrules", ".mcp.json", ".envrc", ".bashrc", ".bash_profile",
	".bash_login", ".bash_logout", ".bash_aliases", ".profile", ".zshrc", ".zprofile", ".zshenv", ".zlogin", ".kshrc", ".gitattributes",
	".gitmodules", ".gitconfig", "makefile", "gnumakefile", "package.json", "build.rs", "setup.py", "conftest.py",
	"sitecustomize.py", "usercustomize.py", "noxfile.py", "tox.ini", "jenkinsfile", ".gitlab-ci.yml", ".npmrc", ".yarnrc",
	".pre-commit-config.yaml", "crontab", "ld.so.preload", "justfile", "rakefile", "gemfile", "dockerfile",
	".windsurfrules", ".clinerules", "copilot-instructions.md", "tasks.json", ".lldbinit", ".gdbinit", ".xprofile",
	".xinitrc", ".xsession", ".xsessionrc", ".xserverrc", ".pam_environment", ".vimrc", ".exrc",
	".nvimrc", ".emacs", "config.fish", "pyproject.toml", "build.gradle", "pom.xml", ".condarc", ".inputrc", ".tmux.conf",
	".dir-locals.el", "meson.build", "cmakelists.txt", "flake.nix", "shell.nix", "devcontainer.json",
}

runs_later_parts := [
	"/.vscode/", "/.idea/", "/.claude/",
	"/.codex/", "/.cursor/", "/.gemini/", "/.github/workflows/", "/.github/actions/", "/.husky/", "/.config/autostart/",
	"/.config/environment.d/",
	"/.config/systemd/", "/.local/share/systemd/", "/systemd/user/", "/.local/share/dbus-1/", "/.local/share/applications/",
	"/cron.d/", "/cron.daily/", "/.cargo/config", "/.devcontainer/", "/.circleci/", "/.config/git/", "/.config/fish/",
	"/chrome/extensions/", "/.config/nvim/", "/.vim/plugin/",
]

runs_later_endings := [".desktop", ".service", ".timer", ".socket", ".pth", ".plist", ".rules", ".policykit"]

runs_later if name in runs_later_names

runs_later if {
	some part in runs_later_parts
	contains(path, part)
}

runs_later if {
	some ending in runs_later_endings
	endswith(name, ending)
}

# Inside a repository git takes its hooks, its settings and its next steps from wherever a file says. So there only the
# plain data of git passes: every other name, every link and everything executable is asked about.
runs_later if {
	in_repository
	not input.change.kind == "dir"
	not git_data
}

# A repository without a work tree may have any name: what makes it one is a file `config` and a directory `hooks` in it.
runs_later if {
	name in {"config", "config.worktree", "commondir", "gitdir"}
	not in_repository
	not input.change.kind == "dir"
}

# A link in place of a directory of hooks.
runs_later if {
	name == "hooks"
	input.change.kind == "symlink"
}

runs_later if {
	contains(path, "/hooks/")
	regex.match(`^(pre|post)-[a-z-]+$|^(applypatch|commit|prepare-commit)-msg$|^update$|^fsmonitor-watchman$|^reference-transaction$|^push-to-checkout$|^proc-receive$|^sendemail-validate$`, name)
}

# A `.git` file points to a repository, hooks and all, elsewhere.
runs_later if {
	name == ".git"
	not input.change.kind == "dir"
}

in_repository if contains(path, "/.git/")

# Below the last `.git`, and below the repository of a submodule or the directory of a linked worktree in it.
inside := regex.replace(regex.replace(path, `^.*/\.git/`, ""), `^(modules/.+?|worktrees/[^/]+)/(objects|refs|logs|info|head$|index$|orig_head$|packed-refs$|commit_editmsg$|fetch_head$|shallow$)`, "$2")

git_data if {
	input.change.kind == "file"
	not input.change.becomes_executable
	inside in git_files
}

git_data if {
	input.change.kind == "file"
	not input.change.becomes_executable
	some pattern in git_patterns
	regex.match(pattern, inside)
}

git_files := {
	"head", "index", "orig_head", "fetch_head", "merge_head", "merge_msg", "merge_mode", "cherry_pick_head", "revert_head",
	"auto_merge", "squash_msg", "commit_editmsg", "packed-refs", "description", "shallow", "info/exclude", "info/refs",
	"logs/head", "logs/refs/stash", "objects/info/packs", "objects/info/commit-graph",
}

git_patterns := [
	`^objects/[0-9a-f]{2}/[0-9a-f]+$`, `^objects/pack/(pack-[0-9a-f]+\.(pack|idx|rev|bitmap|keep|mtimes)|multi-pack-index[^/]*)$`,
	`^objects/info/commit-graphs/[^/]+$`, `^refs/(heads|tags|remotes|stash|notes|bisect|worktree)(/|$)`,
	`^logs/refs/(heads|tags|remotes|notes)/`,
]

in_git_data if {
	in_repository
	not runs_later
}

executable if input.change.becomes_executable

executable if {
	is_string(input.change.shebang)
	not only_moved
}

# The user's own file at a place where nothing was.
only_moved if {
	input.change.origin_known
	not input.change.replaces
}

refusals := ["macro"] if input.change.workbook_refusal == "macro"

refusals := ["external_formula", input.change.workbook_refusal] if input.change.workbook_refusal != "macro"

reaches_out if is_string(input.change.workbook_refusal)

formulas if input.change.formula_cells > 0

deletion if input.change.op == "delete"

# Who could not write it before can then. New files of a group's are ordinary.
loosened_mode if "other" in input.change.becomes_writable_by

loosened_mode if {
	"group" in input.change.becomes_writable_by
	input.change.op != "create"
}

loosened_mode if input.change.sets_id

decision := {
	"effect": "deny",
	"reasons": refusals,
	"obligations": [{"kind": "alert", "severity": "high"} | "external_formula" in refusals],
	"advice": "write the workbook without macros, links, data connections and functions that reach other hosts",
} if {
	input.action == "commit"
	reaches_out
}

decision := {
	"effect": "ask",
	"reasons": asks,
	"obligations": [{"kind": "alert", "severity": "high"} | count(asks & alarming) > 0],
	"advice": "leave it staged and tell the user what it is for",
} if {
	input.action == "commit"
	not reaches_out
	count(asks) > 0
}

decision := {"effect": "allow", "reasons": ["plain_change"], "obligations": [{"kind": "inspect"}]} if {
	input.action == "commit"
	not reaches_out
	count(asks) == 0
}

# Raised when it is not confirmed.
alarming := {
	"runs_later", "secret_in_content", "secret_in_name", "personal_data_in_name", "link_leaves_folder",
	"loads_remote_content", "leaves_protection",
}

asks contains "runs_later" if {
	runs_later
	not deletion
}

asks contains "executable" if {
	executable
	not in_git_data
	not deletion
}

asks contains "csv_formula" if formulas

# Of what one commit takes away: deleted, emptied, replaced.
asks contains "many_deletes" if {
	input.change.removes
	input.change.removals_in_commit > 50
}

asks contains "loosened_mode" if loosened_mode

# Whoever writes to the name then writes somewhere else.
asks contains "link_replaces_file" if {
	input.change.kind == "symlink"
	is_string(input.change.was)
}

asks contains "secret_in_content" if {
	findings.secret
	content_is_new
}

# A name carries as much as a content.
asks contains "secret_in_name" if {
	some category in input.change.name_findings
	category == "secret"
}

asks contains "personal_data_in_name" if {
	some category in input.change.name_findings
	category == "pii"
}

asks contains "personal_data" if {
	findings.personal
	content_is_new
}

# The user gave exactly this content, or it is the inside of a repository.
content_is_new if {
	not input.change.origin_known
	not in_git_data
}

# A rule that protects a place is not undone by moving away from it.
asks contains "leaves_protection" if input.change.leaves_protection

asks contains "link_leaves_folder" if input.change.link_leaves_root

# Whoever opens the document fetches it, with whatever the address carries.
asks contains "loads_remote_content" if input.change.remote_content > 0

asks contains "deceptive_name" if input.change.deceptive_name
