//! Start-up files of a home that are kept elsewhere, under names without their dots.

use std::collections::BTreeSet;

use super::pack::PACK;
use super::place::{Place, like};
use super::{Subject, classes};

/// Whether a name at the top of a directory says that such files are kept there.
#[must_use]
pub fn is_dot_file(name: &str) -> bool {
    let lower = name.to_lowercase();
    PACK.dot_files.names.iter().any(|known| known == plain(&lower))
        || PACK.dot_files.beginnings.iter().any(|beginning| lower.starts_with(beginning.as_str()))
}

/// The classes of what a path of such a directory becomes in a home.
#[must_use]
pub fn dot_file_classes(path: &str, holds: bool) -> BTreeSet<&'static str> {
    let lower = path.to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or_default();
    let dotted: Vec<String> = lower.split('/').map(with_dot).collect();
    let forms = [format!(".{}", plain(&lower)), format!(".{}", plain(name)), dotted.join("/")];
    let of = |form: &String| classes(&Subject { path: form, holds, content: None });
    let mut found: BTreeSet<&'static str> = forms.iter().flat_map(of).collect();
    // What any file with a dot may be, a script beside them is not.
    found.remove("settings");
    if PACK.dot_files.runs.iter().any(|pattern| like(pattern, name)) {
        found.insert("autostart");
    }
    found
}

/// Whether a directory of the home is one in which settings and start-up files lie.
#[must_use]
pub fn is_home_of_settings(path: &str) -> bool {
    let lower = path.to_lowercase();
    let fits = |pattern: &&String| {
        pattern.split('/').count() == lower.split('/').count()
            && pattern.split('/').zip(lower.split('/')).all(|(pattern, name)| like(pattern, name))
    };
    PACK.home.directories.iter().any(|pattern| fits(&pattern))
}

/// Whether something of the home is taken for settings, whatever it is. What is inert in a directory by the name around it may be
/// anything in a home.
#[must_use]
pub fn is_settings_of_home(path: &str) -> bool {
    let lower = path.to_lowercase();
    let names: Vec<&str> = lower.split('/').collect();
    let is_inert = |place: &Place| place.is_name() && place.has(&names, true);
    let is_code = || PACK.home.code.iter().any(|place| place.has_from_top(&names, true));
    (lower.starts_with('.') || is_code()) && !is_passed_over(path) && !PACK.inert.places.iter().any(is_inert)
}

/// Whether a directory or a link of the home is by its last names one where nothing starts or instructs: caches, stores, what was
/// thrown away.
#[must_use]
pub fn is_passed_over(path: &str) -> bool {
    let lower = path.to_lowercase();
    let names: Vec<&str> = lower.split('/').collect();
    PACK.home.passed_over.iter().any(|place| place.has(&names, true))
}

/// Without what says how it is put into the home.
fn plain(name: &str) -> &str {
    PACK.dot_files.endings.iter().find_map(|ending| name.strip_suffix(ending.as_str())).unwrap_or(name)
}

fn with_dot(name: &str) -> String {
    let name = plain(name);
    let rest = PACK.dot_files.beginnings.iter().find_map(|beginning| name.strip_prefix(beginning.as_str()));
    rest.map_or_else(|| name.to_owned(), |rest| format!(".{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_a_start_up_file_is_known_without_its_dot() {
        for path in [
            "bashrc",
            "zsh/zshrc.symlink",
            "vimrc",
            "tmux.conf",
            "dot_bashrc",
            "dot-zshrc.tmpl",
            "dot_config/fish/x.fish",
            "config/fish/x.fish",
            "run_once_x.sh",
            "git/gitconfig",
            "private_dot_ssh/config",
        ] {
            assert!(!dot_file_classes(path, false).is_empty(), "{path}");
        }
        for path in ["README.md", "install.sh", "scripts/x.py", "docs/a.txt", "runs.txt"] {
            assert!(dot_file_classes(path, false).is_empty(), "{path}: {:?}", dot_file_classes(path, false));
        }
        assert!(is_dot_file("bashrc") && is_dot_file("dot_vimrc") && !is_dot_file("src"));
    }

    #[test]
    fn settings_lie_in_known_directories_of_a_home() {
        assert!(
            is_home_of_settings(".config/fish")
                && is_home_of_settings(".local/bin")
                && !is_home_of_settings("work/.config")
        );
        assert!(
            is_settings_of_home(".foo") && !is_settings_of_home(".cache") && !is_settings_of_home("work")
        );
        assert!(is_settings_of_home(".gradle/init.d/x.gradle") && !is_settings_of_home(".gitignore"));
        for path in [
            "go/bin/foo",
            "bin/x",
            "quicklisp/local-projects/x",
            "Arduino/libraries/y",
            "Documents/MATLAB/x.m",
        ] {
            assert!(is_settings_of_home(path), "{path}");
        }
        assert!(!is_settings_of_home("work/go/bin/foo") && !is_settings_of_home("Documents/x"));
        assert!(is_passed_over(".local/share/Trash") && is_passed_over(".x/node_modules"));
        assert!(!is_passed_over(".claude/skills") && !is_passed_over(".x/.git/hooks"));
    }
}
