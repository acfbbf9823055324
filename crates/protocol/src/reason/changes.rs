//! Changes on their way to the user's directory, and what is validated of them.

use super::row::{Group, reasons};

pub(super) const COMMIT: Group = Group {
    title: "Commit and undo",
    about: "Reasons of single changes; a refused change stays staged.",
    reasons: reasons! {
        "cannot_be_staged": "The agent made something that no commit can take: a socket, a pipe, a device."
            => "It stays in the cell; leave it out, or write a plain file.";
        "changed_meanwhile": "The user's version changed since the agent began; of a tool, the path became another file while it was decided on."
            => "`--conflict mine|theirs|both`; of a tool, call it again.";
        "changed_meanwhile_and_kept_in_history": "The user's version changed at the last moment; that version is kept in the history of commits."
            => "`chaperone undo ID` brings it back.";
        "changed_meanwhile_and_moved": "The user's version changed while it was moved, and is at its new place."
            => "Look at both places.";
        "moved_with": "It only moved, or its values are in other files by now, and those are not committed: they wait for an answer, or may not pass. So it stays as it is, and all are committed together."
            => "Commit the new name, which takes the old one with it; `--confirm moved_with` commits the removal alone.";
        "changed_since_shown": "The change is not the one that `changes` showed, or was never shown while the agent runs on."
            => "`chaperone changes ID`, then commit; `--unseen` commits it as it is.";
        "look_first": "Nobody looked at these changes yet, and the command can show them."
            => "The command shows an overview and asks; `--unseen` commits them as they are.";
        "changed_since_the_commit": "The file changed since it was committed, so undo leaves it."
            => "`chaperone undo ID --force`.";
        "needed_by_what_stays": "Your own git went on from the commit (you staged or committed, or moved a branch) and may need these objects, or all of a repository that the commit made, so undo leaves them."
            => "`chaperone undo ID .git --force` takes back the index and the branches of the commit as well, and the objects with them when nothing newer is left.";
        "content_changed_while_judged": "The staged content changed while it was inspected."
            => "Commit again.";
        "already_exists": "Something exists at the new place."
            => "Use another name, or delete it first.";
        "already_there": "The directory exists already; it is used."
            => "";
        "gone": "What was to be changed is gone."
            => "";
        "parent_missing": "The directory above is missing."
            => "Commit it, too.";
        "parent_moved": "The directory above was moved while the change was made."
            => "Commit again.";
        "parent_is_a_link": "The directory above is, or became, a symbolic link or another file system."
            => "";
        "replaced_by_a_link": "A symbolic link took the place of the file."
            => "";
        "replaced_by_another_kind": "Something of another kind took the place of the file."
            => "";
        "directory_not_empty": "The directory holds what was not deleted by the agent."
            => "";
        "not_renamed": "The file that was to be renamed is another one by now."
            => "";
        "renamed_without_its_new_content": "The file was renamed; its new content was refused and stays staged."
            => "";
        "rename_circle": "Renames of the commit lead in a circle."
            => "Commit the paths one by one.";
        "hard_link": "The file has other names (hard links), which the change would reach or lose."
            => "";
        "other_name_kept": "The file had another name (hard link) that the commit did not change: it keeps the old content, and is a file of its own now."
            => "";
        "linked_as_copy": "The file is another name (hard link) of one, in the cell or, for an undo, before the commit; the commit or undo made it a copy."
            => "";
        "link_leaves_root": "The symbolic link leads out of the directory, and not to a program of the system."
            => "Link within the directory.";
        "malformed_change": "The staged change is malformed."
            => "`chaperone discard ID PATH`.";
        "blob_outside_the_stage": "The staged content is not where it must be."
            => "`chaperone discard ID PATH`.";
        "blob_unreadable": "The staged content cannot be read."
            => "`chaperone discard ID PATH`.";
        "too_many_holes": "The file, or all of the commit, has more than 16 GiB of holes (a size set far beyond what was written)."
            => "Make the file smaller, or commit other paths alone; `chaperone discard ID PATH` drops it.";
        "content_unreadable": "The content of the change cannot be read, so it is not judged."
            => "";
        "attributes_cannot_be_kept": "The file has extended attributes that cannot be kept."
            => "";
        "owner_cannot_be_kept": "The file's owner cannot be kept."
            => "";
        "file_system_cannot_exchange": "The file system cannot exchange two files atomically."
            => "";
        "other_file_system": "The path is on another file system."
            => "";
        "permission_denied": "The user may not write there."
            => "";
        "read_only_file_system": "The file system is read-only."
            => "";
        "no_space": "The disk, or the user's quota, is full."
            => "Make room and commit again.";
        "too_large_for_the_file_system": "The file is larger than the file system takes."
            => "";
        "io_error": "Reading or writing failed."
            => "";
        "interrupted": "An earlier commit was cut off, and this change of it could not be completed or taken back."
            => "Look at `chaperone changes ID` and commit again.";
        "kept_mine": "The user's own version was kept (`--conflict mine`)."
            => "";
        "kept_version_missing": "The version that undo needs is not in the history."
            => "";
        "previous_version_left_under_a_temporary_name": "The version before could not be put back and lies beside under a temporary name."
            => "Rename it by hand.";
        "stage_unavailable": "The stage or the history of commits cannot be read or written."
            => "Make room on the disk and try again.";
        "stage_busy": "What a program writes through a memory mapping cannot be taken over."
            => "Try again, or stop the session first.";
    },
};

pub(super) const WORKBOOKS: Group = Group {
    title: "Workbooks and CSV",
    about: "Why a workbook is refused; beside `external_formula`, or `macro` alone.",
    reasons: reasons! {
        "macro": "The workbook holds macros."
            => "Save it without.";
        "function_reaches_out": "A formula calls a function that reaches other hosts or programs."
            => "Write the value instead.";
        "external_reference": "A formula or part refers to another document."
            => "Write the values instead.";
        "data_connection": "The workbook holds a data connection or query."
            => "Write the values instead.";
        "hyperlink_to_host": "A hyperlink leads to a host or file."
            => "Write the address as text.";
        "remote_image": "An image is loaded from elsewhere."
            => "Embed the image.";
        "dde": "The workbook holds a DDE link."
            => "Write the values instead.";
        "ole_object": "The workbook holds an embedded object."
            => "Save it without.";
        "active_control": "The workbook holds an ActiveX or form control."
            => "Save it without.";
        "custom_ui": "The workbook changes the program's own menus."
            => "Save it without.";
        "web_extension": "The workbook holds a web extension."
            => "Save it without.";
        "binary_workbook": "The workbook is in the binary format."
            => "Save it as .xlsx.";
        "template": "The file is a template."
            => "Save it as a workbook.";
        "encrypted": "A part of the archive is encrypted."
            => "Save it without a password.";
        "unexpected_part": "The archive holds a part that a plain workbook does not have."
            => "Save it with a plain library.";
        "duplicate_part": "The archive holds a part twice, so programs read it differently."
            => "Save it anew.";
        "bad_part_name": "The name of a part is not plain."
            => "Save it anew.";
        "unreadable_part": "A part cannot be unpacked."
            => "Save it anew.";
        "malformed_xml": "A part is not well-formed XML."
            => "Save it anew.";
        "xml_entity": "A part uses XML entities of its own."
            => "Save it anew.";
        "xml_document_type": "A part has an XML document type."
            => "Save it anew.";
        "workbook_too_large": "The workbook goes beyond a limit."
            => "Split it.";
        "unreadable_csv": "The CSV file cannot be read as such."
            => "Write plain CSV in UTF-8.";
    },
};
