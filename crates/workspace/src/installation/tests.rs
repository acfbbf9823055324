use std::collections::BTreeSet;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

/// A home on disk: what is in it, by path; a program ends in `*` and may be followed by its interpreter.
struct Home {
    _root: tempfile::TempDir,
    home: PathBuf,
}

impl Home {
    /// The home is a link to where it really is.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap().join("disk/me");
        let home = root.path().canonicalize().unwrap().join("home");
        std::fs::create_dir_all(&real).unwrap();
        symlink(&real, &home).unwrap();
        let home = Self { _root: root, home };
        for private in
            [".ssh/id_rsa", ".aws/credentials", ".local/share/keyrings/login.keyring", ".bash_history"]
        {
            home.file(private, "private");
        }
        for own in ["vault/root.key", "audit/log"] {
            home.file(&format!(".local/state/chaperone/{own}"), "private");
        }
        home
    }

    fn file(&self, at: &str, text: &str) {
        let path = self.home.join(at);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn program(&self, at: &str, first_line: &str) -> PathBuf {
        self.file(at, &format!("{first_line}\n"));
        let path = self.home.join(at);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn link(&self, at: &str, to: &str) -> PathBuf {
        let path = self.home.join(at);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, &path).unwrap();
        path
    }

    fn workspace(&self, at: &str) -> PathBuf {
        let path = self.home.join(at);
        std::fs::create_dir_all(&path).unwrap();
        path.canonicalize().unwrap()
    }

    fn find(&self, program: &Path, workspace: &Path) -> Result<Installation, Failure> {
        self.find_with(program, workspace, &[])
    }

    /// With the workspace mounted, and these directories of the home on PATH before the usual ones.
    fn find_with(&self, program: &Path, workspace: &Path, path: &[&str]) -> Result<Installation, Failure> {
        let state = self.home.join(".local/state/chaperone");
        let places = Places::new(std::slice::from_ref(&self.home), &[&state]);
        let usual = [self.home.join(".local/bin"), "/usr/bin".into()];
        let search: Vec<PathBuf> = path.iter().map(|p| self.home.join(p)).chain(usual).collect();
        let mounts = [("/workspace", workspace)];
        find(program, &search, &places, workspace, if path.is_empty() { &[] } else { &mounts })
    }

    /// Every file that a cell can read beside its mounts, from the home.
    /// All that a cell reads of what is shown.
    fn readable(&self, found: &Installation) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        let mut todo: Vec<PathBuf> = found.shown.iter().map(|s| s.path.clone()).collect();
        let real = self.home.canonicalize().unwrap();
        while let Some(at) = todo.pop() {
            if found.covered.contains(&at) {
                continue;
            }
            if at.symlink_metadata().is_ok_and(|m| m.is_dir()) {
                todo.extend(std::fs::read_dir(&at).unwrap().map(|e| e.unwrap().path()));
            } else {
                files.insert(at.strip_prefix(&real).unwrap().to_string_lossy().into_owned());
            }
        }
        files
    }
}

fn names(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|n| (*n).to_owned()).collect()
}

#[test]
fn a_native_installers_link_shows_the_program_alone() {
    let home = Home::new();
    home.program(".local/share/claude/versions/1.0.9", "\x7fELF");
    home.file(".local/lib/other/data", "x");
    let link = home.link(".local/bin/claude", "../share/claude/versions/1.0.9");
    let found = home.find(&link, &home.workspace("work")).unwrap();
    assert_eq!(home.readable(&found), names(&[".local/share/claude/versions/1.0.9"]));
    assert!(found.program.ends_with(".local/share/claude/versions/1.0.9"), "{}", found.program.display());
}

#[test]
fn an_installation_of_any_name_below_local_share_shows_itself() {
    let home = Home::new();
    home.file(".local/share/tool/current/lib/tool.so", "x");
    home.file(".local/share/tool/settings", "x");
    home.file(".local/share/other/data", "x");
    let tool = home.program(".local/share/tool/current/bin/tool", "\x7fELF");
    let found = home.find(&tool, &home.workspace("work")).unwrap();
    assert_eq!(
        home.readable(&found),
        names(&[".local/share/tool/current/bin/tool", ".local/share/tool/current/lib/tool.so"])
    );
}

#[test]
fn pip_user_shows_the_script_and_its_packages() {
    let home = Home::new();
    let script = home.program(".local/bin/agent", "#!/usr/bin/python3");
    home.program(".local/bin/other", "#!/bin/sh");
    home.file(".local/lib/python3.11/site-packages/agent.py", "x");
    home.file(".local/lib/python3.11/other", "x");
    let found = home.find(&script, &home.workspace("work")).unwrap();
    assert_eq!(
        home.readable(&found),
        names(&[".local/bin/agent", ".local/lib/python3.11/site-packages/agent.py"])
    );
}

#[test]
fn pipx_and_virtual_environments_show_themselves_and_their_base() {
    let home = Home::new();
    let venv = ".local/share/pipx/venvs/black";
    home.file(&format!("{venv}/pyvenv.cfg"), "home = x");
    home.file(&format!("{venv}/lib/python3.12/site-packages/black.py"), "x");
    home.file(&format!("{venv}/notes.txt"), "mine");
    let real = home.home.canonicalize().unwrap();
    home.program(".pyenv/versions/3.12.1/bin/python3.12", "\x7fELF");
    home.file(".pyenv/versions/3.12.1/lib/python3.12/os.py", "x");
    home.file(".pyenv/versions/3.12.1/secret", "x");
    home.link(
        &format!("{venv}/bin/python"),
        real.join(".pyenv/versions/3.12.1/bin/python3.12").to_str().unwrap(),
    );
    let shebang = format!("#!{}", real.join(venv).join("bin/python").display());
    home.program(&format!("{venv}/bin/black"), &shebang);
    let link = home.link(".local/bin/black", "../share/pipx/venvs/black/bin/black");
    let found = home.find(&link, &home.workspace("work")).unwrap();
    let mut wanted =
        names(&[".pyenv/versions/3.12.1/bin/python3.12", ".pyenv/versions/3.12.1/lib/python3.12/os.py"]);
    wanted.extend(
        ["pyvenv.cfg", "bin/python", "bin/black", "lib/python3.12/site-packages/black.py"]
            .map(|f| format!("{venv}/{f}")),
    );
    assert_eq!(home.readable(&found), wanted);
    // The interpreter itself, by the name that makes it one of the environment.
    let python = home.home.join(venv).join("bin/python");
    let found = home.find(&python, &home.workspace("work")).unwrap();
    assert_eq!(found.program, real.join(venv).join("bin/python"));
    assert_eq!(home.readable(&found), wanted);
}

#[test]
fn npm_with_a_prefix_shows_packages_and_node() {
    let home = Home::new();
    home.program(".npm-global/lib/node_modules/@a/agent/cli.js", "#!/usr/bin/env node");
    home.file(".npm-global/lib/node_modules/dep/index.js", "x");
    home.file(".npm-global/settings", "x");
    home.program(".nvm/versions/node/v20/bin/node", "\x7fELF");
    home.file(".nvm/versions/node/v20/lib/node_modules/npm/cli.js", "x");
    home.file(".nvm/versions/node/v20/README.md", "x");
    home.file(".nvm/alias/default", "x");
    home.link(".local/bin/node", "../../.nvm/versions/node/v20/bin/node");
    let link = home.link(".npm-global/bin/agent", "../lib/node_modules/@a/agent/cli.js");
    let found = home.find(&link, &home.workspace("work")).unwrap();
    assert_eq!(
        home.readable(&found),
        names(&[
            ".npm-global/lib/node_modules/@a/agent/cli.js",
            ".npm-global/lib/node_modules/dep/index.js",
            ".nvm/versions/node/v20/bin/node",
            ".nvm/versions/node/v20/lib/node_modules/npm/cli.js",
        ])
    );
    assert!(found.path.iter().any(|p| p.ends_with("v20/bin")), "{:?}", found.path);
}

#[test]
fn a_program_of_a_project_shows_itself_alone() {
    let home = Home::new();
    for mark in ["package.json", ".git/HEAD", "pyproject.toml", "Makefile", ".env"] {
        let project = mark.replace(['/', '.'], "-");
        home.file(&format!("{project}/{mark}"), "x");
        home.file(&format!("{project}/lib/secrets.txt"), "x");
        home.file(&format!("{project}/employees.csv"), "x");
        for place in ["bin/tool", "scripts/tool", "tool"] {
            let tool = home.program(&format!("{project}/{place}"), "#!/bin/sh");
            let found = home.find(&tool, &home.workspace("work")).unwrap();
            assert_eq!(home.readable(&found), names(&[&format!("{project}/{place}")]), "{mark}");
        }
    }
}

#[test]
fn a_program_of_the_workspace_runs_through_its_mount() {
    let home = Home::new();
    let workspace = home.workspace("work");
    home.file("work/package.json", "{}");
    home.file("work/.env", "x");
    let tool = home.program("work/scripts/agent.sh", "#!/bin/sh");
    assert_eq!(home.find(&tool, &workspace).unwrap_err().code, "not_mounted");
    let mount = ("/workspace", workspace.as_path());
    let places = Places::new(std::slice::from_ref(&home.home), &[]);
    let found = find(&tool, &[], &places, &workspace, &[mount]).unwrap();
    assert_eq!(found.program, Path::new("/workspace/scripts/agent.sh"));
    assert!(found.shown.is_empty(), "{:?}", found.shown);
}

#[test]
fn a_link_in_the_workspace_shows_nothing_private() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let mount = ("/workspace", workspace.as_path());
    let state = home.home.join(".local/state/chaperone");
    let places = Places::new(std::slice::from_ref(&home.home), &[&state]);
    for target in
        [".ssh/id_rsa", ".local/state/chaperone/vault/root.key", ".local/share/keyrings/login.keyring"]
    {
        home.program(target, "private");
        let link = home
            .link(&format!("work/{}", target.replace('/', "-")), home.home.join(target).to_str().unwrap());
        let refused = find(&link, &[], &places, &workspace, std::slice::from_ref(&mount)).unwrap_err();
        assert_eq!(refused.code, "not_shown", "{target}");
    }
}

/// Ways in which files of a workspace name an installation of the user's, each a program to start.
fn named_by_the_workspace(home: &Home) -> Vec<PathBuf> {
    let real = home.home.canonicalize().unwrap();
    let tool = real.join("tools/v9/bin/tool");
    let (tool, directory) = (tool.to_str().unwrap(), real.join("tools/v9"));
    let through = home.link("work/through", directory.to_str().unwrap()).join("bin/tool");
    home.link("work/.venv/bin/python", tool);
    home.file("work/.venv/pyvenv.cfg", "home = x");
    home.link("work/hop", tool);
    home.link(".local/bin/agent", real.join("work/hop").to_str().unwrap());
    home.link(".local/bin/linked", real.join("work/linked.js").to_str().unwrap());
    home.program("work/linked.js", &format!("#!{tool}"));
    vec![
        through,
        home.home.join("work/.venv/bin/python"),
        home.program("work/.venv/bin/pytest", &format!("#!{}", real.join("work/.venv/bin/python").display())),
        home.home.join("work/hop"),
        home.home.join(".local/bin/agent"),
        home.home.join(".local/bin/linked"),
        home.program("work/plain", &format!("#!{tool}")),
        home.program("work/by-env", &format!("#!/usr/bin/env {tool}")),
        home.program("work/dots", &format!("#!{}/../tools/v9/bin/tool", real.join("work").display())),
    ]
}

#[test]
fn a_file_of_the_workspace_chooses_no_installation() {
    let home = Home::new();
    home.program("tools/v9/bin/tool", "\x7fELF");
    home.file("tools/v9/lib/data", "x");
    let workspace = home.workspace("work");
    for program in named_by_the_workspace(&home) {
        // Also with the workspace's own directories on PATH, as an active environment has them.
        for path in [&["other"][..], &["work/.venv/bin", "work/through/bin"]] {
            let refused = home.find_with(&program, &workspace, path).unwrap_err();
            assert_eq!(refused.code, "not_shown", "{}", program.display());
            assert!(refused.advice.unwrap().contains("tools/v9/bin on your PATH"), "{}", program.display());
        }
    }
}

#[test]
fn a_link_of_the_workspace_chooses_no_environment_of_the_users() {
    let home = Home::new();
    home.file(".venvs/x/pyvenv.cfg", "home = x");
    home.file(".venvs/x/lib/python3.12/site-packages/mine.py", "x");
    home.link(".venvs/x/bin/python", "/bin/sh");
    let workspace = home.workspace("work");
    let link = home.link("work/venv", home.home.join(".venvs/x").to_str().unwrap());
    let script = home.program("work/tool", &format!("#!{}", link.join("bin/python").display()));
    for program in [link.join("bin/python"), script] {
        assert_eq!(home.find_with(&program, &workspace, &["other"]).unwrap_err().code, "not_shown");
        let found = home.find_with(&program, &workspace, &[".venvs/x/bin"]).unwrap();
        assert_eq!(home.readable(&found).len(), 3, "{:?}", found.shown);
    }
}

#[test]
fn what_the_users_path_finds_is_shown_also_when_the_workspace_names_it() {
    let home = Home::new();
    home.program("tools/v9/bin/tool", "\x7fELF");
    home.file("tools/v9/lib/data", "x");
    home.link("tools/v9/bin/python", "tool");
    let workspace = home.workspace("work");
    for program in named_by_the_workspace(&home) {
        let found = home.find_with(&program, &workspace, &["work/.venv/bin", "tools/v9/bin"]).unwrap();
        let shown = home.readable(&found);
        assert!(shown.contains("tools/v9/bin/tool") && shown.contains("tools/v9/lib/data"), "{shown:?}");
    }
    // What is on PATH may itself name what is not: it is the user's.
    home.program("tools/v9/bin/wrapped", &format!("#!{}", home.home.join("deep/bin/inner").display()));
    home.program("deep/bin/inner", "\x7fELF");
    let script = home.program("work/wraps", "#!/usr/bin/env wrapped");
    let found = home.find_with(&script, &workspace, &["tools/v9/bin"]).unwrap();
    assert!(home.readable(&found).contains("deep/bin/inner"));
}

#[test]
fn environments_of_the_workspace_work_over_what_is_the_systems_or_published() {
    let home = Home::new();
    let workspace = home.workspace("work");
    home.file("work/.venv/pyvenv.cfg", "home = x");
    let uv = ".local/share/uv/python/cpython-3.12.4-linux/bin/python3.12";
    home.program(uv, "\x7fELF");
    let interpreters = [("/bin/sh".into(), 0), (home.home.canonicalize().unwrap().join(uv), 1)];
    for (i, (base, shown)) in interpreters.iter().enumerate() {
        let at = format!("work/.venv/bin/python{i}");
        let python = home.link(&at, base.to_str().unwrap());
        let script = home.program(&format!("work/.venv/bin/tool{i}"), &format!("#!{}", python.display()));
        for program in [python, script] {
            let found = home.find_with(&program, &workspace, &["work/.venv/bin"]).unwrap();
            assert_eq!(home.readable(&found).len(), *shown, "{:?}", found.shown);
        }
    }
}

#[test]
fn an_installation_that_holds_or_lies_in_what_is_private_is_refused() {
    let home = Home::new();
    // The workspace in a package, the state in one, packages in a private place.
    home.program("tool/node_modules/a/cli.js", "#!/bin/sh");
    let workspace = home.workspace("tool/node_modules/work");
    let cli = home.home.join("tool/node_modules/a/cli.js");
    assert_eq!(home.find(&cli, &workspace).unwrap_err().code, "not_shown");
    let hidden = home.program(".ssh/node_modules/a/cli.js", "#!/bin/sh");
    assert_eq!(home.find(&hidden, &home.workspace("work")).unwrap_err().code, "not_shown");
    let own = home.program(".local/state/chaperone/bin/tool", "#!/bin/sh");
    assert_eq!(home.find(&own, &home.workspace("work")).unwrap_err().code, "not_shown");
    // A home with bin and lib is no installation.
    home.file("lib/notes.txt", "x");
    let script = home.program("bin/mine", "#!/bin/sh");
    let found = home.find(&script, &home.workspace("work")).unwrap();
    assert_eq!(home.readable(&found), names(&["bin/mine"]));
}

#[test]
fn of_packages_and_environments_what_is_the_users_is_not_shown() {
    let home = Home::new();
    home.program("p/node_modules/agent/cli.js", "#!/bin/sh");
    let link = home.link("p/node_modules/.bin/agent", "../agent/cli.js");
    for at in [
        ".cache/babel/x.json",
        ".npmrc",
        ".vite/deps/x.js",
        ".env",
        "agent/.env",
        "agent/.npmrc",
        ".prisma/client/.env",
    ] {
        home.file(&format!("p/node_modules/{at}"), "x");
    }
    let found = home.find(&link, &home.workspace("work")).unwrap();
    assert_eq!(home.readable(&found), names(&["p/node_modules/agent/cli.js", "p/node_modules/.bin/agent"]));

    home.file("venv/pyvenv.cfg", "home = /usr/bin");
    let tool = home.program("venv/bin/agent", "#!/bin/sh");
    home.file("venv/bin/.env", "x");
    home.file("venv/pip.conf", "x");
    home.file("venv/lib/python3/site-packages/x.py", "x");
    let found = home.find(&tool, &home.workspace("work")).unwrap();
    let wanted = ["venv/pyvenv.cfg", "venv/bin/agent", "venv/lib/python3/site-packages/x.py"];
    assert_eq!(home.readable(&found), names(&wanted));

    let native = home.program("tool/bin/agent", "#!/bin/sh");
    for at in
        ["tool/lib/x.so", "tool/bin/.env", "tool/share/credentials.json", "tool/lib/node_modules/npm/npmrc"]
    {
        home.file(at, "x");
    }
    let found = home.find(&native, &home.workspace("work")).unwrap();
    assert_eq!(home.readable(&found), names(&["tool/bin/agent", "tool/lib/x.so"]));
}

#[test]
fn what_lies_in_what_every_cell_shows_is_covered() {
    let places = Places::new(&[PathBuf::from("/usr/home/me")], &[Path::new("/var/lib/chaperone")]);
    let covered = covered(&places, Path::new("/usr/src/project"));
    assert_eq!(covered, [Path::new("/usr/home/me"), Path::new("/usr/src/project")]);
}

/// Names that generated homes are made of: parts of every layout there is, and of people's own work.
const PARTS: &[&str] = &[
    "bin",
    "lib",
    "node_modules",
    "share",
    ".local",
    "tool",
    "project",
    "pyvenv.cfg",
    "package.json",
    "work",
    ".git",
    "site-packages",
    "python3",
    "keys",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is in a home: what a program shows is part of an installation by its name, never the workspace, what is private,
    /// or what stands beside.
    #[test]
    fn nothing_is_shown_but_the_files_of_an_installation(
        files in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(PARTS), 1..6), 1..24),
        program in proptest::collection::vec(proptest::sample::select(PARTS), 0..5),
        python in any::<bool>(),
    ) {
        let home = Home::new();
        for (i, parts) in files.iter().enumerate() {
            let at = home.home.join(parts.join("/"));
            if std::fs::create_dir_all(&at).is_ok() {
                std::fs::write(at.join(format!("file-{i}")), "x").unwrap();
            }
        }
        let workspace = home.workspace("the-workspace");
        home.file("the-workspace/.env", "x");
        let at = [program.as_slice(), &["the-program"]].concat().join("/");
        if std::fs::create_dir_all(home.home.join(&at).parent().unwrap()).is_err() {
            return Ok(());
        }
        let program = home.program(&at, if python { "#!/usr/bin/python3" } else { "#!/bin/sh" });
        let Ok(found) = home.find(&program, &workspace) else { return Ok(()) };
        for file in home.readable(&found) {
            prop_assert!(!file.starts_with("the-workspace/"), "{file}");
            prop_assert!(!file.contains(".ssh") && !file.contains(".aws") && !file.contains("keyrings"), "{file}");
            prop_assert!(!file.contains(".local/state") && !file.contains("bash_history"), "{file}");
            let prefix = Path::new(&at).parent().and_then(Path::parent).unwrap_or(Path::new(""));
            let rest = Path::new(&file).strip_prefix(prefix).ok().and_then(|r| r.iter().next().map(|n| n.to_string_lossy().into_owned()));
            let is_part = ["bin", "lib", "share", "pyvenv.cfg"].iter().any(|p| rest.as_deref() == Some(p));
            prop_assert!(file == at || is_part || file.contains("node_modules"), "{file} by {at}");
        }
    }

    /// Whatever the files of the workspace say, the same is shown as if it were empty, or the program is refused.
    #[test]
    fn what_is_shown_does_not_follow_from_the_workspace(
        files in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(PARTS), 1..5), 1..12),
        pointed in proptest::collection::vec((any::<proptest::sample::Index>(), 0..4_u8), 1..8),
        on_path in any::<proptest::sample::Index>(),
    ) {
        let home = Home::new();
        let workspace = home.workspace("the-workspace");
        let mut programs = Vec::new();
        for (i, parts) in files.iter().enumerate() {
            let at = format!("{}/p{i}", parts.join("/"));
            if std::fs::create_dir_all(home.home.join(&at).parent().unwrap()).is_ok() {
                programs.push(home.program(&at, "\x7fELF").canonicalize().unwrap());
            }
        }
        if programs.is_empty() {
            return Ok(());
        }
        let usual = on_path.get(&programs).parent().unwrap().to_owned();
        let usual = usual.strip_prefix(home.home.canonicalize().unwrap()).unwrap().to_str().unwrap().to_owned();
        for (i, (target, how)) in pointed.iter().enumerate() {
            let target = target.get(&programs);
            let (named, directory) = (target.to_str().unwrap(), target.parent().unwrap().to_str().unwrap());
            let start = match how {
                0 => home.program(&format!("the-workspace/s{i}"), &format!("#!{named}")),
                1 => home.link(&format!("the-workspace/s{i}"), named),
                2 => home.link(&format!("the-workspace/s{i}"), directory).join(target.file_name().unwrap()),
                _ => {
                    let link = home.link(&format!("the-workspace/l{i}"), named);
                    home.program(&format!("the-workspace/s{i}"), &format!("#!{}", link.display()))
                }
            };
            let Ok(found) = home.find_with(&start, &workspace, &["the-workspace", &usual]) else { continue };
            let by_user = home.find_with(target, &workspace, &["the-workspace", &usual]);
            let real = home.home.canonicalize().unwrap();
            let places = [real.join(&usual), real.join(".local/bin")];
            prop_assert!(places.iter().any(|p| target.parent() == Some(p)), "{named} by {}", start.display());
            prop_assert_eq!(home.readable(&found), home.readable(&by_user.unwrap()));
        }
    }
}
