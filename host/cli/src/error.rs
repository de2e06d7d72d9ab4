//! What a command can end with other than success. How each is shown is [`crate::output::errors`]' business, which exit
//! code it becomes [`crate::exit`]'s.

use std::io;

use ignite_proto::v1;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The arguments, a local file or the configuration are not usable.
    #[error("{0}")]
    Input(String),
    /// The server answered with an error, or could not be reached.
    #[error("{}", .0.message())]
    Rpc(Box<tonic::Status>),
    /// The same while following a build, after which the user can go on.
    #[error("{}", .status.message())]
    Lost {
        status: Box<tonic::Status>,
        resume: String,
    },
    /// The token is good, but not for the organization that `--org` names.
    #[error("the token belongs to the organization {actual:?}, not to {wanted:?}")]
    OtherOrganization { wanted: String, actual: String },
    #[error("{doing}")]
    Local {
        doing: String,
        #[source]
        source: io::Error,
    },
    /// The server sent what it must not.
    #[error("the server sent an answer that makes no sense: {0}")]
    Nonsense(&'static str),
    /// The build that was followed did not succeed; that has been said already.
    #[error("the build did not succeed")]
    BuildEnded(v1::BuildStatus),
    /// A test failed, a component would not be taken, a dry run was denied; that has been said already.
    #[error("not passed")]
    NotPassed,
    /// Ctrl-C while following; that has been said already.
    #[error("interrupted")]
    Interrupted,
    /// Nobody reads stdout any more.
    #[error("stdout is closed")]
    OutputClosed,
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

// === impl Error ===

impl Error {
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    pub(crate) fn local(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Local {
            doing: doing.into(),
            source,
        }
    }

    /// For writing to stdout.
    pub(crate) fn stdout(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::local("cannot write to stdout", source)
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Rpc(Box::new(status))
    }
}
