//! Exit codes: scripts tell a failed build from a failed call by them, so they never change.

use ignite_proto::v1::BuildStatus;
use tonic::Code;

use crate::error::Error;

/// The table that `--help` ends with.
pub(crate) const HELP: &str = "\
Configuration: flags, then environment, then the configuration file (`ignite config path`).
TLS trusts the system's certificates, or those of SSL_CERT_FILE.

Exit codes:
  0   done; with --follow, the build succeeded
  1   the build failed; a test failed, the gateway would not take the component, a dry run was denied
  2   invalid argument or usage
  3   unauthenticated
  4   permission denied, or another organization than --org
  5   not found
  6   already exists
  7   resource exhausted
  8   deadline exceeded
  9   unavailable
  10  internal error, of the server or of this program
  11  the build's state does not allow it (failed precondition, aborted)
  12  not available in this release of the server
  20  the build was cancelled
  130 Ctrl-C: detached, the build goes on
  141 stdout was closed";

const NOT_PASSED: u8 = 1;
const INVALID_ARGUMENT: u8 = 2;
const PERMISSION_DENIED: u8 = 4;
const INTERNAL: u8 = 10;

pub(crate) fn code(error: &Error) -> u8 {
    match error {
        Error::Input(_) => INVALID_ARGUMENT,
        Error::Rpc(status) | Error::Lost { status, .. } => of_rpc(status.code()),
        Error::OtherOrganization { .. } => PERMISSION_DENIED,
        Error::Local { .. } | Error::Nonsense(_) => INTERNAL,
        Error::BuildEnded(status) => of_build(*status),
        Error::NotPassed => NOT_PASSED,
        Error::Interrupted => 130,
        Error::OutputClosed => 141,
    }
}

fn of_rpc(code: Code) -> u8 {
    match code {
        Code::Ok => 0,
        Code::InvalidArgument | Code::OutOfRange => INVALID_ARGUMENT,
        Code::Unauthenticated => 3,
        Code::PermissionDenied => PERMISSION_DENIED,
        Code::NotFound => 5,
        Code::AlreadyExists => 6,
        Code::ResourceExhausted => 7,
        Code::DeadlineExceeded => 8,
        Code::Unavailable => 9,
        Code::Internal | Code::Unknown | Code::DataLoss | Code::Cancelled => INTERNAL,
        Code::FailedPrecondition | Code::Aborted => 11,
        Code::Unimplemented => 12,
    }
}

fn of_build(status: BuildStatus) -> u8 {
    match status {
        BuildStatus::Succeeded => 0,
        BuildStatus::Failed => 1,
        BuildStatus::Cancelled => 20,
        BuildStatus::Unspecified | BuildStatus::Pending | BuildStatus::Running => INTERNAL,
    }
}
