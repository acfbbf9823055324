package chaperone.commit_test

import rego.v1

base := {
	"action": "read", "path": "/workspace/notes.txt", "content": true, "inspected": true, "findings": [],
	"mount_actions": ["read", "list", "write", "append", "delete", "rename"],
	"session": {"profile": "default", "counters": {"deletes": 0}},
}

decided(path, change) := d if {
	d := data.chaperone.commit.decision with input as object.union(base, {"action": "commit", "path": path, "change": object.union({"op": "create", "kind": "file"}, change)})
}

test_a_plain_change_is_allowed_after_inspection if {
	d := decided("/workspace/out/report.md", {})
	d.effect == "allow"
	d.obligations == [{"kind": "inspect"}]
}

test_what_git_runs_asks if {
	every path in [
		".git/hooks/pre-commit", ".git/config", ".git/modules/x/config", ".git", "sub/.GIT/Hooks/post-checkout", ".git/commondir",
		".git/gitdir", "foo.git/config", "foo.git/hooks/post-update", "foo.git/commondir", "innocent/config", "innocent/hooks/pre-receive",
	] {
		d := decided(concat("/", ["/workspace", path]), {})
		d.effect == "ask"
		"runs_later" in d.reasons
	}
}

test_a_new_repository_in_a_checkout_is_plain if {
	decided("/workspace/a/.git/hooks/pre-commit.sample", {"sample_hook": true, "becomes_executable": true, "shebang": "/bin/sh"}).effect == "allow"
	decided("/workspace/a/.git/hooks/pre-commit.sample", {"sample_hook": false}).reasons == {"runs_later"}
	decided("/workspace/a/.git/config", {"settings_plain": true, "in_checkout": true}).effect == "allow"
	decided("/workspace/a/.git/config", {"settings_plain": true, "in_checkout": false}).effect == "allow"
	decided("/workspace/a/.git/config", {"settings_plain": false, "in_checkout": true}).reasons == {"runs_later"}
}

test_a_link_to_what_runs_or_is_protected_asks if {
	link := {"kind": "symlink", "in_checkout": true}
	decided("/workspace/x", object.union(link, {"link_in_repository": true})).reasons == {"link_to_what_runs"}
	decided("/workspace/x", object.union(link, {"link_runs_later": ["editor"]})).reasons == {"link_to_what_runs"}
	decided("/workspace/x", object.union(link, {"link_unprotects": true})).reasons == {"link_to_protected"}
	decided("/workspace/x", object.union(link, {"link_runs_later": ["build"]})).reasons == {"link_to_what_runs"}
	decided("/workspace/x", object.union(link, {"link_runs_later": ["build"], "in_checkout": false})).reasons == {"link_to_what_runs"}
	decided("/workspace/x", object.union(link, {"link_in_repository": false, "link_runs_later": [], "link_unprotects": false})).effect == "allow"
	decided("/workspace/.git/hooks/x", object.union(link, {"link_in_repository": true})).reasons == {"runs_later"}
}

test_a_repository_is_known_whatever_its_directory_is_called if {
	every path in ["store/info/grafts", "store/refs/replace/12ab", "store/rebase-merge/git-rebase-todo", "store/hooks.d/x"] {
		decided(concat("/", ["/workspace", path]), {"git_path": replace(concat("/", ["/workspace", path]), "store/", "store/.git/")}).reasons == {"runs_later"}
	}
	decided("/workspace/store/refs/heads/x", {"git_path": "/workspace/store/.git/refs/heads/x"}).effect == "allow"
	decided("/workspace/.git/lfs/objects/12/ab/12ab000000000000000000000000000000000000000000000000000000000000", {}).effect == "allow"
}

test_a_repository_that_goes_is_one_question if {
	gone := {"op": "delete", "removes": true, "removals_in_commit": 900}
	decided("/workspace/.git/HEAD", object.union(gone, {"repository_lost": true})).reasons == {"removes_repository"}
	decided("/workspace/.git/packed-refs", {"op": "modify", "repository_lost": true}).reasons == {"removes_repository"}
	decided("/workspace/.git/HEAD", object.union(gone, {"repository_lost": false})).reasons == {"many_deletes"}
}

test_what_runs_later_by_class_asks if {
	every class in ["startup", "autostart", "hooks", "editor", "agent", "ci", "environment", "interpreter", "sources", "build", "settings"] {
		d := decided("/workspace/a", {"runs_later": [class]})
		d.reasons == {"runs_later"}
	}
	decided("/workspace/a", {"runs_later": []}).effect == "allow"
	decided("/workspace/a", {"runs_later": ["dependencies"], "new_sources": 0}).effect == "allow"
	decided("/workspace/a", {"runs_later": ["hooks"], "op": "delete"}).effect == "allow"
}

checkout := {"in_checkout": true, "kind_known": true, "new_sources": 0}

test_in_a_checkout_a_build_is_code if {
	build := object.union(checkout, {"runs_later": ["build"], "op": "modify"})
	decided("/workspace/package.json", build).effect == "allow"
	decided("/workspace/package.json", object.union(build, {"new_sources": 1})).reasons == {"new_source"}
	decided("/workspace/package.json", object.union(build, {"kind_known": false})).reasons == {"runs_later"}
	decided("/workspace/package.json", object.union(build, {"in_checkout": false})).reasons == {"runs_later"}
	decided("/workspace/Cargo.lock", {"runs_later": ["dependencies"], "new_sources": 1}).reasons == {"new_source"}
}

test_in_a_checkout_the_rest_asks if {
	every class in ["startup", "autostart", "hooks", "editor", "agent", "ci", "environment", "interpreter", "sources", "settings"] {
		decided("/workspace/a", object.union(checkout, {"runs_later": [class, "build"]})).reasons == {"runs_later"}
	}
}

test_in_a_checkout_a_script_is_code if {
	script := object.union(checkout, {"shebang": "/bin/sh", "becomes_executable": true, "type_by_magic": "script", "shebang_changed": false})
	decided("/workspace/a.sh", script).effect == "allow"
	decided("/workspace/a.sh", object.union(script, {"shebang_changed": true})).reasons == {"executable"}
	decided("/workspace/a", object.union(script, {"shebang": null, "type_by_magic": "elf"})).reasons == {"executable"}
	decided("/workspace/a.sh", object.union(script, {"in_checkout": false})).reasons == {"executable"}
	decided("/workspace/.git/hooks/pre-commit", script).reasons == {"runs_later"}
}

test_compiled_code_asks if {
	decided("/workspace/a.pyc", {"compiled": "code"}).reasons == {"compiled_code"}
	decided("/workspace/a.pyc", {"compiled": "cache"}).reasons == {"interpreter_cache"}
	decided("/workspace/a", {"compiled": "code", "becomes_executable": true}).reasons == {"executable"}
	decided("/workspace/a", {"compiled": null}).effect == "allow"
}

test_active_documents_ask if {
	decided("/workspace/a.html", {"active_content": 1, "active_page": true}).reasons == {"active_content"}
	decided("/workspace/a.html", object.union(checkout, {"active_content": 1, "active_page": true})).effect == "allow"
	decided("/workspace/a.svg", object.union(checkout, {"active_content": 1, "active_page": false})).reasons == {"active_content"}
	decided("/workspace/a.html", {"active_content": 0}).effect == "allow"
	decided("/workspace/a.docx", {"cannot_look": true}).reasons == {"cannot_look"}
	decided("/workspace/a.docx", {"cannot_look": false}).effect == "allow"
}

test_in_a_checkout_a_new_host_asks if {
	decided("/workspace/a.md", object.union(checkout, {"remote_content": 1, "remote_hosts": 0})).effect == "allow"
	decided("/workspace/a.md", object.union(checkout, {"remote_content": 1, "remote_hosts": 1})).reasons == {"loads_remote_content"}
}

test_a_directory_that_becomes_hooks_or_a_repository_asks if {
	every path in [".git", "bare/hooks"] {
		decided(concat("/", ["/workspace", path]), {"op": "rename", "kind": "dir", "origin_known": true}).reasons == {"runs_later"}
		decided(concat("/", ["/workspace", path]), {"kind": "dir"}).effect == "allow"
	}
}

test_git_data_does_not_ask if {
	every path in [
		"objects/ab/cdef", "refs/heads/main", "index", "HEAD", "logs/HEAD", "COMMIT_EDITMSG", "packed-refs", "info/exclude",
		"worktrees/a/HEAD", "worktrees/a/logs/HEAD", "worktrees/a/index", "objects/pack/pack-0a1b.pack", "refs/heads/feature/config",
		"modules/lib/inner/HEAD", "modules/lib/inner/objects/ab/cd01", "FETCH_HEAD", "ORIG_HEAD", "logs/refs/heads/main",
		"description", "modules/lib/description", "modules/lib/inner/description", "modules/lib/info/exclude", "modules/lib/MERGE_MSG",
		"modules/lib/MERGE_HEAD", "TAG_EDITMSG", "logs/refs/bisect/bad",
	] {
		decided(concat("/", ["/workspace/.git", path]), {}).effect == "allow"
	}
}

# What git acts on, or takes from elsewhere, by whatever name it gets there.
test_other_names_in_a_repository_ask if {
	every path in [
		"hooks", "hooks/pre-commit", "helpers/pre-commit", "config", "config.worktree", "commondir", "gitdir", "info/attributes",
		"info/sparse-checkout", "info/grafts", "objects/info/alternates", "objects/info/http-alternates", "rebase-merge/git-rebase-todo",
		"rebase-apply/patch", "sequencer/todo", "worktrees/wt/commondir", "worktrees/wt/gitdir", "worktrees/wt/logs/x/config",
		"worktrees/wt/logs/x/hooks/pre-commit", "logs/config", "logs/x", "modules/x/config", "modules/x/hooks/update", "refs/config",
		"modules/x/logs/y/config", "fsmonitor-daemon", "branches/x", "remotes/x", "lfs/objects/x", "x/HEAD", "objects/ab/config",
		"BISECT_LOG", "modules/x/BISECT_NAMES", "modules/x/info/attributes", "modules/x/commondir",
	] {
		d := decided(concat("/", ["/workspace/.git", path]), {})
		d.effect == "ask"
		"runs_later" in d.reasons
	}
}

test_links_and_programs_in_a_repository_ask if {
	every path in ["hooks", "HEAD", "objects/ab/cdef", "refs/heads/main", "logs/HEAD"] {
		"runs_later" in decided(concat("/", ["/workspace/.git", path]), {"kind": "symlink"}).reasons
		"runs_later" in decided(concat("/", ["/workspace/.git", path]), {"becomes_executable": true}).reasons
	}
	"runs_later" in decided("/workspace/bare/hooks", {"kind": "symlink"}).reasons
	decided("/workspace/.git/hooks", {"kind": "dir"}).effect == "allow"
	decided("/workspace/.git/objects/ab", {"kind": "dir"}).effect == "allow"
}

test_what_git_is_in_the_middle_of_moves_as_one if {
	decided("/workspace/.git/rebase-merge/git-rebase-todo", {"state_inert": true, "state_held": false}).effect == "allow"
	decided("/workspace/.git/BISECT_LOG", {"state_inert": true, "state_held": false}).effect == "allow"
	decided("/workspace/.git/rebase-merge/git-rebase-todo", {"state_inert": false, "state_held": true}).reasons == {"runs_later", "part_of_operation"}
	every path in ["HEAD", "index", "REBASE_HEAD"] {
		decided(concat("/", ["/workspace/.git", path]), {"state_held": true}).reasons == {"part_of_operation"}
		decided(concat("/", ["/workspace/.git", path]), {"state_held": false}).effect == "allow"
	}
	decided("/workspace/.git/rebase-merge/onto", {"state_inert": true, "state_held": true}).reasons == {"part_of_operation"}
}

test_what_a_build_left_for_the_next_asks if {
	decided("/workspace/build/CMakeCache.txt", object.union(checkout, {"runs_later": ["generated"]})).reasons == {"runs_later"}
	decided("/workspace/random.py", object.union(checkout, {"runs_later": [], "shadows_library": true})).reasons == {"runs_later"}
	decided("/workspace/main.py", {"runs_later": [], "shadows_library": false}).effect == "allow"
}

test_installed_packages_that_become_others_ask if {
	installed := {"runs_later": ["packages"], "op": "modify"}
	decided("/workspace/.venv/lib/python3/site-packages/a/b.py", installed).reasons == {"runs_later"}
	decided("/workspace/.venv/lib/python3/site-packages/a/b.py", object.union(installed, {"op": "create"})).effect == "allow"
	decided("/workspace/.venv/lib/python3/site-packages/a/b.py", object.union(installed, {"in_checkout": true})).effect == "allow"
}

test_a_program_that_becomes_another_asks if {
	changed := {"op": "modify", "program_changed": true}
	decided("/workspace/job", changed).reasons == {"executable"}
	decided("/workspace/job.sh", changed).reasons == {"executable"}
	decided("/workspace/notes.txt", changed).effect == "allow"
	decided("/workspace/job", object.union(changed, {"in_checkout": true})).effect == "allow"
	decided("/workspace/job", {"op": "modify", "program_changed": false}).effect == "allow"
}

test_a_repository_in_a_repository_is_one if {
	decided("/workspace/sub/.git/objects/ab/cdef", {}).effect == "allow"
	"runs_later" in decided("/workspace/.git/refs/heads/.git/config", {}).reasons
}

test_a_worktrees_own_settings_ask if decided("/workspace/.git/worktrees/a/config.worktree", {}).effect == "ask"

test_folders_and_other_names_near_repositories_do_not_ask if {
	decided("/workspace/src/config", {"kind": "dir"}).effect == "allow"
	decided("/workspace/src/hooks/use-form.ts", {}).effect == "allow"
	decided("/workspace/src/config.json", {}).effect == "allow"
}

test_what_a_name_carries_asks if {
	decided("/workspace/a", {"name_findings": ["secret"]}).reasons == {"secret_in_name"}
	decided("/workspace/a", {"name_findings": ["pii"]}).reasons == {"personal_data_in_name"}
	decided("/workspace/a", {"name_findings": []}).effect == "allow"
}

test_a_file_called_config_asks_where_git_could_read_it if {
	every known in [{}, {"no_git_settings": false}] {
		decided("/workspace/a/config", known).reasons == {"runs_later"}
	}
	decided("/workspace/a/config", {"no_git_settings": true}).effect == "allow"
	decided("/workspace/a/.git/config", {"no_git_settings": true}).reasons == {"runs_later"}
	decided("/workspace/a.git/config", {"settings_plain": true, "no_git_settings": false}).effect == "allow"
	decided("/workspace/a.git/config", {"settings_plain": true, "op": "modify"}).reasons == {"runs_later"}
	decided("/workspace/a.git/config", {"settings_plain": true, "kind": "symlink"}).effect == "ask"
}

test_a_link_that_leads_out_by_way_of_another_asks if {
	link := {"kind": "symlink", "link_leaves_root": false}
	decided("/workspace/x", object.union(link, {"link_leaves_by_another": true})).reasons == {"link_leaves_directory"}
	decided("/workspace/x", object.union(link, {"link_leaves_by_another": false})).effect == "allow"
}

test_taking_away_what_protects_asks if {
	decided("/workspace/.npmrc", {"op": "delete", "removes_guard": true}).reasons == {"removes_guard"}
	decided("/workspace/.npmrc", {"op": "delete", "removes_guard": false}).effect == "allow"
}

test_deleting_what_runs_later_does_not_ask if decided("/workspace/.git/config", {"op": "delete"}).effect == "allow"

test_a_workbook_that_reaches_out_is_denied if {
	d := decided("/workspace/a.xlsx", {"workbook_refusal": "function_reaches_out"})
	d.effect == "deny"
	d.reasons == ["external_formula", "function_reaches_out"]
}

test_macros_are_denied if decided("/workspace/a.xlsm", {"workbook_refusal": "macro"}).reasons == ["macro"]

test_csv_formulas_ask if decided("/workspace/a.csv", {"formula_cells": 2}).reasons == {"csv_formula"}

test_a_csv_without_formulas_does_not if decided("/workspace/a.csv", {"formula_cells": 0}).effect == "allow"

test_new_programs_ask if {
	decided("/workspace/a", {"becomes_executable": true}).reasons == {"executable"}
	decided("/workspace/a", {"shebang": "/bin/sh", "op": "modify"}).reasons == {"executable"}
	decided("/workspace/a", {"shebang": null, "becomes_executable": false}).effect == "allow"
	decided("/workspace/a.py", {"shebang": "/usr/bin/env python3", "op": "create", "becomes_executable": false}).effect == "allow"
	decided("/workspace/a.py", {"shebang": "/bin/sh", "op": "create", "becomes_executable": false, "replaces": true}).reasons == {"executable"}
	decided("/workspace/a.py", {"shebang": "/bin/sh", "op": "create", "becomes_executable": true}).reasons == {"executable"}
}

test_a_script_of_the_persons_may_move_to_a_free_place if {
	moved := {"op": "rename", "shebang": "/bin/sh", "origin_known": true, "replaces": false}
	decided("/workspace/b/a.sh", moved).effect == "allow"
	decided("/workspace/b/a.sh", object.union(moved, {"replaces": true})).reasons == {"executable"}
	decided("/workspace/b/a.sh", object.union(moved, {"origin_known": false})).reasons == {"executable"}
	decided("/workspace/b/makefile", object.union(moved, {"runs_later": ["build"]})).reasons == {"runs_later"}
}

test_what_cannot_be_looked_into_asks if {
	d := data.chaperone.commit.decision with input as {
		"action": "commit", "path": "/workspace/a.7z", "findings": [], "unread": ["it is an encrypted 7z archive"],
		"change": {"op": "create", "kind": "file", "origin_known": false},
	}
	d.effect == "ask"
	d.reasons == {"cannot_look_inside"}
}

test_links_out_to_the_system_ask_and_others_are_denied if {
	decided("/workspace/a", {"link_leaves_root": true, "link_to_system": true}).reasons == {"link_leaves_directory"}
	out := decided("/workspace/a", {"link_leaves_root": true, "link_to_system": false})
	out.effect == "deny"
	out.reasons == ["link_leaves_root"]
	decided("/workspace/a", {"link_leaves_root": true}).effect == "deny"
}

modules := {"dependencies": "installed", "dependencies_new": false, "install_step": false}

test_a_directory_of_dependencies_is_one_question if {
	path := "/workspace/node_modules/a/x"
	every change in [
		{"runs_later": ["build"]}, {"becomes_executable": true}, {"compiled": "code"}, {"runs_later": ["ci", "settings"], "becomes_executable": true},
		{"remote_content": 1}, {"formula_cells": 3}, {"removes": true, "op": "delete", "removals_in_commit": 900},
		{"kind": "symlink", "link_runs_later": ["startup"], "link_in_dependencies": true},
		{"kind": "symlink", "link_leaves_root": true, "link_to_system": true},
		{"compiled": "cache", "becomes_executable": true},
	] {
		d := decided(path, object.union(modules, change))
		"dependency_directory" in d.reasons
		count(d.obligations) == 0
	}
	decided(path, modules).effect == "allow"
	decided(path, object.union(modules, {"compiled": "cache"})).reasons == {"interpreter_cache"}
}

test_a_new_one_comes_whole if {
	new := object.union(modules, {"dependencies_new": true})
	decided("/workspace/node_modules/a/index.js", new).reasons == {"dependency_directory"}
	decided("/workspace/node_modules", object.union(new, {"kind": "dir"})).reasons == {"dependency_directory"}
	decided("/workspace/vendor/a.go", object.union(new, {"dependencies": "built"})).effect == "allow"
	decided("/workspace/node_modules/a/.git/HEAD", new).effect == "allow"
	decided("/workspace/node_modules/a/x.pyc", object.union(new, {"compiled": "cache"})).reasons == {"dependency_directory", "interpreter_cache"}
}

test_installed_code_that_becomes_another_is_one_question if {
	other := object.union(modules, {"dependencies_rewritten": true})
	every op in ["modify", "create", "delete"] {
		decided("/workspace/node_modules/a/index.js", object.union(other, {"op": op})).reasons == {"dependency_directory"}
	}
	decided("/workspace/node_modules/a/index.js", modules).effect == "allow"
	decided("/workspace/vendor/a.go", object.union(other, {"dependencies": "built"})).effect == "allow"

	# What a shell takes in when the user turns to the environment that they have.
	activate := object.union(other, {"op": "modify", "runs_later": ["startup"]})
	decided("/workspace/.venv/bin/activate", activate).reasons == {"runs_later"}
}

test_what_runs_by_itself_stays_a_question_of_its_own if {
	path := "/workspace/node_modules/a/x"
	every change in [
		{"runs_later": ["startup"]}, {"runs_later": ["build", "hooks"]}, {"runs_later": ["agent"]}, {"runs_later": ["build"], "install_step": true},
		{"becomes_executable": true, "deceptive_name": true}, {"kind": "symlink", "link_runs_later": ["startup"], "link_in_dependencies": false},
		{"kind": "symlink", "link_in_repository": true, "link_in_dependencies": true}, {"sets_id": true},
	] {
		d := decided(path, object.union(modules, change))
		d.effect == "ask"
		not "dependency_directory" in d.reasons
	}
	every place in [".git/hooks/pre-commit", ".git/config", "a/config", "hooks/pre-commit", ".git"] {
		d := decided(concat("/", ["/workspace/node_modules", place]), modules)
		"runs_later" in d.reasons
		not "dependency_directory" in d.reasons
	}
	decided("/workspace/.venv/lib/python3/site-packages/x.pth", object.union(modules, {"runs_later": ["startup"]})).reasons == {"runs_later"}
}

test_programs_of_an_environment_are_of_it_and_raise_an_alert if {
	d := decided("/workspace/.venv/bin/activate", object.union(modules, {"runs_later": ["startup"]}))
	d.reasons == {"dependency_directory", "runs_later"}
	count(d.obligations) == 1
}

test_what_is_found_in_a_directory_of_dependencies_asks if {
	found("/workspace/node_modules/a", object.union(modules, {"op": "create"}), "secret").reasons == {"secret_in_content"}
}

test_deceptive_names_ask if {
	decided("/workspace/a", {"deceptive_name": true}).reasons == {"deceptive_name"}
}

test_names_that_are_options_ask_and_are_raised if {
	every change in [{"option_name": true}, {"option_name": true, "in_checkout": true}, {"option_name": true, "kind": "dir"}] {
		d := decided("/workspace/--checkpoint=1", object.union({"op": "create"}, change))
		d.reasons == {"option_name"}
		some obligation in d.obligations
		obligation.kind == "alert"
	}
	decided("/workspace/--mine", {"op": "modify"}).effect == "allow"
}

test_a_name_that_is_an_option_is_no_part_of_a_directory_of_dependencies if {
	d := decided("/workspace/node_modules/a/-x", object.union(modules, {"op": "create", "becomes_executable": true, "option_name": true}))
	not "dependency_directory" in d.reasons
}

found(path, change, category) := d if {
	d := data.chaperone.commit.decision with input as object.union(base, {
		"action": "commit", "path": path, "change": change,
		"findings": [{"detector": "some_kind", "category": category, "severity": "high", "confidence": 0.9, "count": 1}],
	})
}

test_findings_in_new_content_ask if {
	found("/workspace/a.txt", {"op": "create"}, "pii").reasons == {"personal_data"}
	found("/workspace/a.txt", {"op": "create"}, "secret").reasons == {"secret_in_content"}
}

test_findings_in_what_the_person_gave_do_not if found("/workspace/a.txt", {"op": "create", "origin_known": true}, "pii").effect == "allow"

test_many_deletes_ask if {
	gone := {"action": "commit", "change": {"op": "delete", "removes": true, "removals_in_commit": 51}}
	d := data.chaperone.commit.decision with input as object.union(base, gone)
	d.reasons == {"many_deletes"}
}

test_fifty_deletes_and_a_plain_change_beside_many_do_not if {
	fifty := {"action": "commit", "change": {"op": "delete", "removes": true, "removals_in_commit": 50}}
	d := data.chaperone.commit.decision with input as object.union(base, fifty)
	d.effect == "allow"
	decided("/workspace/a.txt", {"removes": false, "removals_in_commit": 500}).effect == "allow"
}

test_what_goes_of_a_state_stays_with_the_rest_of_it if {
	gone := {"op": "delete", "was": "file", "state_held": true}
	decided("/workspace/.git/reftable/0x01-0x02-ab.ref", gone).reasons == {"part_of_operation"}
	decided("/workspace/.git/reftable/0x01-0x02-ab.ref", object.union(gone, {"state_held": false})).effect == "allow"
}

test_emptied_and_replaced_files_are_deletes if {
	decided("/workspace/a.txt", {"op": "modify", "removes": true, "removals_in_commit": 51}).reasons == {"many_deletes"}
	decided("/workspace/a.txt", {"op": "rename", "removes": true, "removals_in_commit": 51}).reasons == {"many_deletes"}
}

test_what_hides_from_git_asks if {
	decided("/workspace/.git/packed-refs", {"op": "modify", "hides_from_git": true}).reasons == {"hides_from_git"}
	decided("/workspace/.git/packed-refs", {"op": "modify", "hides_from_git": false}).effect == "allow"
	decided("/workspace/.git/objects/pack/pack-0a.idx", {"hides_from_git": true}).reasons == {"hides_from_git"}
	decided("/workspace/.git/shallow", {"hides_from_git": true}).reasons == {"hides_from_git"}
}

test_a_loosened_mode_asks if {
	decided("/workspace/a.txt", {"op": "modify", "becomes_writable_by": ["group"]}).reasons == {"loosened_mode"}
	decided("/workspace/a.txt", {"op": "modify", "becomes_writable_by": ["group", "other"]}).reasons == {"loosened_mode"}
	decided("/workspace/a.txt", {"op": "create", "becomes_writable_by": ["group", "other"]}).reasons == {"loosened_mode"}
	decided("/workspace/a", {"op": "modify", "kind": "dir", "becomes_writable_by": ["other"]}).reasons == {"loosened_mode"}
	decided("/workspace/a.txt", {"op": "modify", "sets_id": true}).reasons == {"loosened_mode"}
	decided("/workspace/a.txt", {"op": "rename", "no_longer_private": true}).reasons == {"loosened_mode"}
}

test_an_ordinary_mode_does_not if {
	decided("/workspace/a.txt", {"op": "create", "becomes_writable_by": ["group"]}).effect == "allow"
	decided("/workspace/a.txt", {"op": "modify", "becomes_writable_by": [], "sets_id": false}).effect == "allow"
}

test_a_link_in_place_of_a_file_asks if {
	decided("/workspace/a.txt", {"op": "modify", "kind": "symlink", "was": "file"}).reasons == {"link_replaces_file"}
	decided("/workspace/a", {"op": "modify", "kind": "symlink", "was": "dir"}).reasons == {"link_replaces_file"}
	decided("/workspace/a.txt", {"op": "create", "kind": "symlink", "was": null}).effect == "allow"
}

test_other_actions_are_not_spoken_of if not data.chaperone.commit.decision with input as base

test_a_document_that_loads_from_elsewhere_is_asked_about if {
	decided("/workspace/a.md", {"remote_content": 1}).reasons == {"loads_remote_content"}
	decided("/workspace/a.md", {"remote_content": 0}).effect == "allow"
}

test_moving_out_of_a_rule_asks if {
	moved := {"op": "rename", "origin_known": true, "replaces": false}
	decided("/workspace/e.txt", object.union(moved, {"leaves_protection": true})).reasons == {"leaves_protection"}
	decided("/workspace/e.txt", object.union(moved, {"leaves_protection": false})).effect == "allow"
}

test_placeholders_that_stand_for_nothing_ask if {
	decided("/workspace/a.csv", {"foreign_placeholders": 1}).reasons == {"foreign_placeholder"}
	decided("/workspace/a.csv", {"damaged_placeholders": 2}).reasons == {"damaged_placeholder"}
	decided("/workspace/a.csv", {"exposed_placeholders": 1}).reasons == {"exposes_value"}
	decided("/workspace/a.csv", {"foreign_placeholders": 0, "damaged_placeholders": 0}).effect == "allow"
}

test_harmless_settings_of_a_repository_do_not_ask if {
	harmless := {"op": "modify", "settings_inert": true}
	decided("/workspace/.git/config", harmless).effect == "allow"
	decided("/workspace/.git/config", object.union(harmless, {"settings_inert": false})).reasons == {"runs_later"}
	decided("/workspace/.git/config", object.union(harmless, {"op": "create"})).reasons == {"runs_later"}
	decided("/workspace/.git/config", object.union(harmless, {"becomes_executable": true})).effect == "ask"
	decided("/workspace/.git/config", object.union(harmless, {"kind": "symlink"})).effect == "ask"
}

test_the_lock_of_an_environment_is_no_question if {
	lock := {"dependencies": "installed", "op": "create", "kind": "file", "becomes_writable_by": ["group", "other"]}
	decided("/workspace/.venv/.lock", lock).effect == "allow"
	every other in [{"op": "modify"}, {"dependencies": null}, {"becomes_executable": true}] {
		"loosened_mode" in decided("/workspace/.venv/.lock", object.union(lock, other)).reasons
	}
	"loosened_mode" in decided("/workspace/.venv/x.py", lock).reasons
}
