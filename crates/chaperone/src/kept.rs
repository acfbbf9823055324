//! What a commit kept back, by kind, each with the command that commits it.

use std::collections::{BTreeMap, BTreeSet};

use chaperone_protocol::counted;
use serde_json::Value;

use crate::cli::Commit;
use crate::diverged;
use crate::show;
use crate::untrusted::{Untrusted, word};

/// A commit that kept something back until the user decides.
pub const KEPT_BACK: u8 = 3;
/// Paths that are named in a command; of more the reason is.
const NAMED: usize = 8;
/// Directories of dependencies of which each is named.
const DIRECTORIES: usize = 8;

/// The reason that a cache of compiled code is left.
const CACHE: &str = "interpreter_cache";
/// Of what is no more than the directory of dependencies that it is in.
pub const DIRECTORY: &str = "dependency_directory";
/// Of what is committed with other changes, or not at all.
pub const OPERATION: &str = "part_of_operation";
/// Of a removal of what only moves: its new name is not committed.
const MOVED: &str = "moved_with";
const ASKED: &str = "confirmation_required";
const UNSEEN: &str = "changed_since_shown";

/// A cache of compiled code that was left for no other reason: nothing is missed, so it is no question and no fault.
pub fn is_left_cache(change: &Value) -> bool {
    all_reasons(change, &[CACHE, ASKED])
}

/// A socket or a FIFO, say, that programs left where they work: it is told, and nothing went wrong.
fn stays_in_the_cell(change: &Value) -> bool {
    all_reasons(change, &["cannot_be_staged"])
}

fn all_reasons(change: &Value, known: &[&str]) -> bool {
    let mut reasons = show::list(change, "reasons").peekable();
    reasons.peek().is_some() && reasons.all(|reason| known.contains(&reason.raw()))
}

fn has(change: &Value, reason: &str) -> bool {
    show::list(change, "reasons").any(|r| r == reason)
}

/// It passes when the user accepts its reasons.
pub fn is_asked(change: &Value) -> bool {
    has(change, ASKED)
}

/// It stays staged until the user decides, who can let it pass.
fn waits(change: &Value) -> bool {
    match show::text(change, "state").raw() {
        "conflict" => true,
        "refused" => {
            [ASKED, UNSEEN, OPERATION, MOVED].iter().any(|r| has(change, r)) && !is_left_cache(change)
        }
        _ => false,
    }
}

/// The exit code of a commit: 1 where something failed or may not pass at all, 3 where something waits for the user.
pub fn code(list: &[Value]) -> u8 {
    let is_wrong = |change: &Value| {
        show::text(change, "state") == "refused"
            && !waits(change)
            && !is_left_cache(change)
            && !stays_in_the_cell(change)
    };
    if list.iter().any(is_wrong) {
        1
    } else if list.iter().any(waits) {
        KEPT_BACK
    } else {
        0
    }
}

/// What the user may do about what was left: one line for each kind, with the command that does it.
pub fn advice(args: &Commit, list: &[Value]) -> Vec<String> {
    let given: Vec<&str> = args.paths.iter().map(String::as_str).collect();
    let with = |test: &dyn Fn(&Value) -> bool| list.iter().filter(|c| test(c)).collect::<Vec<&Value>>();
    let mut advice = Vec::new();
    let unseen = with(&|c| has(c, UNSEEN));
    if !unseen.is_empty() {
        advice.push(format!(
            "{} not as shown, or never shown while the agent runs: chaperone changes {} shows; as it is: {}",
            counted(unseen.len(), "change"),
            Untrusted::new(&args.session),
            command(args, &given, " --unseen")
        ));
    }
    let is_conflict = |c: &Value| show::text(c, "state") == "conflict";
    // What is committed as one is one command. What waits for something that may not pass has none.
    let is_part = |c: &Value| has(c, OPERATION) && !has(c, DIRECTORY) && (has(c, ASKED) || is_conflict(c));
    // Of what a repository says of itself there is more to say.
    let is_changed = |c: &Value| is_conflict(c) && !is_part(c) && !diverged::is_said(c);
    let changed = with(&is_changed);
    if !changed.is_empty() {
        let paths = paths_of(&changed).unwrap_or_else(|| given.clone());
        advice.push(format!(
            "{} to what you changed meanwhile; for the agent's version (or mine, or both): {}",
            counted(changed.len(), "change"),
            command(args, &paths, " --conflict theirs")
        ));
    }
    let caches = with(&is_left_cache).len();
    if caches > 0 {
        let (stay, them) = if caches == 1 { ("stays", "it") } else { ("stay", "them") };
        advice.push(format!(
            "{} of caches that their tools make anew {stay} staged; --confirm {CACHE} commits {them}, too",
            counted(caches, "file")
        ));
    }
    let asked = with(&|c| has(c, ASKED) && !is_part(c) && !is_left_cache(c));
    let (in_directories, others): (Vec<&Value>, Vec<&Value>) =
        asked.into_iter().partition(|c| has(c, DIRECTORY));
    advice.extend(of_moves(&with(&|c| has(c, MOVED) && !has(c, ASKED))));
    advice.extend(of_directories(args, &in_directories, &given));
    advice.extend(of_operation(args, &with(&is_part), list));
    let mut kinds: BTreeMap<Vec<&str>, Vec<&Value>> = BTreeMap::new();
    for change in others {
        kinds.entry(reasons(change)).or_default().push(change);
    }
    for (reasons, changes) in kinds {
        let next = match paths_of(&changes) {
            Some(paths) => accepting(args, &paths, &reasons),
            None => of_many(args, &changes, &given, &reasons),
        };
        let (count, why) = (counted(changes.len(), "change"), listed(&reasons));
        advice.push(format!("{count} kept back ({why}); to commit: {next}"));
    }
    advice
}

fn listed(reasons: &[&str]) -> String {
    reasons.iter().map(|r| Untrusted::new(r).to_string()).collect::<Vec<_>>().join(", ")
}

/// What stays with a new name that is asked about, or may not pass: no question of its own.
fn of_moves(changes: &[&Value]) -> Option<String> {
    let mut new = changes.iter().filter_map(|change| change["moved_to"].as_str()).collect::<BTreeSet<_>>();
    let first = Untrusted::new(new.pop_first()?).to_string();
    Some(match (changes.len(), new.len()) {
        (1, _) => format!(
            "1 change kept back ({MOVED}): its new name {first} is not committed yet; both go together"
        ),
        (_, 0) => format!(
            "{} kept back ({MOVED}): the new name {first} is not committed yet; they go with it",
            counted(changes.len(), "change")
        ),
        (_, more) => format!(
            "{} kept back ({MOVED}): their new names, {first} and {more} more, are not committed yet; they go together",
            counted(changes.len(), "change")
        ),
    })
}

/// What is committed as one: named so that it is all of it, and nothing else.
fn of_operation(args: &Commit, changes: &[&Value], list: &[Value]) -> Option<String> {
    if changes.is_empty() {
        return None;
    }
    let (conflicts, asked): (Vec<&Value>, Vec<&Value>) =
        changes.iter().partition(|change| show::text(change, "state") == "conflict");
    let why: BTreeSet<&str> = asked.iter().flat_map(|change| reasons(change)).chain([OPERATION]).collect();
    let why: Vec<&str> = why.into_iter().collect();
    let what = format!("{} kept back ({})", counted(changes.len(), "change"), listed(&why));
    let given: Vec<&str> = args.paths.iter().map(String::as_str).collect();
    if !given.is_empty() && args.accept.iter().chain(&args.confirm).any(|reason| reason == OPERATION) {
        let all = command(args, &[], " --interactive");
        return Some(format!(
            "{what}: it is committed whole, and not all of it was named; {all} asks about all of it"
        ));
    }
    let is_settled = args.conflict.as_deref() == Some("theirs");
    let (version, choice) = if conflicts.is_empty() && !is_settled {
        ("", "")
    } else {
        (" over what you changed meanwhile", " --conflict theirs")
    };
    let options = format!("{choice}{}", options("accept", &why));
    let cover = || Some(covering(changes, list)).filter(|paths| paths.len() <= NAMED);
    let next = match given.is_empty() {
        false => command(args, &given, &options),
        true => match paths_of(changes).or_else(cover) {
            Some(paths) => command(args, &paths, &options),
            None => command(args, &[], &format!("{choice}{}", self::options("confirm", &why))),
        },
    };
    Some(format!("{what}; to commit{version}: {next}"))
}

/// One line for each directory of dependencies, or for all where there are many.
fn of_directories(args: &Commit, changes: &[&Value], given: &[&str]) -> Vec<String> {
    let mut directories: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for change in changes {
        directories.entry(group(change).unwrap_or_default()).or_default().push(change);
    }
    if directories.len() > DIRECTORIES {
        let next = of_many(args, changes, given, &[DIRECTORY]);
        let count = counted(directories.len(), "directory");
        return vec![format!("{count} of dependencies kept back: {}; to commit: {next}", sum(changes))];
    }
    let of_one = |(at, changes): (&&str, &Vec<&Value>)| {
        let next = accepting(args, &[at], &[DIRECTORY]);
        format!("{} kept back: {}; to commit: {next}", Untrusted::new(at), sum(changes))
    };
    directories.iter().map(of_one).collect()
}

/// The index of a repository of git.
pub fn is_index(path: &str) -> bool {
    path == ".git/index" || path.ends_with("/.git/index")
}

/// The directory of dependencies that a change is in.
pub fn group(change: &Value) -> Option<&str> {
    change["group"].as_str()
}

/// How many, how large, and how many of them are special in which way.
pub fn sum(changes: &[&Value]) -> String {
    let bytes: u64 = changes.iter().filter_map(|c| c["size"].as_u64()).sum();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in changes.iter().flat_map(|c| reasons(c)).filter(|r| *r != DIRECTORY) {
        *kinds.entry(reason).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {}", Untrusted::new(kind))).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{}, {}{kinds}", counted(changes.len(), "change"), size(bytes))
}

/// Why it was kept back, each once and in order.
pub fn reasons(change: &Value) -> Vec<&str> {
    let reasons: BTreeSet<&str> = show::list(change, "reasons").map(Untrusted::raw).collect();
    reasons.into_iter().filter(|r| *r != ASKED).collect()
}

/// Their paths, each once, where they are few enough to be named.
fn paths_of<'v>(changes: &[&'v Value]) -> Option<Vec<&'v str>> {
    let paths: BTreeSet<&str> = changes.iter().filter_map(|c| c["path"].as_str()).collect();
    (paths.len() <= NAMED).then(|| paths.into_iter().collect())
}

/// The fewest paths that have these changes at or below them, and nothing else that waits.
pub fn covering<'v>(changes: &[&'v Value], list: &[Value]) -> Vec<&'v str> {
    let mine: BTreeSet<&str> = changes.iter().filter_map(|c| c["path"].as_str()).collect();
    let others: BTreeSet<&str> = list
        .iter()
        .filter(|change| waits(change) || is_left_cache(change) || show::text(change, "state") == "staged")
        .filter_map(|change| change["path"].as_str())
        .filter(|path| !mine.contains(path))
        .collect();
    let holds_other = |directory: &str| {
        let below = format!("{directory}/");
        others.contains(directory)
            || others.range(&*below..).next().is_some_and(|path| path.starts_with(&below))
    };
    let highest = |path: &'v str| {
        let above = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        above.chain([path]).find(|directory| !holds_other(directory)).unwrap_or(path)
    };
    let cover: BTreeSet<&str> = mine.iter().map(|path| highest(path)).collect();
    cover.into_iter().collect()
}

fn command(args: &Commit, paths: &[&str], options: &str) -> String {
    let words: String = paths.iter().map(|path| format!(" {}", word(path))).collect();
    format!("chaperone commit{options} {}{words}", Untrusted::new(&args.session))
}

/// The command that commits these paths, and accepts of them what they were kept back for. What the agent does until then is not
/// accepted with it.
fn accepting(args: &Commit, paths: &[&str], reasons: &[&str]) -> String {
    command(args, paths, &options("accept", reasons))
}

/// For more than can be named: by what was named before, or the directory that holds them all.
fn of_many(args: &Commit, changes: &[&Value], given: &[&str], reasons: &[&str]) -> String {
    match (given, holding(changes)) {
        ([], None) => command(args, given, &options("confirm", reasons)),
        ([], Some(directory)) => accepting(args, &[&directory], reasons),
        _ => accepting(args, given, reasons),
    }
}

fn options(option: &str, reasons: &[&str]) -> String {
    reasons.iter().map(|reason| format!(" --{option} {}", Untrusted::new(reason))).collect()
}

/// The deepest directory that all of them are in; none where that is the workspace itself.
fn holding(changes: &[&Value]) -> Option<String> {
    let mut paths = changes.iter().filter_map(|c| c["path"].as_str()).map(|path| {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        directory.split('/').collect::<Vec<_>>()
    });
    let first = paths.next()?;
    let shared = paths.fold(first.len(), |shared, path| {
        first.iter().zip(&path).take(shared).take_while(|(a, b)| a == b).count()
    });
    let directory = first.get(..shared)?.join("/");
    (!directory.is_empty()).then_some(directory)
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => counted(bytes, "byte"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::untrusted::{HOSTILE, assert_plain};
    use serde_json::json;

    fn args(paths: &[&str]) -> Commit {
        let paths = paths.iter().map(|p| (*p).to_owned()).collect();
        Commit {
            session: "3f2a".into(),
            paths,
            conflict: None,
            unseen: false,
            confirm: Vec::new(),
            accept: Vec::new(),
            interactive: false,
            json: false,
        }
    }

    fn kept(path: &str, reasons: &[&str]) -> Value {
        let reasons: Vec<&str> = [ASKED].iter().chain(reasons).copied().collect();
        json!({ "state": "refused", "path": path, "reasons": reasons, "size": 600, "op": "create" })
    }

    #[test]
    fn what_waits_is_3_and_what_may_not_pass_is_1() {
        let waiting = kept("a", &["runs_later"]);
        let denied = json!({ "state": "refused", "path": "b", "reasons": ["macro"] });
        let changed = json!({ "state": "conflict", "path": "c", "reasons": ["changed_meanwhile"] });
        let unseen = json!({ "state": "refused", "path": "a", "reasons": [UNSEEN] });
        let fifo = json!({ "state": "refused", "path": "d", "reasons": ["cannot_be_staged"] });
        let cache = kept("e", &[CACHE]);
        let done = json!({ "state": "committed", "path": "f", "reasons": [] });
        for (list, expected) in [
            (vec![&waiting, &done], 3),
            (vec![&changed], 3),
            (vec![&unseen], 3),
            (vec![&waiting, &denied, &changed], 1),
            (vec![&denied], 1),
            (vec![&fifo, &cache, &done], 0),
            (vec![], 0),
        ] {
            let list: Vec<Value> = list.into_iter().cloned().collect();
            assert_eq!(code(&list), expected, "{list:?}");
        }
    }

    #[test]
    fn what_moves_is_told_in_one_line_and_is_no_question_of_its_own() {
        let moved = |path: &str, new: Option<&str>| json!({ "state": "refused", "path": path, "reasons": [MOVED], "op": "delete", "moved_to": new });
        let mut list = vec![kept("new/run.sh", &["executable"]), moved("run.sh", Some("new/run.sh"))];
        assert_eq!(code(&list), 3);
        assert_eq!(
            advice(&args(&[]), &list),
            [
                "1 change kept back (moved_with): its new name new/run.sh is not committed yet; both go together",
                "1 change kept back (executable); to commit: chaperone commit --accept executable 3f2a new/run.sh",
            ]
        );
        list.extend([moved("b", Some("new/b")), moved("d", None)]);
        assert_eq!(
            advice(&args(&[]), &list)[0],
            "3 changes kept back (moved_with): their new names, new/b and 1 more, are not committed yet; they go together"
        );
    }

    #[test]
    fn each_kind_has_the_command_that_commits_it() {
        let mut list: Vec<Value> =
            (0..40).map(|n| kept(&format!("node_modules/p{n}/x"), &[DIRECTORY, "executable"])).collect();
        list.extend((0..20).map(|n| kept(&format!("node_modules/p{n}/y"), &[DIRECTORY])));
        list.iter_mut().for_each(|change| change["group"] = json!("node_modules"));
        list.push(kept("job.sh", &["executable"]));
        list.extend((0..20).map(|n| kept(&format!("old/{n}"), &["many_deletes"])));
        assert_eq!(
            advice(&args(&["app"]), &list),
            [
                "node_modules kept back: 60 changes, 36.0 kB (40 executable); to commit: chaperone commit --accept dependency_directory 3f2a node_modules",
                "1 change kept back (executable); to commit: chaperone commit --accept executable 3f2a job.sh",
                "20 changes kept back (many_deletes); to commit: chaperone commit --accept many_deletes 3f2a app",
            ]
        );
    }

    #[test]
    fn many_are_accepted_by_the_directory_that_holds_them_all() {
        let many = |place: &str| -> Vec<Value> {
            (0..20).map(|n| kept(&format!("{place}{n}"), &["executable", "runs_later"])).collect()
        };
        let next = |list: &[Value]| {
            let told = advice(&args(&[]), list).remove(0);
            told.split_once("to commit: ").map(|(_, next)| next.to_owned()).unwrap()
        };
        let options =
            |option: &str| format!("chaperone commit --{option} executable --{option} runs_later 3f2a");
        assert_eq!(next(&many("a/b/c")), options("accept") + " a/b");
        assert_eq!(next(&[many("a/b/c"), many("a/bc/")].concat()), options("accept") + " a");
        for (all, why) in
            [(many("x"), "in the workspace itself"), ([many("a/b"), many("ab/c")].concat(), "beside")]
        {
            assert_eq!(next(&all), options("confirm"), "{why}");
        }
    }

    #[test]
    fn what_is_committed_as_one_is_one_command() {
        let mut list: Vec<Value> =
            (0..20).map(|n| kept(&format!(".git/worktrees/next/{n}"), &[OPERATION])).collect();
        list.push(kept(".git/worktrees/next/gitdir", &[OPERATION, "runs_later"]));
        list.push(kept("trees/next/.git", &[OPERATION, "runs_later"]));
        list.push(kept(".git/hooks/x", &["runs_later"]));
        list.push(kept("trees/next/x.sh", &["executable"]));
        let told = advice(&args(&[]), &list);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(
            told[0],
            "22 changes kept back (part_of_operation, runs_later); to commit: chaperone commit --accept part_of_operation --accept runs_later 3f2a .git/worktrees trees/next/.git"
        );
    }

    #[test]
    fn of_half_an_operation_the_other_half_is_not_guessed() {
        let list = [kept(".git/worktrees/next/gitdir", &[OPERATION, "runs_later"])];
        let mut args = args(&[".git/worktrees/next/gitdir"]);
        args.accept = vec!["runs_later".into(), OPERATION.into()];
        assert_eq!(
            advice(&args, &list),
            [
                "1 change kept back (part_of_operation, runs_later): it is committed whole, and not all of it was named; chaperone commit --interactive 3f2a asks about all of it"
            ]
        );
    }

    #[test]
    fn an_operation_over_what_the_user_changed_is_one_command_and_none_where_a_part_may_not_pass() {
        let mut conflict = kept(".git/HEAD", &[OPERATION, "changed_meanwhile"]);
        conflict["state"] = json!("conflict");
        let list = [conflict, kept(".git/rebase-merge/onto", &[OPERATION])];
        assert_eq!(
            advice(&args(&[]), &list),
            [
                "2 changes kept back (part_of_operation); to commit over what you changed meanwhile: chaperone commit --conflict theirs --accept part_of_operation 3f2a .git/HEAD .git/rebase-merge/onto"
            ]
        );
        let stays = json!({ "state": "refused", "path": ".git/HEAD", "reasons": [OPERATION] });
        assert_eq!((advice(&args(&[]), std::slice::from_ref(&stays)).len(), code(&[stays])), (0, KEPT_BACK));
    }

    #[test]
    fn many_directories_of_dependencies_are_one_line() {
        let one = |n: usize| {
            let mut change = kept(&format!("p{n}/vendor/x"), &[DIRECTORY, "executable"]);
            change["group"] = json!(format!("p{n}/vendor"));
            change
        };
        let told = advice(&args(&[]), &(0..40).map(one).collect::<Vec<_>>());
        let [line] = &told[..] else { panic!("{told:?}") };
        assert!(line.ends_with("chaperone commit --confirm dependency_directory 3f2a"), "{line}");
    }

    #[test]
    fn what_the_user_changed_and_what_was_not_shown_have_their_commands() {
        let changed = json!({ "state": "conflict", "path": "a b", "reasons": ["changed_meanwhile"] });
        let unseen = json!({ "state": "refused", "path": "c", "reasons": [UNSEEN] });
        let told = advice(&args(&[]), &[changed, unseen]);
        assert!(told[0].ends_with("chaperone commit --unseen 3f2a"), "{told:?}");
        assert!(told[1].ends_with("chaperone commit --conflict theirs 3f2a 'a b'"), "{told:?}");
    }

    #[test]
    fn caches_that_are_made_anew_are_one_line() {
        let cache = kept("a", &[CACHE]);
        let told = advice(&args(&[]), &[cache.clone(), cache]);
        assert!(told.len() == 1 && told[0].starts_with("2 files of caches"), "{told:?}");
    }

    #[test]
    fn a_hostile_name_is_one_plain_line_of_what_was_kept() {
        for name in HOSTILE {
            let mut inside = kept(name, &[DIRECTORY, name]);
            inside["group"] = json!(name);
            let changed = json!({ "state": "conflict", "path": name, "reasons": [] });
            for line in advice(&args(&[]), &[kept(name, &[name]), inside, changed]) {
                assert_plain(&line, 1);
            }
        }
    }
}
