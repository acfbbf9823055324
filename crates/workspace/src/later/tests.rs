//! What runs later, and what does not, as tables.

use super::*;

fn of(path: &str) -> Vec<&'static str> {
    classes(&Subject { path, ..Subject::default() }).into_iter().collect()
}

/// By class, each form with a path that tools take it from.
const FORMS: &[(&str, &[&str])] = &[
    ("agent", &["hooks/hooks.json", "x/gemini-extension.json", "GROK.md", "memory-bank/a.md", "gptme.toml"]),
    (
        "build",
        &[
            "Makefile.toml",
            "Trunk.toml",
            "_plugins/a.rb",
            "config.ru",
            "modd.conf",
            "default.do",
            "group_vars/all.yml",
            "filter_plugins/a.py",
            "promptfooconfig.yaml",
            "tsconfig.json",
            "tsconfig.build.json",
            "bacon.toml",
            "alembic.ini",
            "process-compose.yaml",
            "mprocs.yaml",
            "uwsgi.ini",
            "Doxyfile",
            "cucumber.yml",
        ],
    ),
    ("editor", &["pyrefly.toml", ".pyre_configuration", "a.Rproj"]),
    ("sources", &["kubeconfig", ".kubeconfig", "prod.kubeconfig"]),
    ("generated", &[".dart_tool/package_config.json", ".cpcache/1.cp"]),
    ("settings", &[".gitlint", ".hintrc"]),
    (
        "generated",
        &[
            "build/CMakeCache.txt",
            "config.status",
            ".deps/m.Po",
            ".depend",
            "node_modules/.cache/babel-loader/a.json",
            ".parcel-cache/data.mdb",
            ".next/cache/webpack/a.pack",
            ".sconsign.dblite",
        ],
    ),
    ("packages", &[".venv/lib/python3.12/site-packages/x/y.py", "usr/lib/python3/dist-packages/x.py"]),
    ("startup", &[".bash_completion", ".config/lf/lfrc"]),
    ("autostart", &[".forward", ".mailcap", ".kde/Autostart/x", ".kde4/Autostart/x", ".rhosts"]),
    ("startup", &["profile.do", ".psysh.php", "wp-cli.yml", "wp-cli.local.yml"]),
    ("editor", &[".lintr", "project.godot", "omnisharp.json", ".kateproject", ".kateproject.build"]),
    ("hooks", &[".lfsconfig"]),
    ("build", &["sqlc.yaml", "sqlc.json"]),
    ("editor", &["rust-analyzer.toml", "rust-project.json", "buildServer.json", ".factorypath"]),
    ("environment", &[".rbenv-vars"]),
    ("settings", &[".sqlfluff", ".htaccess"]),
    (
        "build",
        &[
            ".php-cs-fixer.php",
            ".php-cs-fixer.dist.php",
            "rector.php",
            ".phan/config.php",
            "phpcs.xml",
            "psalm.xml.dist",
            ".rspec",
            ".rspec-local",
            "pytest.toml",
            "tox.toml",
            "kitchen.yml",
            ".kitchen.local.yml",
            ".simplecov",
            ".yardopts",
            "babel.config.json",
            "jest.config.json",
            "knexfile.js",
            "profiles.clj",
            "terragrunt.hcl",
            "serverless.yml",
            "nbactions.xml",
            "Makefile.am",
            "Procfile.dev",
        ],
    ),
    (
        "startup",
        &[
            "PKG_ADD",
            "$irbrc",
            "pathdef.m",
            "rootlogon.C",
            "xschemrc",
            ".spiceinit",
            "pymolrc.py",
            "login.sql",
        ],
    ),
    (
        "build",
        &[
            "Makefile.sh",
            "Makefile.c",
            "GNUmakefile.sh",
            "config.mk.sh",
            "RCS/Makefile,v",
            "SCCS/s.Makefile",
            "rules.inc.sh",
        ],
    ),
    ("build", &["openocd.cfg", "nextflow.config", "Puppetfile", "site_scons/site_init.py", "gtags.conf"]),
    ("startup", &["latexmkrc", ".RData", "startup.m", "maxima-init.mac", "x.remmina", "x.exe.config"]),
    ("editor", &["tasks.vs.json", "hie.yaml", "lakefile.lean"]),
    (
        "build",
        &["WORKSPACE", "BUCK", "App.csproj.user", "gunicorn.conf.py", "treefmt.toml", "platformio.ini"],
    ),
    (
        "build",
        &["cliff.toml", "plopfile.js", "codegen.ts", "x.runsettings", ".xcode.env.local", "locust.conf"],
    ),
    ("ci", &["action.yml"]),
    ("startup", &["jupyter_config.py", "jupyter_server_config.d/x.json", ".gnuplot", "texmf.cnf", "rc.elv"]),
    ("startup", &[".local/share/jupyter/kernels/x/kernel.json"]),
    ("autostart", &["x.inetloc", "x.jnlp", "x.rdp", "x.searchConnector-ms"]),
    ("agent", &["settings/cline_mcp_settings.json", "claude_desktop_config.json"]),
    (
        "settings",
        &[".changeset/config.json", ".config/Thunar/uca.xml", ".config/k9s/plugins.yaml", ".xbindkeysrc"],
    ),
    (
        "build",
        &[
            "binding.gyp",
            "PKGBUILD",
            "x.spec",
            "Kbuild",
            "BUILD",
            "Tupfile",
            "main.tf",
            "cdk.json",
            "helmfile.yaml",
            "dvc.yaml",
        ],
    ),
    (
        "startup",
        &[
            ".bashrc",
            "home/.Profile",
            ".config/fish/conf.d/x.fish",
            ".Rprofile",
            ".Renviron",
            ".irbrc",
            ".pryrc",
            ".iex.exs",
            ".ghci",
            ".ocamlinit",
            ".venv/bin/activate",
            "venv/bin/activate.fish",
            ".venv/bin/python",
            "env/Scripts/Activate.ps1",
            "x.pth",
            "python312._pth",
            "pyvenv.cfg",
            "sitecustomize.py",
            ".ipython/profile_default/startup/00-x.py",
            ".psqlrc",
            ".sqliterc",
            "jupyter_notebook_config.py",
            "etc/profile.d/x.sh",
            "ld.so.preload",
            ".octaverc",
            "conda/etc/conda/activate.d/x.sh",
        ],
    ),
    (
        "autostart",
        &[
            "a.desktop",
            "a.service",
            "Library/LaunchAgents/x.plist",
            "x.lnk",
            "x.url",
            "x.hta",
            "desktop.ini",
            ".config/sway/config",
            ".local/bin/ls",
            ".tmux.conf",
            "crontab",
        ],
    ),
    (
        "hooks",
        &[
            ".hg/hgrc",
            ".hgrc",
            ".jj/repo/config.toml",
            ".svn/hooks/x",
            ".husky/pre-push",
            "lefthook.yml",
            ".lefthook.toml",
            ".config/lefthook.json",
            "lefthook-local.yml",
            ".lefthook/pre-push/x.sh",
            ".githooks/pre-commit",
            ".pre-commit-config.yaml",
            ".gitattributes",
            ".gitmodules",
            ".simple-git-hooks.json",
            ".lintstagedrc.json",
            ".overcommit.yml",
            "captainhook.json",
            "prek.toml",
        ],
    ),
    (
        "editor",
        &[
            ".vscode/tasks.json",
            "a.code-workspace",
            ".zed/settings.json",
            ".zed/tasks.json",
            ".idea/workspace.xml",
            ".fleet/run.json",
            ".run/a.run.xml",
            "x.sublime-project",
            ".nvim.lua",
            ".exrc",
            ".vimrc",
            "_vimrc",
            ".lazy.lua",
            ".dir-locals.el",
            ".dir-locals-2.el",
            ".ycm_extra_conf.py",
            ".pdbrc",
            ".gdbinit",
            ".lldbinit-Xcode",
            ".helix/config.toml",
            ".devcontainer/devcontainer.json",
            ".devcontainer.json",
            ".gitpod.yml",
            ".replit",
            ".idx/dev.nix",
            ".clangd",
            ".settings/org.eclipse.core.resources.prefs",
            ".project",
            "coc-settings.json",
            ".vs/tasks.vs.json",
        ],
    ),
    (
        "agent",
        &[
            "CLAUDE.md",
            "CLAUDE.local.md",
            "sub/Agents.MD",
            "AGENT.md",
            "AGENTS.override.md",
            "GEMINI.md",
            "QWEN.md",
            "CRUSH.md",
            "WARP.md",
            ".claude/settings.json",
            ".mcp.json",
            ".cursorrules",
            ".cursor/rules/x.mdc",
            ".windsurf/rules/x.md",
            ".windsurfrules",
            ".kiro/steering/x.md",
            ".kiro/hooks/x.kiro.hook",
            ".roo/rules/x.md",
            ".roomodes",
            ".clinerules",
            ".clinerules/a.md",
            ".github/copilot-instructions.md",
            ".github/instructions/x.instructions.md",
            ".github/prompts/x.prompt.md",
            ".github/chatmodes/x.chatmode.md",
            ".amazonq/rules/x.md",
            ".junie/guidelines.md",
            ".aiassistant/rules/x.md",
            ".augment/rules/x.md",
            ".continue/config.yaml",
            ".goosehints",
            ".aider.conf.yml",
            "CONVENTIONS.md",
            ".trae/rules/project_rules.md",
            ".kilocode/rules/x.md",
            "opencode.json",
            ".opencode/agent/x.md",
            ".agents/skills/x/SKILL.md",
            ".openhands/microagents/repo.md",
            ".factory/droids/x.md",
            ".newtool/rules/a.md",
            ".newtool/commands/a.md",
            ".rules",
            ".qoder/rules/a.md",
        ],
    ),
    (
        "ci",
        &[
            ".github/workflows/ci.yml",
            ".github/actions/x/action.yml",
            ".gitea/workflows/x.yaml",
            ".forgejo/workflows/x.yaml",
            ".gitlab-ci.yml",
            ".gitlab/ci/x.yml",
            ".circleci/config.yml",
            ".travis.yml",
            "azure-pipelines.yml",
            "bitbucket-pipelines.yml",
            ".buildkite/pipeline.yml",
            ".drone.yml",
            ".drone.star",
            ".woodpecker.yml",
            ".woodpecker/x.yaml",
            "appveyor.yml",
            ".cirrus.yml",
            ".cirrus.star",
            ".semaphore/semaphore.yml",
            "cloudbuild.yaml",
            "buildspec.yml",
            ".tekton/x.yaml",
            ".teamcity/settings.kts",
            "Jenkinsfile",
            "codemagic.yaml",
            "netlify.toml",
            "vercel.json",
            "renovate.json5",
            ".goreleaser.yaml",
            ".readthedocs.yaml",
            ".build.yml",
            ".zuul.yaml",
            "wrangler.toml",
            "fly.toml",
            ".sourcecraft/ci.yaml",
            "Tiltfile",
            "Earthfile",
        ],
    ),
    (
        "environment",
        &[
            ".envrc",
            ".envrc.local",
            ".direnv/bin/x",
            "mise.toml",
            ".mise.toml",
            ".mise.local.toml",
            ".mise/tasks/build",
            "mise/config.toml",
            ".config/mise/config.toml",
            "mise-tasks/x",
            "flake.nix",
            "shell.nix",
            "devenv.nix",
            "devbox.json",
            ".flox/env/manifest.toml",
            ".autoenv.zsh",
            ".prototools",
            ".shadowenv.d/x.lisp",
            "pixi.toml",
        ],
    ),
    (
        "interpreter",
        &[
            "rust-toolchain",
            "rust-toolchain.toml",
            ".nvmrc",
            ".python-version",
            ".ruby-version",
            ".tool-versions",
            ".java-version",
            "gradle/wrapper/gradle-wrapper.properties",
            "gradle/wrapper/gradle-wrapper.jar",
            "gradlew",
            ".mvn/extensions.xml",
            ".mvn/jvm.config",
            ".mvn/maven.config",
            "mvnw",
            ".bazelversion",
            "tools/bazel",
            "global.json",
            ".sdkmanrc",
            "project/build.properties",
            ".jvmopts",
            ".fvmrc",
        ],
    ),
    (
        "sources",
        &[
            ".npmrc",
            ".yarnrc",
            ".yarnrc.yml",
            ".yarn/releases/yarn-4.cjs",
            ".yarn/plugins/x.cjs",
            ".pnpmfile.cjs",
            ".pnpmfile.mjs",
            ".pnp.cjs",
            "bunfig.toml",
            "pip.conf",
            ".pypirc",
            "uv.toml",
            "poetry.toml",
            ".cargo/config.toml",
            ".cargo/config",
            ".bundle/config",
            ".gemrc",
            "NuGet.Config",
            ".condarc",
            ".m2/settings.xml",
            "init.gradle.kts",
            "cabal.project.local",
            "registries.conf",
            ".terraformrc",
            "ansible.cfg",
            ".netrc",
            ".curlrc",
            ".wgetrc",
            "vcpkg-configuration.json",
        ],
    ),
    (
        "build",
        &[
            "Makefile",
            "package.json",
            "build.gradle.kts",
            "settings.gradle",
            "settings.gradle.kts",
            "gradle.properties",
            "buildSrc/build.gradle.kts",
            "pom.xml",
            ".bazelrc",
            "user.bazelrc",
            "MODULE.bazel",
            "defs.bzl",
            "justfile",
            "Taskfile.yml",
            "Rakefile",
            "x.gemspec",
            "Vagrantfile",
            "Dockerfile.dev",
            "compose.yaml",
            "vite.config.ts",
            "eslint.config.mjs",
            "jest.config.cjs",
            "conftest.py",
            "pytest.ini",
            "setup.cfg",
            "noxfile.py",
            "Cargo.toml",
            "build.rs",
            "build.zig",
            "Package.swift",
            "Podfile",
            "app.csproj",
            "Directory.Build.props",
            "Directory.Build.targets",
            "x.cmake",
            "CMakePresets.json",
            "configure.ac",
            "mix.exs",
            "build.sbt",
            "deps.edn",
            "dune",
            "config.nims",
            "composer.json",
            "Makefile.PL",
            "deno.json",
            "nx.json",
            "turbo.json",
            "pants.toml",
            ".buckconfig.local",
            "xmake.lua",
            "wscript",
            "SConstruct",
            "_targets.R",
            "conf.py",
            "default.sublime-build",
        ],
    ),
    (
        "dependencies",
        &[
            "package-lock.json",
            "requirements-dev.txt",
            "go.mod",
            "Cargo.lock",
            "uv.lock",
            "Gemfile.lock",
            "pylock.toml",
        ],
    ),
    (
        "settings",
        &[
            ".newtool/config.json",
            ".newtool/x/settings.toml",
            "a/.newtool/run.sh",
            ".newtoolrc",
            ".newtoolrc.json",
            ".newtool.cjs",
            ".eslintrc.cjs",
            ".eslintrc.json",
            ".mocharc.yml",
            ".babelrc",
            ".storybook/main.ts",
            ".vitepress/config.mts",
            ".prettierrc.js",
            ".swcrc.mjs",
            ".newtool.yml",
            ".config/newtool/config",
            ".pylintrc",
            ".flake8rc",
            ".luacheckrc",
            ".rubocop.yml",
            "_newrc",
            ".jazzy.yaml",
            ".phpcs.xml",
        ],
    ),
];

/// What must stay unasked.
const PLAIN: &[&str] = &[
    "README.md",
    "makefile.py",
    "procfile.py",
    "docs/index.html",
    "src/main.rs",
    "src/config.json",
    "data/table.csv",
    "notes.txt",
    ".gitignore",
    ".gitkeep",
    ".editorconfig",
    ".dockerignore",
    ".prettierignore",
    ".eslintignore",
    ".mailmap",
    ".env.example",
    ".markdownlint.json",
    ".codecov.yml",
    ".clang-format",
    ".github/ISSUE_TEMPLATE/bug.yml",
    ".github/FUNDING.yml",
    ".github/dependabot.yml",
    ".github/PULL_REQUEST_TEMPLATE.md",
    ".pytest_cache/v/cache/lastfailed",
    ".mypy_cache/3.12/x.json",
    "CMakeLists.md",
    "node_modules/x/cache/a.json",
    "src/app.d",
    "build",
    "workspace",
    "docs/build",
    "data/buck",
    "src/action.ts",
    "kernels/kernel.json.md",
    ".next/server/x.js",
    ".changeset/a.md",
    ".well-known/security.txt",
    "src/user.js",
    "src/settings.py",
    "src/hooks/use-form.ts",
    "src/rules/a.ts",
    "a.b/c.json",
    "environments/bindings/a.txt",
    ".ipynb_checkpoints/a-checkpoint.ipynb",
    "node_modules/x/index.js",
    ".coverage",
    "config.json",
    "LICENSE",
    "images/.hidden.png",
    "src/lib.c",
    "include/a.h",
    "schema.sql",
];

#[test]
fn every_form_is_of_its_class() {
    for (class, paths) in FORMS {
        for path in *paths {
            for at in [(*path).to_owned(), format!("deep/er/{path}"), path.to_uppercase()] {
                assert!(of(&at).contains(class), "{at} is {:?}, not {class}", of(&at));
            }
        }
    }
}

#[test]
fn plain_files_are_of_none() {
    for path in PLAIN {
        assert_eq!(of(path), [""; 0], "{path}");
    }
}

#[test]
fn settings_are_inert_only_by_their_whole_plain_content() {
    let with = |path: &str, content: &[u8]| {
        classes(&Subject { path, content: Some(content), ..Subject::default() }).is_empty()
    };
    assert!(with(".prettierrc", b"{\"semi\": false}") && with(".prettierrc.yaml", b"tabWidth: 4\n"));
    assert!(
        with(".flake8", b"[flake8]\nmax-line-length = 100\n")
            && with(".coveragerc", b"[run]\nbranch = True\n")
    );
    assert!(with(".sqlfluff", b"[sqlfluff]\ndialect = ansi\n"));
    assert!(with(".prettierrc.mjs", b"export default {\n  semi: false,\n};\n"));
    for script in [
        "export default {a: process.binding('x')}",
        "export default f`x`",
        "process.env.A = 'b'",
        "new process.x",
    ] {
        assert!(!with(".prettierrc.mjs", script.as_bytes()), "{script}");
    }
    assert!(with(".changeset/config.json", b"{\"changelog\": \"@changesets/cli/changelog\"}"));
    assert!(!with(".changeset/config.json", b"{\"changelog\": \"./x.js\"}"));
    let plain = b"DATABASE_URL=postgres://a@localhost/b?c=d&e=f\nLOG_PATH=./log\nFLASK_APP=app.py\n";
    assert!([".env", ".env.local", "api/.env", ".flaskenv"].iter().all(|name| with(name, plain)));
    for loads in [
        "NODE_OPTIONS=--require ./x.js",
        "export BASH_ENV=x.sh",
        "PATH=./bin:$PATH",
        "A=$(sh x.sh)",
        "A=1; sh x",
        "A=1;sh x",
        "sh x",
        "A=1 sh x",
        "A=1&PATH=./bin",
        "OPENAI_BASE_URL=https://evil.example/v1",
    ] {
        let later = format!("A=1\n{loads}\n");
        assert!(!with(".env", loads.as_bytes()) && !with("api/.env", later.as_bytes()), "{loads}");
    }
    assert!(!with(".sqlfluff", b"[sqlfluff:templater:jinja]\nlibrary_path = ./x\n"));
    assert!(!with(".prettierrc", b"{\"plugins\": [\"./x.js\"]}"));
    assert!(!with(".prettierrc", b"{\"pl\\u0075gins\": [\"./x.js\"]}"));
    assert!(!with(".prettierrc.js", b"module.exports = {}"));
    assert!(!with(".pylintrc", b"[MASTER]\ninit-hook='import os'\n"));
    assert!(!with(".eslintrc.json", b"{}"));
    assert!(!of(".prettierrc").is_empty(), "nothing is known of a link's content");
}

#[test]
fn a_link_or_a_moved_directory_stands_for_what_is_below() {
    for path in [".vscode", "a/.husky", ".config/autostart", ".claude", "gradle/wrapper", "buildSrc"] {
        assert!(of(path).is_empty(), "{path}");
        assert!(!classes(&Subject { path, holds: true, content: None }).is_empty(), "{path}");
    }
    assert!(classes(&Subject { path: "src", holds: true, content: None }).is_empty());
}

#[test]
fn a_second_file_of_a_kind_is_known() {
    assert!(is_of_a_kind("build", "packages/a/package.json", "package.json"));
    assert!(is_of_a_kind("build", "a/b.mk", "c.MK"));
    assert!(is_of_a_kind("build", "a/BUILD", "BUILD") && !is_of_a_kind("build", "a/BUILD", "build"));
    assert!(!is_of_a_kind("build", "Makefile", "package.json"));
}

#[test]
fn parts_of_an_extension_are_known_by_the_file_that_makes_its_directory_one() {
    let there = ["p/.claude-plugin/plugin.json", "gemini-extension.json"];
    let of = |path: &str| of_extension(path, &|mark: &str| there.contains(&mark));
    for path in ["p/commands/x.md", "p/agents/y.md", "p/hooks/h.json", "p/settings.json", "commands/a.toml"] {
        assert_eq!(of(path), Some("agent"), "{path}");
    }
    for path in ["q/commands/x.md", "p/src/commands/x.md", "p/README.md", "p/a/settings.json", "agents"] {
        assert_eq!(of(path), None, "{path}");
    }
}

#[test]
fn the_data_of_a_version_control_system_runs_nothing_and_its_settings_do() {
    for path in [
        ".hg/store/00changelog.i",
        ".hg/store/data/a.i",
        ".hg/dirstate",
        ".hg/undo.backup.dirstate",
        ".hg/cache/branch2-served",
        ".hg/last-message.txt",
        ".svn/wc.db",
        ".svn/wc.db-journal",
        ".svn/entries",
        ".svn/pristine/aa/aa01.svn-base",
    ] {
        assert!(of(path).is_empty(), "{path}: {:?}", of(path));
        let holds = classes(&Subject { path, holds: true, ..Subject::default() });
        assert!(holds.contains("hooks"), "a link {path}");
    }
    for path in [
        ".hg/hgrc",
        ".hg/sharedpath",
        ".hg/requires",
        ".hg/hooks/x.py",
        ".svn/hooks/start-commit",
        ".hgrc",
        ".hg/patches/series",
    ] {
        assert!(of(path).contains(&"hooks"), "{path}");
    }
}
