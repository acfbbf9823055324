//! The session's authority, everywhere that programs of the cell look for roots. The host's own files lie below: what is
//! written is the cell's, and shown over them.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chaperone_sys::{ReadOnly, set_mount_attributes};
use serde::Deserialize;

use super::mounting::{self, Made};
use crate::plan::{HOME, SetupError};

mod certificate;
mod java;
mod nss;

use certificate::Certificate;

/// The host's roots and the session's authority, in PEM. A path of the cell.
pub const BUNDLE: &str = "/run/chaperone/trust/bundle.pem";
/// The session's authority alone, in PEM, for programs that add to roots of their own.
pub const AUTHORITY: &str = "/run/chaperone/trust/authority.pem";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PACK: &str = "packs/cell/trust.toml";
const DIRECTORY: &str = "/run/chaperone/trust";
/// Firefox has a database in each profile; what its policies name is added to all of them.
const POLICIES: &str = "/etc/firefox/policies/policies.json";
/// No bundle or store is longer; anything that is, is something else.
const LONGEST: u64 = 32 << 20;
/// Entries of a directory of roots that are copied.
const MOST: usize = 10_000;

/// Where programs look for roots.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Places {
    bundles: Vec<PathBuf>,
    hashed: Vec<PathBuf>,
    anchors: Vec<PathBuf>,
    enabled: Vec<PathBuf>,
    java_stores: Vec<PathBuf>,
    javas: Vec<PathBuf>,
    environment: Variables,
}

/// Names of variables, by the file that they are set to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variables {
    bundle: Vec<String>,
    added: Vec<String>,
}

impl Places {
    fn read() -> Result<Self, SetupError> {
        chaperone_packs::read(PACK).map_err(|e| SetupError::new(e.to_string()))
    }

    /// The bundle that cells show of the host, where its user added to what the distribution trusts.
    fn own_roots(&self) -> Option<PathBuf> {
        let is_shown = |real: &Path| ["/etc", "/usr"].iter().any(|top| real.starts_with(top));
        let place = self.bundles.iter().find(|place| real(place).is_some_and(|real| is_shown(&real)))?;
        let holds = certificates(File::open(place).ok()?)?;
        let has_own = match self.enabled.iter().find_map(|list| fs::read_to_string(list).ok()) {
            Some(list) => holds > enabled(&list),
            None => self
                .anchors
                .iter()
                .any(|at| fs::read_dir(at).is_ok_and(|mut entries| entries.next().is_some())),
        };
        has_own.then(|| place.clone())
    }
}

/// How many certificates a bundle holds. A part of it at a time: memory for the whole of it is a part of each start that is seen.
fn certificates(mut bundle: File) -> Option<usize> {
    let mut part = [0; 16 << 10];
    // A line break before the first line, then what of a mark the last part may have ended with.
    part[0] = b'\n';
    let mut held = 1;
    let mark = format!("\n{BEGIN}");
    let finder = memchr::memmem::Finder::new(&mark);
    let mut count = 0;
    loop {
        let read = bundle.read(part.get_mut(held..)?).ok()?;
        if read == 0 {
            return Some(count);
        }
        let filled = held + read;
        count += finder.find_iter(part.get(..filled)?).count();
        // One byte less than a mark, so that none is counted twice.
        held = filled.min(mark.len() - 1);
        part.copy_within(filled - held..filled, 0);
    }
}

/// How many of the distribution's roots are in use.
fn enabled(list: &str) -> usize {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])).count()
}

/// Variables for programs that have roots of their own, or do not look where the system keeps its. They must replace
/// those of the same name: of two, programs take the first.
#[must_use]
pub fn environment() -> Vec<(OsString, OsString)> {
    // A pack that is not right keeps a cell with an authority from being made at all.
    let places = Places::read().unwrap_or_default();
    // A program that has roots of its own reads the whole bundle only where it says more.
    let added = if places.own_roots().is_some() { BUNDLE } else { AUTHORITY };
    let Variables { bundle, added: names } = places.environment;
    let bundle = bundle.into_iter().map(|name| (name.into(), BUNDLE.into()));
    bundle.chain(names.into_iter().map(|name| (name.into(), added.into()))).collect()
}

/// Variables for a cell without an authority: programs that know nothing of the machine's own roots are told of them, where it has
/// any. They stand behind what the profile says.
#[must_use]
pub fn machine_environment() -> Vec<(OsString, OsString)> {
    let places = Places::read().unwrap_or_default();
    let Some(bundle) = places.own_roots() else { return Vec::new() };
    places.environment.added.iter().map(|name| (name.into(), bundle.clone().into())).collect()
}

/// What is shown, read from the host before the cell has a root.
pub(crate) struct Trust {
    authority: String,
    /// The link's name without its number.
    hash: String,
    /// Merged files with the real places that they are shown at; the first is the cell's bundle.
    bundles: Vec<(PathBuf, Vec<u8>)>,
    stores: Vec<(PathBuf, Vec<u8>)>,
    /// The database of NSS.
    database: Vec<u8>,
    /// Directories to which one file is added.
    directories: Vec<Directory>,
}

struct Directory {
    at: PathBuf,
    host: OwnedFd,
    name: String,
}

impl Trust {
    /// Read what the host trusts and add an authority to it. `shown` are directories that may hold a Java.
    pub(crate) fn read(der: &[u8], shown: &[PathBuf]) -> Result<Self, SetupError> {
        let places = Places::read()?;
        let broken = || SetupError::new("the session's authority is not a certificate in DER");
        let certificate = Certificate::read(der).ok_or_else(broken)?;
        let hash = format!("{:08x}", certificate.subject_hash().ok_or_else(broken)?);
        let database = nss::database(&certificate).ok_or_else(broken)?;
        let authority = pem(der);
        let mut bundles: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for place in &places.bundles {
            let Some(real) = real(place).filter(|r| bundles.iter().all(|(at, _)| at != r)) else {
                continue;
            };
            let mut merged = read(&real, authority.len() + 1)?;
            if merged.last().is_some_and(|last| *last != b'\n') {
                merged.push(b'\n');
            }
            merged.extend_from_slice(authority.as_bytes());
            bundles.push((real, merged));
        }
        let roots = bundles.first().map_or(authority.as_bytes(), |(_, merged)| merged);
        let mut stores = Vec::new();
        for place in stores_of_java(&places, shown) {
            let merged = java::add(read(&place, der.len() + java::MORE)?, der, roots);
            stores.push((place, merged));
        }
        let mut directories: Vec<Directory> = Vec::new();
        let hashed = places.hashed.iter().map(|f| (f, true));
        for (place, hashed) in hashed.chain(places.anchors.iter().map(|f| (f, false))) {
            let Ok(at) = fs::canonicalize(place) else { continue };
            if !at.is_dir() || directories.iter().any(|f| f.at == at) {
                continue;
            }
            let name = if hashed { free(&at, &hash) } else { "chaperone.pem".to_owned() };
            directories.push(Directory { host: mounting::open_dir(&at)?, at, name });
        }
        Ok(Self { authority, hash, bundles, stores, database, directories })
    }

    /// Show it in the root that is being built, whose parts of the system are in place.
    pub(super) fn present(&self, made: &Made) -> Result<(), SetupError> {
        made.directory(&mounting::inside(Path::new(DIRECTORY)))?;
        write(Path::new(AUTHORITY), self.authority.as_bytes())?;
        // The agent's own, like everything in its home: NSS writes there.
        let home = mounting::inside(&Path::new(HOME).join(".pki/nssdb"));
        made.directory(&home)?;
        fs::write(home.join("cert9.db"), &self.database)
            .map_err(mounting::io_failed("write the database of NSS"))?;
        made.parent(&mounting::inside(Path::new(POLICIES)))?;
        let policies = format!(r#"{{"policies":{{"Certificates":{{"Install":["{AUTHORITY}"]}}}}}}"#);
        write(Path::new(POLICIES), policies.as_bytes())?;
        for (i, directory) in self.directories.iter().enumerate() {
            let layer = Path::new(DIRECTORY).join(format!("{}-{i}", self.hash));
            made.directory(&mounting::inside(&layer))?;
            write(&layer.join(&directory.name), self.authority.as_bytes())?;
            if !mounting::below(made, &directory.at, &layer, &directory.host)? {
                gather(made, &directory.host, &layer)?;
                over_directory(&directory.at, &layer)?;
            }
        }
        if self.bundles.is_empty() {
            write(Path::new(BUNDLE), self.authority.as_bytes())?;
        }
        for (i, (at, merged)) in self.bundles.iter().chain(&self.stores).enumerate() {
            let first = i == 0 && !self.bundles.is_empty();
            let written =
                if first { PathBuf::from(BUNDLE) } else { Path::new(DIRECTORY).join(format!("roots-{i}")) };
            write(&written, merged)?;
            over(made, at, &written)?;
        }
        Ok(())
    }
}

fn pem(der: &[u8]) -> String {
    let mut text = format!("{BEGIN}\n");
    let encoded = STANDARD.encode(der);
    let mut rest = encoded.as_str();
    while let Some((line, more)) = rest.split_at_checked(64) {
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// The file that a place leads to, if there is one that can be read.
fn real(place: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(place).ok()?;
    fs::metadata(&real).ok().filter(|m| m.is_file() && m.len() <= LONGEST)?;
    File::open(&real).ok().map(|_| real)
}

/// Read a file into memory that has room for more.
fn read(path: &Path, more: usize) -> Result<Vec<u8>, SetupError> {
    let read = || {
        let mut file = File::open(path)?;
        let mut content = Vec::new();
        content.reserve_exact(usize::try_from(file.metadata()?.len()).unwrap_or_default() + more);
        file.read_to_end(&mut content)?;
        Ok(content)
    };
    read().map_err(mounting::io_failed(&format!("read {}", path.display())))
}

/// Every store of roots of a Java that the cell shows.
fn stores_of_java(places: &Places, shown: &[PathBuf]) -> Vec<PathBuf> {
    let installed =
        places.javas.iter().filter_map(|f| fs::read_dir(f).ok()).flatten().flatten().map(|e| e.path());
    let own = installed
        .chain(shown.iter().cloned())
        .flat_map(|java| ["lib/security/cacerts", "jre/lib/security/cacerts"].map(|f| java.join(f)));
    // A link of an agent's own installation must not lead to a store of the user's.
    let is_shown = |real: &Path| {
        let system = ["/usr", "/opt", "/etc", "/var/lib"].map(Path::new);
        system
            .into_iter()
            .chain(shown.iter().map(PathBuf::as_path))
            .any(|directory| real.starts_with(directory))
    };
    let mut found: Vec<PathBuf> = Vec::new();
    for place in places.java_stores.iter().cloned().chain(own) {
        found.extend(real(&place).filter(|r| is_shown(r) && !found.contains(r)));
    }
    found
}

/// The first name for a certificate of this hash that is not taken.
fn free(directory: &Path, hash: &str) -> String {
    let names = (0..).map(|n: u32| format!("{hash}.{n}"));
    let mut free = names.skip_while(|name| fs::symlink_metadata(directory.join(name)).is_ok());
    free.next().unwrap_or_default()
}

/// Write a file of the cell that everybody in it reads.
fn write(at: &Path, content: &[u8]) -> Result<(), SetupError> {
    let what = format!("write {}", at.display());
    let failed = mounting::io_failed(&what);
    let place = mounting::inside(at);
    fs::write(&place, content).map_err(&failed)?;
    fs::set_permissions(&place, Permissions::from_mode(0o444)).map_err(&failed)
}

/// Copy what stands in a directory of the host's into one of the cell's: links as they are, files with what is mounted over them,
/// directories whole.
fn gather(made: &Made, host: &OwnedFd, into: &Path) -> Result<(), SetupError> {
    let from = PathBuf::from(format!("/proc/self/fd/{}", host.as_raw_fd()));
    let failed = || mounting::io_failed("copy a directory of roots");
    for entry in fs::read_dir(&from).map_err(failed())?.take(MOST) {
        let entry = entry.map_err(failed())?;
        let kind = entry.file_type().map_err(failed())?;
        let at = into.join(entry.file_name());
        let place = mounting::inside(&at);
        if kind.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(failed())?;
            std::os::unix::fs::symlink(target, place).map_err(failed())?;
        } else if kind.is_dir() {
            mounting::attach(made, &mounting::clone_tree(&entry.path())?, &at, true)?;
        } else if real(&entry.path()).is_some() {
            // What the user cannot read is not what a program of theirs reads, either.
            write(&at, &read(&entry.path(), 0)?)?;
        }
    }
    Ok(())
}

/// Show one directory of the cell, read-only, over another.
fn over_directory(at: &Path, written: &Path) -> Result<(), SetupError> {
    let tree = mounting::clone_tree(&mounting::inside(written))?;
    set_mount_attributes(tree.as_fd(), ReadOnly::Yes, false, true)
        .map_err(mounting::io_failed("make the roots read-only"))?;
    mounting::place(&tree, at)
}

/// Show one file of the cell, read-only, over another.
fn over(made: &Made, at: &Path, written: &Path) -> Result<(), SetupError> {
    let target = mounting::inside(at);
    if fs::symlink_metadata(&target).is_err() {
        // The host keeps it where the cell shows nothing of the host.
        made.parent(&target)?;
        File::create(&target).map_err(mounting::io_failed(&format!("make {}", at.display())))?;
    }
    let tree = mounting::clone_tree(&mounting::inside(written))?;
    set_mount_attributes(tree.as_fd(), ReadOnly::Yes, false, false)
        .map_err(mounting::io_failed("make the roots read-only"))?;
    mounting::place(&tree, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_counted_at_the_start_of_a_line_wherever_parts_end() {
        let counted = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            certificates(file).unwrap()
        };
        assert_eq!((counted(""), counted(BEGIN), counted(&format!("x{BEGIN}"))), (0, 1, 0));
        for before in (16 << 10) - 60..(16 << 10) + 60 {
            let line = format!("{}\n{BEGIN}\n", "x".repeat(before));
            assert_eq!(counted(&line.repeat(3)), 3, "{before}");
        }
    }

    fn own() -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_bundle_is_the_hosts_and_one_more() {
        let der = own();
        let trust = Trust::read(&der, &[]).unwrap();
        for (place, merged) in trust.bundles {
            let host = fs::read(place).unwrap();
            assert!(merged.starts_with(&host) && merged.ends_with(pem(&der).as_bytes()));
        }
        assert!(Trust::read(b"no certificate", &[]).is_err());
    }

    #[test]
    fn the_pack_names_absolute_places_and_each_variable_once() {
        let places = Places::read().unwrap();
        let all = [
            &places.bundles,
            &places.hashed,
            &places.anchors,
            &places.enabled,
            &places.java_stores,
            &places.javas,
        ];
        for list in all {
            assert!(!list.is_empty() && list.iter().all(|p| p.is_absolute()), "{list:?}");
        }
        for (name, bundle) in machine_environment() {
            assert!(environment().iter().any(|(other, _)| *other == name));
            assert!(Path::new(&bundle).is_file());
        }
        let mut names: Vec<OsString> = environment().into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"SSL_CERT_FILE".into()) && names.contains(&"NODE_EXTRA_CA_CERTS".into()));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_machine_with_roots_of_its_own_is_told_from_one_without() {
        let dir = tempfile::tempdir().unwrap();
        // Below /usr or /etc only: what a cell shows of the host.
        let Some(bundle) = Places::read().unwrap().bundles.into_iter().find(|at| real(at).is_some()) else {
            return;
        };
        let held =
            fs::read_to_string(&bundle).unwrap().lines().filter(|line| line.starts_with(BEGIN)).count();
        let list = dir.path().join("enabled");
        let places = |lines: usize| {
            fs::write(&list, "# a list\n!mozilla/gone.crt\n\n".to_owned() + &"mozilla/a.crt\n".repeat(lines))
                .unwrap();
            Places { bundles: vec![bundle.clone()], enabled: vec![list.clone()], ..Places::default() }
        };
        assert_eq!(places(held).own_roots(), None);
        assert_eq!(places(held - 1).own_roots(), Some(bundle.clone()));
        let anchors = Places { anchors: vec![dir.path().to_owned()], enabled: vec![], ..places(held) };
        assert_eq!(anchors.own_roots(), Some(bundle.clone()));
    }

    #[test]
    fn a_name_that_the_host_uses_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(free(dir.path(), "0a0b0c0d"), "0a0b0c0d.0");
        std::os::unix::fs::symlink("nowhere", dir.path().join("0a0b0c0d.0")).unwrap();
        assert_eq!(free(dir.path(), "0a0b0c0d"), "0a0b0c0d.1");
    }

    #[test]
    fn a_java_that_is_shown_is_found_and_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let places = Places::read().unwrap();
        let store = home.join("lib/security/cacerts");
        fs::create_dir_all(store.parent().unwrap()).unwrap();
        fs::write(&store, []).unwrap();
        assert!(stores_of_java(&places, std::slice::from_ref(&home)).contains(&store));
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        fs::remove_file(&store).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &store).unwrap();
        let outside = elsewhere.path().canonicalize().unwrap();
        assert!(!stores_of_java(&places, &[home]).contains(&outside));
    }
}
