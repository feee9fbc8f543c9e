use std::{
    fs::{File, TryLockError},
    path::Path,
};

use crate::{Exit, Failure, failure::About};

/// The advisory lock of a workspace. The system takes it away when the process ends, however it ends.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says that another command holds it. Does not wait: the other command may wait for a person.
    pub(crate) fn take(metadata: &Path) -> Result<Self, Failure> {
        let path = metadata.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).about("open", &path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::new("another ds command is changing this workspace; try again when it is done")
                    .exit(Exit::Conflict))
            }
            Err(TryLockError::Error(error)) => Err(error).about("lock", &path),
        }
    }
}
