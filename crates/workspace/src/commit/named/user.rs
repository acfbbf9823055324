//! The user whose directory it is: where what is theirs lies.

use std::path::PathBuf;

#[derive(Debug, Clone, Default)]
pub struct User {
    pub home: Option<PathBuf>,
    /// Their settings of git, and those of the machine.
    pub settings: Vec<PathBuf>,
}

impl User {
    /// The one that this process runs as.
    pub fn own() -> Self {
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let settings = [
            home.as_ref().map(|home| home.join(".gitconfig")),
            from("XDG_CONFIG_HOME")
                .or_else(|| Some(home.as_ref()?.join(".config")))
                .map(|at| at.join("git/config")),
            from("GIT_CONFIG_GLOBAL"),
            from("GIT_CONFIG_SYSTEM"),
            Some(PathBuf::from("/etc/gitconfig")),
        ];
        Self { home, settings: settings.into_iter().flatten().collect() }
    }
}
