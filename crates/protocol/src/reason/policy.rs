//! Policies: the engine, and the packs that ship.

use super::row::{Group, reasons};

pub(super) const ENGINE: Group = Group {
    title: "The policy engine",
    about: "What is decided when no policy speaks, or when one fails.",
    reasons: reasons! {
        "no_policy": "No policy speaks of this request."
            => "The user writes a policy that does.";
        "policy_error": "A policy failed, took too long or gave a malformed decision; or the set did not load."
            => "The user runs `chaperone policy check`.";
        "input_too_large": "The request describes itself in more than 256 KiB."
            => "";
        "denied": "A policy denied without giving a reason."
            => "";
        "allowed": "`data.agent.access.allow` is true."
            => "";
        "not_allowed": "`data.agent.access.allow` is not true."
            => "";
        "policy_unreadable": "A policy file, or the directory of policies, cannot be read."
            => "Check the files in `config/policies`.";
    },
};

pub(super) const FILES: Group = Group {
    title: "Policies that ship: files, credentials, tools",
    about: "From `packs/policies/default`.",
    reasons: reasons! {
        "not_in_profile": "The profile does not list this action at this path."
            => "Use what the mount allows, or request_elevation.";
        "listing": "Names and attributes may be listed."
            => "";
        "staged": "The change is kept aside until a commit."
            => "";
        "inspect_first": "The content is inspected, then decided on again."
            => "";
        "own_work": "Nothing of the user's becomes readable."
            => "";
        "nothing_found": "The content was inspected; nothing that counts was found."
            => "";
        "personal_data": "The content holds personal data: a finding of medium severity or more, or 20 e-mail addresses, IP addresses, phone numbers and URLs together."
            => "Go on without this file, or ask the user for a redacted copy.";
        "cannot_look_inside": "The content, or a part of it, cannot be looked into: it is encrypted, damaged, beyond the limits, or of a kind that is not known. The message says which."
            => "Go on without this file, or ask the user for a copy that can be looked into. An answer for the session covers reading every file of that kind.";
        "secret_in_content": "The content holds keys, tokens or passwords."
            => "Go on without this file, or ask the user for a redacted copy.";
        "credential_store": "The path is a private key, key chain, browser profile or another store of credentials."
            => "Ask the user to do the step that needs them.";
        "dotenv": "A `.env` file is read that sets more than plain settings."
            => "Work with .env.example, or ask the user for a redacted copy.";
        "tokens_file": "Settings of a package registry are read, which usually hold a token."
            => "Go on without it.";
        "floor_persistence": "The path is a lasting way into the user's account, or below `/etc`; nothing overrides this."
            => "";
        "elevation": "The agent asks for more than it was given."
            => "Go on with what list_capabilities says until the user answers.";
        "session_tool": "The tool acts on the session itself."
            => "";
    },
};

pub(super) const COMMIT: Group = Group {
    title: "Policies that ship: commits",
    about: "What is asked about at a commit is refused unless the user names the path, or approves it.",
    reasons: reasons! {
        "plain_change": "The change may reach the directory, after inspection."
            => "";
        "runs_later": "The file will be run or obeyed later: hooks, build and editor settings, shell start-up files, instructions to agents."
            => "Leave it staged and tell the user what it is for.";
        "executable": "The file becomes executable, or begins as a script."
            => "Leave it staged and tell the user what it is for.";
        "new_source": "The file takes packages, or a step of their installation, from where nothing came from before: another host, registry or kind of source."
            => "Use a source that the project has already, or tell the user which one it is and why.";
        "compiled_code": "The file is compiled code (a program, a library, an archive of classes, bytecode that no source beside it stands for), or serialized objects whose code runs when they are loaded, as a pickle."
            => "Leave it out, and compile it again from its source; data is saved in a format without code (CSV, Parquet, JSON).";
        "interpreter_cache": "The file is a cache that an interpreter makes anew from the source beside it, and could hold something else."
            => "Nothing: it stays in the stage and is not missed.";
        "active_content": "The document has a script, handler, macro or field that runs when somebody opens it, and that it did not have before."
            => "Leave it out, or leave the document staged and tell the user what it does.";
        "cannot_look": "The document is too large or too deeply nested to be read whole, or a part of it is broken."
            => "Write it smaller, or save it anew.";
        "foreign_placeholder": "A placeholder of a redacted copy stands in another file than its own, or is of another session or of a version that is no more: it stands for nothing there."
            => "Keep placeholders in the file that they were read in, or read it again; move the whole line within it where it is to be elsewhere.";
        "damaged_placeholder": "A placeholder of a redacted copy was changed or cut, so that the user's value in its place would be lost."
            => "Write it as it was read; `changes` tells the line.";
        "exposes_value": "What was written around a placeholder, or left out of its file, would let the agent read the value when it opens the file again."
            => "Leave what stands beside a placeholder as it was, or name the path to commit it with the values.";
        "csv_formula": "A spreadsheet program would run cells of this CSV file as formulas: they call a function, name other cells or files, or compute."
            => "Put an apostrophe before them, or leave it staged.";
        "loads_remote_content": "Whoever opens the document fetches an address that it did not name before; in a source checkout, from a host that no document beside or above it loads from."
            => "Leave the address out, or put the image beside the document.";
        "leaves_protection": "The file, or one in the directory, moves from where a rule protects it from being read to where none does."
            => "Leave it where it is, or name the path to commit it.";
        "dependency_directory": "The change is in a directory that a tool fills with the code of others (`node_modules`, a virtual environment): one question for all that is no more than that."
            => "`chaperone commit ID DIRECTORY`, or `--confirm dependency_directory` for all such directories.";
        "many_deletes": "The commit takes more than 50 files away: deleted, emptied, or replaced by something else."
            => "Tell the user what is deleted and why.";
        "removes_repository": "The commit takes away what makes a repository of git: itself, its HEAD, settings, objects or names, or lets a name stand for nothing."
            => "Leave the repository as it is; tell the user when it should go.";
        "removes_guard": "The commit takes away what keeps something from happening: settings with what an agent or an editor may not do, hooks that check, where packages come from, filters of git."
            => "Leave it in place, or tell the user why it is to go.";
        "loosened_mode": "More may write the file or directory than before, others may read what its owner alone could, or it runs with its owner's rights."
            => "Leave the mode as it was, or tell the user who needs it.";
        "part_of_operation": "It belongs to what git is in the middle of, a rebase or a new work tree, of which another part may not be committed by itself: they are carried together."
            => "Finish the operation or take it back, or tell the user to name all of it.";
        "hides_from_git": "Git would show something else than there is: replaced objects, packs and indexes that are not each other's or too large to be checked, history that ends early, files that it does not compare, names that it leaves out."
            => "Leave git's own data to git, or tell the user what it is for.";
        "link_replaces_file": "A symbolic link takes the place of a file or directory."
            => "Write the file itself.";
        "link_leaves_directory": "A symbolic link leads out of the directory: to a program of the system or of a toolchain, or by way of a link of yours."
            => "Name the path to commit it.";
        "link_to_what_runs": "A link, symbolic or a hard one, leads into a repository of git, or to something that runs later: what is written to its name is written there."
            => "Link to something else, or tell the user what the link is for.";
        "link_to_protected": "A symbolic link leads to what a rule protects from being read, under a name that no rule protects."
            => "Link to something else.";
        "deceptive_name": "The name holds control, bidirectional or invisible characters (joiners that a language or a picture needs are none), or begins or ends with a blank."
            => "Use a plain name.";
        "option_name": "The new name begins with a dash, so that a program which is given `*` in its directory takes it for an option: `tar` and others run what one says."
            => "Use a name that begins with something else.";
        "secret_in_name": "The name itself, or the target of a link, holds what looks like a secret."
            => "Use another name.";
        "personal_data_in_name": "The name itself holds what looks like personal data."
            => "Use another name.";
        "external_formula" alerts: "The workbook reaches out, or cannot be judged; the second reason says how."
            => "Write the workbook without macros, links, data connections and functions that reach other hosts.";
    },
};

pub(super) const NETWORK: Group = Group {
    title: "Policies that ship: the network",
    about: "On names (`resolve`), connections (`connect`), requests (`request`) and ports (`publish`).",
    reasons: reasons! {
        "host_allowed": "The name may be resolved, the connection made, the request sent."
            => "";
        "port_published": "A port of the cell is forwarded from 127.0.0.1."
            => "";
        "host_not_allowed": "No rule of the session names this host and port."
            => "list_allowed_hosts shows what can be reached; request_elevation asks for more; the user can start with --allow-host.";
        "private_address" alerts: "The host is at an address that is not public, and neither a rule nor the user's hosts file names it."
            => "The user starts with --allow-host for the name and for its address, each with the port.";
        "wide_network" alerts: "The agent asks for a network of more addresses than a person can look through."
            => "Ask for the hosts that are meant.";
        "metadata_address" alerts: "The address hands out a machine's credentials, and no rule names it."
            => "";
        "dns_tunnel": "The name, or the names before it, carry data; `input.net.tunnel` says how it shows."
            => "Resolve only names that you need.";
        "request_not_allowed": "No rule allows this method and path on the host."
            => "Use what list_allowed_hosts shows.";
        "secret_leaves": "The request holds keys, tokens or passwords, or a key where it is not its issuer's."
            => "Send the request without it.";
        "registered_value_leaves": "The request holds a registered value outside of a credential's header."
            => "Send the request without it.";
        "hidden_data_leaves": "The request is disguised: letters of other scripts, invisible characters, text written backwards."
            => "Send plain text.";
        "passage_leaves": "The request holds a passage of what the session read, or of a registered document."
            => "The user is shown the files and may allow it.";
        "personal_data_leaves": "The request holds personal data, as for `personal_data`."
            => "Send the request without it, or let the user allow it.";
        "unusual_method": "The request has a method that no program uses, so it may carry something itself."
            => "Use a usual method; the user can name another one in `methods` of a rule.";
        "relayed_request": "The path makes the allowed host fetch from another one, which nobody allowed."
            => "Ask for what is at a well-known place; the user is shown the address and may allow it.";
        "over_budget" alerts: "The session has read, sent or asked as much as it may."
            => "Send less; the user can raise `upload_bytes` or `requests_per_minute` of the profile.";
        "message_to_people": "A message goes to people in the user's name."
            => "The user is shown the text and may allow it.";
    },
};

pub(super) const SPREADSHEET: Group = Group {
    title: "Policies that ship: the spreadsheet profile",
    about: "From `packs/policies/spreadsheet`.",
    reasons: reasons! {
        "not_a_report": "The spreadsheet profile reads CSV files below /workspace/reports only."
            => "Read CSV files below /workspace/reports.";
        "not_a_workbook": "The spreadsheet profile commits `.xlsx` and `.csv` files only; save_workbook writes `.xlsx` files only; what is no XLSX workbook is not validated as one."
            => "Write .xlsx and .csv files below /workspace/out.";
    },
};
