//! The closed sets of words in a record, so that a question with any other word is a mistake and not an empty answer.

/// A word with one line on what it stands for.
pub type Word = (&'static str, &'static str);

/// Every `effect` of a record that has one.
pub const EFFECTS: &[Word] = &[
    ("allow", "It was allowed, or went well"),
    ("ask", "The user was asked"),
    ("step_up", "The user was asked for a second factor"),
    ("deny", "It was refused, or is an alert"),
    ("failed", "It was allowed and failed"),
    ("unknown", "How it ended was lost in a crash"),
];

/// Every `action` of a record.
pub const ACTIONS: &[Word] = &[
    ("read", "Content became readable"),
    ("write", "Something was created or changed"),
    ("append", "Something was added to a file"),
    ("list", "A directory was listed"),
    ("delete", "Something was removed"),
    ("rename", "Something was renamed"),
    ("commit", "A staged change on its way to the user's directory"),
    ("exec", "A system call that cells refuse"),
    ("publish", "A port of a cell"),
    ("connect", "A connection"),
    ("resolve", "A query of a name"),
    ("request", "An HTTP request"),
    ("sign", "A signature with a key of the vault"),
    ("decrypt", "A decryption with a key of the vault"),
    ("tool", "A tool that acts on the session itself"),
    ("plugin", "A plug-in"),
    ("elevate", "A wish for more than the capability gives"),
    ("approve", "An answer of the user"),
    ("start", "A session started"),
    ("end", "A session ended"),
    ("suspend", "A session was suspended"),
    ("resume", "A session was resumed"),
    ("abandon", "A session that could not be carried on"),
    ("discard", "Staged changes were discarded"),
    ("undo", "What was committed was put back"),
    ("prune", "What was kept of a session that had ended was removed"),
    ("mask", "Files that may not be read were hidden"),
    ("attenuate", "A narrower capability was made"),
    ("remember", "What a session read was remembered"),
    ("certificate", "A certificate was made for a host"),
    ("queries", "Repeated queries of names"),
    ("policy", "Another set of policies came into force"),
    ("log_opened", "The log was opened"),
    ("log_archived", "A damaged log was moved aside"),
    ("recovered", "An intent that a crash left open was closed"),
    ("clock_stepped_back", "The clock went backwards"),
];

/// Whether a set has a word.
#[must_use]
pub fn knows(set: &[Word], word: &str) -> bool {
    set.iter().any(|(known, _)| *known == word)
}
