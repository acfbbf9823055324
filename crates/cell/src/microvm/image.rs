//! The guest's first file system: this program with what it is linked to, the kernel's modules, and the guest's part of the plan, as
//! an archive that kernels unpack into memory (`Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::elf;

/// Where the guest has them.
pub(super) const PROGRAM: &str = "/chaperone";
pub(super) const PLAN: &str = "/plan";
pub(super) const MODULES: &str = "/modules";

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const PLAIN: u32 = 0o100_600;

/// The archive, in memory.
///
/// # Errors
/// What cannot be read, or that there is no memory for it.
pub(super) fn build(plan: &[u8], modules: &[PathBuf]) -> io::Result<File> {
    let mut archive = Archive::new()?;
    for directory in ["dev", "proc", "root", "sys"] {
        archive.directory(Path::new(directory))?;
    }
    let program = fs::read("/proc/self/exe")?;
    let loaded = elf::loaded(&program).ok_or_else(|| io::Error::other("this program is no ELF file"))?;
    archive.file(Path::new(PROGRAM), EXECUTABLE, program.get(..loaded).unwrap_or(&program))?;
    let loader = elf::loader(&program).map(|at| Path::new(OsStr::from_bytes(at)));
    for library in mapped(&fs::read_to_string("/proc/self/maps")?) {
        let bytes = fs::read(&library)?;
        // The program names its loader by a path that is often a link's.
        let is_loader = loader.is_some_and(|at| at.canonicalize().is_ok_and(|at| at == library));
        let at = loader.filter(|_| is_loader).unwrap_or(&library);
        archive.file(at, EXECUTABLE, &bytes)?;
    }
    for (i, module) in modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().as_bytes();
        // They are loaded by the order of their names.
        let name = [format!("{i:03}-").as_bytes(), name].concat();
        let at = Path::new(MODULES).join(OsStr::from_bytes(&name));
        archive.file(&at, PLAIN, &fs::read(module)?)?;
    }
    archive.file(Path::new(PLAN), PLAIN, plan)?;
    archive.finish()
}

/// The libraries that this process has mapped, each once.
fn mapped(maps: &str) -> BTreeSet<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    let is_library = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.ends_with(".so") || name.contains(".so.")
    };
    paths.filter(is_library).map(PathBuf::from).collect()
}

struct Archive {
    out: BufWriter<File>,
    made: BTreeSet<PathBuf>,
    written: usize,
}

impl Archive {
    fn new() -> io::Result<Self> {
        let file = memfd_create("guest", MemfdFlags::CLOEXEC)?;
        Ok(Self { out: BufWriter::with_capacity(1 << 20, file.into()), made: BTreeSet::new(), written: 0 })
    }

    /// A file, with the directories that it is in.
    fn file(&mut self, at: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let at = at.strip_prefix("/").unwrap_or(at);
        if let Some(above) = at.parent() {
            self.directory(above)?;
        }
        self.entry(at, mode, bytes)
    }

    fn directory(&mut self, at: &Path) -> io::Result<()> {
        let above: Vec<&Path> = at.ancestors().filter(|at| !at.as_os_str().is_empty()).collect();
        for at in above.into_iter().rev() {
            if self.made.insert(at.to_owned()) {
                self.entry(at, DIRECTORY, &[])?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, at: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let name = at.as_os_str().as_bytes();
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.written += 1;
        // Magic, then ino, mode, uid, gid, nlink, mtime, filesize, major, minor, rmajor, rminor, namesize, check.
        let links = 1 + usize::from(mode & 0o170_000 == 0o040_000);
        let head = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            self.written,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            name.len() + 1,
            0
        );
        self.out.write_all(head.as_bytes())?;
        self.out.write_all(name)?;
        self.padded(head.len() + name.len(), 1)?;
        self.out.write_all(bytes)?;
        self.padded(bytes.len(), 0)
    }

    /// At least so many zeros, up to a multiple of four.
    fn padded(&mut self, length: usize, least: usize) -> io::Result<()> {
        let zeros = (length + least).next_multiple_of(4) - length;
        self.out.write_all(&[0; 4][..zeros.min(4)])
    }

    fn finish(mut self) -> io::Result<File> {
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        let mut file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_foreign_program_reads_the_archive() {
        let unpacker = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|at| Path::new(at).exists());
        let Some(unpacker) = unpacker else {
            assert!(std::env::var_os("CI").is_none(), "CI installs busybox");
            eprintln!("SKIPPED a_foreign_program_reads_the_archive: there is no busybox");
            return;
        };
        let place = tempfile::tempdir().unwrap();
        let module = place.path().join("some.ko");
        fs::write(&module, "module").unwrap();
        let archive = build(b"{}", &[module]).unwrap();
        let out = place.path().join("out");
        fs::create_dir(&out).unwrap();
        let done = Command::new(unpacker)
            .args(["cpio", "-idm"])
            .current_dir(&out)
            .stdin(Stdio::from(archive))
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(fs::read(out.join("plan")).unwrap(), b"{}");
        assert_eq!(fs::read(out.join("modules/000-some.ko")).unwrap(), b"module");
        let own = fs::read("/proc/self/exe").unwrap();
        let unpacked = fs::read(out.join("chaperone")).unwrap();
        assert!(own.starts_with(&unpacked) && unpacked.len() > 4096);
        // With its loader and libraries it starts there, as it would in a guest.
        let loader = elf::loader(&own).map(|at| OsStr::from_bytes(at).to_owned()).unwrap();
        assert!(out.join(Path::new(&loader).strip_prefix("/").unwrap()).exists(), "{loader:?}");
    }

    #[test]
    fn libraries_are_found_in_the_map() {
        let maps = "1-2 r-xp 0 08:01 5  /usr/bin/chaperone\n3-4 r--p 0 08:01 6  /usr/lib/libc.so.6\n\
            5-6 r-xp 0 08:01 6  /usr/lib/libc.so.6\n7-8 rw-p 0 00:00 0 [heap]\n";
        assert_eq!(mapped(maps), BTreeSet::from([PathBuf::from("/usr/lib/libc.so.6")]));
    }
}
