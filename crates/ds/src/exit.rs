use docstore_client::ErrorClass;

/// What `ds` exits with. The numbers are an interface: scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It worked, also when there was nothing to do.
    Success = 0,
    /// It did not, for a reason that has no number of its own.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The state does not allow it: conflicts, a branch that moved, uncommitted changes, a taken name.
    Conflict = 3,
    /// Not signed in, or not allowed.
    Auth = 4,
    /// The server could not be reached; nothing was changed.
    Network = 5,
    /// A policy does not allow it.
    Policy = 6,
    /// The answer to a write was lost: it may have happened.
    OutcomeUnknown = 7,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<ErrorClass> for Exit {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Auth => Self::Auth,
            ErrorClass::Conflict => Self::Conflict,
            ErrorClass::Policy => Self::Policy,
            ErrorClass::Network => Self::Network,
            ErrorClass::OutcomeUnknown => Self::OutcomeUnknown,
            ErrorClass::NotFound | ErrorClass::Other => Self::Failure,
        }
    }
}
