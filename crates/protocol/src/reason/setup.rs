//! Starting a session, and the broker itself.

use super::row::{Group, reasons};

pub(super) const SESSION: Group = Group {
    title: "Starting a session",
    about: "`run` ends with 125.",
    reasons: reasons! {
        "bad_profile": "The profile is unknown, or a setting of it cannot be used; the message says which."
            => "`chaperone inventory` lists profiles.";
        "no_backend": "This version does not have the backend."
            => "Leave `backend` out, or name one that `chaperone doctor` lists.";
        "backend_unavailable": "This machine lacks what the backend needs; the message says what."
            => "Run the line that the message ends with; `chaperone doctor` tries each layer.";
        "too_many_sessions": "As many sessions run as may."
            => "`chaperone stop ID`";
        "workspace_missing": "The workspace does not exist or is not a directory."
            => "Name a directory that exists.";
        "workspace_refused": "The directory may not be handed to an agent: `/`, a whole home, one of the system, of credentials, of settings (with a dot below the home), or of Chaperone itself."
            => "Make a directory for the task, with what the agent needs in it.";
        "no_mounts": "The profile mounts nothing."
            => "Add a `[[mount]]`.";
        "mount_missing": "The workspace does not have a directory that the profile mounts."
            => "Create it, or correct the profile.";
        "mount_refused": "The profile's mount cannot be made: it overlaps another, is or contains a link, or makes no sense."
            => "Correct the profile.";
        "not_shown": "The program needs something of the host that no cell shows: private, the workspace's, or Chaperone's own."
            => "Install it outside of what is private, or start it in a workspace of its own.";
        "not_mounted": "The program is in the workspace, but in no mount of the profile."
            => "Use a profile that mounts it.";
        "too_much_masked": "More files of a staged directory would be masked than can be."
            => "Use mode = \"mediated\", or a directory without them.";
        "cache_in_use": "Another session of this profile and workspace has the kept caches."
            => "Stop that session, or use a profile without cache.keep.";
        "bad_host": "A host of `--allow-host` cannot be used."
            => "Write it like api.example.com, api.example.com:8443 or tcp://api.example.com:6379.";
        "bad_services": "The list of services cannot be read."
            => "Correct `services.toml`.";
        "no_such_service": "There is no service of this name; the message lists them."
            => "";
        "bad_port": "A port of `--publish` cannot be used."
            => "Publish another port.";
        "port_in_use": "A program of this machine listens on the port already."
            => "Stop that program, or let the agent serve on another port.";
        "already_started": "The session has its cell, or its agent, already."
            => "";
        "bad_attach": "The launcher did not hand over what the cell's session needs."
            => "";
        "cell_gone": "The cell ended, or does not answer."
            => "Start again.";
        "no_such_session": "No single session matches this id."
            => "`chaperone sessions --all` lists them.";
        "not_suspended": "The session is not suspended."
            => "";
    },
};

pub(super) const BROKER: Group = Group {
    title: "The broker",
    about: "The broker cannot start or go on.",
    reasons: reasons! {
        "no_home": "Neither CHAPERONE_HOME nor a home directory is known."
            => "Set HOME or CHAPERONE_HOME.";
        "state_unavailable": "A directory or file of Chaperone's own cannot be used."
            => "Check its owner and mode (0700); `chaperone doctor`.";
        "no_hardening": "The process cannot protect itself against other programs of the user."
            => "";
        "no_program": "The program cannot find its own executable."
            => "";
        "bad_detectors": "The detectors do not load."
            => "";
        "no_randomness": "The kernel gives no random numbers."
            => "";
        "no_threads": "No thread can be started."
            => "";
        "no_descriptor": "No file descriptor is free."
            => "Raise the limit on open files.";
    },
};
