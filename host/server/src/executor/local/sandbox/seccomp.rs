//! System calls that no build needs and that have been the way out of containers before. A list of what is refused, not of
//! what is allowed: steps run arbitrary compilers and package managers, which Docker's longer list does not break either.

use serde_json::{Value, json};

/// Refused with `EPERM`.
const REFUSED: [&str; 32] = [
    "acct",
    "add_key",
    "bpf",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount_setattr",
    "move_mount",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "quotactl",
    "reboot",
    "request_key",
    "setns",
    "swapoff",
    "swapon",
    "syslog",
    "unshare",
    "userfaultfd",
];

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const CLONE_NEWUSER: u64 = 0x1000_0000;

pub(super) fn profile() -> Value {
    let mut profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            { "names": REFUSED, "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM },
            // clone3's flags stand behind a pointer, where a filter cannot look: callers fall back to clone. The kernel counts
            // asynchronous I/O contexts for the whole machine, so one build could take them from all: callers fall back
            // to plain I/O.
            { "names": ["clone3", "io_setup"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS },
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": EPERM,
                "args": [{
                    "index": 0,
                    "value": CLONE_NEWUSER,
                    "valueTwo": CLONE_NEWUSER,
                    "op": "SCMP_CMP_MASKED_EQ",
                }],
            },
        ],
    });
    let architectures: &[&str] = if cfg!(target_arch = "x86_64") {
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    } else if cfg!(target_arch = "aarch64") {
        &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    } else {
        &[]
    };
    // Left out, the runtime's own is meant.
    if let (false, Value::Object(fields)) = (architectures.is_empty(), &mut profile) {
        fields.insert("architectures".to_owned(), json!(architectures));
    }
    profile
}
