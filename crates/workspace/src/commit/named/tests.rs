//! What is known by another name, and what is not.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use chaperone_staging::{Kind, Op};

use super::super::looked::tests::Directory;
use super::*;

fn named(files: &[(&str, &str)], path: &str) -> bool {
    let directory = Directory::new(files);
    let change = Change::blank(path.to_owned(), Op::Modify, Kind::File);
    !Named::by(&directory.mount, &User::default(), std::slice::from_ref(&change))
        .classes(path, false)
        .is_empty()
}

#[test]
fn what_the_settings_of_a_repository_name_is_known() {
    let config = "[core]\n\thooksPath = githooks\n[include]\n\tpath = ../team.gitconfig\n[alias]\n\tx = !sh tools/x.sh\n";
    let files = [
        (".git/config", config),
        ("team.gitconfig", "[include]\n\tpath = more/second\n[core]\n\tfsmonitor = .watch/run\n"),
        ("more/second", "[diff \"a\"]\n\ttextconv = python3 show.py\n"),
        (".pre-commit-config.yaml", "    entry: checks/lint\n"),
        ("lib/.git", "gitdir: ../.git/modules/lib\n"),
        (".git/modules/lib/config", "[core]\n\tworktree = ../../../lib\n\thooksPath = own\n"),
    ];
    for path in [
        "githooks/pre-commit",
        "githooks/lib/a.sh",
        "team.gitconfig",
        "more/second",
        "tools/x.sh",
        ".watch/run",
        "show.py",
        "checks/lint",
        "lib/own/post-checkout",
    ] {
        assert!(named(&files, path), "{path}");
    }
    let branch = [(".git/config", "[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n")];
    assert!(!named(&branch, ".git/refs/heads/main"));
    for path in ["a.txt", "tools/y.sh", "githooks.md", "lib/src/a.c", "more/third"] {
        assert!(!named(&files, path), "{path}");
    }
}

#[test]
fn what_holds_a_named_file_is_named_with_it() {
    let directory = Directory::new(&[(".git/config", "[core]\n\thooksPath = a/hooks\n")]);
    let mut change = Change::blank("a".to_owned(), Op::Rename, Kind::Dir);
    change.from = Some("b".into());
    let named = Named::by(&directory.mount, &User::default(), std::slice::from_ref(&change));
    let has = |path: &str, holds| !named.classes(path, holds).is_empty();
    assert!(has("a", true) && !has("a", false) && !has("b", true));
}

/// The directory as a mount, or what is below it, with a home beside it.
fn of(directory: &Directory, below: &str, home: &Path) -> Named {
    let mut record = directory.mount.record();
    record.source = directory.mount.source.join(below);
    let root = std::fs::File::open(&record.source).unwrap().into();
    let mount = LiveMount::closed(record, root);
    let settings = vec![home.join(".gitconfig"), home.join(".config/git/config")];
    let user = User { home: Some(home.to_owned()), settings };
    let change = Change::blank("x".to_owned(), Op::Modify, Kind::File);
    Named::by(&mount, &user, std::slice::from_ref(&change))
}

fn classes(named: &Named, path: &str) -> Vec<&'static str> {
    named.classes(path, false).into_iter().collect()
}

#[test]
fn what_the_users_own_settings_of_git_name_is_known() {
    let (directory, home) = (
        Directory::new(&[("shared/git.conf", "[core]\n\thooksPath = hk\n"), ("own/a", "")]),
        tempfile::tempdir().unwrap(),
    );
    let at = directory.mount.source.display();
    let text = format!(
        "[include]\n\tpath = {at}/shared/git.conf\n[core]\n\thooksPath = {at}/own\n\tattributesFile = {at}/attrs\n[alias]\n\tst = status\n[commit]\n\ttemplate = {at}/message\n"
    );
    std::fs::write(home.path().join(".gitconfig"), text).unwrap();
    let named = of(&directory, "", home.path());
    for path in ["shared/git.conf", "own/post-commit", "attrs", "message", "hk/pre-push"] {
        assert_eq!(classes(&named, path), ["hooks"], "{path}");
    }
    assert!(classes(&named, "status").is_empty() && classes(&named, "shared/x").is_empty());
}

#[test]
fn the_repository_around_a_directory_and_that_of_a_work_tree_count() {
    let config = "[core]\n\thooksPath = pkg/hk\n[include]\n\tpath = ../pkg/conf.txt\n";
    let directory = Directory::new(&[
        ("m/.git/config", config),
        ("m/.git/HEAD", ""),
        ("m/pkg/conf.txt", "[core]\n\tfsmonitor = pkg/watch\n"),
        ("m/.git/worktrees/wt/commondir", "../..\n"),
        ("wt/.git", ""),
        ("wt/pkg/x", ""),
    ]);
    let git = directory.mount.source.join("m/.git/worktrees/wt");
    std::fs::write(directory.mount.source.join("wt/.git"), format!("gitdir: {}\n", git.display())).unwrap();
    let home = tempfile::tempdir().unwrap();
    let inside = of(&directory, "m/pkg", home.path());
    for path in ["hk/post-commit", "conf.txt", "watch"] {
        assert_eq!(classes(&inside, path), ["hooks"], "{path}");
    }
    assert!(classes(&inside, "src/a.c").is_empty());
    let tree = of(&directory, "wt", home.path());
    assert_eq!(classes(&tree, "pkg/hk/post-commit"), ["hooks"]);
    assert!(classes(&tree, "pkg/x").is_empty());
}

#[test]
fn hooks_that_lead_into_the_directory_count() {
    let directory = Directory::new(&[
        ("scripts/check.sh", ""),
        ("scripts/called.sh", ""),
        ("scripts/other.sh", ""),
        (".git/hooks/post-commit", "#!/bin/sh\n# not scripts/other.sh\nexec ./scripts/called.sh\n"),
        (".git/hooks/x.sample", "scripts/other.sh"),
    ]);
    std::os::unix::fs::symlink(
        "../../scripts/check.sh",
        directory.mount.source.join(".git/hooks/pre-commit"),
    )
    .unwrap();
    let home = tempfile::tempdir().unwrap();
    let named = of(&directory, "", home.path());
    assert_eq!(
        (classes(&named, "scripts/check.sh"), classes(&named, "scripts/called.sh")),
        (vec!["hooks"], vec!["hooks"])
    );
    assert!(classes(&named, "scripts/other.sh").is_empty());
}

#[test]
fn what_of_the_home_leads_into_the_directory_counts() {
    let directory = Directory::new(&[
        ("sh/rc.txt", ". ~/x\n"),
        ("sh/more", ""),
        ("nv/init.txt", ""),
        ("units/u.txt", ""),
        ("odd/x", ""),
        ("sh/plain", ""),
        ("tool", ""),
    ]);
    let (at, home) = (directory.mount.source.clone(), tempfile::tempdir().unwrap());
    std::fs::create_dir_all(home.path().join(".config/systemd/user")).unwrap();
    for (link, to) in [
        (".zshrc", "sh/rc.txt"),
        (".config/nvim", "nv"),
        (".config/systemd/user/u.service", "units/u.txt"),
        (".odd", "odd/x"),
        ("notes", "sh/plain"),
    ] {
        std::os::unix::fs::symlink(at.join(to), home.path().join(link)).unwrap();
    }
    std::fs::write(home.path().join(".bashrc"), format!("source {}/sh/more\n", at.display())).unwrap();
    let named = of(&directory, "", home.path());
    for (path, class) in [
        ("sh/rc.txt", "startup"),
        ("nv/init.txt", "editor"),
        ("units/u.txt", "autostart"),
        ("odd/x", "settings"),
        ("sh/more", "startup"),
    ] {
        assert!(classes(&named, path).contains(&class), "{path}: {:?}", classes(&named, path));
    }
    assert!(classes(&named, "sh/plain").is_empty() && classes(&named, "tool").is_empty());
}

#[test]
fn what_a_link_or_instructions_in_the_directory_lead_to_counts() {
    let directory = Directory::new(&[
        ("docs/guide.txt", ""),
        ("docs/rules.txt", "and @more.txt"),
        ("docs/more.txt", ""),
        ("CLAUDE.md", "See @docs/rules.txt\n"),
        ("config/vscode/tasks.x", ""),
        ("env/dev.txt", ""),
        ("b/real", ""),
    ]);
    for (link, to) in [
        ("AGENTS.md", "docs/guide.txt"),
        (".vscode", "config/vscode"),
        (".envrc", "env/dev.txt"),
        ("plain", "b/real"),
    ] {
        std::os::unix::fs::symlink(to, directory.mount.source.join(link)).unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let named = of(&directory, "", home.path());
    for (path, class) in [
        ("docs/guide.txt", "agent"),
        ("docs/rules.txt", "agent"),
        ("docs/more.txt", "agent"),
        ("config/vscode/tasks.json", "editor"),
        ("env/dev.txt", "environment"),
    ] {
        assert_eq!(classes(&named, path), [class], "{path}");
    }
    assert!(classes(&named, "b/real").is_empty() && classes(&named, "docs/other.txt").is_empty());
}

#[test]
fn programs_where_the_user_looks_for_them_and_dot_files_are_known() {
    let mut directory =
        Directory::new(&[("bin/mine", ""), ("bashrc", ""), ("vimrc", ""), ("tools/x.sh", "")]);
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("bin")).unwrap();
    std::os::unix::fs::symlink(directory.mount.source.join("tools/x.sh"), home.path().join("bin/x")).unwrap();
    directory.mount.programs =
        vec![directory.mount.source.join("bin"), home.path().join("bin"), "/usr/bin".into()];
    let by = |directory: &Directory| Named::by(&directory.mount, &User::default(), &[]);
    let named = by(&directory);
    let made = |path: &str, mode| Change { mode, ..Change::blank(path.to_owned(), Op::Create, Kind::File) };
    assert!(named.is_program(&made("bin/git", 0o755)) && !named.is_program(&made("bin/notes.txt", 0o644)));
    assert!(!named.is_program(&made("tools/git", 0o755)) && !named.is_program(&made("bin/a/b", 0o755)));
    let moved = Change { from: Some("x".into()), ..Change::blank("bin".to_owned(), Op::Rename, Kind::Dir) };
    assert!(named.is_program(&moved));
    let root = directory.mount.source.metadata().unwrap();
    if std::os::unix::fs::MetadataExt::uid(&root) != 0 {
        assert_eq!(classes(&named, "tools/x.sh"), ["autostart"]);
    }
    assert!(classes(&named, "zshrc").is_empty(), "two names say nothing");
    std::fs::write(directory.mount.source.join("tmux.conf"), "").unwrap();
    let named = by(&directory);
    assert_eq!((classes(&named, "zshrc"), classes(&named, "bashrc")), (vec!["startup"], vec!["startup"]));
    assert!(classes(&named, "install.sh").is_empty());
}

/// A home with one file that has the path of a file of the directory.
fn by_home(name: &str, text: &str, path: &str) -> Vec<&'static str> {
    let directory =
        Directory::new(&[("tools/x.inc", ""), ("my work/x.inc", ""), ("src/main.py", ""), ("bin/old", "")]);
    let home = tempfile::tempdir().unwrap();
    let link = home.path().join("proj");
    std::os::unix::fs::symlink(&directory.mount.source, &link).unwrap();
    let at = home.path().join(name);
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, text.replace("@W@", directory.mount.source.to_str().unwrap())).unwrap();
    classes(&of(&directory, "", home.path()), path)
}

#[test]
fn what_files_of_the_home_name_is_known_for_every_tool() {
    for (name, text, class) in [
        (".vimrc", "source @W@/tools/x.inc", "editor"),
        (".vimrc", "source ~/proj/tools/x.inc", "editor"),
        (".config/nvim/init.lua", "dofile(\"@W@/tools/x.inc\")", "editor"),
        (".config/nvim/lua/a/b.lua", "dofile(vim.env.HOME .. '/proj/tools/x.inc')", "editor"),
        (".tmux.conf", "run-shell @W@/tools/x.inc", "autostart"),
        (".ssh/config", "Match host x exec \"@W@/tools/x.inc\"", "sources"),
        (".emacs", "(load \"@W@/tools/x.inc\")", "editor"),
        (".emacs.d/lisp/a.el", "(load-file \"~/proj/tools/x.inc\")", "editor"),
        (
            ".config/systemd/user/a.service",
            "[Service]\nExecStart=-/usr/bin/python3 %h/proj/tools/x.inc",
            "autostart",
        ),
        (
            ".config/systemd/user/b.service",
            "[Service]\nWorkingDirectory=@W@\nExecStart=/usr/bin/python3 tools/x.inc",
            "autostart",
        ),
        (".config/autostart/a.desktop", "[Desktop Entry]\nExec=python3 @W@/tools/x.inc", "autostart"),
        (".config/sway/config", "include @W@/tools/x.inc", "autostart"),
        (
            ".claude/settings.json",
            r#"{"hooks":{"Stop":[{"hooks":[{"command":"python3 @W@/tools/x.inc"}]}]}}"#,
            "agent",
        ),
        (".claude.json", r#"{"mcpServers":{"x":{"command":"python3","args":["@W@/tools/x.inc"]}}}"#, "agent"),
        (".codex/config.toml", "notify = [\"python3\", \"@W@/tools/x.inc\"]", "agent"),
        (".local/bin/tool", "#!/bin/sh\nexec python3 ~/proj/tools/x.inc", "autostart"),
        (".cargo/config.toml", "[build]\nrustc-wrapper = \"@W@/tools/x.inc\"", "sources"),
        (".yarnrc.yml", "yarnPath: proj/tools/x.inc", "sources"),
        (".bashrc", "T=~/proj/tools\n. $T/x.inc", "startup"),
        (".bashrc", "cd ~/proj && . tools/x.inc", "startup"),
        (".bashrc", "for f in ~/proj/tools/{x,y}.inc; do . $f; done", "startup"),
        (".bashrc", "for f in ~/proj/tools/*.inc; do . $f; done", "startup"),
        (".config/fish/conf.d/a.fish", "source ~/proj/tools/x.inc", "startup"),
        (".zshrc", "fpath=(~/proj/tools $fpath)", "startup"),
        (".zshenv", "export PYTHONPATH=@W@/tools", "startup"),
        (".bashrc", "A=$HOME/proj\nB=$A/tools\nC=$B/.\n. $C/x.inc", "startup"),
        (".bashrc", "for p in a b; do . @W@/../$p/tools/x.inc; done", "startup"),
        (".xonshrc", "source @W@/tools/x.inc", "startup"),
        (".config/elvish/rc.elv", "eval (slurp < @W@/tools/x.inc)", "startup"),
        (".gnuplot", "load '@W@/tools/x.inc'", "startup"),
        ("Documents/MATLAB/startup.m", "run('@W@/tools/x.inc')", "startup"),
        (".ocamlinit", "#use \"@W@/tools/x.inc\";;", "startup"),
        (".local/share/jupyter/kernels/x/kernel.json", r#"{"argv":["sh","@W@/tools/x.inc"]}"#, "startup"),
        (
            ".local/lib/python3.12/site-packages/x.pth",
            "import os; exec(open('@W@/tools/x.inc').read())",
            "startup",
        ),
        (".Xresources", "#include \"@W@/tools/x.inc\"", "startup"),
        (".config/kak/kakrc", "source @W@/tools/x.inc", "editor"),
        (".config/Windsurf/User/settings.json", r#"{"clangd.path":"@W@/tools/x.inc"}"#, "editor"),
        (".continue/config.yaml", "mcpServers:\n - command: sh\n   args: [@W@/tools/x.inc]", "agent"),
        (
            ".config/Code/User/globalStorage/x.y/settings/cline_mcp_settings.json",
            r#"{"mcpServers":{"x":{"command":"sh","args":["@W@/tools/x.inc"]}}}"#,
            "agent",
        ),
        (".aider.conf.yml", "lint-cmd: sh @W@/tools/x.inc", "agent"),
        (".config/Thunar/uca.xml", "<action><command>sh @W@/tools/x.inc %F</command></action>", "autostart"),
        (".xbindkeysrc", "\"sh @W@/tools/x.inc\"\n  Mod4 + x", "autostart"),
        (".config/kglobalshortcutsrc", "x=sh @W@/tools/x.inc", "autostart"),
        (".config/k9s/plugins.yaml", "plugins:\n x:\n  command: sh\n  args: [@W@/tools/x.inc]", "autostart"),
        (".config/lazygit/config.yml", "customCommands:\n - command: 'sh @W@/tools/x.inc'", "autostart"),
        (".tigrc", "bind main x !sh @W@/tools/x.inc", "autostart"),
        (".config/zathura/zathurarc", "map x exec 'sh @W@/tools/x.inc'", "autostart"),
        (".mozilla/native-messaging-hosts/x.json", r#"{"path":"@W@/tools/x.inc"}"#, "autostart"),
        ("service/x/run", "#!/bin/sh\nexec @W@/tools/x.inc", "autostart"),
        (
            ".config/obs-studio/basic/scenes/x.json",
            r#"{"scripts-tool":[{"path":"@W@/tools/x.inc"}]}"#,
            "autostart",
        ),
        (".subversion/config", "[helpers]\ndiff-cmd = @W@/tools/x.inc", "sources"),
        (".aws/credentials", "[x]\ncredential_process = sh @W@/tools/x.inc", "sources"),
        (".config/newtool/config.yml", "hooks:\n  on_start:\n    - sh @W@/tools/x.inc", "settings"),
        (".config/newtool/config.ini", "[x]\npre_exec = sh @W@/tools/x.inc", "settings"),
        (".newtoolrc", "command = @W@/tools/x.inc", "settings"),
        (".newtool/settings.json", r#"{"a":{"postSaveCommand":"sh @W@/tools/x.inc"}}"#, "settings"),
    ] {
        assert_eq!(by_home(name, text, "tools/x.inc"), [class], "{name} {text}");
    }
    assert_eq!(by_home(".bashrc", ". \"$HOME/proj/my work/x.inc\"", "my work/x.inc"), ["startup"]);
    assert_eq!(by_home(".vimrc", "set runtimepath+=~/proj", "autoload/x.vim"), ["editor"]);
}

#[test]
fn where_the_user_works_says_nothing_of_the_files_there() {
    for (name, text) in [
        (".bashrc", "alias p='cd ~/proj'\nexport PROJ=@W@\n# ~/proj/tools/x.inc\n"),
        (".bashrc", "alias t='cd ~/proj/tools && make'\n"),
        (".bashrc", "export PYTHONPATH=~/proj PATH=$PATH:~/proj\n"),
        (".claude.json", r#"{"projects":{"@W@":{"recent":["@W@/tools/x.inc"]}}}"#),
        (".config/Code/User/settings.json", r#"{"recent": "@W@/tools/x.inc"}"#),
        (".bash_history", "sh @W@/tools/x.inc"),
        (".vimrc", "set runtimepath+=~/other"),
        (".config/systemd/user/a.service", "[Service]\nWorkingDirectory=@W@\nExecStart=/usr/bin/make *.md\n"),
        (".bashrc", "alias l='ls ~/proj/*'\n"),
        (".bashrc", "for p in a b; do cd @W@/../$p/src; done\n"),
        (".config/newtool/config.yml", "recent:\n  - @W@/tools/x.inc\nlast_file: @W@/src/main.py\n"),
        (".config/newtool/state.json", r#"{"files":["@W@/tools/x.inc"],"last":{"path":"@W@/src/main.py"}}"#),
        (".config/newtool/config.ini", "[x]\nlast = @W@/scripts/../tools/x.inc\n"),
        (
            ".config/Code/User/settings.json",
            r#"{"prettier.ignorePath":"@W@/README.md","jest.rootPath":"@W@/tools"}"#,
        ),
        (".local/lib/python3.12/site-packages/x.pth", "@W@/src\n@W@/tools\n"),
        (".config/obs-studio/basic/scenes/x.json", r#"{"sources":[{"file":"@W@/tools/x.inc"}]}"#),
        (".aws/credentials", "[x]\nca_bundle = @W@/tools/x.inc\n"),
        (".config/Code/User/settings.json", r#"{"terminal.integrated.cwd":"@W@","git.path":"@W@"}"#),
        (".config/geany/geany.conf", "[files]\nrecent_files=@W@/tools/x.inc;@W@/src/main.py;\n"),
        (".bashrc", "alias t='cd ~/proj/tools'\ncase $x in *.inc|*/x.*) rm -f *.inc ;; esac\n"),
    ] {
        for path in ["tools/x.inc", "src/main.py", "README.md"] {
            assert!(by_home(name, text, path).is_empty(), "{name} {text} {path}");
        }
    }
}

#[test]
fn a_start_up_file_is_followed_to_what_it_takes_in_and_its_search_paths() {
    let directory = Directory::new(&[
        ("sh/a.inc", ". ~/proj/sh/b.inc\npython3 ~/proj/sh/c.py\n"),
        ("sh/b.inc", ""),
        ("sh/c.py", ""),
        ("sh/d.py", ""),
    ]);
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&directory.mount.source, home.path().join("proj")).unwrap();
    std::fs::create_dir(home.path().join("rc")).unwrap();
    for (name, text) in [
        (".profile", "export P=$HOME/proj\nPATH=\"$PATH:$HOME/proj/scripts\"\n"),
        (".bashrc", "source ~/rc/more\npython3 $P/sh/d.py\n"),
        ("rc/more", ". ~/proj/sh/a.inc\n"),
    ] {
        std::fs::write(home.path().join(name), text).unwrap();
    }
    let named = of(&directory, "", home.path());
    for path in ["sh/a.inc", "sh/b.inc", "sh/c.py", "sh/d.py"] {
        assert_eq!(classes(&named, path), ["startup"], "{path}");
    }
    let made = |path: &str, mode| Change { mode, ..Change::blank(path.to_owned(), Op::Create, Kind::File) };
    assert!(named.is_program(&made("scripts/git", 0o755)) && !named.is_program(&made("sh/git", 0o755)));
}

#[test]
fn what_files_of_the_directory_run_by_themselves_is_known() {
    for (name, text, class) in [
        (".Rprofile", "source(\"tools/x.inc\")", "startup"),
        (".envrc", "source_env tools/x.inc", "environment"),
        (".envrc", "source ./tools/x.inc", "environment"),
        (".envrc", "for f in tools/*.inc; do\n  . $f\ndone", "environment"),
        (
            ".vscode/tasks.json",
            r#"{"tasks":[{"command":"sh tools/x.inc","runOptions":{"runOn":"folderOpen"}}]}"#,
            "editor",
        ),
        (".vscode/settings.json", r#"{"python.envFile":"${workspaceFolder}/tools/x.inc"}"#, "editor"),
        (".vscode/settings.json", r#"{"clangd.path":"${workspaceFolder}/tools/x.inc"}"#, "editor"),
        (".vscode/settings.json", r#"{"typescript.tsdk":"tools"}"#, "editor"),
        (".vscode/settings.json", r#"{"pylint.path":["tools/x.inc"]}"#, "editor"),
        (
            ".vscode/settings.json",
            r#"{"emeraldwalk.runonsave":{"commands":[{"cmd":"sh tools/x.inc"}]}}"#,
            "editor",
        ),
        (".bsp/x.json", r#"{"argv":["sh","tools/x.inc"]}"#, "editor"),
        (
            ".idea/watcherTasks.xml",
            "<option name=\"program\" value=\"$PROJECT_DIR$/tools/x.inc\"/>",
            "editor",
        ),
        (".aider.conf.yml", "lint-cmd: sh tools/x.inc", "agent"),
        ("opencode.json", r#"{"plugin":["./tools/x.inc"]}"#, "agent"),
        (".continue/config.yaml", "mcpServers:\n - command: sh\n   args: [tools/x.inc]", "agent"),
        ("kernels/x/kernel.json", r#"{"argv":["sh","tools/x.inc"]}"#, "startup"),
        (".ocamlinit", "#use \"tools/x.inc\";;", "startup"),
        (".env", "source tools/x.inc", "environment"),
        (".gitlab-ci.yml", "include: [{local: tools/x.inc}]", "ci"),
        ("bunfig.toml", "preload = [\"./tools/x.inc\"]", "sources"),
        (".hg/hgrc", "[hooks]\nupdate = sh tools/x.inc", "sources"),
        (
            ".claude/settings.json",
            r#"{"hooks":{"Stop":[{"hooks":[{"command":"$CLAUDE_PROJECT_DIR/tools/x.inc"}]}]}}"#,
            "agent",
        ),
        (".mcp.json", r#"{"mcpServers":{"x":{"command":"sh","args":["tools/x.inc"]}}}"#, "agent"),
        (".cursor/mcp.json", r#"{"mcpServers":{"x":{"command":"sh","args":["./tools/x.inc"]}}}"#, "agent"),
        (".husky/pre-commit", "cd tools && sh x.inc", "hooks"),
        (".devcontainer/devcontainer.json", r#"{"initializeCommand":"sh tools/x.inc", /* x */}"#, "editor"),
        (".gdbinit", "source tools/x.inc", "editor"),
        (".exrc", "source tools/x.inc", "editor"),
        (".nvim.lua", "dofile(\"tools/x.inc\")", "editor"),
        (".dir-locals.el", "((nil . ((eval . (load \"tools/x.inc\")))))", "editor"),
        ("mise.toml", "[env]\n_.source = \"tools/x.inc\"", "environment"),
        (".cargo/config.toml", "[build]\nrustc-wrapper = \"tools/x.inc\"", "sources"),
        ("package.json", r#"{"scripts":{"postinstall":"sh tools/x.inc"}}"#, "hooks"),
        ("app/package.json", r#"{"scripts":{"prepare":"sh ../tools/x.inc"}}"#, "hooks"),
        (".yarnrc.yml", "yarnPath: tools/x.inc", "sources"),
        (".npmrc", "script-shell=./tools/x.inc", "sources"),
    ] {
        assert!(named(&[(name, text), ("tools/x.inc", "")], "tools/x.inc"), "{name} {text}");
        let directory = Directory::new(&[(name, text), ("tools/x.inc", "")]);
        let home = tempfile::tempdir().unwrap();
        assert_eq!(classes(&of(&directory, "", home.path()), "tools/x.inc"), [class], "{name} {text}");
    }
}

#[test]
fn what_an_agent_starts_by_the_name_of_a_module_is_known() {
    for (command, path) in [
        (r#""command":"python3","args":["-m","tools.server"]"#, "tools/server.py"),
        (r#""command":"uv","args":["run","python","-m","server"]"#, "server/__main__.py"),
        (r#""command":"node","args":["server"]"#, "server.js"),
        (r#""command":"node","args":["--inspect","./dist"]"#, "dist/index.js"),
        (r#""command":["python3","-m","server"]"#, "server.py"),
    ] {
        let text = format!(r#"{{"mcpServers":{{"x":{{{command}}}}}}}"#);
        assert!(named(&[(".mcp.json", &text), (path, "")], path), "{command}");
        assert!(!named(&[(".mcp.json", &text), (path, ""), ("src/a.py", "")], "src/a.py"), "{command}");
    }
}

#[test]
fn programs_where_a_shell_stands_are_known() {
    let (directory, home) = (Directory::new(&[("x", "")]), tempfile::tempdir().unwrap());
    std::fs::write(home.path().join(".bashrc"), "export PATH=\"./bin:node_modules/.bin:$PATH\"\n").unwrap();
    let named = of(&directory, "", home.path());
    let made = |path: &str| Change { mode: 0o755, ..Change::blank(path.to_owned(), Op::Create, Kind::File) };
    assert!(named.is_program(&made("bin/any")) && named.is_program(&made("node_modules/.bin/sh")));
    assert!(
        !named.is_program(&made("src/bin/any")) && !named.is_program(&made("node_modules/.bin/any-of-ours"))
    );
}

#[test]
fn programs_below_variables_and_in_loops_are_known() {
    let is_program = |text: &str, path: &str| {
        let (directory, home) =
            (Directory::new(&[("scripts/x", ""), ("src/a", "")]), tempfile::tempdir().unwrap());
        let up = directory.mount.source.parent().unwrap().display().to_string();
        std::fs::write(home.path().join(".bashrc"), text.replace("@UP@", &up)).unwrap();
        let made = Change { mode: 0o755, ..Change::blank(path.to_owned(), Op::Create, Kind::File) };
        of(&directory, "", home.path()).is_program(&made)
    };
    for text in [
        "A=@UP@\nB=$A/w\nexport PATH=\"$B/scripts:$PATH\"\n",
        "for p in w z; do\n  PATH=\"@UP@/$p/scripts:$PATH\"\ndone\n",
        "PATH=$PATH:@UP@/{z,w/scripts}\n",
        "export PATH=\"$(cd @UP@/w/scripts && pwd):$PATH\"\n",
    ] {
        assert!(is_program(text, "scripts/sh"), "{text}");
        assert!(!is_program(text, "src/sh"), "{text}");
    }
    assert!(!is_program("for p in w z; do\n  ls \"@UP@/$p/scripts\"\ndone\n", "scripts/sh"));
}

#[test]
fn programs_where_a_tool_that_enters_the_directory_looks_for_them_are_known() {
    let is_program = |text: &str, path: &str| {
        let (directory, home) = (Directory::new(&[(".envrc", text)]), tempfile::tempdir().unwrap());
        let made = Change { mode: 0o755, ..Change::blank(path.to_owned(), Op::Create, Kind::File) };
        of(&directory, "", home.path()).is_program(&made)
    };
    for (text, path) in [
        ("PATH_add bin", "bin/sh"),
        ("export A=1\nPATH_add ./tools other", "other/sh"),
        ("PATH_add .", "sh"),
        ("PATH_add node_modules/.bin", "node_modules/.bin/sh"),
        ("layout node", "node_modules/.bin/sh"),
        ("layout go", "bin/sh"),
        ("layout php", "vendor/bin/sh"),
        ("load_prefix pre", "pre/bin/sh"),
    ] {
        assert!(is_program(text, path), "{text}");
    }
    let mise = |text: &str, path: &str| {
        let (directory, home) = (Directory::new(&[("mise.toml", text)]), tempfile::tempdir().unwrap());
        let made = Change { mode: 0o755, ..Change::blank(path.to_owned(), Op::Create, Kind::File) };
        of(&directory, "", home.path()).is_program(&made)
    };
    assert!(mise("[env]\n_.path = [\"own/bin\"]\n", "own/bin/sh"));
    assert!(mise("[env]\n_.path = [\"{{config_root}}/own/bin\"]\n", "own/bin/sh"));
    assert!(mise("[env]\n_.python.venv = \"pv\"\n", "pv/bin/sh"));
    assert!(!mise("[tasks]\nx = \"own/bin/y\"\n", "own/bin/sh"));
    for (text, path) in [
        ("layout node", "node_modules/.bin/eslint-of-ours"),
        ("# PATH_add bin", "bin/sh"),
        ("layout python", "bin/sh"),
        ("PATH_add bin", "src/bin/sh"),
    ] {
        assert!(!is_program(text, path), "{text}");
    }
}

#[test]
fn what_files_of_the_directory_only_mention_stays_ordinary() {
    let there = [("tools/x.js", ""), ("src/index.js", ""), ("package.json", ""), ("README.md", "")];
    for (name, text) in [
        (
            "package.json",
            r#"{"main":"src/index.js","scripts":{"test":"node tools/x.js","build":"tsc src/index.js"}}"#,
        ),
        (".vscode/tasks.json", r#"{"tasks":[{"command":"node tools/x.js"}]}"#),
        (".vscode/settings.json", r#"{"files.exclude":{"src/index.js":true}}"#),
        (
            ".vscode/settings.json",
            r#"{"prettier.ignorePath":"tools/x.js","cSpell.customDictionaries":{"a":{"path":"README.md"}}}"#,
        ),
        (".env", "DATA=tools/x.js\nMAIN=./src/index.js\n"),
        (".gitlab-ci.yml", "x:\n  script:\n    - node tools/x.js\n"),
        (".idea/workspace.xml", "<entry file=\"file://$PROJECT_DIR$/src/index.js\"/>"),
        (".aider.conf.yml", "aiderignore: tools/x.js\n"),
        (".claude/settings.json", r#"{"permissions":{"allow":["Bash(node tools/x.js)"]}}"#),
        (".husky/post-merge", "changed package.json && npm ci\nnpm test\nnpx lint-staged\ncat README.md\n"),
        (
            ".lintstagedrc",
            r#"{"*.{js,ts}": "prettier --write", "src/**/*.js": "eslint --fix", "tools/*": "x"}"#,
        ),
        (".husky/pre-commit", "git diff --name-only -- 'src/*.js' '*.js' | xargs npx eslint\n"),
        (".envrc", "watch_file package.json\nlayout node\nPATH_add tools\n"),
        ("mise.toml", "[tasks.x]\nrun = \"node tools/x.js\"\n"),
        (".cargo/config.toml", "[alias]\nx = \"run tools/x.js\"\n"),
    ] {
        let files: Vec<_> =
            there.iter().filter(|(other, _)| *other != name).copied().chain([(name, text)]).collect();
        for path in ["tools/x.js", "src/index.js", "package.json", "README.md"] {
            assert!(!named(&files, path), "{name} {text} {path}");
        }
    }
}

/// Where the links of a home lead into the directory.
fn by_links(links: &[(&str, &str)], there: &[(&str, &str)], path: &str) -> Vec<&'static str> {
    let (directory, home) = (Directory::new(there), tempfile::tempdir().unwrap());
    for (link, to) in links {
        let at = home.path().join(link);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        let to = to.replace("@H@", home.path().to_str().unwrap());
        std::os::unix::fs::symlink(directory.mount.source.join(to), at).unwrap();
    }
    classes(&of(&directory, "", home.path()), path)
}

#[test]
fn every_link_below_a_dot_of_the_home_counts() {
    for link in [
        ".claude/skills/z/SKILL.md",
        ".cargo/bin/cargo-x",
        ".docker/cli-plugins/docker-x",
        ".config/systemd/user/b.service.d/o.conf",
        ".codex/prompts/x.md",
        ".config/hypr/scripts/x.sh",
        ".ssh/config.d/x",
        ".config/plasma-workspace/env/x.sh",
        ".config/opencode/plugin/x.js",
        ".tmux/plugins/p/p.tmux",
        ".vim/pack/a/start/b/plugin/c.vim",
        ".config/chaperone/profiles/x.toml",
        ".config/chaperone/policies/sub/y.rego",
        ".config/chaperone/registered/x.txt",
        ".emacs.d/lisp/x.el",
        ".local/lib/python3.11/site-packages/foo.py",
        ".config/sway/config.d/x",
        ".gradle/init.d/x.gradle",
        ".local/share/gh/extensions/gh-x/gh-x",
        ".new/a/b/c/d/e/f/g",
    ] {
        assert!(!by_links(&[(link, "f/1")], &[("f/1", "")], "f/1").is_empty(), "{link}");
        assert!(by_links(&[(link, "f/1")], &[("f/1", ""), ("f/2", "")], "f/2").is_empty(), "{link}");
        // What it leads to may come later.
        assert!(!by_links(&[(link, "f/new")], &[("f/1", "")], "f/new").is_empty(), "{link}");
    }
    let there = [("f/a/1", ""), ("g", "")];
    assert_eq!(by_links(&[(".claude/skills/z", "f")], &there, "f/a/1"), ["agent"]);
    assert_eq!(by_links(&[(".claude/skills/z", "")], &there, "g"), ["agent"]);
    // By way of other links, and of a directory that is one.
    assert!(!by_links(&[(".x/y/z", "@H@/s/t"), ("s/t", "g")], &there, "g").is_empty());
    assert!(!by_links(&[(".config", "@H@/dots"), ("dots/p/q/r", "g")], &there, "g").is_empty());
    for link in ["work/x/y", ".cache/a/b", ".x/node_modules/a", ".local/share/Trash/files/a", ".gitignore"] {
        assert!(by_links(&[(link, "g")], &there, "g").is_empty(), "{link}");
    }
    assert!(by_links(&[(".local/share/x/y", "")], &there, "g").is_empty(), "where the user works");
    // Where tools take code from without a dot above.
    for link in ["go/bin/x", "quicklisp/local-projects/x", "Arduino/libraries/x", "Documents/MATLAB/x.m"] {
        assert!(!by_links(&[(link, "g")], &there, "g").is_empty(), "{link}");
    }
    assert!(by_links(&[("Documents/x", "g")], &there, "g").is_empty());
    assert!(by_links(&[(".x/y/z", "/")], &there, "g").is_empty());
}

#[test]
fn links_on_the_way_count_and_the_walk_is_bounded() {
    let (directory, home) = (Directory::new(&[("b", "")]), tempfile::tempdir().unwrap());
    let at = &directory.mount.source;
    std::os::unix::fs::symlink("b", at.join("a")).unwrap();
    std::fs::create_dir_all(home.path().join(".x/y")).unwrap();
    std::os::unix::fs::symlink(at.join("a"), home.path().join(".x/y/z")).unwrap();
    let named = of(&directory, "", home.path());
    assert_eq!((classes(&named, "a"), classes(&named, "b")), (vec!["settings"], vec!["settings"]));
    let bounds = elsewhere::Bounds::default();
    let within = |bounds| {
        let mut names = Names::of(&directory.mount);
        let is_all = elsewhere::links_below(home.path(), Vec::new(), bounds, &mut names);
        (is_all, !names.classes("b", false).is_empty())
    };
    assert_eq!(within(bounds), (true, true));
    assert_eq!(within(elsewhere::Bounds { entries: 2, ..bounds }), (false, false));
    assert_eq!(within(elsewhere::Bounds { deep: 1, ..bounds }), (false, false));
    assert_eq!(within(elsewhere::Bounds { time: Default::default(), ..bounds }), (false, false));
}

#[test]
fn what_a_hook_calls_is_known_in_every_spelling() {
    for (hook, path) in [
        ("cd tools && ./run.sh", "tools/run.sh"),
        ("(cd sub; sh c.sh)", "sub/c.sh"),
        ("R=tools; sh $R/c.sh", "tools/c.sh"),
        ("for f in hooks.d/*; do \"$f\"; done", "hooks.d/a"),
        ("run-parts hooks.d", "hooks.d/a"),
        ("python3 -m tools.check", "tools/check.py"),
        ("python3 -m pkg", "pkg/__main__.py"),
        ("python3 tools", "tools/__main__.py"),
        ("node tools/check", "tools/check.js"),
        ("node tools/check", "tools/check/index.js"),
        ("sh ${X:-t.sh}", "t.sh"),
        ("sh tools/c.sh", "tools/c.sh"),
        ("exec sh \"$(git rev-parse --show-toplevel)/tools/c.sh\"", "tools/c.sh"),
        ("python3 setup.py check", "setup.py"),
    ] {
        let text = format!("#!/bin/sh\n{hook}\n");
        let moved = "[core]\n\thooksPath = my/hooks\n";
        for (at, config) in [(".git/hooks/pre-commit", ""), ("my/hooks/pre-commit", moved)] {
            let files = [(at, &*text), (".git/config", config), (path, "")];
            assert!(named(&files, path), "{at}: {hook}");
            assert!(!named(&files, "other/c.sh") && !named(&files, "src/main.py"), "{at}: {hook}");
        }
    }
}
