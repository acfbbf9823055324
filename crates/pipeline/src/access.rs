//! What is asked of the pipeline: an action on a resource that was resolved before anything is decided.

use std::net::IpAddr;
use std::sync::Arc;

use chaperone_capability::{Action, PermissionClaim};
use chaperone_inspect::Finding;
use chaperone_protocol::for_display;
use chaperone_quota::HeldFile;
use serde_json::Value;

use crate::network_facts::NetworkFacts;

/// Stands between what a request is about and where it leads.
pub(crate) const LEADS: char = '→';
/// Addresses of a name that are shown.
const MOST_ADDRESSES: usize = 4;

/// One parsed and resolved request.
#[derive(Debug, Clone)]
pub struct AccessRequest {
    pub action: Action,
    pub resource: Resource,
    pub entry: Entry,
    /// The asking process, where the transport knows it.
    pub pid: Option<u32>,
}

/// The way that a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The mediated file system.
    FileSystem,
    /// The narrow RPC.
    Rpc,
    /// A staged change on its way to the user's files.
    Commit,
    /// The network exit.
    Network,
}

/// What a request is about. What each kind answers to policy, digests, standing answers, records and capabilities stands in
/// `resource.rs`, one function a question.
#[derive(Debug, Clone)]
pub enum Resource {
    File(FileResource),
    Network(Box<NetworkResource>),
    Tool(ToolResource),
    Elevation(ElevationResource),
}

/// A file, directory or link, by its name and by what was found there.
#[derive(Debug, Clone)]
pub struct FileResource {
    /// Absolute, normalised path in the cell.
    pub path: String,
    /// Where a rename goes.
    pub to: Option<String>,
    /// Where a renamed or linked object comes from, when that is not `path`.
    pub origin: Option<String>,
    pub object: FileObject,
    /// What the path stood for in the session's stage, where there is one.
    pub staged_as: Option<StagedAs>,
    /// The object itself, open; content is read from here and nowhere else.
    pub file: Option<Arc<HeldFile>>,
    /// The user's own version that a commit replaces: what stands in it at this place, stays.
    pub before: Option<Arc<HeldFile>>,
    /// The request makes the content readable to the agent, or carries it to the user's directory.
    pub content: bool,
    /// The bytes cannot be replaced by redacted ones (an opening for writing, a commit).
    pub verbatim: bool,
    /// Facts about a change, for policy.
    pub change: Option<Value>,
}

/// What kind of thing a resolved path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    File,
    Dir,
    Symlink,
    Absent,
}

/// The resolved object: what was opened, not what was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileObject {
    pub kind: ObjectKind,
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    pub size: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    /// It is the agent's own staged work.
    pub staged: bool,
}

/// What a path stood for in the session's stage: with the [`FileObject`], what is decided on, and not what has its name later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedAs {
    /// The file of the stage, by its number.
    pub blob: Option<u64>,
    /// Advances with each change of the path's entry.
    pub generation: u64,
}

/// The resolved object of an action on the network.
#[derive(Debug, Clone, Default)]
pub struct NetworkResource {
    /// As it is shown; a name that carries something is cut.
    pub shown: String,
    /// The canonical name, or the address where there is none: of IPv6 without brackets, as capabilities have it.
    pub host: String,
    /// 0 for a query of a name.
    pub port: u16,
    /// What the connection goes to, pinned: performers connect to these and to nothing else.
    pub addresses: Vec<IpAddr>,
    /// Of a request.
    pub method: Option<String>,
    /// Of a request: decoded and normalised, without its query.
    pub url_path: Option<String>,
    pub facts: NetworkFacts,
    /// In what leaves.
    pub findings: Vec<Finding>,
    /// SHA-256 and length of what leaves.
    pub content: Option<([u8; 32], u64)>,
    /// Files of which passages leave, for the one who is asked.
    pub sources: Vec<String>,
    /// What is sent to people, for the one who is asked; never recorded.
    pub text: Option<String>,
    /// Of a request: its query, for the one who is asked; never recorded.
    pub query: Option<String>,
    /// Something leaves the machine, so that the record has to be on disk before; see `Authorized::syncing`.
    pub leaves: bool,
}

impl FileResource {
    /// What was found at a path, and nothing else.
    #[must_use]
    pub fn named(path: String, object: FileObject) -> Self {
        Self {
            path,
            to: None,
            origin: None,
            object,
            staged_as: None,
            file: None,
            before: None,
            content: false,
            verbatim: false,
            change: None,
        }
    }
}

impl NetworkResource {
    /// The addresses of the name, the first few of them; nothing where the host is an address itself.
    #[must_use]
    pub fn leads_where(&self) -> Option<String> {
        let all: Vec<String> = self.addresses.iter().take(MOST_ADDRESSES).map(IpAddr::to_string).collect();
        let more = if self.addresses.len() > MOST_ADDRESSES { ", …" } else { "" };
        let is_address = self.host.parse::<IpAddr>().is_ok();
        (!all.is_empty() && !is_address).then(|| format!("at {}{more}", all.join(", ")))
    }
}

/// A call of a tool that acts on the session itself.
#[derive(Debug, Clone)]
pub struct ToolResource {
    pub name: &'static str,
    /// SHA-256 of the canonical arguments.
    pub arguments: [u8; 32],
}

/// A wish for more than the capability gives.
#[derive(Debug, Clone)]
pub struct ElevationResource {
    /// What it is about: a path, or a host.
    pub subject: String,
    /// In words: action, pattern and time.
    pub wish: String,
    /// `input.change.elevate`.
    pub facts: Value,
    /// What is minted when it is granted, and for how long.
    pub permissions: Vec<PermissionClaim>,
    pub seconds: u64,
    /// What the agent says of it; untrusted.
    pub justification: String,
}

impl AccessRequest {
    /// An action on an object in a directory, and nothing else.
    #[must_use]
    pub fn file(entry: Entry, action: Action, path: String, object: FileObject) -> Self {
        Self { action, resource: Resource::File(FileResource::named(path, object)), entry, pid: None }
    }

    /// An action on the network.
    #[must_use]
    pub fn network(action: Action, resource: NetworkResource) -> Self {
        Self { action, resource: Resource::Network(Box::new(resource)), entry: Entry::Network, pid: None }
    }

    /// The file that it is about.
    #[must_use]
    pub fn as_file(&self) -> Option<&FileResource> {
        match &self.resource {
            Resource::File(file) => Some(file),
            _ => None,
        }
    }

    /// What it is about on the network.
    #[must_use]
    pub fn as_network(&self) -> Option<&NetworkResource> {
        match &self.resource {
            Resource::Network(network) => Some(network),
            _ => None,
        }
    }

    /// The tool that it calls.
    #[must_use]
    pub fn as_tool(&self) -> Option<&ToolResource> {
        match &self.resource {
            Resource::Tool(tool) => Some(tool),
            _ => None,
        }
    }

    /// The elevation that it asks for.
    #[must_use]
    pub fn as_elevation(&self) -> Option<&ElevationResource> {
        match &self.resource {
            Resource::Elevation(wish) => Some(wish),
            _ => None,
        }
    }

    /// What it is about, as it is named in records and to people; not yet safe to show.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.resource.subject()
    }

    /// What it is about and where it leads, each made safe to show and cut by itself to `limit` characters: what stands between
    /// the two is never lost.
    #[must_use]
    pub fn shown(&self, limit: usize) -> String {
        self.called(|name| for_display(name, limit))
    }

    /// What it is about and where it leads, each as `call` has it.
    pub(crate) fn called(&self, call: impl Fn(&str) -> String) -> String {
        let subject = call(self.subject());
        match self.leads_to() {
            Some(to) => format!("{subject} {LEADS} {}", call(to)),
            None => subject,
        }
    }

    /// [`Self::subject`] by the name that the user knows it by.
    #[must_use]
    pub fn known_as(&self) -> &str {
        self.as_file().and_then(|file| file.origin.as_deref()).unwrap_or(self.subject())
    }

    /// What the file was called in the user's directory, where the session gave it another name; safe to show.
    #[must_use]
    pub fn was(&self, limit: usize) -> Option<String> {
        let file = self.as_file()?;
        let origin = file.origin.as_ref().filter(|origin| **origin != file.path)?;
        Some(for_display(origin, limit))
    }

    /// Where it leads: the new name of a rename, the wish of an elevation.
    #[must_use]
    pub fn leads_to(&self) -> Option<&str> {
        self.resource.leads_to()
    }
}

impl Entry {
    /// The name in policy input and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FileSystem => "fs",
            Self::Rpc => "rpc",
            Self::Commit => "commit",
            Self::Network => "net",
        }
    }
}

impl ObjectKind {
    /// The name in policy input and digests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
            Self::Absent => "absent",
        }
    }
}

impl FileObject {
    /// Nothing is there.
    pub const ABSENT: Self = Self {
        kind: ObjectKind::Absent,
        dev: 0,
        ino: 0,
        nlink: 0,
        size: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        staged: false,
    };
}
