# What reaches the user's directory: files that will run later, documents that reach out, content that should not be
# there.
package chaperone.commit

import data.chaperone.findings
import rego.v1

path := lower(input.path)

name := regex.replace(path, "^.*/", "")

# What a tool runs or obeys by name or place is data, by class: `packs/runs_later.toml`.
runs_later if {
	some class in input.change.runs_later
	not waived[class]
}

# Which packages there are says nothing new while they come from where packages came from.
waived contains "dependencies"

# Beside a package that somebody installed there, another one is new; what is there stays what it was.
waived contains "packages" if input.change.in_checkout

waived contains "packages" if input.change.op == "create"

# In a source checkout a build is code like any other, where there is one of its kind.
waived contains "build" if {
	input.change.in_checkout
	input.change.kind_known
}

brings_source if {
	some class in input.change.runs_later
	waived[class]
	input.change.new_sources > 0
}

runs_later if runs_for_git

# Inside a repository git takes its hooks, its settings and its next steps from wherever a file says. So there only the
# plain data of git passes: every other name, every link and everything executable is asked about.
runs_for_git if {
	in_repository
	not input.change.kind == "dir"
	not git_data
}

# Python takes it in place of the library's.
runs_later if input.change.shadows_library

# A repository without a work tree may have any name: what makes it one is a file `config` and a directory `hooks` in it.
runs_for_git if {
	name in {"config", "config.worktree", "commondir", "gitdir"}
	not in_repository
	not input.change.kind == "dir"
	not input.change.no_git_settings
	not brings_plain_settings
}

# A link in place of a directory of hooks, or a directory that becomes one.
runs_for_git if {
	name == "hooks"
	gets_all_of_it
}

gets_all_of_it if input.change.kind == "symlink"

gets_all_of_it if {
	input.change.kind == "dir"
	input.change.op == "rename"
}

runs_for_git if {
	contains(path, "/hooks/")
	regex.match(`^(pre|post)-[a-z-]+$|^(applypatch|commit|prepare-commit)-msg$|^update$|^fsmonitor-watchman$|^reference-transaction$|^push-to-checkout$|^proc-receive$|^sendemail-validate$`, name)
}

# A directory that becomes a repository brings what it holds.
runs_for_git if {
	name == ".git"
	gets_all_of_it
}

# A `.git` file points to a repository, hooks and all, elsewhere.
runs_for_git if {
	name == ".git"
	not input.change.kind == "dir"
}

in_repository if contains(git_path, "/.git/")

# Also of a repository whose directory has another name.
git_path := lower(input.change.git_path)

git_path := path if not input.change.git_path

# Below the last `.git`, and below the repository of a submodule or the directory of a linked worktree in it.
inside := regex.replace(regex.replace(git_path, `^.*/\.git/`, ""), `^(modules/.+?|worktrees/[^/]+)/(objects|refs|logs|info|head$|index$|sharedindex\.|[a-z_]+_head$|packed-refs$|(commit|tag|notes)_editmsg$|(merge|squash)_msg$|merge_mode$|auto_merge$|description$|shallow$)`, "$2")

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

# The state of what git is in the middle of, without a command in it.
git_data if input.change.state_inert

# Settings of which only what runs nothing is other than before: who commits, what a branch follows.
git_data if {
	input.change.settings_inert
	input.change.kind == "file"
	input.change.op == "modify"
	not input.change.becomes_executable
}

# A hook of git's own that it does not run.
git_data if {
	input.change.kind == "file"
	input.change.sample_hook
}

git_data if brings_plain_settings

# What every new repository has: it leads nowhere but to where it came from.
brings_plain_settings if {
	input.change.settings_plain
	input.change.kind == "file"
	input.change.op == "create"
	not input.change.becomes_executable
}

git_files := {
	"head", "index", "orig_head", "fetch_head", "merge_head", "merge_msg", "merge_mode", "cherry_pick_head", "revert_head", "rebase_head",
	"auto_merge", "squash_msg", "commit_editmsg", "tag_editmsg", "notes_editmsg", "packed-refs", "description", "shallow", "info/exclude", "info/refs",
	"logs/head", "logs/refs/stash", "objects/info/packs", "objects/info/commit-graph",
	# OpenCode's number of the project; git does not read it.
	"opencode",
}

git_patterns := [
	`^objects/[0-9a-f]{2}/[0-9a-f]+$`, `^objects/pack/(pack-[0-9a-f]+\.(pack|idx|rev|bitmap|keep|mtimes)|multi-pack-index[^/]*)$`,
	`^objects/info/commit-graphs/[^/]+$`, `^lfs/objects/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{64}$`, `^refs/(heads|tags|remotes|stash|notes|bisect|worktree)(/|$)`,
	`^logs/refs/(heads|tags|remotes|notes|bisect|worktree)/`, `^sharedindex\.[0-9a-f]+$`,
]

# A link gives another name to what it leads to: whoever writes to it, or reads it, does so there.
link_runs_later if input.change.link_in_repository

link_runs_later if {
	some class in input.change.link_runs_later
	not class in {"dependencies", "packages"}
}

in_git_data if {
	in_repository
	not runs_later
}

executable if {
	input.change.becomes_executable
	not script_among_code
}

executable if {
	is_string(input.change.shebang)
	not new_and_plain
	not only_moved
	not script_among_code
}

# A program without an interpreter's line, which the shell runs, becomes another.
executable if {
	input.change.program_changed
	not input.change.in_checkout
	regex.match(`^\.?[^.]+$|\.(sh|bash|zsh|fish|ksh|csh|py|pl|rb|lua|tcl|js|mjs|php|awk|run|bin|cgi|command|tool|out)$`, name)
}

# In a source checkout a script is code. Another interpreter than before is more than that.
script_among_code if {
	input.change.in_checkout
	input.change.type_by_magic == "script"
	not input.change.shebang_changed
}

# A new script that has to be handed to its interpreter.
new_and_plain if {
	input.change.op == "create"
	not input.change.becomes_executable
	not input.change.replaces
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
loosened_mode if {
	"other" in input.change.becomes_writable_by
	not lock_of_tool
}

# What uv makes in every environment, for whoever else may use it at that moment: nobody reads what is in it.
lock_of_tool if {
	input.change.dependencies == "installed"
	input.change.op == "create"
	input.change.kind == "file"
	name == ".lock"
	not input.change.becomes_executable
}

loosened_mode if {
	"group" in input.change.becomes_writable_by
	input.change.op != "create"
}

loosened_mode if input.change.sets_id

loosened_mode if input.change.no_longer_private

# Where a link leads out, to what is somebody's own: no word lets it pass.
leads_out if {
	input.change.link_leaves_root
	not input.change.link_to_system
}

decision := {
	"effect": "deny",
	"reasons": ["link_leaves_root"],
	"advice": "link within the directory, or to a program of the system",
} if {
	input.action == "commit"
	leads_out
	not reaches_out
}

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
	"reasons": asks | of_directory,
	"obligations": [{"kind": "alert", "severity": "high"} | is_alarming],
	"advice": "leave it staged and tell the user what it is for",
} if {
	input.action == "commit"
	not reaches_out
	not leads_out
	count(asks | of_directory) > 0
}

decision := {"effect": "allow", "reasons": ["plain_change"], "obligations": [{"kind": "inspect"}]} if {
	input.action == "commit"
	not reaches_out
	not leads_out
	count(asks | of_directory) == 0
}

is_alarming if {
	count(asks & alarming) > 0
	count(of_directory) == 0
}

# Of a directory of dependencies what a shell runs at its start.
is_alarming if {
	"runs_later" in asks
	"startup" in input.change.runs_later
}

# What a tool puts into a directory of its own (`packs/dependencies.toml`) is the code of others, which nobody reads file by file:
# what is no more than that code is one question for all of the directory.
of_directory contains "dependency_directory" if {
	is_string(input.change.dependencies)
	count(asks) > 0
	count(asks - of_code) == 0
	not asks == {"interpreter_cache"}
	not runs_by_itself
}

# A new one comes whole, or stays whole.
of_directory contains "dependency_directory" if {
	input.change.dependencies == "installed"
	input.change.dependencies_new
	not in_repository
	count(asks - {"interpreter_cache"}) == 0
}

# Code that the user has becomes another, where no difference of a repository shows it: all of that is one question, too.
of_directory contains "dependency_directory" if {
	input.change.dependencies == "installed"
	input.change.dependencies_rewritten
	not in_repository
	count(asks - {"interpreter_cache"}) == 0
}

of_code := {
	"runs_later", "executable", "new_source", "compiled_code", "interpreter_cache", "csv_formula", "loads_remote_content", "active_content",
	"cannot_look", "cannot_look_inside", "many_deletes", "link_to_what_runs", "link_leaves_directory",
}

# Without anybody using what is in the directory.
runs_by_itself if runs_for_git

runs_by_itself if {
	some class in {"startup", "autostart", "hooks", "editor", "agent"}
	class in input.change.runs_later
	not environments_own
}

runs_by_itself if {
	input.change.install_step
	not deletion
}

# A link gives a name of the directory to what is elsewhere.
runs_by_itself if {
	"link_to_what_runs" in asks
	not input.change.link_in_dependencies
}

runs_by_itself if input.change.link_in_repository

# The programs of a virtual environment run when somebody turns to it. What the user turns to already is theirs.
environments_own if {
	input.change.dependencies == "installed"
	brought_with_it
	regex.match(`/(pyvenv\.cfg|bin/[^/]+|scripts/[^/]+)$`, path)
}

brought_with_it if input.change.dependencies_new

brought_with_it if input.change.op == "create"

# Raised when it is not confirmed.
alarming := {
	"runs_later", "secret_in_content", "secret_in_name", "personal_data_in_name", "link_leaves_directory",
	"loads_remote_content", "leaves_protection", "new_source", "compiled_code", "active_content", "link_to_what_runs",
	"link_to_protected", "removes_repository", "removes_guard", "hides_from_git", "option_name",
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

asks contains "new_source" if {
	brings_source
	not deletion
}

# Nobody sees by it what it does, and it may run in place of the source that was read.
asks contains "compiled_code" if {
	input.change.compiled == "code"
	not executable
	not in_git_data
}

# The tool makes it anew, so nothing is lost when it stays where it is.
asks contains "interpreter_cache" if input.change.compiled == "cache"

asks contains "csv_formula" if formulas

# Of what one commit takes away: deleted, emptied, replaced.
asks contains "many_deletes" if {
	input.change.removes
	not input.change.repository_lost
	input.change.removals_in_commit > 50
}

asks contains "loosened_mode" if loosened_mode

# What git tidies up leaves the repository what it needs; this does not.
asks contains "removes_repository" if input.change.repository_lost

# What keeps something from happening, or checks it, goes by itself.
asks contains "removes_guard" if input.change.removes_guard

# Git would show the user something else than there is.
asks contains "hides_from_git" if input.change.hides_from_git

# With half of its state git is in the middle of something that nobody began.
asks contains "part_of_operation" if input.change.state_held

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

asks contains "cannot_look_inside" if {
	findings.unread
	content_is_new
}

# The user gave exactly this content, or it is the inside of a repository.
content_is_new if {
	not input.change.origin_known
	not in_git_data
}

# A rule that protects a place is not undone by moving away from it.
asks contains "leaves_protection" if input.change.leaves_protection

asks contains "link_to_what_runs" if {
	link_runs_later
	not runs_later
}

asks contains "link_to_protected" if input.change.link_unprotects

asks contains "link_leaves_directory" if input.change.link_leaves_root

asks contains "link_leaves_directory" if input.change.link_leaves_by_another

# Whoever opens the document fetches it, with whatever the address carries.
asks contains "loads_remote_content" if {
	input.change.remote_content > 0
	not input.change.in_checkout
}

# In a source checkout what is new is a host that nothing loaded from before.
asks contains "loads_remote_content" if input.change.remote_hosts > 0

asks contains "active_content" if {
	input.change.active_content > 0
	not page_among_code
}

page_among_code if {
	input.change.in_checkout
	input.change.active_page
}

# A part of the document could not be read, so it may hold anything.
asks contains "cannot_look" if input.change.cannot_look

# It stands for a value of another file, of another session, or of a version that is no more.
asks contains "foreign_placeholder" if input.change.foreign_placeholders > 0

# The user's value would be gone, and a part of a placeholder in its place.
asks contains "damaged_placeholder" if input.change.damaged_placeholders > 0

# What was written around a placeholder would let the agent read what it stands for.
asks contains "exposes_value" if input.change.exposed_placeholders > 0

asks contains "deceptive_name" if input.change.deceptive_name

# Whoever gives a program `*` gives it that, too.
asks contains "option_name" if input.change.option_name
