//! Staged changes on their way to the user's directory: each is a deed of its own, with its content, its facts and
//! what the format's validators say.

mod beside;
mod checkout;
mod chosen;
mod dependencies;
mod derived;
mod diff;
mod git;
mod guards;
mod index;
mod intents;
mod judge;
mod link;
mod listing;
mod looked;
mod module;
mod moved;
mod named;
mod needed;
mod objects;
mod operation;
mod option;
mod own;
mod placeholders;
mod refs;
mod repository;
mod review;
mod rewritten;
mod ruined;
mod seen;
mod shown;
mod site;
mod tidied;
mod tracked;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

use chaperone_staging::{Change, Choice, Entry, Op, Report, State, Tree as Stage, Undo, Verdict, removes};
use serde_json::json;

pub use chaperone_staging::Wanted;

use self::chosen::{chosen, relative};
pub use self::judge::CommitOrigin;
pub use self::listing::{Detail, Look, changes, count, covers};
pub use self::review::{Review, Shown, ShownChanges};
use self::rewritten::Rewritten;
pub use self::site::{Site, bring_up_to_date};
use self::site::{failure, left_out, stage};
use crate::mount::LiveMount;
use chaperone_pipeline::pipeline::UsersWord;
use chaperone_protocol::Failure;
use chaperone_protocol::reply::{ChangeEntry, CommittedBefore};

/// Paths of one record of what was discarded, in bytes of JSON.
const DISCARD_BYTES: usize = 512 << 10;

/// What a commit takes, and the user's word on it.
#[derive(Debug, Clone, Copy)]
pub struct CommitOrder<'a> {
    /// All when empty.
    pub paths: &'a [String],
    pub choice: Option<&'a str>,
    pub by: CommitOrigin,
    /// Reasons that the user confirmed.
    pub confirmed: &'a [String],
    /// Reasons that they accept of the paths alone; naming a path confirms nothing beside them then.
    pub accepted: &'a [String],
    pub review: Review<'a>,
    /// Say what would become of each change, and change and record nothing.
    pub rehearsal: bool,
}

/// Commit what was staged.
///
/// # Errors
/// When the stage or the directory cannot be used; a single path's refusal is in the report.
// long because: one story, from what is staged to what became of each intent.
pub fn commit(site: &Site<'_>, order: &CommitOrder<'_>) -> Result<Vec<ChangeEntry>, Failure> {
    let Site { pipeline, session, mounts, over, wanted: waiting } = *site;
    let CommitOrder { paths, choice, by, confirmed, accepted, review, rehearsal } = *order;
    let both = [confirmed, accepted].concat();
    let left = bring_up_to_date(mounts, over)?;
    let mut wanted = Vec::new();
    for mount in mounts.list() {
        // One stage from here to the end: what it knows of the order of changes goes with it.
        let tree = mount.tree()?;
        let version = tree.as_ref().map(|tree| tree.version());
        let Rewritten { changes: all, spread } = Rewritten::of(site, mount)?;
        let seen = seen::Seen::of(mount)?;
        let there: Vec<Change> = all.iter().map(|change| seen.change(change)).collect();
        let links = link::Links::of(there.iter());
        let moves = match all.is_empty() {
            true => moved::Moves::default(),
            false => moved::Moves::of(mount, &all, &self::stage(mount, waiting)?).with(spread),
        };
        let picked = moves
            .with_old_names(&all, chosen::of(mount, &all, paths), |new, is_picked| new.iter().any(is_picked));
        let moves = moves.but(&|old, new| is_free(mount, order, &picked, (old, new)));
        let (changes, derived) = derived::apart(&seen, picked);
        let ruined = ruined::of(mount, &changes);
        wanted.push((seen, tree.zip(version), (changes, derived, moves, ruined), (links, there)));
    }
    let user = named::User::own();
    let removals = wanted.iter().flat_map(|(_, _, (changes, _, moves, ruined), _)| {
        let goes = |change: &Change| removes(change) && !moves.has(change) || ruined.contains(&change.path);
        changes.iter().filter(move |change| goes(change))
    });
    let removals = removals.count();
    let mut shown = Vec::new();
    for (seen, version, (changes, derived, moves, ruined), (links, everything)) in wanted {
        let (mount, there) = (seen.own_mount(), seen.mount());
        if !rehearsal {
            shown.extend(drop_derived(site, mount, &derived, version.as_ref())?);
        }
        if changes.is_empty() {
            continue;
        }
        let looking = self::stage(mount, waiting)?;
        let staged = |change: &Change| {
            looking.look(&seen.own(change), objects::LARGEST).ok().and_then(|(_, file)| file)
        };
        let all: Vec<Change> = changes.iter().map(|change| seen.change(change)).collect();
        let objects = objects::Objects::by(there, &all, &staged);
        let named = named::Named::by(there, &user, &all);
        let others = repository::Others::around(there, &everything);
        let operations = operation::Operations::by((there, &others), &everything, &staged);
        let chosen_paths = changes.iter().chain(derived.dropped()).map(|change| &*change.path).collect();
        let mut together = operations.together(&seen, &everything, &chosen_paths);
        moves.keep(&mut together);
        let mut intents = intents::Intents::default();
        let stage = self::stage(mount, waiting)?.once_recorded(intents.on_disk()).keeping(together);
        let brings = all.iter().filter(|c| c.op != Op::Delete).map(|c| c.path.as_str()).collect();
        let dependencies = dependencies::Dependencies::by(there, &all, &staged);
        let lost = repository::Lost::by(there, &all, &objects);
        let guards = guards::Guards::by(&all, &|change| moves.moved_to(&seen.own(change)));
        let tidied = tidied::Tidied::by(&all, &objects);
        let tracked = tracked::Tracked::by(there, &all, &staged);
        let beside = beside::Beside {
            removals: removals.saturating_sub(tidied.count()),
            tidied: &tidied,
            tracked: &tracked,
            moves: false,
            ruins: false,
            brings: &brings,
            links: &links,
            dependencies: &dependencies,
            lost: &lost,
            others: &others,
            objects: &objects,
            named: &named,
            guards: &guards,
            operations: &operations,
        };
        let settled_from = RefCell::new(Vec::new());
        // What they hold is the session's until they are written.
        let mut with_values = Vec::new();
        let mut judge = |change: &Change, content: Option<&File>| {
            // What policy would ask about is settled by the user naming exactly that path.
            let by_name = by == CommitOrigin::User && accepted.is_empty();
            let named = by_name && chosen::is_named(mount, change, paths);
            let within = by_name && chosen::is_within(mount, change, paths);
            let confirmed = if chosen(mount, change, paths) { &*both } else { confirmed };
            // A conflict that is settled is another change than the one that was shown, with the same content.
            let settled = settled_from.borrow();
            let same = settled.iter().find(|c: &&&Change| c.path == change.path);
            let shown_as = same.or(settled.first()).copied().unwrap_or(change);
            // That a cache of git's goes in place of becoming another was not shown, and shows nothing.
            let unseen = review.of(mount, shown_as, content).filter(|_| !derived.has(&change.path));
            let word = UsersWord { named, within, confirmed, unseen };
            let back = match placeholders::restored((pipeline, session), mount, change, content) {
                Ok(back) => back,
                Err(failure) => return Verdict::Refuse { reasons: vec![failure.code] },
            };
            // What is decided on is what the agent wrote; the rest is the user's own, where it was.
            let as_seen = seen.change(change);
            let (moves, ruins) = (moves.has(change), ruined.contains(&change.path));
            let at = (by, &word, beside::Beside { moves, ruins, ..beside }, rehearsal);
            match judge::judge(pipeline, session, there, &as_seen, (content, &back), at) {
                Ok(authorized) => {
                    authorized.into_iter().for_each(|a| intents.add(&change.path, a));
                    // Policy knows where it leads, and that the user named it.
                    if leads_out(change) {
                        return Verdict::CommitLinkOut;
                    }
                    placeholders::verdict(back, &mut with_values)
                }
                Err(reasons) => Verdict::Refuse { reasons },
            }
        };
        let made = match rehearsal {
            true => stage.rehearse(&changes, &mut judge),
            false => stage.commit(&changes, &mut judge),
        };
        let mut report = match made {
            Err(error) => {
                intents.ended((pipeline, session), None)?;
                return Err(failure(error));
            }
            Ok(made) => made,
        };
        let resolved = choice.filter(|_| !rehearsal).map_or(Ok(()), |choice| {
            resolve(&stage, &mut report, (&changes, &settled_from), choice, &mut judge)
        });
        let settled: Vec<String> = report
            .entries
            .iter()
            .filter(|e| e.state == State::Committed)
            .flat_map(|e| std::iter::once(e.path.clone()).chain(e.from.clone()))
            .collect();
        intents.ended((pipeline, session), Some(&report))?;
        if let Some((tree, version)) = version.filter(|_| !rehearsal) {
            let failed = |e: std::io::Error| Failure::new("stage_unavailable", e.to_string());
            if let Some(overlay) = &mount.overlay {
                overlay.committed(&mount.root, &settled, &report.touched).map_err(failed)?;
            }
            tree.committed(&settled, version, &report.touched).map_err(|e| failed(e.into()))?;
        }
        mounts.invalidate(&mount.at, &settled);
        // What was committed before it is settled all the same.
        resolved?;
        let of = |path: &str| changes.iter().find(|c| c.path == path);
        let with_change = report.entries.len() == changes.len();
        shown.extend(report.entries.iter().enumerate().map(|(i, e)| {
            let change = if with_change { changes.get(i).filter(|c| c.path == e.path) } else { of(&e.path) };
            let mut told = shown::of_entry(mount, e, change);
            if e.reasons.iter().any(|reason| reason == moved::MOVED) {
                told.moved_to = moves.new_name(&e.path).map(|new| shown::shown_path(mount, new));
            }
            told
        }));
    }
    let left = left.iter().filter(|(mount, name)| chosen::has(mount, name, paths));
    shown.extend(left.map(|(mount, name)| left_out(mount, name)));
    Ok(shown)
}

/// Whether the removal of an old name goes whatever becomes of the new ones: by the user's word for just that.
fn is_free(
    mount: &LiveMount,
    order: &CommitOrder<'_>,
    picked: &[Change],
    (old, new): (&str, &[String]),
) -> bool {
    let CommitOrder { paths, by, confirmed, accepted, .. } = *order;
    let says = |reasons: &[String]| reasons.iter().any(|reason| reason == moved::MOVED);
    if by != CommitOrigin::User || paths.is_empty() {
        return by == CommitOrigin::User && says(confirmed);
    }
    let is_named = || paths.iter().any(|path| relative(mount, path).is_some_and(|path| path == old));
    let has_new = || picked.iter().any(|change| change.op != Op::Delete && new.contains(&change.path));
    says(confirmed)
        || says(accepted) && chosen::has(mount, old, paths)
        || accepted.is_empty() && is_named() && !has_new()
}

/// Throw staged changes away. What only moved is back where it was.
///
/// # Errors
/// When the stage cannot be written.
pub fn discard(site: &Site<'_>, paths: &[String]) -> Result<Vec<ChangeEntry>, Failure> {
    let mounts = site.mounts;
    let mut shown = Vec::new();
    for mount in mounts.list() {
        let Some(tree) = mount.tree()? else { continue };
        let version = tree.version();
        let all = Rewritten::of(site, mount)?.changes;
        let gone: Vec<Change> = all.iter().filter(|c| chosen(mount, c, paths)).cloned().collect();
        let gone = match gone.len() == all.len() {
            true => gone,
            // Where another new name stays, the object is not back under its old one.
            false => moved::Moves::of(mount, &all, &stage(mount, None)?).with_old_names(
                &all,
                gone,
                |new, is_picked| new.iter().all(is_picked),
            ),
        };
        let names: Vec<String> =
            gone.iter().flat_map(|c| std::iter::once(c.path.clone()).chain(c.from.clone())).collect();
        record_discard(site, &mount.at, &names)?;
        let changed =
            tree.discard(&names, version).map_err(|e| Failure::new("stage_unavailable", e.to_string()))?;
        mounts.invalidate(&mount.at, &names);
        for change in gone.into_iter().filter(|change| !changed.contains(&change.path)) {
            shown.push(shown::discarded(mount, &change));
        }
    }
    Ok(shown)
}

/// What a commit does not carry is no more staged.
fn drop_derived(
    site: &Site<'_>,
    mount: &LiveMount,
    derived: &derived::Derived,
    tree: Option<&(Arc<chaperone_fs::Tree>, chaperone_fs::StageVersion)>,
) -> Result<Vec<ChangeEntry>, Failure> {
    let Some((tree, version)) = tree.filter(|_| !derived.dropped().is_empty()) else { return Ok(Vec::new()) };
    let names: Vec<String> = derived.dropped().iter().map(|change| change.path.clone()).collect();
    record_discard(site, &mount.at, &names)?;
    let changed =
        tree.discard(&names, *version).map_err(|e| Failure::new("stage_unavailable", e.to_string()))?;
    site.mounts.invalidate(&mount.at, &names);
    let gone = derived.dropped().iter().filter(|change| !changed.contains(&change.path));
    Ok(gone.map(|change| shown::discarded(mount, change)).collect())
}

/// Each path in a record, in as many records as it takes: one holds a bounded number of bytes.
fn record_discard(site: &Site<'_>, at: &str, names: &[String]) -> Result<(), Failure> {
    let mut rest = names;
    loop {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|name| {
            bytes += json!(name).to_string().len() + 1;
            bytes <= DISCARD_BYTES
        });
        let fits = fits.count().max(1).min(rest.len());
        let (part, more) = rest.split_at(fits);
        let durability = if more.is_empty() {
            chaperone_audit::Durability::Synced
        } else {
            chaperone_audit::Durability::Logged
        };
        let payload = json!({ "paths": part, "all": names.len() });
        site.pipeline.records.event(site.session, "discard", at, &payload, durability)?;
        if more.is_empty() {
            return Ok(());
        }
        rest = more;
    }
}

/// Take commits back.
///
/// # Errors
/// When the history cannot be used; a single path's conflict is in the report.
pub fn undo(
    site: &Site<'_>,
    commit: Option<u64>,
    paths: &[String],
    force: bool,
) -> Result<Vec<ChangeEntry>, Failure> {
    let Site { pipeline, session, mounts, .. } = *site;
    let (mut shown, mut known, mut unknown) = (Vec::new(), false, None);
    for mount in mounts.list() {
        let chosen: Vec<String> = paths.iter().filter_map(|p| relative(mount, p)).collect();
        if !paths.is_empty() && chosen.is_empty() {
            continue;
        }
        let which = Undo { commit, paths: (!paths.is_empty()).then_some(chosen) };
        pipeline.records.event(
            session,
            "undo",
            &mount.at,
            &json!({ "commit": commit, "paths": which.paths, "force": force }),
            chaperone_audit::Durability::Synced,
        )?;
        let report = match stage(mount, site.wanted)?
            .undo_but(&which, force, &mut |undoing| needed::needed(mount, undoing))
        {
            Ok(report) => report,
            // Another mount of the session may have the commit.
            Err(e) if mounts.list().len() > 1 && commit.is_some() => {
                unknown = Some(e);
                continue;
            }
            Err(e) => return Err(failure(e)),
        };
        known = true;
        let touched: Vec<String> = report.entries.iter().map(|e| e.path.clone()).collect();
        mounts.invalidate(&mount.at, &touched);
        shown.extend(needed::shown(mount, &report.entries));
    }
    if let Some(error) = unknown.filter(|_| !known) {
        return Err(failure(error));
    }
    Ok(shown)
}

/// Which of the named paths a commit took before, with the newest one that still stands.
///
/// # Errors
/// When the history cannot be read.
pub fn committed(site: &Site<'_>, paths: &[String]) -> Result<Vec<CommittedBefore>, Failure> {
    let mut found = BTreeMap::new();
    for mount in site.mounts.list() {
        for summary in stage(mount, site.wanted)?.history().map_err(failure)? {
            if summary.undo_of.is_some() {
                continue;
            }
            let undone: BTreeSet<usize> = summary.undone.into_iter().collect();
            let stands = summary.entries.iter().enumerate().filter(|(at, _)| !undone.contains(at));
            let taken: Vec<&Entry> =
                stands.map(|(_, entry)| entry).filter(|e| e.state == State::Committed).collect();
            let has = |path: &String| {
                taken.iter().any(|entry| chosen::has(mount, &entry.path, std::slice::from_ref(path)))
            };
            found.extend(paths.iter().filter(|path| has(path)).map(|path| (path.clone(), summary.commit)));
        }
    }
    Ok(found.into_iter().map(|(path, commit)| CommittedBefore { path, commit }).collect())
}

fn resolve<'c>(
    stage: &Stage,
    report: &mut Report,
    (changes, settled_from): (&'c [Change], &RefCell<Vec<&'c Change>>),
    choice: &str,
    judge: &mut dyn FnMut(&Change, Option<&File>) -> Verdict,
) -> Result<(), Failure> {
    let choice = match choice {
        "mine" => Choice::KeepMine,
        "theirs" => Choice::KeepTheirs,
        _ => Choice::WriteBoth,
    };
    for at in 0..report.entries.len() {
        let Some(entry) = report.entries.get(at).filter(|entry| entry.state == State::Conflict) else {
            continue;
        };
        let Some(change) = changes.iter().find(|c| c.path == entry.path) else { continue };
        let mut parts = match choice {
            Choice::KeepTheirs => stage.parts(change, changes),
            Choice::KeepMine | Choice::WriteBoth => vec![change],
        };
        let is_made = |part: &Change| report.entry(&part.path).is_some_and(|e| e.state == State::Committed);
        parts.retain(|part| !is_made(part));
        settled_from.borrow_mut().clone_from(&parts);
        let settled = stage.resolve(&parts, choice, judge).map_err(failure)?;
        let is_alone = parts.len() == 1;
        for new in settled.entries {
            let mine = |old: &&mut Entry| old.path == new.path && old.state != State::Committed;
            let old = match is_alone {
                true => report.entries.get_mut(at),
                false => report.entries.iter_mut().find(mine),
            };
            if let Some(old) = old {
                *old = new;
            }
        }
    }
    Ok(())
}

fn leads_out(change: &Change) -> bool {
    change.target.as_deref().is_some_and(|target| chaperone_staging::link_leaves_root(&change.path, target))
}
