//! `packs/runs_later.toml` as it is read.

use std::sync::LazyLock;

use serde::Deserialize;

use super::place::Place;

pub(super) static PACK: LazyLock<Pack> = LazyLock::new(|| chaperone_packs::table("packs/runs_later.toml"));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pack {
    pub class: Vec<Class>,
    pub extension: Vec<Extension>,
    pub settings: Settings,
    pub inert: Inert,
    pub inert_unless: Vec<InertUnless>,
    pub sources: Sources,
    pub guards: Guards,
    pub compiled: Vec<Endings>,
    pub git: Git,
    pub library: Library,
    pub loads: Vec<Loads>,
    pub vocabularies: Vocabularies,
    pub home: Home,
    pub dot_files: DotFiles,
    pub leads: Vec<Leads>,
    pub searched: Searched,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extension {
    pub class: String,
    /// The file that makes a directory one.
    pub mark: String,
    /// From that directory.
    pub places: Vec<Place>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guards {
    pub places: Vec<Place>,
    pub but: Vec<Place>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Home {
    /// From the home itself.
    pub directories: Vec<String>,
    /// Places outside of its directories with a dot from which tools start or load something.
    pub code: Vec<Place>,
    /// Places below its directories with a dot that hold nothing which starts or instructs.
    pub passed_over: Vec<Place>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DotFiles {
    pub names: Vec<String>,
    pub beginnings: Vec<String>,
    pub endings: Vec<String>,
    /// What the tool that puts them there runs.
    pub runs: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Loads {
    pub names: Vec<String>,
    pub marks: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vocabularies {
    pub hosts: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Library {
    pub modules: Vec<String>,
    pub tools: Vec<String>,
    pub packages: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Git {
    pub paths: Vec<String>,
    pub commands: Vec<String>,
    pub hook_lists: Vec<String>,
    pub hook_keys: Vec<String>,
    /// Settings that run nothing and lead nowhere.
    pub inert: Vec<String>,
    /// Settings of every new repository.
    pub plain: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Class {
    pub class: String,
    pub places: Vec<Place>,
    /// Names that are of it in this spelling alone.
    #[serde(default)]
    pub exact: Vec<String>,
    /// Plain files in these places that are data alone.
    #[serde(default)]
    pub but: Vec<Place>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub endings: Vec<String>,
    pub names: Vec<String>,
    /// Settings by their whole names, wherever they are.
    pub plain: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inert {
    pub places: Vec<Place>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InertUnless {
    pub places: Vec<Place>,
    pub words: Vec<String>,
    /// What its lines have to be, besides.
    #[serde(default)]
    pub lines: Lines,
}

/// What lines run nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Lines {
    #[default]
    Any,
    /// `NAME=value`, as a shell reads it.
    Assignments,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endings {
    pub endings: Vec<String>,
    pub sources: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sources {
    pub marks: Vec<String>,
    pub hosts: Vec<String>,
}

/// Files of one kind, and how they are read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leads {
    pub(super) class: String,
    /// Paths from the home, or absolute ones; `**` stands for directories.
    #[serde(default)]
    pub(super) home: Vec<String>,
    /// Where they are in a directory.
    #[serde(default)]
    pub(super) places: Vec<Place>,
    /// How a line begins that says nothing.
    #[serde(default)]
    pub(super) comments: Vec<String>,
    /// Members of which alone the values count.
    #[serde(default)]
    pub(super) keys: Vec<String>,
    /// Of these the ones that name only data.
    #[serde(default)]
    pub(super) other_keys: Vec<String>,
    /// Words of lines that run what they name; without any, every line may.
    #[serde(default)]
    pub(super) lines: Vec<String>,
    /// Files of any tool's: only what is settings by its name and its size is one.
    #[serde(default)]
    pub(super) any_tool: bool,
    /// A word without which nothing of the file runs by itself.
    pub(super) needs: Option<String>,
    /// Words of lines that run nothing of what they name.
    #[serde(default)]
    pub(super) passes_over: Vec<String>,
    /// Words of a tool's own that mean places without naming them.
    #[serde(default)]
    pub(super) reads_as: Vec<ReadsAs>,
    /// Words after which a file of the same kind is named.
    #[serde(default)]
    pub(super) takes_in: Vec<String>,
    /// Words of lines that name directories of which everything is loaded, beside those that any file may have.
    #[serde(default)]
    pub(super) loads_all: Vec<String>,
}

/// A line that has `words`, and the line that it stands for; `{}` in it is each word that follows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadsAs {
    pub(super) words: String,
    pub(super) line: String,
}

/// Words of lines that name directories in which something is looked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Searched {
    pub(super) programs: Vec<String>,
    pub(super) modules: Vec<String>,
    pub(super) all: Vec<String>,
}
