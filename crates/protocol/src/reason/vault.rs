//! The vault.

use super::row::{Group, reasons};

pub(super) const VAULT: Group = Group {
    title: "The vault",
    about: "`docs/vault.md` has the operations and files.",
    reasons: reasons! {
        "vault_io": "A file of the vault cannot be read or written."
            => "Check the disk.";
        "vault_open_to_others": "Others can reach the vault's directory."
            => "`chmod 700` it.";
        "vault_in_use": "Another vault process has the directory open."
            => "Stop the other broker first.";
        "vault_unsealable": "A sealed record does not open: damaged, swapped, or of another vault."
            => "Restore the directory from a backup.";
        "vault_rolled_back": "The vault's state is older than its anchor."
            => "Restore the newest copy of both.";
        "vault_file_missing": "A file is missing although the vault was in use."
            => "Restore it from a backup.";
        "vault_traced": "The process is being traced and loads no keys."
            => "Start it without a debugger.";
        "vault_unconfined": "The process cannot confine itself."
            => "`chaperone doctor`";
        "vault_no_randomness": "The kernel gives no random numbers."
            => "";
        "vault_protocol": "A request breaks the vault's protocol."
            => "";
        "vault_claims_refused": "The vault does not sign these claims."
            => "";
        "vault_tree_forked": "The tree does not extend the last one that was signed."
            => "`chaperone audit verify`";
        "vault_approval_refused": "The vault does not sign this approval."
            => "";
        "vault_no_data_key": "The data key of a payload was erased, or is of another vault."
            => "";
        "vault_dead": "The vault process is gone."
            => "End the broker process; the next command starts both.";
        "vault_key": "The vault's public key is malformed."
            => "";
        "pin_required": "A step-up approval needs the PIN, given for this very action in the last minute."
            => "`chaperone approve ID --pin-stdin`";
        "pin_not_set": "No PIN is set."
            => "`chaperone vault pin`";
        "pin_wrong": "The PIN is wrong."
            => "";
        "pin_locked": "There were too many wrong PINs; the message says how long to wait."
            => "Wait.";
        "pin_length": "A PIN has 6 to 128 bytes."
            => "";
    },
};
