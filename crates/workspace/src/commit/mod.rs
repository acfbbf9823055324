//! Staged changes on their way to the user's directory: each is a deed of its own, with its content, its facts and
//! what the format's validators say.

mod beside;
mod checkout;
mod chosen;
mod dependencies;
mod derived;
mod diff;
mod git;
mod index;
mod judge;
mod link;
mod looked;
mod named;
mod needed;
mod objects;
mod operation;
mod own;
mod placeholders;
mod refs;
mod repository;
mod review;
mod seen;
mod shown;

use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use chaperone_staging::{Change, Choice, Op, Report, Tree as Stage, Undo, Verdict, removes};
use serde_json::json;

pub use chaperone_staging::Wanted;

use self::chosen::{chosen, relative};
pub use self::judge::By;
pub use self::review::{Review, Shown, ShownChanges};
use self::shown::shown_path;
use crate::mount::{LiveMount, Mounts};
use chaperone_capability::Action;
use chaperone_pipeline::pipeline::UsersWord;
use chaperone_pipeline::records::Outcome;
use chaperone_pipeline::session::Session;
use chaperone_pipeline::{Authorized, Pipeline};
use chaperone_protocol::Failure;
use chaperone_protocol::reply::{ChangeEntry, ChangeOp, ChangeState};

/// Paths of one record of what was discarded, in bytes of JSON.
const DISCARD_BYTES: usize = 512 << 10;

/// Whose staged changes, and what decides on them.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub pipeline: &'a Pipeline,
    pub session: &'a Arc<Session>,
    pub mounts: &'a Mounts,
    /// Nothing of the session's cell runs any more.
    pub over: bool,
    /// Whether somebody still waits for it; without it, it is done whole.
    pub wanted: Option<&'a Wanted>,
}

/// What a commit takes, and the user's word on it.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// All when empty.
    pub paths: &'a [String],
    pub choice: Option<&'a str>,
    pub by: By,
    /// Reasons that the user confirmed.
    pub confirmed: &'a [String],
    pub review: Review<'a>,
}

/// The staged changes of a session one by one, as `changes --json` prints them, each with what is remembered of it. Where
/// `each` fails, it ends.
///
/// # Errors
/// When the stage cannot be read, or that of `each`.
pub fn changes(
    site: &Site<'_>,
    diff: bool,
    each: &mut dyn FnMut(ChangeEntry, Option<Shown>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Site { pipeline, session, mounts, over, wanted } = *site;
    for (mount, name) in bring_up_to_date(mounts, over)? {
        each(left_out(mount, &name), None)?;
    }
    let mut allowance = diff::Allowance::default();
    for mount in mounts.list() {
        let stage = stage(mount, wanted)?;
        for change in staged(mount)? {
            let most = if diff { diff::MAX_BYTES } else { 0 };
            let (entry, content) = stage.look(&change, most).map_err(failure)?;
            let text = diff.then(|| {
                let back = placeholders::restored((pipeline, session), mount, &change, content.as_ref());
                let (file, note) = diff::with_values(&back, content.as_ref());
                let size = file.and_then(|f| f.metadata().ok()).map_or(entry.size, |m| m.len());
                let difference = diff::of(mount, &change, (file, size), &mut allowance);
                (note + &difference.text, difference.whole)
            });
            // A part of a difference is not the change.
            let is_whole = text.as_ref().is_none_or(|(_, whole)| *whole);
            let seen = Shown::of(mount, &change, entry.sha256.clone(), is_whole);
            let text = text.map(|(text, _)| text);
            each(ChangeEntry { diff: text, ..shown::of_entry(mount, &entry, Some(&change)) }, Some(seen))?;
        }
    }
    Ok(())
}

/// Commit what was staged.
///
/// # Errors
/// When the stage or the directory cannot be used; a single path's refusal is in the report.
// long because: one story, from what is staged to what became of each intent.
pub fn commit(site: &Site<'_>, order: &Order<'_>) -> Result<Vec<ChangeEntry>, Failure> {
    let Site { pipeline, session, mounts, over, wanted: waiting } = *site;
    let Order { paths, choice, by, confirmed, review } = *order;
    let left = bring_up_to_date(mounts, over)?;
    let mut wanted = Vec::new();
    for mount in mounts.list() {
        // One stage from here to the end: what it knows of the order of changes goes with it.
        let tree = mount.tree()?;
        let version = tree.as_ref().map(|tree| tree.version());
        let all = staged(mount)?;
        let seen = seen::Seen::of(mount)?;
        let there: Vec<Change> = all.iter().map(|change| seen.change(change)).collect();
        let links = link::Links::of(there.iter());
        let (changes, derived) = derived::apart(&seen, chosen::of(mount, all, paths));
        wanted.push((seen, tree.zip(version), (changes, derived), links));
    }
    let user = named::User::own();
    let removals = wanted.iter().flat_map(|(_, _, (changes, _), _)| changes).filter(|c| removes(c)).count();
    let mut shown = Vec::new();
    for (seen, version, (changes, derived), links) in wanted {
        let (mount, there) = (seen.own_mount(), seen.mount());
        shown.extend(drop_derived(site, mount, &derived, version.as_ref())?);
        if changes.is_empty() {
            continue;
        }
        let stage = stage(mount, waiting)?;
        let looking = self::stage(mount, waiting)?;
        let staged = |change: &Change| {
            looking.look(&seen.own(change), objects::LARGEST).ok().and_then(|(_, file)| file)
        };
        let all: Vec<Change> = changes.iter().map(|change| seen.change(change)).collect();
        let objects = objects::Objects::by(there, &all, &staged);
        let named = named::Named::by(there, &user, &all);
        let operations = operation::Operations::by(there, &all, &staged);
        let brings = all.iter().filter(|c| c.op != Op::Delete).map(|c| c.path.as_str()).collect();
        let dependencies = dependencies::Dependencies::by(there, &all);
        let lost = repository::Lost::by(there, &all, &objects);
        let beside = beside::Beside {
            removals,
            brings: &brings,
            links: &links,
            dependencies: &dependencies,
            lost: &lost,
            objects: &objects,
            named: &named,
            operations: &operations,
        };
        let mut granted: Vec<(String, Authorized)> = Vec::new();
        let settled_from = Cell::new(None);
        // What they hold is the session's until they are written.
        let mut with_values = Vec::new();
        let mut judge = |change: &Change, content: Option<&File>| {
            // What policy would ask about is settled by the user naming exactly that path.
            let named = by == By::User && chosen::is_named(mount, change, paths);
            let within = by == By::User && chosen::is_within(mount, change, paths);
            // A conflict that is settled is another change than the one that was shown, with the same content.
            let shown_as = settled_from.get().unwrap_or(change);
            // That a cache of git's goes in place of becoming another was not shown, and shows nothing.
            let unseen = review.of(mount, shown_as, content).filter(|_| !derived.has(&change.path));
            let word = UsersWord { named, within, confirmed, unseen };
            let back = match placeholders::restored((pipeline, session), mount, change, content) {
                Ok(back) => back,
                Err(failure) => return Verdict::Refuse { reasons: vec![failure.code] },
            };
            // What is decided on is what the agent wrote; the rest is the user's own, where it was.
            let as_seen = seen.change(change);
            match judge::judge(
                pipeline,
                session,
                there,
                &as_seen,
                (content, &back.report),
                (by, &word, beside),
            ) {
                Ok(authorized) => {
                    granted.push((change.path.clone(), authorized));
                    // Policy knows where it leads, and that the user named it.
                    if leads_out(change) {
                        return Verdict::CommitLinkOut;
                    }
                    placeholders::verdict(back, &mut with_values)
                }
                Err(reasons) => Verdict::Refuse { reasons },
            }
        };
        let mut report = match stage.commit(&changes, &mut judge) {
            Err(error) => {
                for (_, authorized) in &granted {
                    pipeline.outcome(session, &ended(authorized, false, 0))?;
                }
                return Err(failure(error));
            }
            Ok(made) => made,
        };
        let resolved = choice.map_or(Ok(()), |choice| {
            resolve(&stage, &mut report, (&changes, &settled_from), choice, &mut judge)
        });
        let settled: Vec<String> = report
            .entries
            .iter()
            .filter(|e| e.state == chaperone_staging::State::Committed)
            .flat_map(|e| std::iter::once(e.path.clone()).chain(e.from.clone()))
            .collect();
        for (path, authorized) in &granted {
            let entry = report.entry(path);
            let ok = entry.is_some_and(|e| e.state == chaperone_staging::State::Committed);
            pipeline.outcome(session, &ended(authorized, ok, entry.map_or(0, |e| e.size)))?;
        }
        resolved?;
        if let Some((tree, version)) = version {
            let failed = |e: std::io::Error| Failure::new("stage_unavailable", e.to_string());
            if let Some(overlay) = &mount.overlay {
                overlay.committed(&mount.root, &settled).map_err(failed)?;
            }
            tree.committed(&settled, version).map_err(|e| failed(e.into()))?;
        }
        mounts.invalidate(&mount.at, &settled);
        let of = |path: &str| changes.iter().find(|c| c.path == path);
        let with_change = report.entries.len() == changes.len();
        shown.extend(report.entries.iter().enumerate().map(|(i, e)| {
            let change = if with_change { changes.get(i).filter(|c| c.path == e.path) } else { of(&e.path) };
            shown::of_entry(mount, e, change)
        }));
    }
    let is_meant = |mount: &LiveMount, name: &str| {
        chosen(mount, &Change::blank(name.to_owned(), Op::Create, chaperone_staging::Kind::File), paths)
    };
    shown
        .extend(left.iter().filter(|(m, name)| is_meant(m, name)).map(|(mount, name)| left_out(mount, name)));
    Ok(shown)
}

/// How a granted change ended.
fn ended(authorized: &Authorized, ok: bool, bytes: u64) -> Outcome<'_> {
    let resource = authorized.request().subject();
    Outcome { intent: authorized.intent, action: Action::Commit, resource, ok, bytes, detail: None }
}

/// Throw staged changes away.
///
/// # Errors
/// When the stage cannot be written.
pub fn discard(site: &Site<'_>, paths: &[String]) -> Result<Vec<ChangeEntry>, Failure> {
    let mounts = site.mounts;
    let mut shown = Vec::new();
    for mount in mounts.list() {
        let Some(tree) = mount.tree()? else { continue };
        let version = tree.version();
        let gone: Vec<Change> = staged(mount)?.into_iter().filter(|c| chosen(mount, c, paths)).collect();
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

fn resolve<'c>(
    stage: &Stage,
    report: &mut Report,
    (changes, settled_from): (&'c [Change], &Cell<Option<&'c Change>>),
    choice: &str,
    judge: &mut dyn FnMut(&Change, Option<&File>) -> Verdict,
) -> Result<(), Failure> {
    let choice = match choice {
        "mine" => Choice::KeepMine,
        "theirs" => Choice::KeepTheirs,
        _ => Choice::WriteBoth,
    };
    for entry in &mut report.entries {
        if entry.state == chaperone_staging::State::Conflict
            && let Some(change) = changes.iter().find(|c| c.path == entry.path)
        {
            settled_from.set(Some(change));
            let settled = stage.resolve(change, choice, judge).map_err(failure)?;
            if let Some(new) = settled.entries.into_iter().next() {
                *entry = new;
            }
        }
    }
    Ok(())
}

fn staged(mount: &LiveMount) -> Result<Vec<Change>, Failure> {
    match mount.tree()? {
        Some(tree) => {
            let all = tree.changes().map_err(|e| Failure::new("stage_unavailable", e.to_string()))?;
            *mount.installed.lock() = dependencies::installed(mount, &all);
            Ok(all)
        }
        None => Ok(Vec::new()),
    }
}

fn stage(mount: &LiveMount, wanted: Option<&Wanted>) -> Result<Stage, Failure> {
    let history: PathBuf = mount.stage_dir.join("history");
    let stage = Stage::new(
        mount
            .root
            .own()
            .map_err(|e| Failure::new("no_descriptor", format!("{}: {e}", mount.source.display())))?,
        history,
        mount.stage_dir.clone(),
    )
    .reading(index::says);
    Ok(match wanted {
        Some(wanted) => stage.while_wanted(Arc::clone(wanted)),
        None => stage,
    })
}

/// What the agent did until now comes into the stage, however it did it. Returns what cannot come, by its mount.
///
/// # Errors
/// When it cannot be taken over; it stays where it is.
pub fn bring_up_to_date(mounts: &Mounts, over: bool) -> Result<Vec<(&LiveMount, String)>, Failure> {
    mounts.sync_mappings()?;
    let mut left_out = Vec::new();
    for mount in mounts.list() {
        let Some(tree) = mount.tree()? else { continue };
        let Some(overlay) = &mount.overlay else {
            left_out.extend(tree.not_committed().into_iter().map(|name| (mount, name)));
            continue;
        };
        let names = overlay.take_over(&tree, over).map_err(|e| {
            Failure::new("stage_unavailable", format!("what the agent wrote cannot be taken over: {e}"))
                .advise("free some room on the disk, and try again")
        })?;
        left_out.extend(names.into_iter().map(|name| (mount, name)));
    }
    Ok(left_out)
}

/// What is there in the cell and no commit can take.
fn left_out(mount: &LiveMount, name: &str) -> ChangeEntry {
    ChangeEntry {
        path: shown_path(mount, name),
        op: ChangeOp::Create,
        from: None,
        size: 0,
        sha256: None,
        state: ChangeState::Refused,
        reasons: vec!["cannot_be_staged".to_owned()],
        staged: None,
        group: None,
        diff: None,
    }
}

fn leads_out(change: &Change) -> bool {
    change.target.as_deref().is_some_and(|target| chaperone_staging::link_leaves_root(&change.path, target))
}

fn failure(error: chaperone_staging::Error) -> Failure {
    let code = match error {
        chaperone_staging::Error::Cancelled => "cancelled",
        _ => "stage_unavailable",
    };
    Failure::new(code, error.to_string())
}
