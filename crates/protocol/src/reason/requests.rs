//! Requests: the pipeline itself, asks and answers, capabilities, tools, the cell.

use super::row::{Group, ReasonCode, reasons};

pub(super) const DECIDING: Group = Group {
    title: "Deciding and recording",
    about: "The broker refuses by itself, whatever policy says (rule `broker.CODE`).",
    reasons: reasons! {
        "internal_error": "A fault inside the broker; the request was denied."
            => "Try again; if it happens again, please report it with the output of `chaperone doctor`.";
        "audit_unavailable": "The audit log cannot be opened, read or written, so nothing is allowed."
            => "Make room on the disk and check `chaperone doctor` and `chaperone audit verify`.";
        "session_suspended": "The session is suspended: every request is denied until the user resumes it."
            => "The user reads `chaperone why ID`, then runs `chaperone resume ID` or `chaperone stop ID`.";
        "session_ended": "The session does not run, or does not run yet."
            => "Start a new one with `chaperone run`.";
        "disk_full": "The disk is down to the reserve kept for the log, so the session that writes to it was suspended."
            => "Make room, then `chaperone resume ID`.";
        "log_full": "The disk of the audit log is down to what is kept for it, so the session that goes on writing to the log was suspended."
            => "Make room, then `chaperone resume ID`; look with `chaperone audit query` at what the session does so often.";
        "likely_remembered": "The session read files with values that are likely secrets or personal data, and nobody was asked: in source code most such values are code. `why` lists how many of each kind."
            => "`chaperone inspect --explain FILE` says where and why; `[inspection] reads = \"likely\"` in a profile asks about them.";
        "repeated": "So many times the same again: action, object, decision. The first one has a record of its own."
            => "`chaperone audit show` has when it began and ended, and how many failed.";
        "too_much_held": "The session holds as many of the broker's descriptors open, or as much of its memory, as one session may."
            => "Close files and directories that are not in use; other sessions are not affected.";
        "no_room": "The disk has no room for a private copy of the file beside what is kept for the log and the user."
            => "Make room on the disk.";
        "cannot_inspect": "Inspection itself failed, so what is read is denied; or a part of what leaves cannot be inspected, which is asked about."
            => "Ask the user to look at the file, or to hand over a plain copy.";
        "cannot_restore": "It holds placeholders of a redacted copy that cannot be replaced by what they stand for: it is a workbook, another archive, compressed, mail, RTF or in base64, or too large."
            => "Leave the values that were redacted out of it, or ask the user to make the change.";
        "cannot_redact": "Only a redacted copy may pass, and none can be made, or this opening would expose the original."
            => "Open the file read-only, or write to a new one.";
        "masked": "In a staged directory nobody is asked about reading, so the file is masked."
            => "Go on without it, or let the user mount the directory with mode = \"mediated\".";
        "cannot_open": "The file cannot be opened for inspection before the start, so it is masked."
            => "Check the file's owner and permissions.";
        "cancelled": "The request was withdrawn before it was answered."
            => "";
        "many_refusals": "More requests were refused within a minute than are recorded one by one."
            => "Read `chaperone why`; stop the session if it is not what you want.";
    },
};

pub(super) const ASKING: Group = Group {
    title: "Asks and answers",
    about: "Policy asks the user, and the answer does not come, is no, or does not hold any more. The reasons that policy gave follow the code.",
    reasons: reasons! {
        "ask_denied": "The session answers every ask with no (`--ask deny`)."
            => "Go on without it; the user can start the session with `--ask wait`.";
        "ask_timeout": "Nobody answered in time."
            => "Ask again when the user is there; `--ask-timeout` sets how long an ask waits.";
        "user_denied": "The user said no."
            => "Go on without it; do not try again.";
        "too_many_asks": "As many requests wait for an answer as may."
            => "Wait until the user has answered the earlier ones.";
        "no_such_ask": "No pending request has this id, or several begin with it."
            => "List what waits with `chaperone approvals`.";
        "answer_expired": "The answer came after the request had expired."
            => "Ask again; the user is shown what is so now.";
        "capability_changed": "The session holds another capability than when the user was asked."
            => "Ask again; the user is shown what is so now.";
        "object_changed": "The file changed while the request waited."
            => "Ask again; the user is shown what is so now.";
        "policy_changed": "Policy asks for more by now than what the user was shown."
            => "Ask again; the user is shown what is so now.";
        "confirmation_required": "Policy asks about this change, and the commit did not name its path."
            => "`commit` prints the command for each kind; `chaperone commit ID PATH` takes one path.";
        "needs_second_factor": "The request needs the user's PIN; a commit cannot be confirmed with one yet."
            => "`chaperone approve ID --pin-stdin`.";
        "asked_every_time": "An elevation, or a request that needs the PIN, is asked about every time: an answer holds once."
            => "Approve without --session and --for; an elevation holds as long as it names.";
        "no_second_factor": "The request needs a second factor, and none is enrolled."
            => "Go on without it; the user enrols a PIN with `chaperone vault pin`.";
        "bad_digest": "The digest of the request that a PIN was given for is malformed."
            => "";
    },
};

pub(super) const CAPABILITY: Group = Group {
    title: "Capabilities",
    about: "The token does not permit it, or does not verify (rule `capability.CODE`).",
    reasons: reasons! {
        "expired": "The capability has expired."
            => "Start a new session, or ask with request_elevation.";
        "not_yet_valid": "The capability is not valid yet."
            => "Wait, and check the machine's clock.";
        "wrong_audience": "The capability is for another session."
            => "";
        "wrong_issuer": "The capability is from another installation."
            => "";
        "bad_signature": "A signature of the capability is wrong."
            => "";
        "revoked": "The capability, or one that it was made from, was revoked."
            => "Ask the user for another one.";
        "widened": "A link gives more than the capability that it narrows."
            => "Ask for a part of what the parent gives.";
        "malformed": "The token, or what it claims, is malformed."
            => "";
        "too_deep": "The capability has more links than it may, or a tool's arguments nest deeper than they may."
            => "Attenuate from an earlier capability; send flatter arguments.";
        "no_proof": "The cell or channel has not proved that it holds the capability's key."
            => "";
        "used_up": "The capability has no uses left."
            => "Ask the user for another one.";
        "not_permitted": "The capability does not permit this."
            => "list_capabilities shows what it permits; request_elevation asks the user for more.";
        "not_normalised": "The name of the object is not absolute and normalised, so no permission is matched against it."
            => "Use an absolute path without `.`, `..` and doubled slashes.";
        "ledger_unavailable": "The ledger of uses or revocations cannot be read or written; what needs it is denied."
            => "Check the disk and the files in `state/`.";
        "sign_failed": "The vault could not sign the capability."
            => "";
        "not_the_holder": "The signer does not hold the key that the parent capability names."
            => "";
        "no_capability": "The session holds no capability, or none yet."
            => "Try again when the session has started.";
    },
};

pub(super) const CELL: Group = Group {
    title: "The cell",
    about: "What the cell itself notices and refuses (rules `cell.decoy`, `cell.seccomp`, `cell.packet`). Each of the first three codes raises an alert.",
    reasons: reasons! {
        "credential_decoy": "A decoy at a well-known place of credentials was touched."
            => "No credential is in the cell; go on without.";
        "refused_call": "The seccomp filter refused a system call."
            => "Programs in a cell work without it; for debuggers and tracers the user starts with --profile debug.";
        "refused_packet": "The cell's network rules refused a packet that is neither TCP nor DNS (multicast and QUIC are recorded without an alert)."
            => "Programs fall back to TCP.";
        "own_credentials": "A program looked for credentials of its own at its start, and found a decoy; it is recorded once."
            => "Nothing: no credential is in the cell.";
        "decoy": "`why` lists a touched decoy under this code."
            => "No credential is in the cell; go on without.";
        "seccomp": "`why` lists a refused system call under this code."
            => "Programs in a cell work without it; for debuggers and tracers the user starts with --profile debug.";
        "packet": "`why` lists a refused packet under this code."
            => "Programs fall back to TCP.";
    },
};

pub(super) const TOOLS: Group = Group {
    title: "MCP tools",
    about: "A tool's call cannot be carried out as it was made.",
    reasons: reasons! {
        "bad_arguments": "The arguments of the tool are invalid; the message says which."
            => "Call it with the arguments of its schema.";
        "bad_path": "The path is empty, too long, leads out of the workspace, or is that of a home or a URL."
            => "Use a path below /workspace.";
        "bad_url": "The address cannot be read, or cannot be used."
            => "Use an absolute address such as https://example.com/path.";
        "bad_answer": "The answer of the server was not taken."
            => "Ask for a smaller part, or save it to a file with save_to.";
        "no_such_tool": "There is no tool of this name."
            => "tools/list names them.";
        "too_fast": "The conversation makes more calls than it may."
            => "Wait as long as the advice says.";
        "too_many_calls": "As many calls run as may at once."
            => "Wait for their answers.";
        "too_many_attenuations": "As many narrower capabilities of the session hold as may (1,024)."
            => "Use one that there is, make them with fewer seconds, or wait until one expires.";
        "not_mediated": "The mount is read-only or an overlay, so the tools do not serve it."
            => "Use the files of this mount directly.";
        "through_a_link": "The path is, or leads through, a symbolic link."
            => "Use the real path.";
        "not_found": "There is nothing at this path, or it is in no mount of this session."
            => "List /workspace to see what there is.";
        "is_a_directory": "The path is a directory."
            => "Use list_directory.";
        "not_a_directory": "The path is not a directory."
            => "";
        "not_a_file": "The path is not a regular file."
            => "";
        "not_empty": "The directory is not empty."
            => "Delete what is in it first.";
        "cannot_move": "There is too much in the directory to move it at once."
            => "Move what is in it.";
        "other_mount": "The two paths are in different mounts."
            => "Write the new file and delete the old one.";
        "not_text": "The file is not UTF-8 text."
            => "Read it with encoding base64.";
        "not_csv": "The file is not CSV."
            => "Read it with read_file.";
        "too_large": "The file is larger than the tool takes."
            => "Read it in ranges with read_file.";
        "too_many_blobs": "As many blobs are staged as may be."
            => "Save them with save_workbook first.";
        "no_such_blob": "No staged blob has this content_hash."
            => "Stage the workbook with stage_blob first.";
        "hash_mismatch": "The staged content is not what its hash says."
            => "Stage it again.";
        "no_memory": "There is no memory for the blob."
            => "";
    },
};

pub(super) const ENDINGS: &[ReasonCode] = reasons! {
    "exit": "The program ended by itself; `code` is its exit code."
        => "";
    "signal": "A signal ended the program; `code` is 128 and its number."
        => "";
    "not_found": "There is no such program (exit code 127)."
        => "Check the name; programs below your home must be installed for the agent (user guide).";
    "setup": "No cell was made, and `rule` has the reason code where there is one (exit code 125), or the program cannot be executed (126)."
        => "See the code; `chaperone doctor`.";
    "time": "The session's time limit was reached."
        => "Raise `limits.time` of the profile.";
    "memory": "The session's memory limit was reached."
        => "Raise `limits.memory` of the profile.";
    "processes": "The session's limit on processes was reached."
        => "Raise `limits.processes` of the profile.";
    "broker": "The broker ended, or ended the cell."
        => "Start again; what was acknowledged is kept.";
};
