//! The kernel that guests run: one of this machine's own installed ones, with the modules that it needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::plan::SetupError;

/// Names another kernel, by the path of its image.
const CHOSEN: &str = "CHAPERONE_VM_KERNEL";
const IMAGES: &str = "/boot";
const IMAGE: &str = "vmlinuz-";
/// Where kernels have their modules, by release.
const MODULES: &[&str] = &["/usr/lib/modules", "/lib/modules"];
/// What a guest needs of its kernel, each built in or as a module.
const NEEDED: &[&str] = &["virtio_mmio", "virtio_console", "virtio_net", "fuse", "overlay"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kernel {
    pub image: PathBuf,
    /// In the order in which they are loaded.
    pub modules: Vec<PathBuf>,
}

/// The newest kernel that is fit; one for clouds, which is smaller, before others.
///
/// # Errors
/// When there is none, with the command that installs one.
pub(super) fn find() -> Result<Kernel, SetupError> {
    let chosen = std::env::var_os(CHOSEN).map(PathBuf::from);
    find_in(chosen.as_deref(), Path::new(IMAGES), MODULES)
}

fn find_in(chosen: Option<&Path>, images: &Path, modules: &[&str]) -> Result<Kernel, SetupError> {
    let known: Vec<PathBuf> = match chosen {
        Some(image) => vec![image.to_owned()],
        None => fs::read_dir(images).into_iter().flatten().flatten().map(|entry| entry.path()).collect(),
    };
    let mut fit: Vec<(bool, Vec<u64>, Kernel)> = known
        .iter()
        .filter_map(|image| {
            let release = image.file_name()?.to_str()?.strip_prefix(IMAGE)?;
            let modules = modules.iter().find_map(|place| needed(&Path::new(place).join(release)))?;
            fs::File::open(image).ok()?;
            let image = image.canonicalize().ok()?;
            Some((release.contains("cloud"), numbers(release), Kernel { image, modules }))
        })
        .collect();
    fit.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    fit.pop().map(|(_, _, kernel)| kernel).ok_or_else(|| match chosen {
        Some(image) => SetupError::new(format!(
            "{CHOSEN} names {}, which is no kernel image that can be read, called {IMAGE}RELEASE, with its modules below {}",
            image.display().to_string().escape_debug(),
            modules.first().unwrap_or(&"")
        )),
        None => SetupError::new(format!("there is no kernel for guests in {}", images.display()))
            .fix("sudo apt-get install linux-image-cloud-amd64 (another distribution's kernel does as well)"),
    })
}

/// The modules to be loaded of this release; `None` when something that is needed is neither there nor built in.
fn needed(of: &Path) -> Option<Vec<PathBuf>> {
    let dependencies = fs::read_to_string(of.join("modules.dep")).ok()?;
    let built_in = fs::read_to_string(of.join("modules.builtin")).unwrap_or_default();
    let dependencies: BTreeMap<String, (&str, Vec<&str>)> = dependencies
        .lines()
        .filter_map(|line| {
            let (module, others) = line.split_once(':')?;
            Some((name(module)?, (module, others.split_whitespace().collect())))
        })
        .collect();
    let mut loaded: Vec<PathBuf> = Vec::new();
    for wanted in NEEDED {
        let Some((module, others)) = dependencies.get(*wanted) else {
            built_in.lines().find(|line| name(line).as_deref() == Some(wanted))?;
            continue;
        };
        // depmod names what is needed first last (modules.dep(5)).
        for module in others.iter().rev().chain([module]) {
            let path = of.join(module).canonicalize().ok()?;
            if !loaded.contains(&path) {
                loaded.push(path);
            }
        }
    }
    Some(loaded)
}

/// A module's name, of its file's: `virtio-ring.ko.xz` is `virtio_ring`.
fn name(file: &str) -> Option<String> {
    let file = file.rsplit('/').next()?;
    Some(file.split_once(".ko")?.0.replace('-', "_"))
}

/// The numbers in a release, for comparing.
fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(root: &Path, release: &str, dependencies: &str, built_in: &str) {
        let modules = root.join("modules").join(release);
        for file in dependencies.split([':', '\n', ' ']).filter(|file| file.contains(".ko")) {
            let at = modules.join(file);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, "").unwrap();
        }
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("modules.dep"), dependencies).unwrap();
        fs::write(modules.join("modules.builtin"), built_in).unwrap();
        fs::create_dir_all(root.join("boot")).unwrap();
        fs::write(root.join("boot").join(format!("{IMAGE}{release}")), "").unwrap();
    }

    const ALL_BUILT_IN: &str =
        "kernel/virtio_mmio.ko\nkernel/virtio_console.ko\nkernel/virtio-net.ko\nkernel/fuse.ko\n";

    #[test]
    fn the_newest_kernel_with_everything_is_taken_and_its_modules_in_order() {
        let root = tempfile::tempdir().unwrap();
        let dependencies = "kernel/overlay.ko:\nkernel/virtio_net.ko.xz: kernel/net-failover.ko kernel/failover.ko\n\
            kernel/net-failover.ko: kernel/failover.ko\nkernel/failover.ko:\n";
        let modules = root.path().join("modules");
        let (boot, modules) = (root.path().join("boot"), modules.to_str().unwrap().to_owned());
        let find = |chosen: Option<&Path>| find_in(chosen, &boot, &[&modules]);
        assert!(find(None).unwrap_err().fix.unwrap().contains("apt-get install"));
        install(root.path(), "6.1.0-9-amd64", dependencies, ALL_BUILT_IN);
        install(root.path(), "6.1.0-10-amd64", dependencies, ALL_BUILT_IN);
        install(root.path(), "6.2.0-amd64", "kernel/overlay.ko:\n", "kernel/fuse.ko\n");
        let found = find(None).unwrap();
        assert!(found.image.ends_with("vmlinuz-6.1.0-10-amd64"), "{found:?}");
        let names: Vec<_> = found.modules.iter().map(|at| at.file_name().unwrap()).collect();
        assert_eq!(names, ["failover.ko", "net-failover.ko", "virtio_net.ko.xz", "overlay.ko"]);
        install(root.path(), "5.10.0-cloud-amd64", dependencies, ALL_BUILT_IN);
        assert!(find(None).unwrap().image.ends_with("vmlinuz-5.10.0-cloud-amd64"));
        let chosen = boot.join("vmlinuz-6.1.0-9-amd64");
        assert_eq!(find(Some(&chosen)).unwrap().image, chosen.canonicalize().unwrap());
        let unfit = find(Some(&boot.join("vmlinuz-6.2.0-amd64"))).unwrap_err();
        assert!(unfit.what.contains("CHAPERONE_VM_KERNEL names"), "{unfit}");
    }
}
