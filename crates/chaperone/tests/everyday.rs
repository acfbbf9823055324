//! What a person meets who works with it every day: through the real binary, with cells.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "mcp/support.rs"]
#[allow(dead_code, reason = "only the machine is needed here")]
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use support::Machine;

/// What a shell of the user's prints, with `chaperone` in it, in their documents.
fn shell(machine: &Machine, script: &str) -> Output {
    machine.shell(script).stdin(Stdio::null()).output().unwrap()
}

/// A session that is over, of an agent that ran a script under the `staged` or the `mediated` profile.
fn over(machine: &Machine, profile: &str, umask: &str, script: &str) -> String {
    for mode in ["staged", "mediated"] {
        let text = format!(
            "name = \"{mode}\"\ndescription = \"{mode}\"\n[[mount]]\npath = \"/workspace\"\nmode = \"{mode}\"\n\
             actions = [\"read\", \"write\", \"append\", \"list\", \"delete\", \"rename\"]\n"
        );
        machine.profile(mode, &text);
    }
    let run =
        shell(machine, &format!("umask {umask}; chaperone run --profile {profile} -- /bin/sh -c '{script}'"));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let all = machine.ask(&["sessions", "--all", "--json"]);
    all["sessions"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn mode_of(at: &Path) -> u32 {
    at.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_an_agent_makes_has_the_modes_of_the_umask_that_it_was_started_with() {
    for profile in ["staged", "mediated"] {
        for (umask, file, directory) in [("077", 0o600, 0o700), ("027", 0o640, 0o750), ("022", 0o644, 0o755)]
        {
            let machine = Machine::new();
            if !machine.has_cells("what_an_agent_makes_has_the_modes_of_the_umask_that_it_was_started_with") {
                return;
            }
            let session =
                over(&machine, profile, umask, "echo private > letter; mkdir -p d/e; echo x > d/e/f");
            let commit = machine.run(&["commit", &session]);
            assert!(commit.status.success(), "{}", told(&commit));
            for (name, mode) in [("letter", file), ("d", directory), ("d/e", directory), ("d/e/f", file)] {
                let is = mode_of(&machine.docs().join(name));
                assert_eq!(is, mode, "{profile}, {umask}: {name} is {is:o}");
            }
        }
    }
}

#[test]
fn absolute_paths_of_the_workspace_name_changes_like_those_that_the_agent_sees() {
    let machine = Machine::new();
    if !machine.has_cells("absolute_paths_of_the_workspace_name_changes_like_those_that_the_agent_sees") {
        return;
    }
    let docs = machine.docs();
    let link = docs.with_file_name("linked");
    std::os::unix::fs::symlink(&docs, &link).unwrap();
    let session = over(&machine, "staged", "022", "mkdir d; for n in a b c d/e f; do echo x > $n; done");
    let at = |place: &Path, name: &str| place.join(name).display().to_string();
    let done = |words: &[&str]| {
        let output = machine.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", told(&output));
        told(&output)
    };
    assert!(done(&["commit", &session, &at(&docs, "a")]).contains("committed"));
    assert!(done(&["commit", &session, &at(&link, "b"), &at(&link, "d")]).contains("d/e"));
    assert!(docs.join("a").exists() && docs.join("b").exists() && docs.join("d/e").exists());
    assert!(!docs.join("c").exists(), "only what was named is committed");
    done(&["undo", &session, &at(&docs, "a")]);
    done(&["undo", &session, &at(&link, "b")]);
    assert!(!docs.join("a").exists() && !docs.join("b").exists() && docs.join("d/e").exists());
    done(&["discard", &session, &at(&link, "c")]);
    // What is elsewhere names nothing.
    let elsewhere = machine.run(&["commit", &session, &at(docs.parent().unwrap(), "person/f")]);
    assert_eq!(elsewhere.status.code(), Some(1), "{}", told(&elsewhere));
    assert!(!docs.join("f").exists());
    // The workspace itself is all of it.
    done(&["commit", &session, &docs.display().to_string()]);
    assert!(docs.join("f").exists());
}

/// Git as the user calls it.
const GIT: &str =
    "git() { command git -c user.name=me -c user.email=me@example.org -c init.defaultBranch=main \"$@\"; }; ";

/// A repository in the documents with one commit, and a session whose agent made another one, which is committed.
fn with_an_agents_commit(machine: &Machine) -> String {
    let made = shell(machine, &format!("{GIT} git init -q; echo a > f; git add f; git commit -qm 1"));
    assert!(made.status.success(), "{}", told(&made));
    let script = "echo n > n; git add n; git -c user.name=a -c user.email=a@example.org commit -qm n";
    let session = over(machine, "staged", "022", script);
    let commit = machine.run(&["commit", &session]);
    assert!(commit.status.success(), "{}", told(&commit));
    session
}

/// What of a repository is broken.
fn broken(machine: &Machine) -> String {
    told(&shell(machine, "git fsck --full --no-dangling 2>&1 | grep -v ^notice; git write-tree > /dev/null"))
}

fn objects(machine: &Machine) -> usize {
    let counted = shell(machine, "find .git/objects -type f | wc -l");
    String::from_utf8(counted.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn a_commit_of_the_agents_is_undone_whole_after_a_look_of_the_users_git() {
    let machine = Machine::new();
    if !machine.has_cells("a_commit_of_the_agents_is_undone_whole_after_a_look_of_the_users_git") {
        return;
    }
    let session = with_an_agents_commit(&machine);
    let index = std::fs::read(machine.docs().join(".git/index")).unwrap();
    shell(&machine, "sleep 1; touch f; git status");
    assert_ne!(std::fs::read(machine.docs().join(".git/index")).unwrap(), index, "git status wrote it");
    let undo = machine.run(&["undo", &session]);
    assert_eq!(undo.status.code(), Some(0), "{}", told(&undo));
    assert_eq!(objects(&machine), 3, "blob, tree and commit of the first");
    assert_eq!(broken(&machine), "");
    let status = shell(&machine, &format!("{GIT} git status --short; git commit -qm mine --allow-empty"));
    assert_eq!((told(&status).as_str(), status.status.code()), ("", Some(0)));
}

#[test]
fn an_undo_never_leaves_a_repository_without_objects_that_it_names() {
    // What the user's own git did since: it staged more, committed on top, gave the commit another name, or went elsewhere with it.
    for since in [
        "echo m > m; git add m",
        "echo m > m; git add m; git commit -qm mine",
        "git commit -qm mine --allow-empty",
        "git branch keep",
        "git tag keep",
        "git checkout -q -b other; git commit -qm mine --allow-empty; git checkout -q main",
        "git worktree add -q ../tree keep 2>/dev/null || git worktree add -q -b keep ../tree",
        "git pack-refs --all; git branch keep; git pack-refs --all",
    ] {
        let machine = Machine::new();
        if !machine.has_cells("an_undo_never_leaves_a_repository_without_objects_that_it_names") {
            return;
        }
        let session = with_an_agents_commit(&machine);
        let went_on = shell(&machine, &format!("{GIT} sleep 0.05; {since}"));
        assert!(went_on.status.success(), "{since}: {}", told(&went_on));
        let undo = machine.run(&["undo", &session]);
        let said = told(&undo);
        assert_eq!(undo.status.code(), Some(1), "{since}: {said}");
        assert!(said.contains("needed_by_what_stays") && said.contains("--force"), "{since}: {said}");
        assert!(said.matches(".git/objects").count() <= 2, "{since}: one line for all of them: {said}");
        assert_eq!(broken(&machine), "", "{since}: {said}");
    }
}

#[test]
fn an_undo_leaves_a_repository_that_the_user_works_in() {
    let made =
        "git init -q; echo n > n; git add n; git -c user.name=a -c user.email=a@example.org commit -qm n";
    for (name, since) in
        [("", "echo m > m; git add m; git commit -qm mine"), ("sub", "git branch keep"), ("sub", "")]
    {
        let machine = Machine::new();
        if !machine.has_cells("an_undo_leaves_a_repository_that_the_user_works_in") {
            return;
        }
        let enter = if name.is_empty() { String::new() } else { format!("mkdir {name}; cd {name}; ") };
        let session = over(&machine, "staged", "022", &format!("{enter}{made}"));
        let commit = machine.run(&["commit", &session]);
        assert!(commit.status.success(), "{}", told(&commit));
        let went_on = shell(&machine, &format!("{GIT} cd ./{name}; sleep 0.05; {since}"));
        assert!(went_on.status.success(), "{since}: {}", told(&went_on));
        let undo = machine.run(&["undo", &session]);
        let said = told(&undo);
        let git = machine.docs().join(name).join(".git");
        if since.is_empty() {
            assert_eq!((undo.status.code(), git.exists()), (Some(0), false), "{said}");
            continue;
        }
        assert_eq!(undo.status.code(), Some(1), "{since}: {said}");
        let kept = said.lines().filter(|line| line.contains("needed_by_what_stays"));
        assert_eq!(kept.count(), 1, "{since}: one line for all of it: {said}");
        assert!(said.contains("--force"), "{since}: {said}");
        let log = shell(
            &machine,
            &format!(
                "cd ./{name}; git fsck --full --no-dangling 2>&1 | grep -v ^notice; git log --format=%s"
            ),
        );
        let log = told(&log);
        let wanted = if since.contains("mine") { "mine\nn\n" } else { "n\n" };
        assert_eq!(log, wanted, "{since}: {said}");
    }
}

#[test]
fn a_virtual_environment_comes_whole_under_any_name() {
    for (name, around) in [("v", ""), ("tools/py", ""), ("v", "git init -q")] {
        let machine = Machine::new();
        if !machine.has_cells("a_virtual_environment_comes_whole_under_any_name") {
            return;
        }
        shell(&machine, around);
        let make = format!("python3 -m venv --without-pip {name}");
        let made = over(&machine, "staged", "022", &format!("{make} && echo done > plain.txt"));
        let commit = machine.run(&["commit", &made]);
        let said = told(&commit);
        let there = || machine.docs().join(name).join("pyvenv.cfg").exists();
        assert!(!there() && !machine.docs().join(name).join("bin").exists(), "{name}: {said}");
        assert!(machine.docs().join("plain.txt").exists(), "{name}: {said}");
        let named = machine.run(&["commit", &made, name]);
        assert_eq!(named.status.code(), Some(0), "{name}: {}", told(&named));
        assert!(there(), "{name}: {}", told(&named));
        let runs = shell(&machine, &format!("{name}/bin/python3 -c 'print(1)'"));
        assert_eq!(told(&runs), "1\n", "{name}");
        // What is added to the user's own is of it, too.
        let script = format!("mkdir -p {name}/lib/more && echo x > {name}/bin/activate");
        let more = over(&machine, "staged", "022", &script);
        let list = machine.ask(&["changes", "--json", &more]);
        let list = list.as_array().unwrap();
        assert!(!list.is_empty() && list.iter().all(|change| change["group"] == name), "{list:?}");
    }
}

#[test]
fn what_cannot_be_looked_into_says_so_where_no_redacted_copy_was_handed_out() {
    let machine = Machine::new();
    if !machine.has_cells("what_cannot_be_looked_into_says_so_where_no_redacted_copy_was_handed_out") {
        return;
    }
    let pack = "import zipfile; z = zipfile.ZipFile(\"big.zip\", \"w\", zipfile.ZIP_DEFLATED); z.write(\"big\"); z.close()";
    let script = format!(
        "head -c 300000000 /dev/zero > big; python3 -c \"{}\"; tar czf big.tgz big; rm big",
        pack.replace('"', "\\\"")
    );
    let session = over(&machine, "staged", "022", &script);
    let commit = machine.run(&["commit", &session]);
    let said = told(&commit);
    assert!(!said.contains("cannot_restore"), "{said}");
    assert!(said.matches("cannot_look_inside").count() >= 2, "{said}");
    let named = machine.run(&["commit", &session, "big.zip", "big.tgz"]);
    assert_eq!(named.status.code(), Some(0), "{}", told(&named));
    assert!(machine.docs().join("big.zip").exists() && machine.docs().join("big.tgz").exists());
}

#[test]
fn an_archive_of_a_redacted_copy_is_kept_back_for_its_placeholders() {
    let machine = Machine::new();
    if !machine.has_cells("an_archive_of_a_redacted_copy_is_kept_back_for_its_placeholders") {
        return;
    }
    machine.put("people.csv", "name,ssn\nAnn Lee,536-22-8726\nBo Li,219-09-9999\n");
    let script = "grep -q REDACTED people.csv && python3 -m zipfile -c people.zip people.csv";
    let session = over(&machine, "mediated --ask redact", "022", script);
    let commit = machine.run(&["commit", &session, "people.zip"]);
    assert!(told(&commit).contains("cannot_restore"), "{}", told(&commit));
    assert!(!machine.docs().join("people.zip").exists());
    // Also after a restart of the broker, which has nothing of the session but what it wrote.
    machine.end_broker();
    let commit = machine.run(&["commit", &session, "people.zip"]);
    assert!(told(&commit).contains("cannot_restore"), "{}", told(&commit));
}
